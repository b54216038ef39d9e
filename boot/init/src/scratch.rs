//! The scratch: made once, checked and mounted at every boot.

use crate::disks::plan::{Plan, UNFINISHED};
use crate::disks::{self, probe::SCRATCH_LABEL};
use crate::run::{self, Outcome};
use anyhow::{Context as _, Result, bail, ensure};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of the partition where not the whole disk is wanted, and of a disk that is then divided.
const PART_OF_DISK: u64 = 20 << 30;
/// The kernel's `BLKRRPART`.
const REREAD: u32 = 0x125f;
/// Files that an administrator may delete when the disk is full: their number, and bytes of the first.
const SPACERS: u32 = 127;
const SPACER: u64 = 50 << 20;

/// Directories of a scratch, and who may look into them.
const SKELETON: [(&str, u32); 9] = [
    ("persistent", 0o755),
    ("work", 0o700),
    ("cache", 0o700),
    ("cvmfs", 0o755),
    ("aux", 0o755),
    ("aux/safety", 0o700),
    ("context", 0o700),
    ("ulogs", 0o755),
    ("kexec", 0o700),
];

/// Makes a partition table and one partition; its name.
pub(crate) fn partition(disk: &str, whole: bool) -> Result<String> {
    let device = disks::device(disk);
    let sector = disks::sector_size(disk);
    write_table(&device, sector, whole)?;
    reread(&device)?;
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match disks::first_partition(disk) {
            Some(name) if disks::device(&name).exists() => return Ok(name),
            _ if Instant::now() > deadline => bail!("/dev/{disk}: the new partition does not appear"),
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Writes a GPT with the scratch, and with the rest as a second partition if `whole` is not wanted.
fn write_table(device: &Path, sector: u64, whole: bool) -> Result<()> {
    let described = || device.display().to_string();
    let mut file = OpenOptions::new().read(true).write(true).open(device).with_context(described)?;
    let size = rustix::fs::seek(&file, rustix::fs::SeekFrom::End(0)).with_context(described)?;
    let block = if sector == 4096 { gpt::disk::LogicalBlockSize::Lb4096 } else { gpt::disk::LogicalBlockSize::Lb512 };
    let last = u32::try_from(size / sector - 1).unwrap_or(u32::MAX);
    gpt::mbr::ProtectiveMBR::with_lb_size(last).overwrite_lba0(&mut file).with_context(described)?;
    let config = gpt::GptConfig::new().writable(true).logical_block_size(block);
    let mut table = config.create_from_device(file, None).with_context(described)?;
    let align = (1 << 20) / sector;
    let free = table.find_free_sectors().into_iter().map(|(_, length)| length).max().unwrap_or(0);
    let usable = free.saturating_sub(align * 2) / align * align * sector;
    let kind = gpt::partition_types::LINUX_FS;
    let divided = !whole && usable > PART_OF_DISK;
    let first = if divided { PART_OF_DISK } else { usable };
    table.add_partition(UNFINISHED, first, kind.clone(), 0, Some(align)).with_context(described)?;
    if divided {
        table.add_partition("data", usable - first - (1 << 20), kind, 0, Some(align)).with_context(described)?;
    }
    let file = table.write().with_context(described)?;
    file.sync_all().with_context(described)
}

/// Lets the kernel look at the partitions again.
fn reread(device: &Path) -> Result<()> {
    let file = File::open(device)?;
    for _ in 0..20 {
        // SAFETY: the call takes no argument.
        if unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&file), REREAD as _) } == 0 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(std::io::Error::last_os_error()).with_context(|| format!("{}: reading the partitions again", device.display()))
}

/// Makes the file system. The partition has its final name only afterwards: what was cut short is made again.
pub(crate) fn format(partition: &str) -> Result<()> {
    let device = disks::device(partition);
    let arguments = ["-q", "-F", "-t", "ext4", "-L", SCRATCH_LABEL, "-m", "1", "-E", "lazy_itable_init=1,nodiscard"];
    run::tool("mke2fs", arguments.iter().map(Path::new).chain([device.as_path()]))?.succeeded()?;
    File::open(&device)?.sync_all()?;
    // What keeps the other name is formatted at the next boot, with all that was written until then.
    if disks::title_of(partition) == UNFINISHED {
        let disk = disks::disk_of(partition).with_context(|| format!("/dev/{partition} is part of no disk"))?;
        finish(&disks::device(&disk), disks::sector_size(&disk))?;
        reread(&disks::device(&disk))?;
    }
    Ok(())
}

