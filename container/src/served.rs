//! Repositories that are mounted inside of an instance, through FUSE, and served from outside.
//!
//! Whoever is root in the instance's namespaces mounts, and sends the device out; a process outside serves it, with the
//! host's network, cache and configuration. It is this program once more, so that the one that starts instances keeps
//! having one thread.

use crate::arguments::{Os, Served};
use crate::run::Signals;
use crate::sandbox::mounts::{self, Mount};
use anyhow::{Context as _, Result, bail};
use cvmfs_command::session::Session;
use cvmfs_fuse::Settings;
use libcvmfs::config::table;
use libcvmfs::fqrn::Fqrn;
use nix::sys::signal::SigSet;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Signal, set_parent_process_death_signal};
use std::fs::OpenOptions;
use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Whether this user may mount through FUSE in namespaces of his own.
pub(crate) fn is_possible() -> bool {
    OpenOptions::new().read(true).write(true).open("/dev/fuse").is_ok()
}

/// What is to be mounted inside.
pub(crate) struct Mounts {
    /// Where the operating system's repository is mounted before the layers are laid over it.
    os: Option<PathBuf>,
    repositories: Vec<Fqrn>,
    devices: OwnedFd,
}

/// What is to be served outside.
pub(crate) struct Servers {
    /// The operating system's repository, at this snapshot if it is known.
    os: Option<(Fqrn, Option<String>)>,
    repositories: Vec<Fqrn>,
    options: Vec<(String, String)>,
    devices: OwnedFd,
}

/// Both sides of repositories that are mounted inside; `place` is for that of the operating system.
pub(crate) fn both_sides(
    os: Option<(&Os, Option<&str>)>,
    place: &Path,
    repositories: Vec<Fqrn>,
    options: Vec<(String, String)>,
) -> Result<Option<(Mounts, Servers)>> {
    if os.is_none() && repositories.is_empty() {
        return Ok(None);
    }
    if !is_possible() {
        bail!("a tree in a repository takes FUSE, and this user may not open /dev/fuse; --root takes a directory");
    }
    if os.is_some() {
        std::fs::create_dir_all(place).with_context(|| format!("making {}", place.display()))?;
    }
    let (inside, outside) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .context("making a pair of sockets")?;
    let mounts = Mounts { os: os.map(|_| place.to_owned()), repositories: repositories.clone(), devices: inside };
    let os = os.map(|(os, root_hash)| (os.fqrn.clone(), root_hash.map(str::to_owned)));
    Ok(Some((mounts, Servers { os, repositories, options, devices: outside })))
}

impl Mounts {
    /// Mounts everything, sends the devices out, and puts the operating system's repository into its place; gives the others
    /// with the places where they belong.
    pub(crate) fn make(&self) -> Result<Vec<(PathBuf, Mount)>> {
        if let Some(place) = &self.os {
            self.make_one()?.attach(place)?;
        }
        let place = |fqrn: &Fqrn| Path::new("/cvmfs").join(fqrn.as_str());
        self.repositories.iter().map(|fqrn| Ok((place(fqrn), self.make_one()?))).collect()
    }

    fn make_one(&self) -> Result<Mount> {
        let (mount, device) = mounts::fuse()?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        let devices = [device.as_fd()];
        message.push(SendAncillaryMessage::ScmRights(&devices));
        sendmsg(&self.devices, &[IoSlice::new(b"!")], &mut message, SendFlags::empty()).context("sending a device")?;
        Ok(mount)
    }
}

impl Servers {
    /// Serves what is mounted inside, in processes that end with it. Gives the snapshot of the operating system.
    ///
    /// # Errors
    /// Where a repository cannot be had, or a process not be started.
    pub(crate) fn start(&self, signals: &Signals) -> Result<Option<String>> {
        let mut snapshot = None;
        if let Some((fqrn, root_hash)) = &self.os {
            let Some(device) = self.receive()? else { return Ok(None) };
            snapshot = Some(self.start_one(signals, fqrn, root_hash.as_deref(), true, device)?);
        }
        for fqrn in &self.repositories {
            let Some(device) = self.receive()? else { return Ok(snapshot) };
            self.start_one(signals, fqrn, None, false, device)?;
        }
        Ok(snapshot)
    }

