//! A host whose automounter mounts repositories when they are touched.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{ALL, INTERPOSER, User, script};
use cvmfs_tests::tools::{is_root, require_tool, skip};
use std::fs;
use std::process::{Command, Stdio};

/// A root directory of its own, in which `/cvmfs` can be made without the host's having it, then the automounter, then
/// the further arguments. `$0` is a directory to work in.
const HOST: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs none "$0"
mkdir "$0/up" "$0/work" "$0/root"
mount -t overlay -o "lowerdir=/,upperdir=$0/up,workdir=$0/work" none "$0/root"
for directory in proc dev sys tmp; do mount --rbind "/$directory" "$0/root/$directory"; done
cd "$0/root"
mkdir -p old cvmfs
pivot_root . old
umount -l old
# In a session of its own: who is of its process group gets nothing mounted.
setsid automount -f --pid-file "$1/pid" "$1/master" >"$1/said" 2>&1 </dev/null &
automounter=$!
trap 'kill $automounter; wait $automounter || true' EXIT
until grep -q ' /cvmfs autofs ' /proc/mounts; do kill -0 $automounter || { cat "$1/said"; exit 9; }; sleep 0.05; done
shift
"$@"
"#;

/// "A repository that the host has mounted is bound, read-only; it is touched first, so that an automounter mounts it." "Where the
/// automounter mounts nothing, that is said."
#[test]
fn a_repository_that_is_mounted_when_it_is_touched() {
    if !is_root() {
        return skip("only root can start an automounter");
    }
    let Some(_) = require_tool("automount") else { return };
    let Some(user) = User::with_interposer() else { return };
    let host = tempfile::tempdir().unwrap();
    let path = |name: &str| host.path().join(name);
    for directory in ["root", "repository", "autofs"] {
        fs::create_dir(path(directory)).unwrap();
    }
    fs::write(path("repository/README"), "hello\n").unwrap();
    script(
        &path("autofs/map"),
        &format!(
            "#!/bin/sh\n[ \"$1\" != there.test.example ] || echo '-fstype=bind,ro :{}'\n",
            path("repository").display()
        ),
    );
    fs::write(path("autofs/master"), format!("/cvmfs program:{}\n", path("autofs/map").display())).unwrap();
    let run = |line: Command| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "bash", "-c", HOST]).arg(path("root")).arg(path("autofs"));
        command.arg(line.get_program()).args(line.get_args());
        command.env_clear().envs(line.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
        let out = command.output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    let script = "ls /cvmfs; cat /cvmfs/there.test.example/README; ! touch /cvmfs/there.test.example/x 2>/dev/null";
    for (number, backend) in ALL.into_iter().enumerate() {
        let line = ["--cvmfs=there.test.example", backend, "--", "sh", "-ec", script];
        let (status, out, said) = run(user.new_instance(&format!("there-{number}"), &line));
        assert_eq!((status, out.as_str(), said.as_str()), (Some(0), "there.test.example\nhello\n", ""), "{backend}");
        if backend != INTERPOSER {
            let line =
                ["--cvmfs=absent.test.example", "-o", "CVMFS_SERVER_URL=http://127.0.0.1:1", backend, "--", "true"];
            let (_, _, said) = run(user.new_instance(&format!("absent-{number}"), &line));
            assert!(
                said.contains("did not mount /cvmfs/absent.test.example") || said.contains("cannot be shown"),
                "{said}"
            );
        }
    }
}
