//! The inside of an instance: what a child does between its making and the program's start.
//!
//! | module | job |
//! |---|---|
//! | [`devices`] | `/dev` |
//! | [`init`] | process 1: starts the program, passes signals on, reaps |
//! | [`laid`] | the tree, where it is laid out by rules |
//! | [`mounts`] | mounts that lie nowhere yet |
//! | [`network`] | the loop-back of a network of its own, and the name servers |
//! | [`privilege`] | what the program may not do |
//! | [`program`] | which program, with which environment |
//! | [`root`] | the tree: layers over the operating system |

mod devices;
pub(crate) mod init;
pub(crate) mod laid;
pub(crate) mod mounts;
pub(crate) mod network;
mod privilege;
pub(crate) mod program;
pub(crate) mod root;

use crate::arguments::{Backend, Bind, Net};
use crate::served::Mounts;
use anyhow::{Context as _, Result};
use mounts::Mount;
use program::Program;
use root::Tree;
use rustix::fs::Mode;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal, umask};
use std::path::{Path, PathBuf};

/// Everything about an instance that is to run.
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) backend: Backend,
    pub(crate) net: Net,
    pub(crate) tree: Tree,
    /// What of the host is shown inside.
    pub(crate) binds: Vec<Bind>,
    /// Repositories that the host has mounted.
    pub(crate) repositories: Vec<String>,
    /// Repositories that are mounted here and served from outside.
    pub(crate) served: Option<Mounts>,
    /// Whether somebody else can be made a member of other groups.
    pub(crate) can_set_groups: bool,
    pub(crate) program: Program,
}

/// Directories that every system has; they are there also where the operating system's tree lacks them.
pub(crate) const ALWAYS: [&str; 6] = ["dev", "proc", "run", "sys", "tmp", "cvmfs"];

/// Where this program keeps what only the instance needs.
pub(crate) const PRIVATE: &str = "/run/cernvm-fork";

impl Plan {
    /// The new namespaces, but for that of users.
    pub(crate) fn namespaces(&self) -> libc::c_int {
        let all = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
        let net = if self.net == Net::None { libc::CLONE_NEWNET } else { 0 };
        net | if self.has_processes() { all } else { libc::CLONE_NEWNS }
    }

    /// Whether the instance sees only its own processes.
    fn has_processes(&self) -> bool {
        self.backend == Backend::Namespaces
    }

    /// Makes the inside in this process, which is root of new namespaces, and runs the program there. Gives the
    /// program's exit status.
    pub(crate) fn carry_out(mut self) -> Result<u8> {
        // Neither memory, nor descriptors, nor the program file of this process are for programs inside.
        set_dumpable_behavior(DumpableBehavior::NotDumpable).context("hiding the init process")?;
        if !self.has_processes() {
            // Without a process namespace nobody else ends what the program started.
            set_parent_process_death_signal(Some(Signal::TERM)).context("tying the child to its parent")?;
            rustix::process::set_child_subreaper(Some(rustix::process::getpid())).context("becoming a reaper")?;
        }
        if self.can_set_groups {
            rustix::thread::set_thread_groups(&[]).context("leaving the host's groups")?;
        }
        let mask = umask(Mode::from_raw_mode(0o022));
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).context("making mounts private")?;
        let name_servers = network::name_servers();
        let served = self.served.as_ref().map(Mounts::make).transpose()?.unwrap_or_default();
        let prepared = self.prepare(served)?;
        root::enter(&self.tree)?;
        prepared.attach()?;
        if self.net == Net::None {
            network::loop_back().context("starting the loop-back network")?;
        } else if let Some(text) = name_servers
            && self.binds.iter().all(|bind| bind.target != Path::new(network::FILE))
        {
            network::tell_name_servers(&text).context("writing /etc/resolv.conf")?;
        }
        if self.has_processes() {
            rustix::system::sethostname(self.name.as_bytes()).context("setting the host name")?;
        }
        self.program.bring_in()?;
        umask(mask);
        let all_processes = self.has_processes();
        init::run(&self.program, all_processes)
    }

    /// Makes all mounts, as long as the host's tree is there.
    fn prepare(&self, served: Vec<(PathBuf, Mount)>) -> Result<Prepared> {
        let mut prepared = Prepared::default();
        let process = if self.has_processes() {
            mounts::fresh("proc", &[]).context("mounting /proc; try --backend=userns")?
        } else {
            mounts::copy("/proc")?
        };
        prepared.places = self.tree.prepare()?;
        prepared.add("/proc", process);
        let system = match self.net {
            // Only who has a network of his own may mount what shows its devices.
            Net::None => mounts::fresh("sysfs", &[]).or_else(|_| mounts::copy("/sys"))?,
            Net::Host => mounts::copy("/sys")?,
        };
        system.make_read_only().context("making /sys read-only")?;
        prepared.add("/sys", system);
        prepared.devices = Some(devices::gather()?);
        prepared.add("/run", mounts::fresh("tmpfs", &[("mode", "0755")])?);
        prepared.add("/tmp", mounts::fresh("tmpfs", &[("mode", "1777")])?);
        if !self.repositories.is_empty() || !served.is_empty() {
            prepared.add("/cvmfs", mounts::fresh("tmpfs", &[("mode", "0755")])?);
        }
        for repository in &self.repositories {
            let path = format!("/cvmfs/{repository}");
            let shown = mounts::copy(&path)?;
            shown.make_read_only().with_context(|| format!("making {path} read-only"))?;
            prepared.add(&path, shown);
        }
        prepared.places.extend(served);
        for bind in &self.binds {
            let shown = mounts::copy(&bind.source)?;
            if bind.read_only {
                shown.make_read_only().with_context(|| format!("making {} read-only", bind.source.display()))?;
            }
            prepared.places.push((bind.target.clone(), shown));
        }
        Ok(prepared)
    }
}

/// Mounts and the places where they belong, in this order.
#[derive(Default)]
struct Prepared {
    devices: Option<devices::Devices>,
    places: Vec<(PathBuf, Mount)>,
}

impl Prepared {
    fn add(&mut self, place: &str, mount: Mount) {
        self.places.push((place.into(), mount));
    }

    /// Puts everything into its place in the new root.
    fn attach(self) -> Result<()> {
        if let Some(devices) = self.devices {
            devices.attach()?;
        }
        for (place, mount) in self.places {
            mount.attach(&place)?;
            if place.as_os_str() == "/proc" {
                mounts::protect_process_tree()?;
            }
        }
        std::fs::create_dir_all(PRIVATE).with_context(|| format!("making {PRIVATE}"))
    }
}
