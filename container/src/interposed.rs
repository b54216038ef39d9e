//! Instances without any namespace: `cvmfs-run` shows their programs a root of their own.

use crate::arguments::{Net, Start};
use crate::cvmfs;
use crate::description::Description;
use crate::name::Name;
use crate::remove;
use crate::run::{Signals, program_of, variables};
use crate::sandbox::{network, program};
use crate::say::say;
use crate::store::Store;
use anyhow::{Context as _, Result, bail};
use nix::sys::signal::SigSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// What the user works with if nothing else is asked for.
const SHELL: [&str; 4] = ["/bin/sh", "-c", "[ -x /bin/bash ] && exec /bin/bash \"$@\"; exec /bin/sh \"$@\"", "sh"];
const HOME: &str = "HOME";
/// Directories that are empty at each start.
const VOLATILE: [&str; 2] = ["run", "tmp"];

/// Why what is asked for cannot be had without namespaces.
pub(crate) fn refuse(start: &Start) -> Result<()> {
    if !start.fast {
        bail!(
            "without --fast the operating system's own init is process 1, which takes a process namespace: use --fast, or \
             --backend=namespaces"
        );
    }
    if start.layout.is_some() {
        bail!("--layout is for where no layer can be laid over a tree: --backend=interposer lays one over every tree");
    }
    if start.net() == Net::None {
        bail!("--net=none takes a network namespace: it is not to be had with --backend=interposer");
    }
    Ok(())
}

/// Starts the program of an instance and gives its exit status.
pub(crate) fn start(store: &Store, name: &Name, description: &Description, start: &Start) -> Result<u8> {
    refuse(start)?;
    let shows = cvmfs::program()?;
    let provision = cvmfs::provide_by_root(start, description.os.as_ref())?;
    let more = provision.environment.into_iter().chain(variables(start)).collect();
    let (mut environment, own): (Vec<_>, Vec<_>) =
        program::environment(name.as_str(), more).into_iter().partition(|(name, _)| name != HOME);
    // That of the host is where parameters may be.
    environment.extend(std::env::var_os(HOME).map(|home| (HOME.into(), home)));
    let mut command = Command::new(&shows);
    command.arg("--root").arg(&description.root);
    for layer in &description.layers {
        command.arg("--layer").arg(layer.directory(&store.layers()));
    }
    for directory in VOLATILE {
        command.arg("--empty").arg(Path::new("/").join(directory));
    }
    // Name servers are the host's, as the network is.
    let name_servers = Path::new(network::FILE);
    if name_servers.is_file() && start.bind.iter().all(|bind| bind.target != name_servers) {
        command.arg("--bind").arg(place(name_servers, name_servers, true));
    }
    for bind in provision.binds.iter().chain(&start.bind) {
        command.arg("--bind").arg(place(&bind.source, &bind.target, bind.read_only));
    }
    for (name, value) in own {
        let mut assignment = name;
        assignment.push("=");
        assignment.push(value);
        command.arg("--env").arg(assignment);
    }
    command.arg("--");
    match program_of(start) {
        (Some(program), arguments) => command.arg(program).args(arguments),
        (None, arguments) => command.args(SHELL).args(arguments),
    };
    if start.verbose {
        say!("backend interposer, {} layers over {}", description.layers.len(), description.root.display());
        say!("{command:?}");
    }
    command.env_clear().envs(environment).current_dir("/");
    let written = description.layers.first().map(|layer| layer.files(&store.layers())).unwrap_or_default();
    // Also before: the last time may have been interrupted.
    forget(&written)?;
    let status = supervise(&mut command);
    forget(&written)?;
    status
}

/// Takes away what was written where nothing stays.
fn forget(written: &Path) -> Result<()> {
    for directory in VOLATILE {
        let place = written.join(directory);
        if fs::symlink_metadata(&place).is_ok_and(|found| found.is_dir() && found.mode() & 0o700 != 0) {
            remove::contents(&place)?;
        }
    }
    Ok(())
}

fn place(source: &Path, target: &Path, read_only: bool) -> OsString {
    let mut text = source.as_os_str().to_owned();
    text.push(":");
    text.push(target);
    text.push(if read_only { OsStr::new(":ro") } else { OsStr::new("") });
    text
}

/// Runs it: signals go there, its exit status comes back.
fn supervise(command: &mut Command) -> Result<u8> {
    let signals = Signals::block()?;
    // SAFETY: between fork and exec only system calls are made, and memory of this process, which has one thread.
    unsafe {
        command.pre_exec(|| {
            SigSet::empty().thread_set_mask()?;
            // It ends, and all its programs with it, when this process is killed.
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            io::Result::Ok(())
        })
    };
    let child = command.spawn().with_context(|| format!("starting {}", command.get_program().display()))?;
    signals.accompany_program(&child)
}
