//! What becomes of a mounted repository when it changes.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::stage::{FQRN, Stage};
use common::{eventually, text};
use cvmfs_tests::forge::Forge;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::{DirEntryExt as _, FileExt as _, MetadataExt as _};
use std::process::{Command, Stdio};

fn revision(number: u64, ttl: u64) -> Forge {
    // Of one length: only the content tells them apart.
    let long = format!("{number}").repeat(100_000);
    let forge = Forge::new(FQRN)
        .revision(number)
        .ttl(ttl)
        .file("/dir/version", format!("revision {number}\n"))
        .file("/dir/long", long)
        .file("/dir/closed", format!("{number}").repeat(20_000))
        .file("/dir/same", "always the same\n")
        .file(format!("/dir/only{number}"), "")
        .symlink("/dir/link", format!("only{number}"))
        .nested("/nested")
        .file("/nested/version", format!("nested {number}\n"));
    if number == 1 { forge.file("/going/file", "gone soon\n") } else { forge }
}

/// "A newer revision is looked for when the time to live of the root catalog is over. What is open stays what it was; everything else is the
/// newest revision."
#[test]
fn a_new_revision_appears_while_what_is_open_stays() {
    let Some(stage) = Stage::of(revision(1, 1)) else { return };
    let user = stage.user();
    let mount = user.mount(FQRN);
    let path = |name: &str| mount.path("dir").join(name);
    let number = |name: &str| fs::metadata(path(name)).unwrap().ino();
    let numbers = [number("version"), number("long"), number("same"), number(".")];
    let mut open = File::open(path("version")).unwrap();
    let long = File::open(path("long")).unwrap();
    // The kernel has all pages of this one, and nobody has it open.
    assert_eq!(mount.read("dir/closed").unwrap(), "1".repeat(20_000));
    let names = || {
        let mut names: Vec<_> = fs::read_dir(path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    for _ in 0..2 {
        assert_eq!(names(), ["closed", "link", "long", "only1", "same", "version"]);
    }
    let mut page = [0; 4096];
    long.read_exact_at(&mut page, 0).unwrap();
    // A shell in the directory, and one in a directory that goes.
    let shell = |directory: &str| {
        let mut shell = Command::new("bash");
        shell.current_dir(mount.path(directory)).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let (stays, goes) = (shell("dir"), shell("going"));
    assert_eq!(fs::read_link(path("link")).unwrap().to_str(), Some("only1"));
    revision(2, 1).publish(stage.web.path());
    eventually("revision 2", || mount.read("dir/version").unwrap() == "revision 2\n");
    assert_eq!(mount.read("nested/version").unwrap(), "nested 2\n");
    assert_eq!(mount.read("dir/long").unwrap(), "2".repeat(100_000));
    assert_eq!(mount.read("dir/closed").unwrap(), "2".repeat(20_000), "pages of what was there before");
    assert_eq!(names(), ["closed", "link", "long", "only2", "same", "version"], "a listing of what was there before");
    // Also where the kernel had no page yet, and in a second reading.
    let mut old = String::new();
    open.read_to_string(&mut old).unwrap();
    assert_eq!(old, "revision 1\n");
    open.rewind().unwrap();
    let mut whole = vec![0; 100_000];
    long.read_exact_at(&mut whole, 0).unwrap();
    assert!(whole.iter().all(|byte| *byte == b'1'), "pages of two revisions are mixed");
    assert_eq!(fs::read_link(path("link")).unwrap().to_str(), Some("only2"));
    assert!(!path("only1").exists() && path("only2").exists() && !mount.path("going").exists());
    // "Inode numbers stay, also of what changed."
    assert_eq!([number("version"), number("long"), number("same"), number(".")], numbers);
    for entry in fs::read_dir(mount.path("dir")).unwrap().map(Result::unwrap) {
        let is_open = ["version", "long", "link"].contains(&entry.file_name().to_str().unwrap());
        assert!(is_open || entry.ino() == entry.metadata().unwrap().ino(), "{entry:?}");
    }
    // "A working directory goes on into the newest revision; one that is gone there stays what it was."
    let says = |mut shell: std::process::Child, script: &str| {
        std::io::Write::write_all(&mut shell.stdin.take().unwrap(), script.as_bytes()).unwrap();
        String::from_utf8(shell.wait_with_output().unwrap().stdout).unwrap()
    };
    let pwd = format!("{}\n", mount.path("dir").display());
    assert_eq!(
        says(stays, "/bin/pwd; cat version; ls; cd ..; ls"),
        format!("{pwd}revision 2\nclosed\nlink\nlong\nonly2\nsame\nversion\ndir\nnested\n")
    );
    assert_eq!(says(goes, "cat file; ls"), "gone soon\nfile\n");
    drop((open, long));
    // When nobody has the old one open any more, nothing is left of it.
    revision(3, 1).publish(stage.web.path());
    eventually("revision 3", || mount.read("dir/version").unwrap() == "revision 3\n");
    assert_eq!(mount.read("dir/long").unwrap(), "3".repeat(100_000));
    assert_eq!([number("version"), number("long"), number("same"), number(".")], numbers);
}

/// "`--reload`, and the signal HUP, look at once; names that the kernel knew, absent ones too, are looked up again (Linux 6.16)."
#[test]
fn a_revision_can_be_asked_for() {
    let Some(stage) = Stage::of(revision(1, 100_000)) else { return };
    let mount = stage.user().mount(FQRN);
    let look =
        || (mount.read("dir/version").unwrap(), mount.path("dir/only2").exists(), mount.path("dir/only3").exists());
    assert_eq!(look(), ("revision 1\n".to_owned(), false, false));
    assert_eq!(text(&mut mount.ask("--reload")), "still revision 1\n");
    revision(2, 100_000).publish(stage.web.path());
    let asked = stage.server.paths().len();
    for _ in 0..3 {
        assert_eq!(look(), ("revision 1\n".to_owned(), false, false), "the kernel asks nobody before the time is over");
    }
    assert_eq!(stage.server.paths().len(), asked);
    assert_eq!(text(&mut mount.ask("--reload")), "revision 2\n");
    assert_eq!(look(), ("revision 2\n".to_owned(), true, false));
    revision(3, 100_000).publish(stage.web.path());
    let process = nix_pid(mount.server());
    rustix::process::kill_process(process, rustix::process::Signal::HUP).unwrap();
    eventually("revision 3", || look() == ("revision 3\n".to_owned(), false, true));
    assert!(text(&mut mount.ask("--status")).starts_with("revision 3, "));
    stage.server.stop();
    assert!(!mount.ask("--reload").output().unwrap().status.success());
}

fn nix_pid(pid: u32) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap()
}

/// "With `--pin` it stays at the snapshot that is mounted first."
#[test]
fn a_pinned_repository_stays() {
    let Some(stage) = Stage::of(revision(1, 1)) else { return };
    let mount = stage.user().mount_with(&["--pin"], FQRN);
    revision(2, 1).publish(stage.web.path());
    assert_eq!(text(&mut mount.ask("--reload")), "still revision 1\n");
    let newest = text(&mut mount.ask("--newest"));
    assert!(newest.ends_with(" 2\n") && newest.len() > 40, "what is published is told all the same: {newest}");
    // Longer than the time to live and the time between two looks.
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(mount.read("dir/version").unwrap(), "revision 1\n");
}
