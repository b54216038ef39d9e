//! User data: fetched at the first boot, kept on scratch, and given on to the operating system.

use crate::disks::plan::Disk;
use crate::disks::{self, probe::Contents};
use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs;
use std::io::Read as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use ucernvm_context::amiconfig::Amiconfig;
use ucernvm_context::media::{self, Medium};
use ucernvm_context::metadata::{self, Answer, Request};
use ucernvm_context::opennebula::Context as OpenNebula;
use ucernvm_context::{About, Section, UserData};

/// Where media are mounted while they are looked at.
const PLACE: &str = "/run/medium";
/// How long a metadata service may take to answer. Most machines have none, and every boot of those waits this long once.
const PATIENCE: Duration = Duration::from_secs(2);

/// In a tree: the program, and where it looks for user data before it asks anybody.
const AMICONFIG: &str = "usr/sbin/amiconfig";
const AMICONFIG_DATA: &str = "var/lib/amiconfig/2007-12-15/user-data";
/// In a tree.
const CLOUD_INIT: &str = "usr/bin/cloud-init";

/// A medium that is mounted.
struct Mounted {
    label: String,
}

impl Mounted {
    fn open(name: &str, contents: &Contents) -> Option<Mounted> {
        let Contents::Medium { label, kind } = contents else { return None };
        Mounted::mount(name, label, kind)
    }

    fn mount(name: &str, label: &str, kind: &str) -> Option<Mounted> {
        fs::create_dir_all(PLACE).ok()?;
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount(disks::device(name), PLACE, kind, flags, Some(c"")).ok()?;
        Some(Mounted { label: label.to_owned() })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(PLACE, UnmountFlags::DETACH);
    }
}

impl Medium for Mounted {
    fn label(&self) -> &str {
        &self.label
    }

    fn read(&self, path: &str, limit: usize) -> Option<Vec<u8>> {
        // A medium of somebody else's making: no link may lead out of it.
        use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
        let root = fs::File::open(PLACE).ok()?;
        let only = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let opened =
            openat2(&root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty(), only).ok()?;
        let file = fs::File::from(opened);
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(limit as u64 + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() <= limit).then_some(bytes)
    }
}

fn on_media<T>(disks: &[Disk], mut look: impl FnMut(&Mounted) -> Option<T>) -> Option<T> {
    places(disks).find_map(|(name, contents)| look(&Mounted::open(name, contents)?))
}

/// All disks and partitions, with what is on them.
fn places(disks: &[Disk]) -> impl Iterator<Item = (&str, &Contents)> {
    let whole = disks.iter().map(|disk| (disk.name.as_str(), &disk.contents));
    let parts = disks.iter().flat_map(|disk| &disk.partitions);
    whole.chain(parts.map(|partition| (partition.name.as_str(), &partition.contents)))
}

/// What media bring besides user data.
#[derive(Default)]
pub(crate) struct Extra {
    /// More documents.
    pub(crate) documents: Vec<Vec<u8>>,
    /// An archive to unpack over the system.
    pub(crate) pickup: Option<Vec<u8>>,
    /// Where they were.
    pub(crate) found: Vec<String>,
}

/// Looks for more on all media, the one that was booted as well: that is how an image for volunteers brings its context along.
pub(crate) fn extra(disks: &[Disk]) -> Extra {
    let mut extra = Extra::default();
    for (name, contents) in places(disks) {
        let mounted = match contents {
            Contents::BootMedium => Mounted::mount(name, "", "iso9660"),
            contents => Mounted::open(name, contents),
        };
        let Some(medium) = mounted else { continue };
        let pickup = media::pickup(&medium).filter(|_| extra.pickup.is_none());
        // A disk and its first partition can begin with the same file system.
        let document = media::extra(&medium).filter(|text| !extra.documents.contains(text));
        if document.is_some() || pickup.is_some() {
            extra.found.push(name.to_owned() + if pickup.is_some() { " (pickup)" } else { "" });
        }
        extra.documents.extend(document);
        extra.pickup = extra.pickup.or(pickup);
    }
    extra
}

/// What OpenNebula says about the network.
pub(crate) fn told_network(disks: &[Disk]) -> Option<OpenNebula> {
    on_media(disks, |medium| media::opennebula_context(medium))
}

