//! Files with holes in pax archives, in the three forms that GNU tar writes: the name, the size and where the stored parts
//! belong are in extension headers, or the last in front of the parts.

use anyhow::{Context as _, Result, bail, ensure};
use std::collections::VecDeque;
use std::io::{self, Read};

/// What the keys of such headers begin with.
pub(super) const PREFIX: &str = "GNU.sparse.";
/// A map in front of the parts is filled up to whole blocks.
const BLOCK: usize = 512;
/// The longest number in such a map, with its line end.
const LONGEST: usize = 21;

/// What the headers of a file say.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    /// The name; what the archive has in its place is made up.
    pub(super) name: Option<Vec<u8>>,
    /// The size, with all holes.
    pub(super) size: u64,
    parts: VecDeque<Part>,
    map_follows: bool,
}

/// A stored part.
#[derive(Debug, Clone, Copy)]
struct Part {
    offset: u64,
    length: u64,
}

fn number(text: &[u8]) -> Result<u64> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .context("a number in the map of its holes is none")
}

impl Sparse {
    /// Takes in one header, whose key comes without [`PREFIX`].
    pub(super) fn note(&mut self, key: &str, value: &[u8]) -> Result<()> {
        match key {
            "name" => self.name = Some(value.to_vec()),
            "size" | "realsize" => self.size = number(value)?,
            "major" => match number(value)? {
                0 => {}
                1 => self.map_follows = true,
                other => bail!("the map of its holes is of version {other}, which is not known"),
            },
            "offset" => self.parts.push_back(Part { offset: number(value)?, length: 0 }),
            "numbytes" => self.parts.back_mut().context("a part without a place")?.length = number(value)?,
            "map" => {
                let mut numbers = value.split(|byte| *byte == b',');
                while let Some(offset) = numbers.next() {
                    let length = numbers.next().context("a part without a length")?;
                    self.parts.push_back(Part { offset: number(offset)?, length: number(length)? });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The whole file, of which `stored` has the parts.
    pub(super) fn expand<R: Read>(mut self, mut stored: R) -> Result<Expanded<R>> {
        if self.map_follows {
            self.parts = map_of(&mut stored)?;
        }
        let mut end = 0;
        for part in &self.parts {
            ensure!(part.offset >= end, "parts between its holes overlap");
            end = part.offset.checked_add(part.length).context("a part ends nowhere")?;
        }
        ensure!(end <= self.size, "a part is behind its end");
        Ok(Expanded { stored, parts: self.parts, at: 0, size: self.size })
    }
}

/// The map in front of the parts: how many there are, then place and length of each, a number on each line.
fn map_of(stored: &mut impl Read) -> Result<VecDeque<Part>> {
    let mut lines = Lines { stored, block: [0; BLOCK], used: BLOCK };
    let count = lines.number()?;
    let mut parts = VecDeque::new();
    for _ in 0..count {
        parts.push_back(Part { offset: lines.number()?, length: lines.number()? });
    }
    Ok(parts)
}

/// Numbers out of whole blocks.
struct Lines<'r, R> {
    stored: &'r mut R,
    block: [u8; BLOCK],
    used: usize,
}

impl<R: Read> Lines<'_, R> {
    fn byte(&mut self) -> Result<u8> {
        if self.used == BLOCK {
            self.stored.read_exact(&mut self.block).context("the map of its holes is cut off")?;
            self.used = 0;
        }
        let byte = self.block.get(self.used).copied().unwrap_or_default();
        self.used += 1;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64> {
        let mut text = Vec::with_capacity(LONGEST);
        loop {
            match self.byte()? {
                b'\n' => return number(&text),
                _ if text.len() == LONGEST => bail!("a number in the map of its holes has no end"),
                digit => text.push(digit),
            }
        }
    }
}

/// A file with its holes, which read as zeros.
pub(super) struct Expanded<R> {
    stored: R,
    parts: VecDeque<Part>,
    at: u64,
    size: u64,
}

impl<R: Read> Read for Expanded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.parts.front().is_some_and(|part| part.offset + part.length <= self.at) {
            self.parts.pop_front();
        }
        let room = |until: u64| usize::try_from(until - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let (length, stored) = match self.parts.front() {
            Some(part) if part.offset <= self.at => (room(part.offset + part.length), true),
            Some(part) => (room(part.offset), false),
            None => (room(self.size), false),
        };
        let Some(wanted) = buffer.get_mut(..length).filter(|wanted| !wanted.is_empty()) else { return Ok(0) };
        let got = match stored {
            true => self.stored.read(wanted)?,
            false => {
                wanted.fill(0);
                length
            }
        };
        if got == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a part between its holes is cut off"));
        }
        self.at += got as u64;
        Ok(got)
    }
}
