//! Automatic catalogs: what grows too large is divided, what has shrunk is put together again.

use super::{AUTOMATIC_MARKER, Draft, MARKER, nest};
use anyhow::Result;
use libcvmfs::catalog::write::{Flags, Row};
use libcvmfs::hash::{ContentHash, PathHash};

/// Entries of a catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// A catalog with more is divided.
    pub max: u64,
    /// A part with fewer does not become a catalog of its own, and a catalog that was made automatically and has fewer
    /// goes.
    pub min: u64,
}

/// The official publisher's.
impl Default for Weights {
    fn default() -> Weights {
        Weights { max: 100_000, min: 1000 }
    }
}

/// A directory with the number of entries in it that are in the same catalog, itself included.
struct Weighed {
    path: Vec<u8>,
    weight: u64,
    below: Vec<Weighed>,
}

impl Draft<'_> {
    /// Divides and puts together the catalogs that changed. `empty` is the object of an empty file, for the markers.
    pub fn balance(&mut self, weights: &Weights, marker: &Row, empty: ContentHash) -> Result<()> {
        for mountpoint in self.mountpoints_bottom_up() {
            if !self.catalog(&mountpoint)?.dirty || super::is_reserved(&mountpoint) {
                continue;
            }
            let entries = self.writer(&mountpoint)?.row_count()?;
            let automatic = self.row(&[&mountpoint, &b"/"[..], AUTOMATIC_MARKER].concat())?.is_some();
            if entries < weights.min && automatic && !mountpoint.is_empty() {
                for name in [AUTOMATIC_MARKER, MARKER] {
                    self.remove(&[&mountpoint, &b"/"[..], name].concat())?;
                }
                self.unnest(&mountpoint)?;
            } else if entries > weights.max {
                let mut tree = self.weigh(&mountpoint, &mountpoint)?;
                self.divide(&mut tree, weights, marker, empty)?;
            }
        }
        Ok(())
    }

    fn weigh(&mut self, catalog: &[u8], directory: &[u8]) -> Result<Weighed> {
        let mut weighed = Weighed { path: directory.to_vec(), weight: 1, below: Vec::new() };
        for child in self.writer(catalog)?.children(PathHash::of(directory))? {
            if !nest::is_inner(&child) {
                weighed.weight += 1;
                continue;
            }
            let part = self.weigh(catalog, &[directory, b"/", &child.name].concat())?;
            weighed.weight += part.weight;
            // What is too light by itself needs no place here.
            weighed.below.push(part);
        }
        Ok(weighed)
    }

    /// Gives the heaviest parts catalogs of their own until the rest is light enough.
    fn divide(&mut self, part: &mut Weighed, weights: &Weights, marker: &Row, empty: ContentHash) -> Result<()> {
        while part.weight > weights.max {
            let heaviest = part.below.iter().enumerate().max_by_key(|(_, below)| below.weight);
            let Some((number, _)) = heaviest.filter(|(_, below)| below.weight >= weights.min) else { return Ok(()) };
            let mut heaviest = part.below.swap_remove(number);
            let before = heaviest.weight;
            self.divide(&mut heaviest, weights, marker, empty)?;
            part.weight -= before - heaviest.weight;
            if part.weight <= weights.max {
                return Ok(());
            }
            if heaviest.weight < weights.min {
                continue;
            }
            // The mount point stays here.
            part.weight -= heaviest.weight - 1;
            for name in [AUTOMATIC_MARKER, MARKER] {
                let row = Row { digest: Some(empty.digest), flags: Flags::FILE | marker.flags, ..marker.clone() };
                self.put(&[&heaviest.path, &b"/"[..], name].concat(), row, &[])?;
            }
        }
        Ok(())
    }
}