/// User data of media, or else from where `told` says, or else of a metadata service.
pub(crate) fn fetch(
    disks: &[Disk],
    network: bool,
    told: Option<&str>,
    dhcp_server: Option<Ipv4Addr>,
) -> Option<UserData> {
    let told = || metadata::ask_no_cloud(told?, &mut ask);
    let nearby = || network.then(|| told().or_else(|| metadata::ask(dhcp_server, &mut ask))).flatten();
    let complete = |data| if network { metadata::complete(data, &mut ask) } else { data };
    on_media(disks, |medium| media::user_data(medium)).map(complete).or_else(nearby)
}

/// What the serial number of the machine says about user data: whoever starts it can choose that.
pub(crate) fn told_by_firmware() -> Option<String> {
    let serial = fs::read_to_string("/sys/class/dmi/id/product_serial").ok()?;
    Some(serial.trim().strip_prefix("ds=")?.to_owned())
}

/// Who makes requests to services nearby, and waits so long for a connection.
pub(crate) fn agent(patience: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_connect(Some(patience))
        .timeout_global(Some(patience * 4))
        .max_redirects(0)
        .proxy(None)
        .build()
        .new_agent()
}

fn ask(request: &Request) -> Answer {
    let agent = agent(PATIENCE);
    let url = format!("http://{}{}", request.host, request.path);
    let mut builder = ureq::http::Request::builder().method(if request.put { "PUT" } else { "GET" }).uri(url);
    for (name, value) in &request.headers {
        builder = builder.header(*name, value);
    }
    let Ok(made) = builder.body(()) else { return Answer::Refused };
    match agent.run(made) {
        Ok(mut response) if response.status() == 200 => {
            let limit = ucernvm_context::LARGEST_USER_DATA as u64;
            response.body_mut().with_config().limit(limit).read_to_vec().map_or(Answer::Refused, Answer::Found)
        }
        Ok(_) | Err(ureq::Error::StatusCode(_)) => Answer::Refused,
        Err(_) => Answer::Silence,
    }
}

/// What is kept of a context, in a directory of the scratch.
pub(crate) struct Kept {
    directory: PathBuf,
}

/// Its presence says that all else is complete.
const SOURCE: &str = "source";

impl Kept {
    /// What lies on a scratch that is mounted at `scratch`.
    pub(crate) fn on(scratch: &Path) -> Kept {
        Kept { directory: scratch.join("context") }
    }

    /// Whether a context was kept, even an empty one.
    pub(crate) fn exists(&self) -> bool {
        self.directory.join(SOURCE).exists()
    }

    /// The loader's section.
    pub(crate) fn section(&self) -> Option<Section> {
        Section::find(&fs::read_to_string(self.directory.join("ucontext")).ok()?)
    }

    /// Keeps a context; the name of its source last.
    pub(crate) fn keep(&self, data: Option<&UserData>, section: Option<&Section>) -> Result<()> {
        let write = |name: &str, bytes: &[u8]| {
            let file = self.directory.join(name);
            write_private(&file, bytes).with_context(|| file.display().to_string())
        };
        if let Some(data) = data {
            write("user-data", &data.bytes)?;
            write("meta-data", data.about.to_no_cloud().as_bytes())?;
        }
        if let Some(section) = section {
            write("ucontext", section.to_text().as_bytes())?;
        }
        write(SOURCE, data.map_or("none", |data| data.source).as_bytes())
    }

    /// Keeps an archive for the system.
    pub(crate) fn keep_pickup(&self, archive: &[u8]) -> Result<()> {
        Ok(write_private(&self.pickup(), archive)?)
    }

    /// Where an archive for the system is, if there is one.
    pub(crate) fn pickup(&self) -> PathBuf {
        self.directory.join("pickup.tar.gz")
    }

    /// Gives the user data to the system at `root`, once; remarks for a person.
    ///
    /// cloud-init finds them as a source without a network, `amiconfig` as data that it has fetched itself before. What is
    /// meant for an `amiconfig` that is not there is translated for cloud-init.
    pub(crate) fn hand_over(&self, root: &Path) -> Result<Vec<String>> {
        let Ok(bytes) = fs::read(self.directory.join("user-data")) else { return Ok(Vec::new()) };
        let seed = root.join("var/lib/cloud/seed/nocloud");
        if seed.join("meta-data").exists() {
            return Ok(Vec::new());
        }
        let data = UserData { source: "", bytes, about: About::default() };
        let mut remarks = Vec::new();
        fs::create_dir_all(&seed)?;
        if let Some(told) = Amiconfig::find(&data) {
            if root.join(AMICONFIG).exists() {
                let cached = root.join(AMICONFIG_DATA);
                cached.parent().map_or(Ok(()), fs::create_dir_all)?;
                write_private(&cached, &data.bytes)?;
            } else {
                let translation = told.translation();
                remarks = translation.remarks;
                if let Some(text) = &translation.cloud_config {
                    write_private(&seed.join("vendor-data"), text.as_bytes())?;
                    if !root.join(CLOUD_INIT).exists() {
                        remarks.push("the system has neither amiconfig nor cloud-init".to_owned());
                    }
                }
            }
        }
        write_private(&seed.join("user-data"), &data.bytes)?;
        let about = fs::read(self.directory.join("meta-data")).unwrap_or_default();
        write_private(&seed.join("meta-data"), &about)?;
        Ok(remarks)
    }
}

