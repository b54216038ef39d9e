//! `-ls` and `-printf`.

use super::expression::base_name;
use super::{Printer, Visit};
use crate::tree::{Entry, Facts, Kind, KindText as _};
use anyhow::Result;
use std::io::Write;

/// Widths of the columns of `-ls`; they grow with what comes along.
pub(super) struct Widths {
    inode: usize,
    blocks: usize,
    nlink: usize,
    owner: usize,
    group: usize,
    size: usize,
}

impl Default for Widths {
    fn default() -> Widths {
        Widths { inode: 9, blocks: 6, nlink: 3, owner: 8, group: 8, size: 8 }
    }
}

impl<W: Write> Printer<W> {
    pub(super) fn list<E: Entry>(&mut self, visit: &Visit<E>) -> Result<()> {
        let facts = visit.facts;
        let owner = self.names.user(facts.uid).unwrap_or_else(|| facts.uid.to_string());
        let group = self.names.group(facts.gid).unwrap_or_else(|| facts.gid.to_string());
        let size = if facts.kind().is_device() {
            let (major, minor) = facts.rdev_numbers();
            format!("{major:>3}, {minor:>3}")
        } else {
            facts.size.to_string()
        };
        let cell = |width: &mut usize, text: String, to_the_left: bool| {
            *width = (*width).max(text.len());
            if to_the_left {
                format!("{text:<width$}", width = *width)
            } else {
                format!("{text:>width$}", width = *width)
            }
        };
        let widths = &mut self.widths;
        let line = [
            cell(&mut widths.inode, facts.ino.to_string(), false),
            cell(&mut widths.blocks, facts.blocks.div_ceil(2).to_string(), false),
            format!("{} ", facts.mode_text()),
            cell(&mut widths.nlink, facts.nlink.to_string(), false),
            cell(&mut widths.owner, owner, true),
            cell(&mut widths.group, group, true),
            cell(&mut widths.size, size, false),
            self.clock.short_for_find(facts.mtime),
        ];
        let mut line = line.join(" ").into_bytes();
        // The mode column carries its own blank.
        line.push(b' ');
        escape_name(&mut line, visit.path);
        if facts.kind() == Kind::Symlink {
            line.extend_from_slice(b" -> ");
            escape_name(&mut line, &visit.entry.target()?);
        }
        line.push(b'\n');
        self.out.write_all(&line)?;
        Ok(())
    }

    pub(super) fn format<E: Entry>(&mut self, format: &[u8], visit: &Visit<E>) -> Result<()> {
        let mut line = Vec::new();
        let mut rest = format;
        while let Some((&first, tail)) = rest.split_first() {
            rest = match (first, tail) {
                (b'\\', [letter, after @ ..]) => {
                    line.push(match letter {
                        b'n' => b'\n',
                        b't' => b'\t',
                        b'0' => 0,
                        other => *other,
                    });
                    after
                }
                (b'%', [b'T', b'@', after @ ..]) => {
                    let time = visit.facts.mtime;
                    line.extend(format!("{}.{:09}0", time.seconds, time.nanoseconds).into_bytes());
                    after
                }
                (b'%', [letter, after @ ..]) => {
                    self.directive(&mut line, *letter, visit)?;
                    after
                }
                (other, _) => {
                    line.push(other);
                    tail
                }
            };
        }
        self.out.write_all(&line)?;
        Ok(())
    }

    fn directive<E: Entry>(&self, line: &mut Vec<u8>, letter: u8, visit: &Visit<E>) -> Result<()> {
        let facts: &Facts = &visit.facts;
        let below = visit.path.strip_prefix(visit.start).unwrap_or_default();
        let text = match letter {
            b'%' => "%".into(),
            b'd' => visit.depth.to_string(),
            b'i' => facts.ino.to_string(),
            b'm' => format!("{:o}", facts.mode & 0o7777),
            b'M' => facts.mode_text(),
            b'n' => facts.nlink.to_string(),
            b's' => facts.size.to_string(),
            b'b' => facts.blocks.to_string(),
            b'k' => facts.blocks.div_ceil(2).to_string(),
            b'U' => facts.uid.to_string(),
            b'G' => facts.gid.to_string(),
            b'u' => self.names.user(facts.uid).unwrap_or_else(|| facts.uid.to_string()),
            b'g' => self.names.group(facts.gid).unwrap_or_else(|| facts.gid.to_string()),
            b'y' => char::from(if facts.kind() == Kind::Regular { b'f' } else { facts.kind().letter() }).to_string(),
            other => {
                line.extend_from_slice(match other {
                    b'p' => visit.path,
                    b'f' => base_name(visit.path),
                    b'H' => visit.start,
                    b'P' => below.strip_prefix(b"/").unwrap_or(below),
                    b'h' => match visit.path.iter().rposition(|&byte| byte == b'/') {
                        Some(slash) => &visit.path[..slash],
                        None => b".",
                    },
                    b'l' if facts.kind() == Kind::Symlink => {
                        line.extend(visit.entry.target()?);
                        return Ok(());
                    }
                    b'l' => b"",
                    unknown => {
                        line.extend([b'%', unknown]);
                        return Ok(());
                    }
                });
                return Ok(());
            }
        };
        line.extend(text.into_bytes());
        Ok(())
    }
}

/// A name as C would write it in a string, with blanks escaped too.
fn escape_name(out: &mut Vec<u8>, name: &[u8]) {
    for &byte in name {
        match byte {
            b'\\' | b'"' | b' ' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            8 => out.extend_from_slice(b"\\b"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            12 => out.extend_from_slice(b"\\f"),
            0x21..=0x7e => out.push(byte),
            _ => out.extend(format!("\\{byte:03o}").into_bytes()),
        }
    }
}
