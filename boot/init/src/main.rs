//! `ucernvm-init`: the first process of a µCernVM, and the last.
//!
//! As `/init` of the initramfs it goes through the list in [`steps`] and becomes the operating system's own init. As
//! `/run/initramfs/shutdown` it takes apart what it had put together. As `cernvm-update` it is a command of the operating system.
//! And it is `cvmfs-mount`, which serves the tree: one program has what both need only once.
//!
//! | module | job |
//! |---|---|
//! | [`steps`] | the boot, as a list |
//! | [`modules`] | kernel modules |
//! | [`kexec`] | another kernel |
//! | [`network`] | cards, addresses, routes |
//! | [`clock`] | the time |
//! | [`cluster`] | machines that find their head node |
//! | [`disks`] | what is on the disks, and which may be used |
//! | [`scratch`] | making, checking and mounting the scratch |
//! | [`contextualize`] | user data |
//! | [`repository`] | which snapshot, and mounting it |
//! | [`core_files`] | what is in the cache before the system starts |
//! | [`inject`] | files that a context brings along |
//! | [`roles`] | what the system starts |
//! | [`switch`] | overlay, and the way into the operating system |
//! | [`rescue`] | when it cannot go on |
//! | [`mod@shutdown`] | the end |
//! | [`units`] | units of systemd |
//! | [`update`] | `cernvm-update`, for the system that runs |
//! | [`console`] | what is shown |
//! | [`run`] | other programs |

mod clock;
mod cluster;
mod console;
mod contextualize;
mod core_files;
mod disks;
mod inject;
mod kexec;
mod modules;
mod network;
mod repository;
mod rescue;
mod roles;
mod run;
mod scratch;
mod shutdown;
mod steps;
mod switch;
mod units;
mod update;

use cvmfs_fuse::command::{PROGRAM, SPARED};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let name = arguments.next().unwrap_or_default();
    let name = Path::new(&name).file_name().and_then(|name| name.to_str());
    match name {
        Some(PROGRAM | SPARED) => cvmfs_fuse::command::run(),
        Some("cernvm-update") => update::main(&arguments.collect::<Vec<_>>()),
        Some(cluster::READY) => cluster::say_ready(),
        _ if std::process::id() != 1 => {
            // By hand it would mount and format on the wrong machine.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                b"ucernvm-init: this is the first process of a \xc2\xb5CernVM; 'ucernvm build' puts it into an image\n",
            );
            ExitCode::FAILURE
        }
        Some("shutdown") => shutdown::shut_down(arguments.next().as_deref()),
        _ => steps::boot(),
    }
}