    /// The next device; none if the inside has ended, which it has told why.
    fn receive(&self) -> Result<Option<OwnedFd>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut message = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let flags = RecvFlags::CMSG_CLOEXEC;
        recvmsg(&self.devices, &mut [IoSliceMut::new(&mut byte)], &mut message, flags).context("receiving a device")?;
        let devices = message.drain().filter_map(|part| match part {
            RecvAncillaryMessage::ScmRights(mut devices) => devices.next(),
            _ => None,
        });
        Ok(devices.into_iter().next())
    }

    fn start_one(
        &self,
        signals: &Signals,
        fqrn: &Fqrn,
        root_hash: Option<&str>,
        pin: bool,
        device: OwnedFd,
    ) -> Result<String> {
        let mut command = Command::new(std::env::current_exe().context("finding this program")?);
        command.arg("serve-repository").arg(fqrn.as_str());
        command.args(root_hash.map(|hash| format!("--root-hash={hash}"))).args(pin.then_some("--pin"));
        for (name, value) in &self.options {
            command.arg("-o").arg(format!("{name}={value}"));
        }
        // SAFETY: between fork and exec only a system call is made.
        unsafe { command.pre_exec(|| Ok(SigSet::empty().thread_set_mask()?)) };
        let mut child: Child = command
            .stdin(Stdio::from(device))
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting what serves {fqrn}"))?;
        let mut said = String::new();
        if let Some(pipe) = &mut child.stdout {
            if let Err(error) = signals.readable(pipe.as_fd()) {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
            pipe.read_to_string(&mut said).with_context(|| format!("waiting for what serves {fqrn}"))?;
        }
        match said.strip_prefix("ready ") {
            Some(root_hash) => Ok(root_hash.trim_end().to_owned()),
            // It has told why.
            None => bail!("{fqrn} cannot be shown"),
        }
    }
}

/// The process that serves one repository: from the device that is its standard input, until it is unmounted.
pub(crate) fn run(what: &Served) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("tying this process to its parent")?;
    let device = std::io::stdin().as_fd().try_clone_to_owned().context("the device")?;
    let mut own = vec![
        // The kernel judges, by the users inside.
        (table::CHECK_PERMISSIONS.name, "no"),
        (table::CLAIM_OWNERSHIP.name, "no"),
        (table::MAGIC_XATTRS_VISIBILITY.name, "never"),
    ];
    if what.pin {
        own.push((table::AUTO_UPDATE.name, "no"));
    }
    if let Some(root_hash) = &what.root_hash {
        own.push((table::ROOT_HASH.name, root_hash));
    }
    let given = what.options.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let given = given.filter(|(name, _)| !own.iter().any(|(owned, _)| owned == name));
    let options: Vec<String> =
        given.chain(own.iter().copied()).map(|(name, value)| format!("{name}={value}")).collect();
    let session = Session::new(&options)?;
    let repository = session.client().repository(what.fqrn.as_str()).with_context(|| what.fqrn.to_string())?;
    let root_hash = repository.snapshot().identity().root_hash;
    let settings = Settings { for_others: true, passthrough: false, answers: false, ..Settings::default() };
    let mounted = cvmfs_fuse::serve(session.client().namespace().clone(), repository, device, settings)?;
    let mut out = std::io::stdout();
    writeln!(out, "ready {root_hash}").and_then(|()| out.flush()).context("saying that it is ready")?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").context("/dev/null")?;
    // Only the copy is left, and whoever waits is told.
    rustix::stdio::dup2_stdin(null.as_fd()).context("/dev/null")?;
    rustix::stdio::dup2_stdout(null.as_fd()).context("/dev/null")?;
    mounted.wait().context("serving the kernel")
}
