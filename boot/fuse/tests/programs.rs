//! What the mount is to programs: permissions, owners, what it says of itself, what it keeps in memory.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::stage::{FQRN, Stage};
use common::{SMALL, User, eventually, output, text};
use cvmfs_tests::forge::Forge;
use cvmfs_tests::tools::is_root;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

/// "The kernel judges by the permission bits who may read, search and run; with `CVMFS_CHECK_PERMISSIONS=no` everybody may
/// what root may."
#[test]
fn permissions_are_the_kernels_business() {
    if !is_root() {
        return cvmfs_tests::tools::skip("only root can become somebody else");
    }
    for (checks, expected) in [("yes", "denied denied read"), ("no", "read listed read")] {
        let Some(user) = User::of_small() else { return };
        let user = user.option("CVMFS_CHECK_PERMISSIONS", checks);
        let mount = user.mount(SMALL);
        fs::set_permissions(user.home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let script = "cat modes/f_0000 >/dev/null 2>&1 && echo -n 'read ' || echo -n 'denied '
            ls modes/d_0700 >/dev/null 2>&1 && echo -n 'listed ' || echo -n 'denied '
            cat .cvmfsdirtab >/dev/null 2>&1 && echo -n read || echo -n denied";
        let mut command = Command::new(cvmfs_tests::tools::SOMEBODY_ELSE[0]);
        command.args(&cvmfs_tests::tools::SOMEBODY_ELSE[1..]).args(["sh", "-c", script]).current_dir(&mount.place);
        assert_eq!(text(&mut command), expected, "{checks}");
    }
}

/// "`statfs` tells FUSE, read-only, and a number of blocks that is not zero."
#[test]
fn the_file_system_says_what_it_is() {
    let Some(user) = User::of_small() else { return };
    let mount = user.mount(SMALL);
    assert_eq!(text(Command::new("stat").args(["-f", "-c", "%t %l"]).arg(&mount.place)), "65735546 255\n");
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let line = mounts.lines().find(|line| line.contains(mount.place.to_str().unwrap())).unwrap();
    assert!(line.starts_with("cvmfs2 ") && line.contains(" fuse ro,"), "{line}");
    assert!(text(Command::new("df").arg(&mount.place)).contains("4294967296"));
}

/// "Programs run out of it, and find themselves under their own names."
#[test]
fn programs_run() {
    let Some(stage) = Stage::of(
        Forge::new(FQRN)
            .file("/bin/true", fs::read("/bin/true").unwrap())
            .mode(0o755)
            .file("/bin/readlink", fs::read(fs::canonicalize("/bin/readlink").unwrap()).unwrap())
            .mode(0o755)
            .file("/bin/script", "#!/bin/sh\necho \"$0\"\n")
            .mode(0o755)
            .file("/bin/none", "#!/bin/sh\n"),
    ) else {
        return;
    };
    let mount = stage.user().mount(FQRN);
    output(&mut Command::new(mount.path("bin/true")));
    let own = text(Command::new(mount.path("bin/readlink")).arg("/proc/self/exe"));
    assert_eq!(Path::new(own.trim_end()), mount.path("bin/readlink"));
    assert_eq!(text(&mut Command::new(mount.path("bin/script"))), format!("{}\n", mount.path("bin/script").display()));
    assert_eq!(Command::new(mount.path("bin/none")).spawn().unwrap_err().raw_os_error(), Some(libc::EACCES));
}

/// "What the kernel forgets is forgotten here, too."
#[test]
fn memory_is_given_back() {
    if !is_root() {
        return cvmfs_tests::tools::skip("only root can make the kernel forget");
    }
    let Some(user) = User::of_small() else { return };
    let mount = user.mount(SMALL);
    let known = || {
        let said = text(&mut mount.ask("--status"));
        said.split(' ').nth(2).unwrap().parse::<usize>().unwrap()
    };
    output(Command::new("find").arg(&mount.place).args(["-printf", "%s"]));
    assert!(known() > 2000, "{}", known());
    eventually("the kernel has forgotten", || {
        fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
        known() == 1
    });
    output(Command::new("find").arg(&mount.place).args(["-printf", "%s"]));
}

/// "Owners are those of the catalog, after `CVMFS_UID_MAP` and `CVMFS_GID_MAP`, or, with `CVMFS_CLAIM_OWNERSHIP`, the user who mounts."
#[test]
fn owners_can_be_translated() {
    let Some(stage) = Stage::of(Forge::new(FQRN).file("/a", "").owner(7, 8).file("/b", "").owner(9, 9)) else { return };
    let owners = |user: User| {
        let mount = user.mount(FQRN);
        ["a", "b"].map(|name| fs::metadata(mount.path(name)).map(|found| (found.uid(), found.gid())).unwrap())
    };
    assert_eq!(owners(stage.user()), [(7, 8), (9, 9)]);
    let claimed = (libcvmfs::identity::user(), libcvmfs::identity::group());
    assert_eq!(owners(stage.user().option("CVMFS_CLAIM_OWNERSHIP", "yes")), [claimed; 2]);
    let user = stage.user();
    fs::write(user.path("users"), "7 1007\n* 65534\n").unwrap();
    fs::write(user.path("groups"), "8 1008\n").unwrap();
    let (users, groups) = (user.path("users").display().to_string(), user.path("groups").display().to_string());
    let user = user.option("CVMFS_UID_MAP", &users).option("CVMFS_GID_MAP", &groups);
    assert_eq!(owners(user), [(1007, 1008), (65534, 9)]);
}
