//! The body of a response, unwrapped from its framing.

use super::MAX_CHUNK_LINE;
use super::head::Framing;
use super::wire::{Pace, Wire, WireError};

/// Why a body ends before its time.
#[derive(Debug)]
pub(in crate::transport) enum BodyError {
    /// The connection.
    Wire(WireError),
    /// It was closed too early.
    Cut,
    /// The chunked coding is broken.
    BadChunk(&'static str),
}

impl From<WireError> for BodyError {
    fn from(error: WireError) -> BodyError {
        BodyError::Wire(error)
    }
}

/// Where in the body we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes are left, of the whole body or, if chunked, of this chunk.
    Data(u64),
    /// At the line that announces a chunk.
    ChunkLine,
    /// At the line end after a chunk's data.
    ChunkEnd,
    /// After the last chunk.
    Trailer,
    /// Bytes until the connection closes.
    UntilClose,
    /// Nothing more.
    Done,
}

/// Reads a body piece by piece.
#[derive(Debug)]
pub(in crate::transport) struct Body {
    state: State,
    chunked: bool,
}

impl Body {
    pub(in crate::transport) fn new(framing: Framing) -> Body {
        let state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Data(length),
            Framing::Chunked => State::ChunkLine,
            Framing::Close => State::UntilClose,
        };
        Body { state, chunked: framing == Framing::Chunked }
    }

    /// Number of bytes at the start of [`Wire::ahead`] that belong to the body; the caller uses and consumes them.
    /// Zero at the end of the body.
    pub(in crate::transport) fn next(&mut self, wire: &mut Wire, pace: &mut Pace) -> Result<usize, BodyError> {
        loop {
            match self.state {
                State::Done => return Ok(0),
                State::Data(0) => self.state = if self.chunked { State::ChunkEnd } else { State::Done },
                State::Data(left) => {
                    if wire.ahead().is_empty() && !wire.fill(pace)? {
                        return Err(BodyError::Cut);
                    }
                    let piece = wire.ahead().len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.state = State::Data(left - piece as u64);
                    return Ok(piece);
                }
                State::UntilClose => {
                    if wire.ahead().is_empty() && !wire.fill(pace)? {
                        self.state = State::Done;
                        return Ok(0);
                    }
                    return Ok(wire.ahead().len());
                }
                State::ChunkEnd => {
                    let line = take_line(wire, pace)?;
                    if !line.is_empty() {
                        return Err(BodyError::BadChunk("a chunk is longer than announced"));
                    }
                    self.state = State::ChunkLine;
                }
                State::ChunkLine => {
                    let mut line = take_line(wire, pace)?;
                    line.extend_from_slice(b"\r\n");
                    self.state = match httparse::parse_chunk_size(&line) {
                        Ok(httparse::Status::Complete((_, 0))) => State::Trailer,
                        Ok(httparse::Status::Complete((_, size))) => State::Data(size),
                        _ => return Err(BodyError::BadChunk("the size of a chunk is malformed")),
                    };
                }
                State::Trailer => {
                    let mut total = 0;
                    loop {
                        let line = take_line(wire, pace)?;
                        total += line.len();
                        if line.is_empty() {
                            break;
                        }
                        if total > MAX_CHUNK_LINE {
                            return Err(BodyError::BadChunk("the trailer does not end"));
                        }
                    }
                    self.state = State::Done;
                }
            }
        }
    }

    /// True if the whole body was read, so that the next response begins here.
    pub(in crate::transport) fn is_done(&self) -> bool {
        matches!(self.state, State::Done) || (!self.chunked && self.state == State::Data(0))
    }
}

/// Takes a line without its end.
fn take_line(wire: &mut Wire, pace: &mut Pace) -> Result<Vec<u8>, BodyError> {
    loop {
        if let Some(end) = wire.ahead().iter().take(MAX_CHUNK_LINE).position(|b| *b == b'\n') {
            let mut line = wire.ahead()[..end].to_vec();
            wire.consume(end + 1);
            if line.pop_if(|b| *b == b'\r').is_none() {
                return Err(BodyError::BadChunk("a line of the chunked coding has a wrong end"));
            }
            return Ok(line);
        }
        if wire.ahead().len() >= MAX_CHUNK_LINE {
            return Err(BodyError::BadChunk("a line of the chunked coding does not end"));
        }
        if !wire.fill(pace)? {
            return Err(BodyError::Cut);
        }
    }
}
