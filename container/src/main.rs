//! `cernvm-fork`: isolated environments for ordinary users.
//!
//! | module | job |
//! |---|---|
//! | [`arguments`] | the command line |
//! | [`child`] | a process in namespaces of its own |
//! | [`commit`] | what an instance changed, as an archive |
//! | [`console`] | working in an instance that runs |
//! | [`cvmfs`] | how repositories come to be seen inside |
//! | [`description`] | what is kept about an instance |
//! | [`export`] | a container image in which instances are |
//! | [`ids`] | who the users inside are outside |
//! | [`interposed`] | instances without any namespace |
//! | [`kept`] | options that are kept with an instance |
//! | [`layer`] | what an instance wrote |
//! | [`layout`] | a root laid out by rules, of links and copies |
//! | [`list`] | which instances there are |
//! | [`mounted`] | what the host has mounted |
//! | [`name`] | what an instance may be called |
//! | [`probe`] | what this node allows |
//! | [`remove`] | deleting trees |
//! | [`run`] | starting an instance, from outside |
//! | [`sandbox`] | what its process does inside |
//! | [`say`](mod@say) | what the user is told |
//! | [`store`] | the directory of all instances |

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod arguments;
mod child;
mod commit;
mod console;
mod cvmfs;
mod description;
mod export;
mod ids;
mod interposed;
mod kept;
mod layer;
mod layout;
mod list;
mod mounted;
mod name;
mod probe;
mod remove;
mod run;
mod sandbox;
mod say;
mod served;
mod store;

use anyhow::Result;
use arguments::{Arguments, Command};
use child::OWN_FAILURE;
use clap::{CommandFactory as _, Parser as _};
use cvmfs_command::output::{Output, described, is_broken_pipe};
use name::Name;
use say::say;
use std::path::Path;
use std::process::ExitCode;
use store::Store;

fn main() -> ExitCode {
    close_inherited();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) => {
            // Help and version come this way, too, and are no failure.
            let code = if usage.use_stderr() { OWN_FAILURE } else { 0 };
            let _ = usage.print();
            return ExitCode::from(code);
        }
    };
    match carry_out(arguments) {
        Ok(status) => ExitCode::from(status),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say!("{}", described(&error));
            ExitCode::from(OWN_FAILURE)
        }
    }
}

/// What a caller forgot to close is not for the instance.
fn close_inherited() {
    // SAFETY: nothing in this process has opened anything yet.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
}

fn carry_out(arguments: Arguments) -> Result<u8> {
    match arguments.command {
        Some(Command::Probe { json }) => print(json, probe::run),
        Some(Command::List { json }) => print(json, list::run),
        Some(Command::Destroy { names }) => destroy(&names),
        Some(Command::Commit { name, archive }) => commit::run(&name, &archive),
        Some(Command::Export(what)) => export::run(&what),
        Some(Command::Layout(what)) => layout::run(&what),
        Some(Command::Serve(what)) => served::run(&what).map(|()| 0),
        Some(Command::Generate(what)) => cvmfs_command::generate::run(&what, Arguments::command()).map(|()| 0),
        None => match arguments.start.name.as_slice() {
            names if arguments.start.destroy => destroy(names),
            [name] if arguments.start.commit.is_some() => {
                commit::run(name, arguments.start.commit.as_deref().unwrap_or(Path::new("-")))
            }
            [name] if arguments.start.console => console::run(name, &arguments.start),
            _ => run::start(&arguments.start),
        },
    }
}

fn print(json: bool, what: impl FnOnce(&mut Output) -> Result<()>) -> Result<u8> {
    let mut out = Output::new(json, false);
    what(&mut out)?;
    out.finish()?;
    Ok(0)
}

fn destroy(names: &[Name]) -> Result<u8> {
    let store = Store::open()?;
    let locked = store.lock()?;
    for name in names {
        locked.destroy(name)?;
    }
    locked.sweep()?;
    drop(locked);
    store.delete_gone()?;
    Ok(0)
}
