//! Programs of the system that a test needs.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Set to `1` where every tool is installed (continuous integration): a missing one is then a failure.
pub const REQUIRE_TOOLS: &str = "CVMFS_TESTS_REQUIRE_TOOLS";

/// The path of program `name`, looked for in `PATH` and in the directories of system programs.
///
/// When it is missing this prints a loud `SKIPPED` line and returns `None`, so that the test can end early;
/// with [`REQUIRE_TOOLS`] set to `1` it panics instead.
pub fn require_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file());
    if found.is_none() {
        skip(&format!("program '{name}' is not installed"));
    }
    found
}

/// Runs its further arguments as somebody who is not root, and nobody's friend. Only root can do this.
pub const SOMEBODY_ELSE: [&str; 6] = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];

/// A shell script that lets everybody use `/dev/fuse`, as on most machines, in a mount namespace of its own, and then
/// runs its arguments; `$0` is a file that it may make. Only root can run it, below `unshare --mount`.
pub const WITH_FUSE: &str = "set -e; mount --make-rprivate /; if [ \"$(stat -c %a /dev/fuse)\" != 666 ]; then \
                             [ -e \"$0\" ] || mknod \"$0\" c 10 229; chmod 666 \"$0\"; \
                             mount --bind \"$0\" /dev/fuse; fi; exec \"$@\"";

/// Whether who runs the tests may mount through FUSE; as [`require_tool`] where he may not.
pub fn require_fuse() -> bool {
    if let Err(error) = std::fs::File::options().read(true).write(true).open("/dev/fuse") {
        skip(&format!("/dev/fuse: {error}"));
        return false;
    }
    is_root() || require_tool("fusermount3").is_some()
}

/// Whether root runs the tests.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// Copies a program that is to be started.
///
/// Another process copies: what this one starts meanwhile, in other threads, would have the copy open for writing, and the
/// kernel starts nothing that is (`ETXTBSY`).
///
/// # Panics
/// When it cannot be copied.
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    output(Command::new("cp").arg("--").arg(from.as_ref()).arg(to.as_ref()));
}

/// Says loudly that a test cannot run here, or fails it where [`REQUIRE_TOOLS`] is `1`.
pub fn skip(reason: &str) {
    assert!(std::env::var(REQUIRE_TOOLS).as_deref() != Ok("1"), "{reason}, and {REQUIRE_TOOLS}=1");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // What macros print is kept from who runs the tests, unless they fail; what is written in parts is mixed with what others say.
    let _ = std::io::stderr().write_all(format!("SKIPPED: {test}: {reason}\n").as_bytes());
}

/// Compiles C with `compiler` (a program such as `cc`) into `program`; false where the compiler is missing.
///
/// # Panics
/// When it does not compile.
pub fn compile(compiler: &str, flags: &[&str], sources: &[PathBuf], program: &Path) -> bool {
    let Some(compiler) = require_tool(compiler) else { return false };
    let mut command = Command::new(compiler);
    command.args(["-D_GNU_SOURCE", "-w", "-O1", "-pthread"]).args(flags).arg("-o").arg(program).args(sources);
    output(command.arg("-ldl"));
    true
}

/// Runs a command that must succeed and gives its output.
///
/// # Panics
/// When it cannot be started or fails.
pub fn output(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "run by the test below"]
    fn skipped() {
        skip("no reason");
    }

    #[test]
    fn what_is_skipped_is_said_though_it_passes() {
        let mut tests = Command::new(std::env::current_exe().expect("the path of this program"));
        tests.args(["--exact", "--ignored", "tools::tests::skipped"]).env_remove(REQUIRE_TOOLS);
        let said = output(&mut tests).stderr;
        assert!(String::from_utf8_lossy(&said).contains("SKIPPED: tools::tests::skipped: no reason\n"));
    }
}
