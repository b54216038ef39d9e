//! Ways out that are closed. The promises are those of `SECURITY.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{BACKENDS, User, output, text};
use cvmfs_tests::tools::{compile, is_root};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// A user with a hostile program in the tree.
fn user() -> Option<User> {
    let user = User::new()?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/hostile.c");
    compile("cc", &["-static"], &[source], &user.tree().join("bin/hostile")).then_some(user)
}

/// `..`, `chroot`, `/proc`, descriptors, tracing, mounts, devices, typing: nothing works.
#[test]
fn a_hostile_program_stays_inside() {
    let Some(user) = user() else { return };
    let secret = user.home.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    user.made("x", "true");
    for backend in BACKENDS {
        let secret = secret.display().to_string();
        let arguments = ["x", "--fast", backend, "--", "/bin/hostile", &secret];
        assert_eq!(text(&mut user.fork(&arguments)), "done\n", "{backend}");
        // On a terminal, into which it could type.
        let line = format!("exec {} {}", user.program().display(), arguments.join(" "));
        let said = text(user.command("script").args(["-qec", &line, "/dev/null"]).env("SHELL", "/bin/sh"));
        assert_eq!(said.trim(), "done", "{backend}");
    }
}

/// What the caller forgot to close does not come in.
#[test]
fn descriptors_of_the_caller_stay_outside() {
    let Some(user) = user() else { return };
    user.made("x", "true");
    let lists = format!("exec {} x --fast -- ls /proc/self/fd", user.program().display());
    let with = format!("exec 27</; {lists}");
    // 3 is the directory that `ls` reads.
    assert_eq!(text(user.command("bash").args(["-c", &with])), "0\n1\n2\n3\n");
}

/// Links that an instance left behind are followed inside only: at the next start, by `commit` and by `destroy`.
#[test]
fn links_are_followed_inside_only() {
    let Some(user) = user() else { return };
    let victim = user.home.path().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("file"), "kept").unwrap();
    user.give(&victim);
    let path = victim.display();
    let traps = format!(
        "for d in dev proc sys run tmp cvmfs; do rmdir /$d 2>/dev/null || true; done; rm -r /etc; ln -s {path} /etc; ln -s {path} /link; \
         ln -s {path}/.. /up; mkdir -p {path}; ln -s / {path}/root"
    );
    // The name servers are mounted upon a file in /etc otherwise.
    text(&mut user.new_instance("x", &["--net=none", "--", "sh", "-ec", &traps]));
    let again =
        format!("mkdir -p {path}; echo inside > /etc/file; echo inside > /etc/written; cat /link/file; ls {path}");
    assert_eq!(user.sh("x", &again), "inside\nfile\nwritten\n");
    output(user.fork(&["commit", "x", "-"]).stdout(std::process::Stdio::piped()));
    output(&mut user.fork(&["destroy", "x"]));
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(victim.join("file")).unwrap(), "kept");
}

/// The layer and the store cannot be replaced by links of somebody else's: they are closed to all others.
#[test]
fn the_store_is_closed_to_others() {
    let Some(user) = user() else { return };
    user.made("x", "true");
    for inner in ["", ".layers", ".gone", "x"] {
        assert_eq!(fs::metadata(user.store().join(inner)).unwrap().permissions().mode() & 0o077, 0, "{inner}");
    }
}

/// Programs that are set-user-ID gain nothing, also those of root.
#[test]
fn set_user_id_programs_gain_nothing() {
    let Some(user) = user() else { return };
    let reads = user.tree().join("bin/reads");
    cvmfs_tests::tools::copy_program(user.tree().join("bin/busybox"), &reads);
    fs::set_permissions(&reads, fs::Permissions::from_mode(0o4755)).unwrap();
    if is_root() {
        // A file that only root of the host reads, and a program of root's.
        std::os::unix::fs::chown(&reads, Some(0), Some(0)).unwrap();
        fs::set_permissions(&reads, fs::Permissions::from_mode(0o4755)).unwrap();
        let secret = user.tree().join("secret");
        fs::write(&secret, "secret").unwrap();
        std::os::unix::fs::chown(&secret, Some(0), Some(0)).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let said = user.made(
        "x",
        "grep -E '^(Uid|CapEff|NoNewPrivs)' /proc/self/status > /tmp/a; ln -s /bin/reads /tmp/grep; \
        /tmp/grep -E '^(Uid|CapEff|NoNewPrivs)' /proc/self/status > /tmp/b; cmp /tmp/a /tmp/b && echo the same; \
        ln -s /bin/reads /tmp/cat; /tmp/cat /secret 2>/dev/null || echo closed",
    );
    assert_eq!(said, "the same\nclosed\n");
}
