//! Where files lie in an image of ISO 9660 (ECMA-119), and how to let one lie inside of another.

use anyhow::{Context as _, Result};

/// Bytes of a sector.
pub(crate) const SECTOR: usize = 2048;
/// The sector with the primary volume descriptor, and where the record of the root directory is in it.
const DESCRIPTOR: usize = 16;
const ROOT_RECORD: usize = 156;
/// Where records have the first sector, the size and the name.
const EXTENT: usize = 2;
const SIZE: usize = 10;
const NAME: usize = 33;

/// A part of an image: whole sectors from the first one, the last perhaps not filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Number of its first sector.
    pub(crate) sector: u32,
    /// Bytes.
    pub(crate) size: u32,
}

/// Where the file `path` lies.
pub(crate) fn extent(image: &[u8], path: &str) -> Result<Extent> {
    extent_of(image, record(image, path)?)
}

/// Lets the file `path` consist of `extent`.
pub(crate) fn set_extent(image: &mut [u8], path: &str, extent: Extent) -> Result<()> {
    let record = record(image, path)?;
    for (at, number) in [(EXTENT, extent.sector), (SIZE, extent.size)] {
        // Every number is there in both orders of bytes.
        let place = image.get_mut(record + at..record + at + 8).context(TORN)?;
        place[..4].copy_from_slice(&number.to_le_bytes());
        place[4..].copy_from_slice(&number.to_be_bytes());
    }
    Ok(())
}

const TORN: &str = "an image of ISO 9660 ends too soon";

fn number(image: &[u8], at: usize) -> Result<u32> {
    let bytes = image.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).context(TORN)?;
    Ok(u32::from_le_bytes(bytes))
}

fn extent_of(image: &[u8], record: usize) -> Result<Extent> {
    Ok(Extent { sector: number(image, record + EXTENT)?, size: number(image, record + SIZE)? })
}

/// Where the record of `path` begins.
fn record(image: &[u8], path: &str) -> Result<usize> {
    let mut record = DESCRIPTOR * SECTOR + ROOT_RECORD;
    for name in path.split('/') {
        let directory = extent_of(image, record)?;
        record = entry(image, directory, name)?.with_context(|| format!("{path} is not in the image"))?;
    }
    Ok(record)
}

fn entry(image: &[u8], directory: Extent, name: &str) -> Result<Option<usize>> {
    let begin = directory.sector as usize * SECTOR;
    let end = begin + directory.size as usize;
    let mut at = begin;
    while at < end {
        let length = usize::from(*image.get(at).context(TORN)?);
        if length == 0 {
            // No record goes from one sector into the next.
            at = (at + 1).next_multiple_of(SECTOR);
            continue;
        }
        let record = image.get(at..at + length).context(TORN)?;
        let found = record.get(32).and_then(|&length| record.get(NAME..NAME + usize::from(length))).context(TORN)?;
        // `VMLINUZ.;1` is vmlinuz.
        let found = found.split(|&byte| byte == b';').next().unwrap_or_default();
        if found.strip_suffix(b".").unwrap_or(found).eq_ignore_ascii_case(name.as_bytes()) {
            return Ok(Some(at));
        }
        at += length;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory record without what is not looked at.
    fn made(name: &str, sector: u32, size: u32) -> Vec<u8> {
        let mut record = vec![0; NAME];
        record[EXTENT..EXTENT + 4].copy_from_slice(&sector.to_le_bytes());
        record[SIZE..SIZE + 4].copy_from_slice(&size.to_le_bytes());
        record[32] = name.len() as u8;
        record.extend(name.bytes());
        record.resize(record.len().next_multiple_of(2), 0);
        record[0] = record.len() as u8;
        record
    }

    fn image() -> Vec<u8> {
        let mut image = vec![0; 24 * SECTOR];
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(DESCRIPTOR * SECTOR + ROOT_RECORD, &made("\0", 18, 2 * SECTOR as u32));
        put(18 * SECTOR, &made("FIRST.;1", 23, 1));
        // In the second sector of the directory.
        put(19 * SECTOR, &made("BOOT", 20, SECTOR as u32));
        put(20 * SECTOR, &[made("VMLINUX.;1", 0, 0), made("VMLINUZ.;1", 22, 5)].concat());
        image
    }

    #[test]
    fn files_are_found_and_moved() {
        let mut image = image();
        assert_eq!(extent(&image, "boot/vmlinuz").expect("a file"), Extent { sector: 22, size: 5 });
        let inside = Extent { sector: 0x0102_0304, size: 7 };
        set_extent(&mut image, "boot/vmlinuz", inside).expect("a file");
        assert_eq!(extent(&image, "boot/vmlinuz").expect("a file"), inside);
        assert!(image.windows(8).any(|bytes| bytes == [4, 3, 2, 1, 1, 2, 3, 4]), "both orders");
        assert_eq!(extent(&image, "first").expect("a file"), Extent { sector: 23, size: 1 });
    }

    #[test]
    fn what_is_not_there_or_torn_is_said() {
        let image = image();
        assert_eq!(extent(&image, "boot/initrd").expect_err("none").to_string(), "boot/initrd is not in the image");
        for length in [0, DESCRIPTOR * SECTOR + ROOT_RECORD + 12, 19 * SECTOR, 20 * SECTOR + 70] {
            assert!(extent(&image[..length], "boot/vmlinuz").is_err(), "{length}");
        }
    }
}
