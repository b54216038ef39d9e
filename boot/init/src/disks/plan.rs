//! Which disk becomes the scratch, and which is left alone. The answer depends on nothing but what was seen.

use super::probe::Contents;
use std::fmt;

/// Smallest disk that is worth being a scratch, in bytes.
pub(crate) const SMALLEST: u64 = 256 << 20;
/// Name that the partition has until its file system is complete.
pub(crate) const UNFINISHED: &str = "UROOT-unfinished";

/// A disk, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    /// Its name below `/dev`.
    pub(crate) name: String,
    /// Whether it can be taken out.
    pub(crate) removable: bool,
    /// Whether it cannot be written to.
    pub(crate) read_only: bool,
    /// Bytes.
    pub(crate) size: u64,
    /// What is directly on it.
    pub(crate) contents: Contents,
    /// Its partitions, in order.
    pub(crate) partitions: Vec<Partition>,
}

/// A partition of a [`Disk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// Its name below `/dev`.
    pub(crate) name: String,
    /// The name that a GPT gives it.
    pub(crate) title: String,
    /// Bytes.
    pub(crate) size: u64,
    /// What is on it.
    pub(crate) contents: Contents,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// There is a scratch already.
    Use(String),
    /// Make a file system on this partition.
    Format(String),
    /// Make a partition table, a partition and a file system on this disk.
    Partition(String),
    /// There is no disk: memory has to do.
    Memory,
}

/// Why nothing is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The device that was asked for is not there.
    Absent(String),
    /// The device that was asked for cannot be written to.
    ReadOnly(String),
    /// The device that was asked for is the one that was booted from.
    Booted(String),
    /// The device that was asked for has too few bytes.
    Small(String, u64),
    /// No disk is empty; names and what is on them.
    NoneEmpty(Vec<(String, String)>),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Absent(name) => write!(f, "scratch_device={name}: there is no such disk or partition"),
            Refusal::ReadOnly(name) => write!(f, "scratch_device={name}: read-only"),
            Refusal::Booted(name) => write!(f, "scratch_device={name}: this is what was booted"),
            Refusal::Small(name, size) => {
                write!(f, "scratch_device={name}: {} MiB are too few, {} are needed", size >> 20, SMALLEST >> 20)
            }
            Refusal::NoneEmpty(disks) => {
                write!(f, "Unable to find empty partition (nothing was changed; scratch_device=NAME formats a disk)")?;
                disks.iter().try_for_each(|(name, what)| write!(f, "\n      /dev/{name} holds {what}"))
            }
        }
    }
}

/// Decides. `wanted` is what `scratch_device=` says, with or without `/dev/`; `memory` means none.
pub(crate) fn plan(disks: &[Disk], wanted: Option<&str>) -> Result<Plan, Refusal> {
    match wanted.map(|name| name.strip_prefix("/dev/").unwrap_or(name)) {
        Some("memory" | "none" | "tmpfs") => Ok(Plan::Memory),
        Some(name) => wanted_plan(disks, name),
        None => own_plan(disks),
    }
}

fn wanted_plan(disks: &[Disk], name: &str) -> Result<Plan, Refusal> {
    let inside = |disk: &&Disk| disk.name == name || disk.partitions.iter().any(|partition| partition.name == name);
    let disk = disks.iter().find(inside).ok_or_else(|| Refusal::Absent(name.to_owned()))?;
    let partition = disk.partitions.iter().find(|partition| partition.name == name);
    let scratch = |partition: &&Partition| is_scratch(partition);
    match (partition, disk.partitions.iter().find(scratch)) {
        (Some(partition), _) if is_scratch(partition) => return Ok(Plan::Use(name.to_owned())),
        (None, Some(made)) => return Ok(Plan::Use(made.name.clone())),
        (None, None) if disk.contents == Contents::Scratch => return Ok(Plan::Use(name.to_owned())),
        _ => {}
    }
    if disk.read_only {
        return Err(Refusal::ReadOnly(name.to_owned()));
    }
    if is_booted(disk) {
        return Err(Refusal::Booted(name.to_owned()));
    }
    let size = partition.map_or(disk.size, |partition| partition.size);
    if size < SMALLEST {
        return Err(Refusal::Small(name.to_owned(), size));
    }
    Ok(if partition.is_some() { Plan::Format(name.to_owned()) } else { Plan::Partition(name.to_owned()) })
}

