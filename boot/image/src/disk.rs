//! Disks of hypervisors out of a hybrid image. What they number at random follows from their content here.

use crate::tools;
use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Sizes of fixed VHDs are multiples of this: Azure takes no others.
const VHD_UNIT: u64 = 1 << 20;
/// Seconds from 1970 to 2000, where times of VHDs begin.
const YEAR_2000: u64 = 946_684_800;

/// For QEMU and OpenStack.
pub(crate) fn write_qcow2(hybrid: &Path, output: &Path, epoch: u64) -> Result<PathBuf> {
    convert(hybrid, output, epoch, &["-c", "-O", "qcow2"])
}

/// For VMware and VirtualBox, compressed as they are imported.
pub(crate) fn write_vmdk(hybrid: &Path, output: &Path, epoch: u64) -> Result<PathBuf> {
    let output = convert(hybrid, output, epoch, &["-O", "vmdk", "-o", "subformat=streamOptimized"])?;
    let digest = Sha256::digest(fs::read(hybrid)?);
    let number: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let bytes = fs::read(&output)?;
    let bytes =
        with_content_id(&bytes, &number).context("qemu-img made a vmdk without a description that has a CID")?;
    fs::write(&output, bytes)?;
    Ok(output)
}

/// A vmdk with another random number, of eight digits, in its description. What is behind the text is written anew, too: qemu-img draws
/// two numbers, prints them without zeros in front, and leaves the end of the first text there where the second is shorter.
fn with_content_id(bytes: &[u8], number: &str) -> Option<Vec<u8>> {
    let sectors = |at: usize| -> Option<usize> {
        let number = u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?);
        usize::try_from(number).ok()?.checked_mul(512)
    };
    // Where the header says that the description is, and how long.
    let area = sectors(28)?;
    let area = area..area.checked_add(sectors(36)?)?;
    let text = bytes.get(area.clone())?.split(|&byte| byte == 0).next()?;
    let key = b"\nCID=";
    let (before, after) = text.split_at(text.windows(key.len()).position(|window| window == key)? + key.len());
    let after = after.get(after.iter().position(|byte| !byte.is_ascii_hexdigit())?..)?;
    let mut description = [before, number.as_bytes(), after].concat();
    if description.len() > area.len() {
        return None;
    }
    description.resize(area.len(), 0);
    Some([bytes.get(..area.start)?, &description, bytes.get(area.end..)?].concat())
}

fn convert(hybrid: &Path, output: &Path, epoch: u64, how: &[&str]) -> Result<PathBuf> {
    let mut command = tools::command("qemu-img", epoch)?;
    tools::output(command.args(["convert", "-f", "raw"]).args(how).arg(hybrid).arg(output))?;
    Ok(output.to_owned())
}

/// For Azure and Hyper-V: the image itself, with a description behind it.
pub(crate) fn write_vhd(hybrid: &Path, epoch: u64) -> Result<PathBuf> {
    let size = fs::metadata(hybrid)?.len().next_multiple_of(VHD_UNIT);
    let digest = Sha256::digest(fs::read(hybrid)?);
    let file = fs::OpenOptions::new().append(true).open(hybrid)?;
    file.set_len(size)?;
    (&file).write_all(&footer(size, epoch, &digest))?;
    Ok(hybrid.to_owned())
}

/// The description of a fixed disk.
fn footer(size: u64, epoch: u64, identity: &[u8]) -> [u8; 512] {
    let mut footer = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| {
        footer.iter_mut().skip(at).zip(bytes).for_each(|(place, byte)| *place = *byte);
    };
    let time = u32::try_from(epoch.saturating_sub(YEAR_2000)).unwrap_or(u32::MAX);
    put(0, b"conectix");
    put(8, &2u32.to_be_bytes());
    put(12, &0x0001_0000u32.to_be_bytes());
    put(16, &u64::MAX.to_be_bytes());
    put(24, &time.to_be_bytes());
    // As Hyper-V calls itself: of others QEMU believes the geometry, which is not exact.
    put(28, b"win ");
    put(32, &0x0001_0000u32.to_be_bytes());
    put(36, b"Wi2k");
    put(40, &size.to_be_bytes());
    put(48, &size.to_be_bytes());
    put(56, &geometry(size / 512));
    // A fixed disk.
    put(60, &2u32.to_be_bytes());
    put(68, identity.get(..16).unwrap_or_default());
    let sum: u32 = footer.iter().map(|&byte| u32::from(byte)).sum();
    footer.iter_mut().skip(64).zip((!sum).to_be_bytes()).for_each(|(place, byte)| *place = byte);
    footer
}

