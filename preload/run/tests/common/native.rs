//! The measure of all things: a tree that the kernel has really mounted, read-only, at its place below `/cvmfs`.

use cvmfs_tests::tools::{is_root, require_tool};
use std::path::Path;
use std::process::Command;

/// Makes a root of its own out of that of the host, in which the tree is mounted at `/cvmfs/<fqrn>`: a file system of
/// its own that is read-only in itself, as a mounted CernVM-FS is, and not only by a flag of its mount.
const SCRIPT: &str = r#"
set -e
new=$1 tree=$2 fqrn=$3
shift 3
mount -t tmpfs -o mode=755 root "$new"
cd /
for name in * .[!.]*; do
    if [ -L "$name" ]; then ln -s "$(readlink "$name")" "$new/$name"
    elif [ -d "$name" ] && [ "$name" != cvmfs ]; then mkdir "$new/$name"; mount --rbind "/$name" "$new/$name"
    fi
done
mkdir "$new/cvmfs"
mount -t tmpfs -o mode=755 cvmfs "$new/cvmfs"
mkdir "$new/cvmfs/$fqrn"
mount -t tmpfs -o mode=755 tree "$new/cvmfs/$fqrn"
cp -a "$tree/." "$new/cvmfs/$fqrn/"
mount --options-mode ignore -o remount,ro "$new/cvmfs/$fqrn"
touch -d @0 "$new/cvmfs"
mount --options-mode ignore -o remount,ro "$new/cvmfs"
touch -r / "$new"
exec chroot "$new" "$@"
"#;

/// A command that runs its further arguments where `tree` is mounted at `/cvmfs/<fqrn>`. `place` is an empty directory.
/// `None` where nothing can be mounted, which fails the test where tools are required.
pub(crate) fn mounted(place: &Path, tree: &Path, fqrn: &str) -> Option<Command> {
    let unshare = require_tool("unshare")?;
    let kind = if is_root() { "-m" } else { "-Urm" };
    let command = || {
        let mut command = Command::new(&unshare);
        command.args([kind, "bash", "-c", SCRIPT, "mounted"]).arg(place).arg(tree).arg(fqrn);
        command
    };
    let out = command().arg("true").output().unwrap();
    if !out.status.success() {
        let message = String::from_utf8_lossy(&out.stderr).into_owned();
        cvmfs_tests::tools::skip(&format!("nothing can be mounted here: {message}"));
        return None;
    }
    Some(command())
}

/// The prefix of a command that makes the caller root, if only in its own eyes: the tree belongs to root.
pub(crate) fn as_root() -> Vec<&'static str> {
    if is_root() { Vec::new() } else { vec!["unshare", "-Ur"] }
}
