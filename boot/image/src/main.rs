//! `ucernvm`: builds images that boot an operating system out of CernVM-FS, and tries them.
//!
//! | module | job |
//! |---|---|
//! | [`arguments`] | the command line |
//! | [`build`](mod@build) | from a kernel and some programs to an image |
//! | [`kernel`] | where the kernel comes from |
//! | [`modules`] | which of its modules come along |
//! | [`programs`] | programs of this machine, with their libraries |
//! | [`initramfs`] | the archive that the kernel unpacks |
//! | [`menu`] | what is asked before the kernel starts |
//! | [`image`] | files to boot from |
//! | [`esp`] | the part of those that is for UEFI |
//! | [`iso9660`] | where files lie in one of those |
//! | [`disk`] | the same as disks of hypervisors |
//! | [`ova`] | such a disk with the description of a machine |
//! | [`unified`] | kernel, initramfs and command line as one program of UEFI |
//! | [`pack`] | a loader for machines that boot another image |
//! | [`report`] | how large all that is |
//! | [`run`] | a machine to try it in |
//! | [`tools`] | programs of this machine that do parts of the work |

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod arguments;
mod build;
mod disk;
mod esp;
mod image;
mod initramfs;
mod iso9660;
mod kernel;
mod menu;
mod modules;
mod ova;
mod pack;
mod programs;
mod report;
mod run;
mod tools;
mod unified;

use anyhow::Result;
use arguments::{Arguments, Command};
use clap::{CommandFactory as _, Parser as _};
use cvmfs_command::output::{described, is_broken_pipe, say};
use std::process::ExitCode;

fn main() -> ExitCode {
    match carry_out(Arguments::parse()) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("ucernvm: {}", described(&error)));
            ExitCode::FAILURE
        }
    }
}

fn carry_out(arguments: Arguments) -> Result<ExitCode> {
    match arguments.command {
        Command::Build(arguments) => build::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Run(arguments) => run::run(&arguments),
        Command::Generate(what) => {
            cvmfs_command::generate::run(&what, Arguments::command()).map(|()| ExitCode::SUCCESS)
        }
    }
}
