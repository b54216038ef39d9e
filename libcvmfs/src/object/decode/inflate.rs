use super::{Expected, Output, corrupt};
use crate::object::{Compression, ReceiveError};
use zlib_rs::{Inflate, InflateFlush, Status};

/// Plain bytes gathered before they are written, as long as the output asks for no more at a time.
const GATHER: usize = 128 << 10;

/// The largest window of the zlib format, in bits: accepts every stream.
const WINDOW_BITS: u8 = 15;

/// Turns stored bytes into plain ones, counts them and writes them.
pub(super) struct Unpacker<W> {
    expected: Expected,
    inflater: Option<Inflater>,
    pub(super) plain: u64,
    output: W,
}

struct Inflater {
    inflate: Inflate,
    gathered: Box<[u8]>,
    filled: usize,
    consumed: u64,
    /// The first two stored bytes, to name a foreign format.
    head: [u8; 2],
    ended: bool,
}

impl Inflater {
    fn hand_on<W: Output>(&mut self, output: &mut W) -> std::io::Result<()> {
        self.gathered = output.write_buffer(std::mem::take(&mut self.gathered), self.filled)?;
        self.filled = 0;
        Ok(())
    }
}

impl<W: Output> Unpacker<W> {
    pub(super) fn new(expected: &Expected, output: W) -> Unpacker<W> {
        let room = usize::try_from(expected.plain_limit).unwrap_or(GATHER).clamp(1024, GATHER);
        let inflater = match expected.compression {
            Compression::None => None,
            Compression::Zlib => Some(Inflater {
                inflate: Inflate::new(true, WINDOW_BITS),
                gathered: vec![0; room].into_boxed_slice(),
                filled: 0,
                consumed: 0,
                head: [0; 2],
                ended: false,
            }),
        };
        Unpacker { expected: *expected, inflater, plain: 0, output }
    }

    pub(super) fn restart(&mut self) -> Result<(), ReceiveError> {
        self.plain = 0;
        if let Some(inflater) = &mut self.inflater {
            inflater.inflate.reset(true);
            if inflater.gathered.is_empty() {
                // It was lost with what it should have been written to.
                inflater.gathered = vec![0; GATHER].into_boxed_slice();
            }
            inflater.filled = 0;
            inflater.consumed = 0;
            inflater.ended = false;
        }
        Ok(self.output.reset()?)
    }

    pub(super) fn take(&mut self, stored: &[u8]) -> Result<(), ReceiveError> {
        if self.inflater.is_some() {
            return self.inflate(stored);
        }
        self.plain += stored.len() as u64;
        check_plain_limit(&self.expected, self.plain)?;
        Ok(self.output.write_all(stored)?)
    }

    pub(super) fn end(&mut self) -> Result<(), ReceiveError> {
        let name = &self.expected.name;
        if let Some(inflater) = &mut self.inflater {
            if !inflater.ended {
                let consumed = inflater.consumed;
                return Err(corrupt(name, format!("ends after {consumed} bytes, inside its zlib stream")));
            }
            inflater.hand_on(&mut self.output)?;
        }
        match self.expected.plain_size {
            Some(size) if size != self.plain => {
                let plain = self.plain;
                Err(corrupt(name, format!("holds {plain} plain bytes where {size} were announced")))
            }
            _ => Ok(self.output.flush()?),
        }
    }

    /// Goes on with another output.
    pub(super) fn map_output<V>(self, change: impl FnOnce(W) -> V) -> Unpacker<V> {
        let Unpacker { expected, inflater, plain, output } = self;
        Unpacker { expected, inflater, plain, output: change(output) }
    }

    pub(super) fn into_output(self) -> W {
        self.output
    }

    fn inflate(&mut self, mut stored: &[u8]) -> Result<(), ReceiveError> {
        let Some(inflater) = &mut self.inflater else { return Ok(()) };
        for (position, byte) in (inflater.consumed..2).zip(stored) {
            inflater.head[position as usize] = *byte;
        }
        loop {
            if inflater.ended {
                if stored.is_empty() {
                    return Ok(());
                }
                let consumed = inflater.consumed;
                return Err(corrupt(
                    &self.expected.name,
                    format!("has bytes after the end of its zlib stream at byte {consumed}"),
                ));
            }
            // One byte more than allowed is enough to know; a bomb gets no further.
            let allowed = (self.expected.plain_limit - self.plain).saturating_add(1);
            let room = usize::try_from(allowed).unwrap_or(usize::MAX).min(inflater.gathered.len() - inflater.filled);
            let free = &mut inflater.gathered[inflater.filled..][..room];
            let (input_before, output_before) = (inflater.inflate.total_in(), inflater.inflate.total_out());
            let outcome = inflater.inflate.decompress(stored, free, InflateFlush::NoFlush);
            let input = (inflater.inflate.total_in() - input_before) as usize;
            let output = (inflater.inflate.total_out() - output_before) as usize;
            stored = &stored[input..];
            inflater.consumed += input as u64;
            inflater.filled += output;
            self.plain += output as u64;
            match outcome {
                Ok(Status::StreamEnd) => inflater.ended = true,
                Ok(Status::Ok | Status::BufError) => {}
                Err(error) => {
                    let reason = match inflater.head {
                        [0x28, 0xb5] if inflater.consumed <= 2 => {
                            "is compressed with zstd, which is not supported".to_owned()
                        }
                        _ => {
                            let detail = inflater.inflate.error_message().unwrap_or(error.as_str());
                            format!("is no intact zlib stream around byte {}: {detail}", inflater.consumed)
                        }
                    };
                    return Err(corrupt(&self.expected.name, reason));
                }
            }
            check_plain_limit(&self.expected, self.plain)?;
            let full = inflater.filled == inflater.gathered.len();
            if full {
                inflater.hand_on(&mut self.output)?;
            }
            let waits_for_input = !full && stored.is_empty();
            if waits_for_input && !inflater.ended {
                return Ok(());
            }
            if input == 0 && output == 0 && !full && !inflater.ended {
                return Err(corrupt(&self.expected.name, "makes no progress while inflating"));
            }
        }
    }
}

fn check_plain_limit(expected: &Expected, plain: u64) -> Result<(), ReceiveError> {
    let limit = expected.plain_limit;
    if plain > limit {
        return Err(corrupt(&expected.name, format!("holds more than the {limit} plain bytes allowed")));
    }
    Ok(())
}
