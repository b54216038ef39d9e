//! What this node allows, found out by trying.

use crate::arguments::Backend;
use crate::child;
use crate::cvmfs;
use crate::description::Form;
use crate::ids::Ids;
use crate::layer;
use crate::sandbox::mounts;
use crate::sandbox::root::Layers;
use crate::store::Store;
use anyhow::{Context as _, Result, bail};
use cvmfs_command::output::Output;
use rustix::mount::{MountPropagationFlags, mount_change};
use serde::Serialize;
use std::io::Write as _;
use std::path::PathBuf;

/// One thing tried.
#[derive(Debug, Serialize)]
struct Finding {
    /// A word for it.
    name: &'static str,
    /// What it is good for.
    purpose: &'static str,
    works: bool,
    /// What the system said.
    detail: String,
}

/// All of it, and what follows.
#[derive(Debug, Serialize)]
struct Report {
    findings: Vec<Finding>,
    /// What is used unless `--backend` says something else; none if nothing works.
    backend: Option<&'static str>,
    /// What follows, in plain words.
    advice: Vec<String>,
}

/// The best back-end that works here.
///
/// # Errors
/// If none does.
pub(crate) fn best() -> Result<Backend> {
    let layered = best_in_namespaces().and_then(|backend| overlay(&Ids::own()).map(|_| backend));
    layered.or_else(|error| match interposer() {
        Ok(_) => Ok(Backend::Interposer),
        Err(_) => Err(error),
    })
}

/// Whether `cvmfs-run` can give a program a root of its own; what it said.
fn interposer() -> Result<String> {
    let program = cvmfs::program()?;
    let out = std::process::Command::new(&program).args(["--json", "probe"]).output();
    let out = out.with_context(|| format!("starting {}", program.display()))?;
    #[derive(serde::Deserialize)]
    struct Found {
        mode: String,
    }
    let found: Found = serde_json::from_slice(&out.stdout).with_context(|| format!("asking {}", program.display()))?;
    match found.mode.as_str() {
        "preload" => bail!("cvmfs-run finds nothing here by which it could answer system calls: see 'cvmfs-run probe'"),
        mode => Ok(format!("cvmfs-run --mode={mode}")),
    }
}

/// The best back-end with namespaces that works here.
///
/// # Errors
/// If none does.
pub(crate) fn best_in_namespaces() -> Result<Backend> {
    let ids = Ids::own();
    match own_processes(&ids) {
        Ok(()) => Ok(Backend::Namespaces),
        Err(_) => match user_namespace(&ids) {
            Ok(()) => Ok(Backend::Userns),
            Err(error) => Err(error.context("no back-end works here: see 'cernvm-fork probe'")),
        },
    }
}

fn tried(ids: &Ids, namespaces: libc::c_int, body: impl FnOnce() -> Result<()>) -> Result<()> {
    // The child's complaint goes through a pipe instead of to the error stream.
    let (reading, writing) = std::io::pipe().context("making a pipe")?;
    let child = child::start(ids, namespaces, || {
        let Err(error) = body() else { return Ok(0) };
        let _ = (&writing).write_all(format!("{error:#}").as_bytes());
        Ok(1)
    })?;
    drop(writing);
    let said = std::io::read_to_string(reading).unwrap_or_default();
    match child::end_of(child)? {
        0 => Ok(()),
        _ if said.is_empty() => bail!("the attempt ended without a word"),
        _ => bail!("{said}"),
    }
}

fn user_namespace(ids: &Ids) -> Result<()> {
    tried(ids, libc::CLONE_NEWNS, || {
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).context("making mounts private")
    })
}

fn own_processes(ids: &Ids) -> Result<()> {
    let namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
    tried(ids, namespaces, || mounts::fresh("proc", &[]).map(drop))
}

fn fuse(ids: &Ids) -> Result<()> {
    tried(ids, libc::CLONE_NEWNS, || mounts::fuse().map(drop))
}

