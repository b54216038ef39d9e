//! What single calls cost: native, native under the shim, and below `/cvmfs`. Prints nanoseconds and ratios.
//!
//! Without a supervisor there is no filter; that adds 30 to 60 ns to each system call.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{SMALL, Session, output};
use std::path::Path;
use std::process::Command;

fn main() {
    let session = Session::warm();
    let Some(compiler) = cvmfs_tests::tools::require_tool("cc") else { return };
    let program = session.home.path().join("calls");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/calls.c");
    output(Command::new(compiler).args(["-D_GNU_SOURCE", "-w", "-O2", "-o"]).arg(&program).arg(source));
    // A native tree of the same shape: as many components as the virtual one.
    let copy = session.home.path().canonicalize().unwrap().join("copy");
    let below = copy.join("a");
    std::fs::create_dir_all(&below).unwrap();
    let real = session.name(b"");
    output(Command::new("cp").arg("-r").arg(real.join("nested")).arg(real.join("files")).arg(&below));
    let measure = |mut command: Command, root: &str| -> Vec<(String, f64)> {
        let (file, link) = (format!("{root}/nested/a/b/c/file00"), format!("{root}/nested/a/b/link"));
        let arguments = [&file, &link, &format!("{root}/files"), &format!("{root}/nested/a/b/nope")];
        let out = output(command.args(arguments));
        let text = String::from_utf8(out.stdout).unwrap();
        let line = |line: &str| {
            let (name, time) = line.split_once(' ').unwrap();
            (name.to_owned(), time.parse().unwrap())
        };
        text.lines().map(line).collect()
    };
    let native = below.display().to_string();
    let bare = || {
        let mut command = Command::new(&program);
        command.current_dir("/");
        command
    };
    let rows = [
        measure(bare(), &native),
        measure(session.command(&program), &native),
        measure(session.command(&program), SMALL),
    ];
    println!("{:<26}{:>10}{:>14}{:>8}{:>12}{:>8}", "ns per call", "native", "with shim", "ratio", "/cvmfs", "ratio");
    for ((name, native), ((_, shim), (_, ours))) in rows[0].iter().zip(rows[1].iter().zip(&rows[2])) {
        println!("{name:<26}{native:>10.0}{shim:>14.0}{:>8.2}{ours:>12.0}{:>8.2}", shim / native, ours / native);
    }
}
