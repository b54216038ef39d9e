//! Names in columns, sorted downwards, as many as fit.

use super::long::Widths;
use super::{Lister, Row};
use crate::tree::Entry;
use anyhow::Result;
use std::io::Write;

/// Blanks between two columns.
const GAP: usize = 2;

impl<W: Write> Lister<'_, W> {
    pub(super) fn print_columns<E: Entry>(&mut self, rows: &[Row<E>], widths: &Widths, width: usize) -> Result<()> {
        let prefixes: Vec<String> = rows.iter().map(|row| self.prefix(row, widths)).collect();
        // What a terminal does not show takes no place.
        let shown = |name: &[u8]| match (self.hide_control, std::str::from_utf8(name)) {
            (true, _) => String::from_utf8_lossy(name).chars().count(),
            (false, Ok(text)) => text.chars().filter(|c| !c.is_control()).count(),
            (false, Err(_)) => name.iter().filter(|byte| matches!(byte, 0x20..=0x7e)).count(),
        };
        let lengths: Vec<usize> = rows.iter().zip(&prefixes).map(|(row, p)| shown(&row.name) + p.len()).collect();
        let widths = layout(&lengths, width);
        let lines = rows.len().div_ceil(widths.len().max(1));
        for line in 0..lines {
            let mut at = 0;
            let mut goal = 0;
            for (column, column_width) in widths.iter().enumerate() {
                let index = column * lines + line;
                let Some(row) = rows.get(index) else { break };
                indent(&mut self.out, at, goal)?;
                self.out.write_all(prefixes[index].as_bytes())?;
                self.write_name(&row.name)?;
                at = goal + lengths[index];
                goal += column_width;
            }
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }
}

/// The widths, gaps included, of the most columns that fit into `width`.
fn layout(lengths: &[usize], width: usize) -> Vec<usize> {
    let most = lengths.len().min(width / (1 + GAP)).max(1);
    for columns in (2..=most).rev() {
        let lines = lengths.len().div_ceil(columns);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = lengths.iter().skip(column * lines).take(lines);
                cells.max().map_or(0, |longest| longest + if column + 1 == columns { 0 } else { GAP })
            })
            .collect();
        if widths.iter().sum::<usize>() < width {
            return widths;
        }
    }
    vec![lengths.iter().copied().max().unwrap_or(0)]
}

/// Moves from one position to another with tabs where they reach, as `ls` does.
fn indent(out: &mut impl Write, mut from: usize, to: usize) -> std::io::Result<()> {
    const TAB: usize = 8;
    while from < to {
        if to / TAB > (from + 1) / TAB {
            out.write_all(b"\t")?;
            from += TAB - from % TAB;
        } else {
            out.write_all(b" ")?;
            from += 1;
        }
    }
    Ok(())
}