fn own_plan(disks: &[Disk]) -> Result<Plan, Refusal> {
    let fit = || disks.iter().filter(|disk| !disk.removable && !disk.read_only && !is_booted(disk));
    let partitions = || fit().flat_map(|disk| &disk.partitions);
    if let Some(partition) = partitions().find(|partition| is_scratch(partition)) {
        return Ok(Plan::Use(partition.name.clone()));
    }
    if let Some(disk) = fit().find(|disk| disk.partitions.is_empty() && disk.contents == Contents::Scratch) {
        return Ok(Plan::Use(disk.name.clone()));
    }
    // Ours, from a boot that was cut short.
    if let Some(partition) = partitions().find(|partition| partition.title == UNFINISHED) {
        return Ok(Plan::Format(partition.name.clone()));
    }
    let large = |disk: &&Disk| disk.size >= SMALLEST;
    if let Some(disk) = fit().filter(large).find(|disk| disk.partitions.is_empty() && disk.contents == Contents::Blank)
    {
        return Ok(Plan::Partition(disk.name.clone()));
    }
    let occupied: Vec<(String, String)> = fit().filter(large).filter_map(occupant).collect();
    if occupied.is_empty() { Ok(Plan::Memory) } else { Err(Refusal::NoneEmpty(occupied)) }
}

fn is_scratch(partition: &Partition) -> bool {
    partition.contents == Contents::Scratch && partition.title != UNFINISHED
}

fn is_booted(disk: &Disk) -> bool {
    disk.contents == Contents::BootMedium
        || disk.partitions.iter().any(|partition| partition.contents == Contents::BootMedium)
}

