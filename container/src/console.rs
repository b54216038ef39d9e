//! Working in an instance that is there: a login shell, or another program, beside what runs in it.

use crate::arguments::{Backend, Start};
use crate::cvmfs;
use crate::description::{Description, Form};
use crate::name::Name;
use crate::run::{self, Signals, program_of, variables};
use crate::sandbox::init;
use crate::sandbox::program::{self, Program};
use crate::store::Store;
use anyhow::{Context as _, Result, bail};
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, Signal, pidfd_open, set_dumpable_behavior};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

/// From the process that started an instance to its program: process 1, and what that one starts.
const DEEPEST: usize = 3;

/// Works in the instance `name`: beside what runs there, or starts it. Gives the exit status of the program.
pub(crate) fn run(name: &Name, start: &Start) -> Result<u8> {
    let start = Start { fast: true, ..start.clone() };
    run::refuse_directories()?;
    let store = Store::open()?;
    let locked = store.lock()?;
    let description = locked.read(name)?;
    let running = locked.running(name);
    drop(locked);
    match running {
        None => run::start(&start),
        Some(_) if description.form == Form::Interposed => bail!(
            "'{name}' is running without namespaces, and there is nothing that could be entered: programs find themselves in it \
             because they were started in it. Start another one from there, or end it first"
        ),
        Some(by) => enter(name, by, &description, &description.kept.below(&start)),
    }
}

/// Runs a program in the namespaces of an instance that the process `by` has started.
fn enter(name: &Name, by: u32, description: &Description, start: &Start) -> Result<u8> {
    let (inside, namespaces) =
        inside(by).with_context(|| format!("looking for the programs of '{name}' (process {by})"))?;
    if !namespaces.contains(ThreadNameSpaceType::PROCESS_ID) {
        bail!(
            "'{name}' is running without a process namespace (--backend=userns): what was started in it now would not end with \
             it. End it first"
        );
    }
    let provision = cvmfs::provide(start, Backend::Namespaces)?;
    let (named, arguments) = program_of(start);
    let more = provision.environment.into_iter().chain(variables(start)).collect();
    let mut program = Program {
        name: named,
        arguments,
        outside: None,
        is_init: false,
        shown_by: provision.shown_by,
        environment: program::environment(name.as_str(), more),
    };
    // Inside, the user has another number.
    let can_set_groups = description.ids.can_set_groups();
    let signals = Signals::block()?;
    // Programs inside have no say in this process.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("hiding this process")?;
    let process = pidfd_open(inside, PidfdFlags::empty()).context("holding the instance")?;
    move_into_thread_name_spaces(process.as_fd(), namespaces).with_context(|| format!("entering '{name}'"))?;
    if can_set_groups {
        rustix::thread::set_thread_groups(&[]).context("leaving the host's groups")?;
    }
    program.bring_in()?;
    let mut command = program.command();
    // SAFETY: one system call, between fork and exec.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            io::Result::Ok(())
        })
    };
    match command.spawn() {
        Ok(child) => signals.accompany_program(&child),
        Err(error) => Ok(init::failed(&program, &error)),
    }
}

/// A program below the process `by` that is in other namespaces, and which of them are others than those here.
fn inside(by: u32) -> Result<(Pid, ThreadNameSpaceType)> {
    let mut level = vec![by];
    for _ in 0..DEEPEST {
        level = level.into_iter().flat_map(children).collect();
        for &process in &level {
            let others = other_namespaces(process).unwrap_or(ThreadNameSpaceType::empty());
            if others.contains(ThreadNameSpaceType::USER)
                && is_program(process)
                && let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw)
            {
                return Ok((process, others));
            }
        }
    }
    bail!("there is none yet, or none any more")
}

/// Whether it is something else than a process of this program that still makes the inside.
fn is_program(process: u32) -> bool {
    let file =
        |process: &str| fs::metadata(format!("/proc/{process}/exe")).map(|found| (found.dev(), found.ino())).ok();
    file(&process.to_string()) != file("self")
}

fn children(process: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// In which namespaces a process is and this one is not. Only who could look into the process may know: that is no
/// process which sets an instance up, but each program in it.
fn other_namespaces(process: u32) -> io::Result<ThreadNameSpaceType> {
    let kinds = [
        ("user", ThreadNameSpaceType::USER),
        ("mnt", ThreadNameSpaceType::MOUNT),
        ("pid", ThreadNameSpaceType::PROCESS_ID),
        ("uts", ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME),
        ("ipc", ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION),
        ("net", ThreadNameSpaceType::NETWORK),
    ];
    let mut others = ThreadNameSpaceType::empty();
    for (name, kind) in kinds {
        let of = |process: &str| fs::read_link(PathBuf::from(format!("/proc/{process}/ns/{name}")));
        if of(&process.to_string())? != of("self")? {
            others |= kind;
        }
    }
    Ok(others)
}