/// Lays an empty layer over an empty directory, where instances would be.
fn overlay(ids: &Ids) -> Result<PathBuf> {
    let store = Store::open()?;
    // Under the lock nobody takes the layer for garbage, and the next sweep takes it.
    let locked = store.lock()?;
    let made = layer::make(&store.layers(), Form::Overlay, ids)?;
    let (files, work) = (made.files(&store.layers()), made.work(&store.layers()));
    let base = work.join("probe");
    let layers = Layers {
        place: base.join("place"),
        written: files,
        work: base.join("work"),
        read: Vec::new(),
        system: (base.join("below"), PathBuf::from(".")),
        places: base.join("places"),
    };
    for directory in [&layers.place, &layers.work, &layers.places, &base.join("below")] {
        std::fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    }
    let done = tried(ids, libc::CLONE_NEWNS, || layers.mount());
    locked.sweep()?;
    drop(locked);
    store.delete_gone()?;
    done.map(|()| store.base().to_owned())
}

fn finding(name: &'static str, purpose: &'static str, tried: Result<String>) -> Finding {
    let works = tried.is_ok();
    Finding { name, purpose, works, detail: tried.unwrap_or_else(|error| format!("{error:#}")) }
}

fn report() -> Report {
    let own = Ids::own();
    let made = |tried: Result<()>| tried.map(|()| "made one".to_owned());
    let users = Ids::best().and_then(|best| {
        tried(&best, 0, || Ok(()))?;
        if !best.has_others() {
            bail!("newuidmap and newgidmap are not installed, or /etc/subuid and /etc/subgid have nothing for you");
        }
        Ok(format!("{} users", best.users()))
    });
    let network = tried(&own, libc::CLONE_NEWNET, || Ok(()));
    let findings = vec![
        finding("user namespace", "--backend=namespaces and --backend=userns", made(user_namespace(&own))),
        finding("process namespace", "--backend=namespaces: a /proc of its own", made(own_processes(&own))),
        finding("network namespace", "--net=none", made(network)),
        finding("overlayfs", "layers", overlay(&own).map(|place| format!("in {}", place.display()))),
        finding("FUSE", "--os, and --cvmfs without cvmfs-run: repositories mounted inside", made(fuse(&own))),
        finding("interposer", "--backend=interposer: no namespace at all", interposer()),
        finding("other users", "files of others than you inside: package managers want them", users),
    ];
    let works = |name: &str| findings.iter().any(|found| found.name == name && found.works);
    let backend = match works("overlayfs") && works("user namespace") {
        true if works("process namespace") => Some(Backend::Namespaces.name()),
        true => Some(Backend::Userns.name()),
        false if works("interposer") => Some(Backend::Interposer.name()),
        false => None,
    };
    let mut advice = Vec::new();
    match backend {
        Some(backend) => advice.push(format!("Instances run here: cernvm-fork uses --backend={backend}.")),
        None => advice.push("Instances do not run here.".to_owned()),
    }
    if !works("user namespace") {
        advice.push(
            "User namespaces are switched off: user.max_user_namespaces, kernel.unprivileged_userns_clone (Debian), \
             kernel.apparmor_restrict_unprivileged_userns (Ubuntu), or the container's rules (seccomp). --backend=interposer needs none."
                .to_owned(),
        );
    } else if !works("process namespace") {
        advice.push(
            "A /proc of its own is refused, usually because parts of the container's own /proc are hidden: programs inside \
             see the processes of the host."
                .to_owned(),
        );
    }
    if works("user namespace") && !works("overlayfs") {
        advice.push(
            "overlayfs in user namespaces needs Linux 5.11 or later and a local file system with extended attributes: let \
             XDG_STATE_HOME name a directory on one."
                .to_owned(),
        );
    }
    Report { findings, backend, advice }
}

/// Tries everything and prints what was found.
pub(crate) fn run(out: &mut Output) -> Result<()> {
    let report = report();
    if out.json() {
        return out.print_json(&report);
    }
    for found in &report.findings {
        let answer = if found.works { "yes" } else { "no" };
        writeln!(out, "{answer:3}  {}: {} ({})", found.name, found.purpose, found.detail)?;
    }
    writeln!(out)?;
    for line in &report.advice {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