/// What is on a disk that might have been a scratch; `None` for media that bring a context.
fn occupant(disk: &Disk) -> Option<(String, String)> {
    let what = match &disk.contents {
        Contents::Medium { .. } => return None,
        Contents::Other(what) => (*what).to_owned(),
        Contents::Unreadable => "nothing that can be read".to_owned(),
        Contents::Blank | Contents::Scratch | Contents::BootMedium => "partitions".to_owned(),
    };
    Some((disk.name.clone(), what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn disk(name: &str, contents: Contents, partitions: &[(&str, &str, Contents)]) -> Disk {
        Disk {
            name: name.to_owned(),
            removable: false,
            read_only: false,
            size: 4 << 30,
            contents,
            partitions: partitions
                .iter()
                .map(|(name, title, contents)| Partition {
                    name: (*name).to_owned(),
                    title: (*title).to_owned(),
                    size: 3 << 30,
                    contents: contents.clone(),
                })
                .collect(),
        }
    }

    fn table() -> Contents {
        Contents::Other("a partition table (GPT)")
    }

    fn lvm() -> Contents {
        Contents::Other("a volume of LVM")
    }

    #[test]
    fn a_scratch_is_used_wherever_it_is() {
        let disks =
            [disk("vda", Contents::Blank, &[]), disk("nvme0n1", table(), &[("nvme0n1p1", "UROOT", Contents::Scratch)])];
        assert_eq!(plan(&disks, None), Ok(Plan::Use("nvme0n1p1".to_owned())));
        assert_eq!(plan(&disks, Some("/dev/nvme0n1")), Ok(Plan::Use("nvme0n1p1".to_owned())), "not formatted again");
    }

    #[test]
    fn the_first_blank_disk_is_taken() {
        let disks = [disk("sda", lvm(), &[]), disk("sdb", Contents::Blank, &[]), disk("sdc", Contents::Blank, &[])];
        assert_eq!(plan(&disks, None), Ok(Plan::Partition("sdb".to_owned())));
        assert_eq!(plan(&disks, Some("sdc")), Ok(Plan::Partition("sdc".to_owned())));
    }

    #[test]
    fn somebodys_data_is_refused_but_not_if_it_is_named() {
        let disks = [disk("sda", table(), &[("sda1", "data", lvm())])];
        let refusal = plan(&disks, None).expect_err("it is not empty");
        assert!(refusal.to_string().starts_with("Unable to find empty partition"));
        assert!(refusal.to_string().contains("/dev/sda holds a partition table (GPT)"));
        assert_eq!(plan(&disks, Some("sda1")), Ok(Plan::Format("sda1".to_owned())));
        assert_eq!(plan(&disks, Some("sda")), Ok(Plan::Partition("sda".to_owned())));
        let mut small = disks;
        small[0].partitions[0].size = 10 << 20;
        assert_eq!(plan(&small, Some("sda1")), Err(Refusal::Small("sda1".to_owned(), 10 << 20)));
    }

    #[test]
    fn what_a_power_cut_left_of_a_scratch_is_made_again() {
        let disks = [disk("vda", table(), &[("vda1", UNFINISHED, Contents::Scratch)])];
        assert_eq!(plan(&disks, None), Ok(Plan::Format("vda1".to_owned())));
    }

    #[test]
    fn media_and_the_boot_disk_are_nobodys_data() {
        let medium = Contents::Medium { label: "cidata".to_owned(), kind: "vfat" };
        let disks = [disk("vda", Contents::BootMedium, &[("vda1", "", table())]), disk("vdb", medium, &[])];
        assert_eq!(plan(&disks, None), Ok(Plan::Memory));
        assert_eq!(plan(&disks, Some("vda")), Err(Refusal::Booted("vda".to_owned())));
        assert_eq!(plan(&[], None), Ok(Plan::Memory));
    }

    #[test]
    fn removable_read_only_and_small_disks_are_passed_over() {
        let mut disks = [disk("sda", Contents::Blank, &[]), disk("sdb", Contents::Blank, &[]), disk("sdc", lvm(), &[])];
        (disks[0].removable, disks[1].read_only, disks[2].size) = (true, true, 1 << 20);
        assert_eq!(plan(&disks, None), Ok(Plan::Memory));
        assert_eq!(plan(&disks, Some("sdb")), Err(Refusal::ReadOnly("sdb".to_owned())));
        assert_eq!(plan(&disks, Some("sdc")), Err(Refusal::Small("sdc".to_owned(), 1 << 20)));
        assert_eq!(plan(&disks, Some("sdx")), Err(Refusal::Absent("sdx".to_owned())));
    }

    fn any_contents() -> impl Strategy<Value = Contents> {
        prop_oneof![
            Just(Contents::Blank),
            Just(Contents::Scratch),
            Just(Contents::BootMedium),
            Just(Contents::Medium { label: String::new(), kind: "vfat" }),
            Just(Contents::Other("something")),
            Just(Contents::Unreadable),
        ]
    }

    proptest! {
        /// Without a word from the user only zeros, or what we left unfinished ourselves, are ever written over.
        #[test]
        fn nothing_is_destroyed_unasked(
            made in proptest::collection::vec((any_contents(), any::<bool>(), any::<bool>(), proptest::option::of((any_contents(), any::<bool>()))), 0..4)
        ) {
            let disks: Vec<Disk> = made.iter().enumerate().map(|(number, (contents, removable, read_only, partition))| {
                let partitions = partition.iter().map(|(contents, unfinished)| Partition {
                    name: format!("vd{number}1"),
                    title: if *unfinished { UNFINISHED.to_owned() } else { String::new() },
                    size: 1 << 29,
                    contents: contents.clone(),
                });
                Disk {
                    name: format!("vd{number}"), removable: *removable, read_only: *read_only, size: 1 << 30,
                    contents: contents.clone(), partitions: partitions.collect(),
                }
            }).collect();
            match plan(&disks, None) {
                Ok(Plan::Partition(name)) => {
                    let disk = disks.iter().find(|disk| disk.name == name).expect("a disk");
                    prop_assert!(disk.contents == Contents::Blank && disk.partitions.is_empty());
                    prop_assert!(!disk.removable && !disk.read_only);
                }
                Ok(Plan::Format(name)) => {
                    let partition = disks.iter().flat_map(|disk| &disk.partitions).find(|partition| partition.name == name);
                    prop_assert_eq!(&partition.expect("a partition").title, UNFINISHED);
                }
                _ => {}
            }
        }
    }
}