/// For root only, and complete or not there.
fn write_private(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let temporary = file.with_extension("new");
    let mut open = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    open.write_all(bytes)?;
    open.sync_all()?;
    fs::rename(&temporary, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(bytes: &[u8]) -> UserData {
        UserData { source: "NoCloud", bytes: bytes.to_vec(), about: About::default() }
    }

    #[test]
    fn a_context_is_kept_once_and_handed_over_once() {
        let scratch = tempfile::tempdir().expect("a directory");
        fs::create_dir(scratch.path().join("context")).expect("a directory");
        let kept = Kept::on(scratch.path());
        assert!(!kept.exists());
        let data = data(b"#!/bin/sh\n[ucernvm-begin]\ncvmfs_tag=x\n[ucernvm-end]\n");
        kept.keep(Some(&data), data.section().0.as_ref()).expect("a context");
        assert!(kept.exists());
        assert_eq!(kept.section().expect("a section").pairs().collect::<Vec<_>>(), [("cvmfs_tag", "x")]);
        let upper = scratch.path().join("upper");
        kept.hand_over(&upper).expect("a seed");
        let seed = upper.join("var/lib/cloud/seed/nocloud/user-data");
        assert_eq!(fs::read(&seed).expect("a seed"), data.bytes);
        fs::write(&seed, "of the system").expect("a file");
        kept.hand_over(&upper).expect("nothing to do");
        assert_eq!(fs::read(&seed).expect("a seed"), b"of the system");
    }

    #[test]
    fn what_amiconfig_is_told_goes_to_amiconfig_or_else_to_cloud_init() {
        let scratch = tempfile::tempdir().expect("a directory");
        fs::create_dir(scratch.path().join("context")).expect("a directory");
        let kept = Kept::on(scratch.path());
        kept.keep(Some(&data(b"[amiconfig]\nplugins=hostname condor\n[hostname]\nhostname=vm\n")), None)
            .expect("a context");
        let tree = |programs: &[&str]| {
            let tree = tempfile::tempdir().expect("a directory");
            for program in programs {
                let program = tree.path().join(program);
                fs::create_dir_all(program.parent().expect("a directory")).expect("a directory");
                fs::write(program, "").expect("a program");
            }
            tree
        };
        let modern = tree(&[CLOUD_INIT]);
        let remarks = kept.hand_over(modern.path()).expect("a seed");
        assert!(remarks.len() == 1 && remarks[0].starts_with("plug-in condor"), "{remarks:?}");
        let vendor =
            fs::read_to_string(modern.path().join("var/lib/cloud/seed/nocloud/vendor-data")).expect("a translation");
        assert!(vendor.starts_with("#cloud-config\n") && vendor.contains(r#""hostname":"vm""#), "{vendor}");

        let bare = tree(&[]);
        assert_eq!(kept.hand_over(bare.path()).expect("a seed").len(), 2, "there is nobody to read it");

        let old = tree(&[AMICONFIG]);
        assert_eq!(kept.hand_over(old.path()).expect("data"), [""; 0]);
        let cached = fs::read(old.path().join(AMICONFIG_DATA)).expect("data");
        assert!(cached.starts_with(b"[amiconfig]"));
        assert!(!old.path().join("var/lib/cloud/seed/nocloud/vendor-data").exists(), "it is not done twice");
    }

    #[test]
    fn no_context_is_kept_too() {
        let scratch = tempfile::tempdir().expect("a directory");
        fs::create_dir(scratch.path().join("context")).expect("a directory");
        let kept = Kept::on(scratch.path());
        kept.keep(None, None).expect("nothing, kept");
        assert!(kept.exists() && kept.section().is_none());
        kept.hand_over(&scratch.path().join("upper")).expect("nothing to do");
        assert!(!scratch.path().join("upper").exists());
    }
}
