//! `ucernvm-init`: the first process of a µCernVM, and the last.
//!
//! As `/init` of the initramfs it goes through the list in [`steps`] and becomes the operating system's own init. As
//! `/run/initramfs/shutdown` it takes apart what it had put together.
//!
//! | module | job |
//! |---|---|
//! | [`steps`] | the boot, as a list |
//! | [`modules`] | kernel modules |
//! | [`network`] | cards, addresses, routes |
//! | [`clock`] | the time |
//! | [`disks`] | what is on the disks, and which may be used |
//! | [`scratch`] | making, checking and mounting the scratch |
//! | [`contextualize`] | user data |
//! | [`repository`] | which snapshot, and mounting it |
//! | [`pin`] | what keeps a machine at its snapshot |
//! | [`inject`] | files that a context brings along |
//! | [`switch`] | overlay, and the way into the operating system |
//! | [`rescue`] | when it cannot go on |
//! | [`mod@shutdown`] | the end |
//! | [`console`] | what is shown |
//! | [`run`] | other programs |

mod clock;
mod console;
mod contextualize;
mod disks;
mod inject;
mod modules;
mod network;
mod pin;
mod repository;
mod rescue;
mod run;
mod scratch;
mod shutdown;
mod steps;
mod switch;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let name = arguments.next().unwrap_or_default();
    if std::process::id() != 1 {
        // By hand it would mount and format on the wrong machine.
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            b"ucernvm-init: this is the first process of a \xc2\xb5CernVM; 'ucernvm build' puts it into an image\n",
        );
        return ExitCode::FAILURE;
    }
    match Path::new(&name).file_name().and_then(|name| name.to_str()) {
        Some("shutdown") => shutdown::shut_down(arguments.next().as_deref()),
        _ => steps::boot(),
    }
}
