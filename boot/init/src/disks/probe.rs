//! What is on a disk, by the signatures that file systems and volume managers leave.

use std::io::{self, Read, Seek, SeekFrom};

/// Label of the scratch file system.
pub(crate) const SCRATCH_LABEL: &str = "UROOT";
/// Label of the image that a µCernVM boots from.
pub(crate) const BOOT_LABEL: &str = "UCERNVM";

const MIB: u64 = 1 << 20;
/// Places between the first and the last MiB that are looked at, and bytes at each.
const SAMPLES: u64 = 64;
const SAMPLE: usize = 64 << 10;

/// What a disk or a partition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Zeros, wherever it was looked at.
    Blank,
    /// A scratch of ours.
    Scratch,
    /// The image that was booted, or one like it.
    BootMedium,
    /// A file system that may hold a context: ISO 9660, or FAT.
    Medium {
        /// Its label, empty if it has none.
        label: String,
        /// Its type, as `mount` calls it.
        kind: &'static str,
    },
    /// Something else; what it seems to be, in words for a person.
    Other(&'static str),
    /// It cannot be read.
    Unreadable,
}

/// Looks at `device`, which has `size` bytes.
pub(crate) fn contents(device: &mut (impl Read + Seek), size: u64) -> Contents {
    look(device, size).unwrap_or(Contents::Unreadable)
}

fn look(device: &mut (impl Read + Seek), size: u64) -> io::Result<Contents> {
    let head = bytes_at(device, 0, size.min(MIB) as usize)?;
    if let Some(known) = signature(&head) {
        return Ok(known);
    }
    let tail_at = size.saturating_sub(MIB);
    let tail = bytes_at(device, tail_at, (size - tail_at) as usize)?;
    if let Some(known) = signature_at_end(&tail) {
        return Ok(known);
    }
    if !is_zero(&head) || !is_zero(&tail) {
        return Ok(Contents::Other("data of an unknown kind"));
    }
    // An encrypted disk without a header has no signature, but it is not zero anywhere.
    for number in 1..=SAMPLES {
        let at = (size / (SAMPLES + 1) * number) & !4095;
        let length = (SAMPLE as u64).min(size.saturating_sub(at)) as usize;
        if !is_zero(&bytes_at(device, at, length)?) {
            return Ok(Contents::Other("data of an unknown kind"));
        }
    }
    Ok(Contents::Blank)
}

