//! The lines of `ls -l`, `-s` and `-i`: columns as wide as their widest cell.

use super::{Lister, Row};
use crate::human;
use crate::tree::{Entry, Facts, Kind, KindText as _};
use anyhow::Result;
use std::io::Write;

/// Widths of the columns of one directory, or of everything named on the command line.
#[derive(Default)]
pub(super) struct Widths {
    inode: usize,
    blocks: usize,
    nlink: usize,
    owner: usize,
    group: usize,
    size: usize,
    major: usize,
    minor: usize,
    acl: bool,
}

impl<W: Write> Lister<'_, W> {
    pub(super) fn print_total<E>(&mut self, rows: &[Row<E>]) -> Result<()> {
        if !self.args.is_long() && !self.args.blocks {
            return Ok(());
        }
        let blocks: u64 = rows.iter().filter_map(|row| row.facts).map(|facts| facts.blocks).sum();
        writeln!(self.out, "total {}", self.space(blocks))?;
        Ok(())
    }

    pub(super) fn print_short<E: Entry>(&mut self, rows: &[Row<E>], widths: &Widths) -> Result<()> {
        for row in rows {
            let prefix = self.prefix(row, widths);
            self.out.write_all(prefix.as_bytes())?;
            self.write_name(&row.name)?;
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    pub(super) fn print_long<E: Entry>(&mut self, rows: &[Row<E>], widths: &Widths) -> Result<()> {
        for row in rows {
            let prefix = self.prefix(row, widths);
            let Some(facts) = row.facts else {
                self.print_unknown(row, &prefix, widths)?;
                continue;
            };
            let acl = match (widths.acl, row.entry.has_acl()) {
                (false, _) => "",
                (true, true) => "+",
                (true, false) => " ",
            };
            let owner = self.owner(facts.uid, widths.owner, self.user_name(facts.uid));
            let group = self.owner(facts.gid, widths.group, self.group_name(facts.gid));
            write!(
                self.out,
                "{prefix}{}{acl} {:>nlink$} {owner} {group} {} {} ",
                facts.mode_text(),
                facts.nlink,
                self.size_cell(&facts, widths),
                self.clock.short(facts.mtime),
                nlink = widths.nlink,
            )?;
            self.write_name(&row.name)?;
            if facts.kind() == Kind::Symlink {
                match row.entry.target() {
                    Ok(target) => {
                        self.out.write_all(b" -> ")?;
                        self.write_name(&target)?;
                    }
                    Err(error) => (self.complain)(&row.name, error),
                }
            }
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// The line of something that could not be looked at.
    fn print_unknown<E: Entry>(&mut self, row: &Row<E>, prefix: &str, widths: &Widths) -> Result<()> {
        let acl = if widths.acl { " " } else { "" };
        write!(
            self.out,
            "{prefix}{}?????????{acl} {:>nlink$} {:<owner$} {:<group$} {:>size$} {:>12} ",
            char::from(row.entry.kind().letter()),
            "?",
            "?",
            "?",
            "?",
            "?",
            nlink = widths.nlink,
            owner = widths.owner,
            group = widths.group,
            size = widths.size,
        )?;
        self.write_name(&row.name)?;
        self.out.write_all(b"\n")?;
        Ok(())
    }

    /// Inode number and space, where they are asked for.
    pub(super) fn prefix<E>(&self, row: &Row<E>, widths: &Widths) -> String {
        let mut text = String::new();
        if let (true, Some(facts)) = (self.args.inode, row.facts) {
            text += &format!("{:>width$} ", facts.ino, width = widths.inode);
        }
        if let (true, Some(facts)) = (self.args.blocks, row.facts) {
            text += &format!("{:>width$} ", self.space(facts.blocks), width = widths.blocks);
        }
        text
    }

    pub(super) fn widen<E: Entry>(&self, mut widths: Widths, rows: &[Row<E>]) -> Widths {
        let widen = |width: &mut usize, length: usize| *width = (*width).max(length);
        for row in rows {
            let Some(facts) = row.facts else { continue };
            widen(&mut widths.inode, digits(facts.ino));
            widen(&mut widths.blocks, self.space(facts.blocks).len());
            if !self.args.is_long() {
                continue;
            }
            widen(&mut widths.nlink, digits(facts.nlink));
            widen(&mut widths.owner, self.user_name(facts.uid).map_or(digits(facts.uid.into()), |n| n.len()));
            widen(&mut widths.group, self.group_name(facts.gid).map_or(digits(facts.gid.into()), |n| n.len()));
            if facts.kind().is_device() {
                let (major, minor) = facts.rdev_numbers();
                widen(&mut widths.major, digits(major.into()));
                widen(&mut widths.minor, digits(minor.into()));
                let both = widths.major + 2 + widths.minor;
                widen(&mut widths.size, both);
            } else {
                widen(&mut widths.size, self.size_text(facts.size).len());
            }
            widths.acl |= row.entry.has_acl();
        }
        widths
    }

    fn size_cell(&self, facts: &Facts, widths: &Widths) -> String {
        if facts.kind().is_device() {
            let (major, minor) = facts.rdev_numbers();
            let major_width = widths.size.saturating_sub(2 + widths.minor).max(widths.major);
            format!("{major:>major_width$}, {minor:>minor_width$}", minor_width = widths.minor)
        } else {
            format!("{:>width$}", self.size_text(facts.size), width = widths.size)
        }
    }

    fn size_text(&self, bytes: u64) -> String {
        if self.args.human { human::size(bytes) } else { bytes.to_string() }
    }

    /// Space in units of 1024 bytes, rounded up.
    fn space(&self, blocks: u64) -> String {
        if self.args.human { human::size(blocks * 512) } else { blocks.div_ceil(2).to_string() }
    }

    /// Names to the left, numbers to the right.
    fn owner(&self, id: u32, width: usize, name: Option<String>) -> String {
        match name {
            Some(name) => format!("{name:<width$}"),
            None => format!("{id:>width$}"),
        }
    }

    fn user_name(&self, uid: u32) -> Option<String> {
        (!self.args.numeric).then(|| self.names.user(uid)).flatten()
    }

    fn group_name(&self, gid: u32) -> Option<String> {
        (!self.args.numeric).then(|| self.names.group(gid)).flatten()
    }
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}