/// Gives partitions that are called unfinished their final name.
fn finish(device: &Path, sector: u64) -> Result<()> {
    let block = if sector == 4096 { gpt::disk::LogicalBlockSize::Lb4096 } else { gpt::disk::LogicalBlockSize::Lb512 };
    let config = gpt::GptConfig::new().writable(true).logical_block_size(block);
    let mut table = config.open(device).with_context(|| device.display().to_string())?;
    let mut partitions = table.partitions().clone();
    let unfinished = partitions.values_mut().filter(|partition| partition.name == UNFINISHED);
    unfinished.for_each(|partition| SCRATCH_LABEL.clone_into(&mut partition.name));
    table.update_partitions(partitions)?;
    table.write()?.sync_all()?;
    Ok(())
}

/// Checks the file system as far as can be done without a question; one that calls itself clean only with `-f`.
fn check(partition: &str, how: &[&str]) -> Result<()> {
    let device = disks::device(partition);
    let arguments = ["-p"].iter().chain(how).map(Path::new).chain([device.as_path()]);
    let outcome: Outcome = run::tool("e2fsck", arguments)?;
    // 1 and 2: errors were corrected.
    ensure!(matches!(outcome.status, 0..=2), "/dev/{partition} needs a repair by hand: {}", outcome.output.trim());
    Ok(())
}

/// Mounts the scratch that was decided on. One that was there before is checked.
pub(crate) fn mount_checked(plan: &Plan, directory: &Path) -> Result<()> {
    let Plan::Use(name) = plan else { return mount_at(plan, directory) };
    check(name, &[])?;
    match mount_at(plan, directory) {
        // It calls itself clean, so nobody has looked at it.
        Err(error) if error.downcast_ref() == Some(&Errno::UCLEAN) => {
            check(name, &["-f"])?;
            mount_at(plan, directory)
        }
        outcome => outcome,
    }
}

fn mount_at(plan: &Plan, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    match plan {
        Plan::Memory => mount("tmpfs", directory, "tmpfs", MountFlags::empty(), Some(c"mode=755,size=75%"))?,
        Plan::Use(name) | Plan::Format(name) | Plan::Partition(name) => {
            mount(disks::device(name), directory, "ext4", MountFlags::NOATIME, Some(c""))
                .with_context(|| format!("/dev/{name}"))?;
        }
    }
    Ok(())
}

/// Makes the directories that are not there, and the files that can be deleted when the disk is full.
pub(crate) fn furnish(scratch: &Path, spacers: bool) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    for (name, mode) in SKELETON {
        let directory = scratch.join(name);
        if !directory.is_dir() {
            fs::DirBuilder::new().mode(mode).create(&directory).with_context(|| directory.display().to_string())?;
            fs::set_permissions(&directory, fs::Permissions::from_mode(mode))?;
        }
    }
    let spacers_made = scratch.join("aux/safety/made");
    if spacers && !spacers_made.exists() {
        // Once: who deletes them needs what they took. A disk that is full already boots without.
        let _ = space(&scratch.join("aux/safety")).and_then(|()| Ok(File::create(&spacers_made)?));
    }
    Ok(())
}

fn space(directory: &Path) -> Result<()> {
    let stat = rustix::fs::statvfs(directory)?;
    // Of a small disk not more than a fiftieth.
    let bytes = SPACER.min(stat.f_blocks * stat.f_frsize / 50);
    for number in 0..SPACERS {
        File::create(directory.join(format!("inode-{number}")))?;
    }
    let file = File::create(directory.join("space"))?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
    Ok(())
}

/// Megabytes that the cache may take of a scratch with `size` bytes.
pub(crate) fn quota(size: u64) -> u64 {
    let megabytes = size >> 20;
    if megabytes > 4000 { 2000 } else { megabytes / 2 }
}

/// Bytes of the mounted file system.
pub(crate) fn size(scratch: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(scratch)?;
    Ok(stat.f_blocks * stat.f_frsize)
}

#[cfg(test)]
mod tests;