/// Cylinders, heads and sectors, by the rules of the format.
fn geometry(sectors: u64) -> [u8; 4] {
    let sectors = sectors.min(65535 * 16 * 255);
    let (heads, per_track) = if sectors >= 65535 * 16 * 63 {
        (16, 255)
    } else {
        let heads = (sectors / 17).div_ceil(1024).max(4);
        match () {
            () if heads <= 16 && sectors / 17 < heads * 1024 => (heads, 17),
            () if sectors / 31 < 16 * 1024 => (16, 31),
            () => (16, 63),
        }
    };
    let cylinders = u16::try_from(sectors / per_track / heads).unwrap_or(u16::MAX).to_be_bytes();
    let byte = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
    [cylinders[0], cylinders[1], byte(heads), byte(per_track)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_has_its_sum() {
        let footer = footer(16 << 20, YEAR_2000 + 7, &[9; 32]);
        let sum: u32 =
            footer.iter().enumerate().filter(|(at, _)| !(64..68).contains(at)).map(|(_, &byte)| u32::from(byte)).sum();
        assert_eq!(footer[64..68], (!sum).to_be_bytes());
        assert_eq!(footer[24..28], [0, 0, 0, 7]);
        assert_eq!(footer[68..84], [9; 16]);
    }

    #[test]
    fn geometries() {
        // 16 MiB and 40 GB.
        assert_eq!(geometry(32768), [1, 225, 4, 17]);
        assert_eq!(geometry(78_125_000), [0x4a, 0xcc, 16, 255]);
    }

    /// A disk that is not the same everywhere.
    fn image(directory: &Path) -> PathBuf {
        let image = directory.join("image");
        let bytes: Vec<u8> =
            (0..1u32 << 19).flat_map(|number| (number.wrapping_mul(0x9e37_79b9) >> 7).to_le_bytes()).collect();
        fs::write(&image, [bytes.as_slice(), &[0; 600 << 10]].concat()).expect("an image");
        image
    }

    fn ask(arguments: &[&str], files: &[&Path]) -> String {
        tools::output(tools::command("qemu-img", 0).expect("qemu-utils").args(arguments).args(files))
            .expect("an answer")
    }

    #[test]
    fn a_vmdk_has_the_same_content_and_is_the_same_each_time() {
        let directory = tempfile::tempdir().expect("a directory");
        let image = image(directory.path());
        // Its own name is in it.
        let [one, two] = ["1", "2"].map(|name| {
            fs::create_dir(directory.path().join(name)).expect("a directory");
            write_vmdk(&image, &directory.path().join(name).join("disk.vmdk"), 0).expect("a vmdk")
        });
        ask(&["check", "-f", "vmdk"], &[&one]);
        ask(&["compare", "-f", "raw", "-F", "vmdk"], &[&image, &one]);
        assert!(ask(&["info", "-f", "vmdk"], &[&one]).contains("streamOptimized"));
        assert!(fs::read(one).expect("a vmdk") == fs::read(two).expect("a vmdk"), "two of one image differ");
    }

    #[test]
    fn a_vhd_is_the_image_and_a_footer() {
        let directory = tempfile::tempdir().expect("a directory");
        let image = image(directory.path());
        let before = fs::read(&image).expect("an image");
        let vhd = write_vhd(&image, 1_700_000_000).expect("a vhd");
        let after = fs::read(&vhd).expect("a vhd");
        assert_eq!(after.len(), (3 << 20) + 512);
        assert!(after.starts_with(&before));
        let info: serde_json::Value =
            serde_json::from_str(&ask(&["info", "-f", "vpc", "--output", "json"], &[&vhd])).expect("JSON");
        assert_eq!((&info["format"], &info["virtual-size"]), (&"vpc".into(), &(3 << 20).into()));
        fs::write(directory.path().join("raw"), &after[..3 << 20]).expect("a file");
        ask(&["compare", "-f", "vpc", "-F", "raw"], &[&vhd, &directory.path().join("raw")]);
    }

    /// The beginning of a vmdk, with what qemu-img leaves in its description when it writes these one after the other.
    fn described(texts: &[&str]) -> Vec<u8> {
        let mut bytes = [b"KDMV".as_slice(), &[7; 24], &1u64.to_le_bytes(), &2u64.to_le_bytes(), &[7; 468]].concat();
        bytes.extend([0; 1024]);
        bytes.extend(b"data");
        for text in texts {
            bytes[512..512 + text.len()].copy_from_slice(text.as_bytes());
            bytes[512 + text.len()] = 0;
        }
        bytes
    }

    #[test]
    fn the_number_of_a_vmdk_is_the_one_asked_for_whatever_was_there() {
        let text = |number: &str| format!("version=1\nCID={number}\nparentCID=ffffffff\nRW 8 SPARSE \"a\"\n");
        let wanted = described(&[&text("0a1b2c3d")]);
        let numbers = ["1", "ab", "123", "abcd", "12345", "abcdef", "1234567", "abcdef01"];
        for (first, second) in numbers.iter().flat_map(|first| numbers.iter().map(move |second| (first, second))) {
            let made = with_content_id(&described(&[&text(first), &text(second)]), "0a1b2c3d");
            assert!(made.as_ref() == Some(&wanted), "{first}, then {second}");
        }
    }

    #[test]
    fn a_vmdk_without_a_number_or_torn_is_not_one() {
        let whole = described(&["version=1\nCID=1\nparentCID=ffffffff\n"]);
        assert!(with_content_id(&whole, "0a1b2c3d").is_some());
        // All but the data, which no description needs.
        (0..whole.len() - 4).for_each(|end| assert_eq!(with_content_id(&whole[..end], "0a1b2c3d"), None, "{end}"));
        assert_eq!(with_content_id(&described(&["version=1\nparentCID=ffffffff\n"]), "0a1b2c3d"), None);
        let full = described(&[&format!("version=1\nCID=1\n{}", "a".repeat(1007))]);
        assert_eq!(with_content_id(&full, "0a1b2c3d"), None);
    }
}
