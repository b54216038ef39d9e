//! Disks and what is on them.

pub(crate) mod plan;
pub(crate) mod probe;

use plan::{Disk, Partition};
use probe::Contents;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Names of devices that are no disks of the machine.
const PASSED_OVER: [&str; 7] = ["loop", "ram", "zram", "fd", "dm-", "md", "nbd"];

/// Names of all disks and partitions that the kernel knows now.
pub(crate) fn present() -> Vec<String> {
    let mut names = names("/sys/class/block");
    names.sort();
    names
}

/// All disks, by name.
pub(crate) fn scan() -> Vec<Disk> {
    let mut disks: Vec<Disk> = names("/sys/block")
        .into_iter()
        .filter(|name| !PASSED_OVER.iter().any(|prefix| name.starts_with(prefix)))
        .filter_map(|name| disk(&name))
        .collect();
    disks.sort_by(|one, other| one.name.cmp(&other.name));
    disks
}

fn disk(name: &str) -> Option<Disk> {
    let directory = Path::new("/sys/block").join(name);
    let size = sectors(&directory)?;
    let mut partitions: Vec<Partition> = names(&directory)
        .into_iter()
        .filter(|partition| directory.join(partition).join("partition").exists())
        .map(|partition| {
            let size = sectors(&directory.join(&partition)).unwrap_or(0);
            let title = title(&directory.join(&partition));
            Partition { title, size, contents: look(&partition, size), name: partition }
        })
        .collect();
    partitions.sort_by(|one, other| one.name.cmp(&other.name));
    Some(Disk {
        name: name.to_owned(),
        // Many CD drives say that they can be written to.
        removable: number(&directory.join("removable")) == Some(1) || name.starts_with("sr"),
        read_only: number(&directory.join("ro")) == Some(1),
        size,
        contents: look(name, size),
        partitions,
    })
}

fn look(name: &str, size: u64) -> Contents {
    match File::open(device(name)) {
        Ok(mut file) => probe::contents(&mut file, size),
        Err(_) => Contents::Unreadable,
    }
}

/// The file of a device.
pub(crate) fn device(name: &str) -> PathBuf {
    Path::new("/dev").join(name)
}

/// Bytes in one sector, as the disk wants to be addressed.
pub(crate) fn sector_size(disk: &str) -> u64 {
    number(&Path::new("/sys/block").join(disk).join("queue/logical_block_size")).unwrap_or(512)
}

/// The partition that the kernel sees as the first of `disk`.
pub(crate) fn first_partition(disk: &str) -> Option<String> {
    let directory = Path::new("/sys/block").join(disk);
    names(&directory).into_iter().find(|name| number(&directory.join(name).join("partition")) == Some(1))
}

/// The disk that a partition is on; `None` if it is no partition.
pub(crate) fn disk_of(partition: &str) -> Option<String> {
    let directory = Path::new("/sys/class/block").join(partition);
    if !directory.join("partition").exists() {
        return None;
    }
    let path = fs::canonicalize(directory).ok()?;
    Some(path.parent()?.file_name()?.to_string_lossy().into_owned())
}

/// The kernel counts in 512 bytes, whatever the sectors of the disk are.
fn sectors(directory: &Path) -> Option<u64> {
    number(&directory.join("size")).filter(|&sectors| sectors > 0).map(|sectors| sectors * 512)
}

/// The name that a GPT gives this partition.
pub(crate) fn title_of(partition: &str) -> String {
    title(&Path::new("/sys/class/block").join(partition))
}

fn title(directory: &Path) -> String {
    let event = fs::read_to_string(directory.join("uevent")).unwrap_or_default();
    event.lines().find_map(|line| line.strip_prefix("PARTNAME=")).unwrap_or_default().to_owned()
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn names(directory: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
