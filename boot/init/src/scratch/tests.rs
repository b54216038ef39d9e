use super::*;
use crate::disks::probe::{Contents, contents};
use std::process::Command;

/// A file that stands for a disk.
fn disk(size: u64) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.as_file().set_len(size).expect("a large file");
    file
}

fn look(file: &tempfile::NamedTempFile, size: u64) -> Contents {
    contents(&mut File::open(file.path()).expect("a file"), size)
}

fn partitions(path: &Path, sector: u64) -> Vec<(String, u64, u64)> {
    let block = if sector == 4096 { gpt::disk::LogicalBlockSize::Lb4096 } else { gpt::disk::LogicalBlockSize::Lb512 };
    let table = gpt::GptConfig::new().logical_block_size(block).open(path).expect("a table");
    table
        .partitions()
        .values()
        .map(|part| (part.name.clone(), part.first_lba * sector, (part.last_lba + 1) * sector))
        .collect()
}

#[test]
fn a_table_has_one_aligned_partition_until_the_end() {
    for (sector, size) in [(512, 300 << 20), (4096, 300 << 20), (512, (1 << 30) + 512 * 7)] {
        let file = disk(size);
        assert_eq!(look(&file, size), Contents::Blank);
        write_table(file.path(), sector, true).expect("a table");
        let found = partitions(file.path(), sector);
        assert_eq!(found.len(), 1);
        let (name, begin, end) = &found[0];
        assert_eq!(name, UNFINISHED);
        assert_eq!((begin % (1 << 20), begin >= &(1 << 20)), (0, true));
        assert!(size - end < 4 << 20 && *end < size, "{} bytes are left", size - end);
        finish(file.path(), sector).expect("a name");
        assert_eq!(partitions(file.path(), sector), [(SCRATCH_LABEL.to_owned(), *begin, *end)]);
        assert!(matches!(look(&file, size), Contents::Other(_)), "it is not blank any more");
    }
}

#[test]
fn a_large_disk_can_be_shared() {
    let file = disk(64 << 30);
    write_table(file.path(), 512, false).expect("a table");
    let found = partitions(file.path(), 512);
    assert_eq!((found[0].2 - found[0].1, found.len()), (PART_OF_DISK, 2));
    assert!(found[1].1 >= found[0].2 && found[1].2 <= 64 << 30);
}

#[test]
fn what_mke2fs_makes_is_known_as_a_scratch() {
    let size = 300 << 20;
    let file = disk(size);
    // Programs of the system are not in everybody's path.
    let system = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let status = Command::new("mke2fs")
        .env("PATH", system)
        .args(["-q", "-F", "-t", "ext4", "-L", SCRATCH_LABEL])
        .arg(file.path())
        .status();
    assert!(status.expect("mke2fs of e2fsprogs").success());
    assert_eq!(look(&file, size), Contents::Scratch);
}

#[test]
fn the_skeleton_is_made_once_and_completed_later() {
    let directory = tempfile::tempdir().expect("a directory");
    furnish(directory.path(), true).expect("directories");
    let safety = directory.path().join("aux/safety");
    assert_eq!(fs::read_dir(&safety).expect("a directory").count(), SPACERS as usize + 2);
    fs::remove_file(safety.join("space")).expect("room for others");
    fs::remove_dir(directory.path().join("kexec")).expect("an empty directory");
    furnish(directory.path(), true).expect("directories");
    assert!(directory.path().join("kexec").is_dir());
    assert!(!safety.join("space").exists(), "who deleted it needs what it took");
}

#[test]
fn the_quota_is_half_of_a_small_disk() {
    assert_eq!(quota(3000 << 20), 1500);
    assert_eq!(quota(4000 << 20), 2000);
    assert_eq!(quota(100 << 30), 2000);
}