fn bytes_at(device: &mut (impl Read + Seek), at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    device.seek(SeekFrom::Start(at))?;
    device.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// Name, place and bytes of signatures in the first MiB.
const SIGNATURES: [(&str, usize, &[u8]); 15] = [
    ("an encrypted volume (LUKS)", 0, b"LUKS\xba\xbe"),
    ("an XFS file system", 0, b"XFSB"),
    ("a squashfs", 0, b"hsqs"),
    ("an EROFS", 1024, b"\xe2\xe1\xf5\xe0"),
    ("a volume of LVM", 512 + 24, b"LVM2 001"),
    ("a volume of LVM", 24, b"LVM2 001"),
    ("a btrfs", 0x1_0040, b"_BHRfS_M"),
    ("a member of a RAID", 0, b"\xfc\x4e\x2b\xa9"),
    ("a member of a RAID", 4096, b"\xfc\x4e\x2b\xa9"),
    ("swap space", 4086, b"SWAPSPACE2"),
    ("an NTFS", 3, b"NTFS    "),
    ("an exFAT", 3, b"EXFAT   "),
    ("an F2FS", 1024, b"\x10\x20\xf5\xf2"),
    ("a bcache device", 4096 + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca"),
    ("a partition table (GPT)", 512, b"EFI PART"),
];

fn signature(head: &[u8]) -> Option<Contents> {
    let has = |at: usize, bytes: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(bytes));
    let text = |at: usize, length: usize| {
        let bytes = head.get(at..at + length).unwrap_or_default();
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned()
    };
    if has(32769, b"CD001") {
        let label = text(32808, 32);
        return Some(match label.as_str() {
            BOOT_LABEL => Contents::BootMedium,
            _ => Contents::Medium { label, kind: "iso9660" },
        });
    }
    if has(1024 + 0x38, b"\x53\xef") {
        return Some(match text(1024 + 0x78, 16).as_str() {
            SCRATCH_LABEL => Contents::Scratch,
            _ => Contents::Other("an ext file system"),
        });
    }
    if has(510, b"\x55\xaa") {
        for (at, label_at) in [(54, 43), (82, 71)] {
            if has(at, b"FAT") {
                return Some(Contents::Medium { label: text(label_at, 11), kind: "vfat" });
            }
        }
    }
    let known = SIGNATURES.iter().find(|(_, at, bytes)| has(*at, bytes)).map(|(name, _, _)| *name);
    let table = || has(510, b"\x55\xaa").then_some("a partition table");
    let large_sectors = || has(4096, b"EFI PART").then_some("a partition table (GPT)");
    known.or_else(table).or_else(large_sectors).map(Contents::Other)
}

fn signature_at_end(tail: &[u8]) -> Option<Contents> {
    let sector = |back: usize| tail.len().checked_sub(back).map(|at| &tail[at..]).unwrap_or_default();
    if sector(512).starts_with(b"EFI PART") || sector(4096).starts_with(b"EFI PART") {
        return Some(Contents::Other("a partition table (GPT)"));
    }
    // Version 0.90 lies in the last whole 64 KiB but one, 1.0 in the last 8 to 12 KiB.
    let magic = b"\xfc\x4e\x2b\xa9";
    let raid = tail.chunks(4096).any(|block| block.starts_with(magic));
    raid.then_some(Contents::Other("a member of a RAID"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    const SIZE: usize = 8 << 20;

    fn of(disk: Vec<u8>) -> Contents {
        let size = disk.len() as u64;
        contents(&mut Cursor::new(disk), size)
    }

    fn with(at: usize, bytes: &[u8]) -> Contents {
        let mut disk = vec![0; SIZE];
        disk[at..at + bytes.len()].copy_from_slice(bytes);
        of(disk)
    }

    #[test]
    fn zeros_are_blank_and_so_is_nothing_else() {
        assert_eq!(of(vec![0; SIZE]), Contents::Blank);
        assert_eq!(with(0, b"x"), Contents::Other("data of an unknown kind"));
        assert_eq!(with(SIZE - 1, b"x"), Contents::Other("data of an unknown kind"));
        let noise: Vec<u8> = (0..SIZE as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        assert_eq!(of(noise), Contents::Other("data of an unknown kind"));
    }

    #[test]
    fn data_between_first_and_last_mebibyte_is_found_by_samples() {
        let mut disk = vec![0; SIZE];
        disk[2 << 20..6 << 20].fill(7);
        assert_eq!(of(disk), Contents::Other("data of an unknown kind"));
    }

    #[test]
    fn every_signature_is_seen() {
        for (name, at, bytes) in SIGNATURES {
            assert_eq!(with(at, bytes), Contents::Other(name));
        }
        assert_eq!(with(510, b"\x55\xaa"), Contents::Other("a partition table"));
        assert_eq!(with(SIZE - 512, b"EFI PART"), Contents::Other("a partition table (GPT)"));
        assert_eq!(with(SIZE - (64 << 10), b"\xfc\x4e\x2b\xa9"), Contents::Other("a member of a RAID"));
    }

    #[test]
    fn labels_of_ours_and_of_others() {
        let ext = |label: &[u8]| {
            let mut disk = vec![0; SIZE];
            disk[1024 + 0x38..][..2].copy_from_slice(b"\x53\xef");
            disk[1024 + 0x78..][..label.len()].copy_from_slice(label);
            of(disk)
        };
        assert_eq!(ext(b"UROOT"), Contents::Scratch);
        assert_eq!(ext(b"UROOTS"), Contents::Other("an ext file system"));
        let iso = |label: &[u8]| {
            let mut disk = vec![0; SIZE];
            disk[32769..][..5].copy_from_slice(b"CD001");
            disk[32808..][..32].fill(b' ');
            disk[32808..][..label.len()].copy_from_slice(label);
            of(disk)
        };
        assert_eq!(iso(b"UCERNVM"), Contents::BootMedium);
        assert_eq!(iso(b"cidata"), Contents::Medium { label: "cidata".to_owned(), kind: "iso9660" });
    }

    proptest! {
        #[test]
        fn disks_of_any_size_and_content_are_survived(disk in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let blank = disk.iter().all(|&byte| byte == 0);
            prop_assert_eq!(of(disk) == Contents::Blank, blank);
        }
    }
}
