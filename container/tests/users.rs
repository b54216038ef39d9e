//! More users than one inside, where `/etc/subuid` and `/etc/subgid` give some to the caller.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{User, output, text};
use cvmfs_tests::tools::{is_root, require_tool};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

/// "Where `newuidmap` works, files can belong to other users inside; they are those of `/etc/subuid` outside. `commit` writes the
/// numbers inside, and `destroy` deletes all of them. Elsewhere there is only root inside, and files of others are `nobody`'s."
#[test]
fn files_of_other_users() {
    let Some(user) = User::new() else { return };
    // Only root can give somebody users, and knows somebody who has none.
    if !is_root() || require_tool("newuidmap").is_none() {
        return;
    }
    assert_eq!(
        user.made("alone", "chown 5:7 /etc/passwd 2>/dev/null || echo refused; cat /proc/self/uid_map | wc -l"),
        "refused\n1\n"
    );
    let given = user.home.path().join("given");
    fs::write(&given, "nobody:300000:1000\n").unwrap();
    // A machine whose administrator has given users to this one.
    let machine = |command: &Command| {
        let script = format!(
            "mount --make-rprivate / && for f in subuid subgid; do mount --bind {} /etc/$f; done && exec \"$@\"",
            given.display()
        );
        let mut whole = Command::new("unshare");
        whole.args(["--mount", "sh", "-ec", &script, "sh"]).arg(command.get_program()).args(command.get_args());
        whole.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir("/");
        whole
    };
    let script = "mkdir -p /d/closed; touch /d/closed/file; chown -R 5:7 /d; chmod 700 /d/closed; chmod 000 /d/closed/file; \
        stat -c '%u %g' /d/closed; grep ^Groups: /proc/self/status | tr -d '\\t '";
    assert_eq!(text(&mut machine(&user.new_instance("x", &["--", "sh", "-ec", script]))), "5 7\nGroups:\n");
    let layers =
        || fs::read_dir(user.store().join(".layers")).unwrap().map(|entry| entry.unwrap().path().join("fs/d/closed"));
    let outside = layers().find_map(|path| fs::metadata(path).ok()).unwrap();
    assert_eq!((outside.uid(), outside.gid()), (300_004, 300_006));
    assert_eq!(
        text(&mut machine(&user.fork(&["x", "--fast", "--", "stat", "-c", "%u %g", "/d/closed/file"]))),
        "5 7\n"
    );
    let archive = output(&mut machine(&user.fork(&["commit", "x", "-"]))).stdout;
    fs::write(user.home.path().join("x.tar"), archive).unwrap();
    let listed = text(Command::new("tar").arg("-tvf").arg(user.home.path().join("x.tar")));
    assert!(listed.lines().any(|line| line.contains(" 5/7 ") && line.ends_with(" d/closed/file")), "{listed}");
    output(&mut machine(&user.fork(&["destroy", "x"])));
    assert_eq!(layers().count(), 1, "that of the other instance");
    assert_eq!(fs::read_dir(user.store().join(".gone")).unwrap().count(), 0);
}
