//! When something is wrong: with servers, with objects, with the process that serves, with who uses it.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::stage::{FQRN, Stage};
use common::{User, complaint, eventually, output, program, require_fuse, text};
use cvmfs_tests::fixtures;
use cvmfs_tests::forge::Forge;
use cvmfs_tests::server::Behaviour;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn stage() -> Option<Stage> {
    Stage::of(
        Forge::new(FQRN)
            .file("/warm", "warm\n")
            .file("/cold", "cold\n")
            .file("/never", "never\n")
            .nested("/nested")
            .file("/nested/file", "in it\n"),
    )
}

fn errno<T>(outcome: std::io::Result<T>) -> i32 {
    outcome.err().and_then(|error| error.raw_os_error()).unwrap_or(0)
}

fn is_mounted(place: &Path) -> bool {
    fs::read_to_string("/proc/mounts").unwrap().contains(place.to_str().unwrap())
}

/// "What cannot be had from the servers is an input/output error, never an absent file; when they are back, so is the file."
#[test]
fn servers_come_and_go() {
    let Some(stage) = stage() else { return };
    let user = stage.user();
    let mount = user.mount(FQRN);
    assert_eq!(mount.read("warm").unwrap(), "warm\n");
    stage.server.stop();
    assert_eq!(errno(mount.read("cold")), libc::EIO);
    assert_eq!(errno(fs::read_dir(mount.path("nested"))), libc::EIO);
    assert_eq!(errno(fs::metadata(mount.path("nested/file"))), libc::EIO);
    assert_eq!(errno(fs::metadata(mount.path("absent"))), libc::ENOENT);
    assert_eq!(mount.read("warm").unwrap(), "warm\n");
    assert!(user.log().contains("error"), "{}", user.log());
    stage.server.restart();
    eventually("the server is back", || mount.read("cold").is_ok_and(|text| text == "cold\n"));
    eventually("the catalog, too", || mount.read("nested/file").is_ok_and(|text| text == "in it\n"));
}

/// "Bytes that are not the published ones are an input/output error."
#[test]
fn damage_is_never_shown() {
    let Some(stage) = stage() else { return };
    let web = stage.web.path().join(&stage.object("/cold")[1..]);
    fs::write(&web, "something else").unwrap();
    let mount = stage.user().mount(FQRN);
    assert_eq!(errno(mount.read("cold")), libc::EIO);
    assert_eq!(mount.read("warm").unwrap(), "warm\n");
}

/// "What the official client refuses is refused."
#[test]
fn hostile_repositories() {
    if !require_fuse() {
        return;
    }
    let truth: std::collections::BTreeMap<Vec<u8>, Option<String>> =
        fixtures::truth("small.test.example", None).map(|record| (record.path, record.sha256)).collect();
    for bad in fixtures::bad_cases() {
        let user = User::with(fixtures::bad(&bad.case).options());
        let mut command = user.command(program());
        command.args(user.arguments(&[], "small.test.example"));
        let out = command.output().unwrap();
        let mounted = is_mounted(&user.place());
        assert_eq!(out.status.success(), mounted, "{}", bad.case);
        if !mounted {
            assert!(String::from_utf8_lossy(&out.stderr).starts_with("cvmfs-mount: small.test.example: "), "{out:?}");
            continue;
        }
        let mount = user.mounted();
        assert_eq!(bad.mount_rc, 0, "{} was mounted", bad.case);
        let mut read = 0;
        for directory in ["files", "chunks", "hash"] {
            for entry in fs::read_dir(mount.path(directory)).into_iter().flatten().flatten() {
                let Ok(bytes) = fs::read(entry.path()) else { continue };
                let path = [b"/", entry.path().strip_prefix(&mount.place).unwrap().as_os_str().as_bytes()].concat();
                let sum: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(truth.get(&path), Some(&Some(sum)), "{}: {}", bad.case, entry.path().display());
                read += 1;
            }
        }
        assert!(read > 10, "{}", bad.case);
    }
}

/// "Nobody waits behind somebody else's download."
#[test]
fn a_slow_download_holds_nobody_up() {
    let Some(stage) = stage() else { return };
    let mount = stage.user().option("CVMFS_TIMEOUT_DIRECT", "60").mount(FQRN);
    mount.read("warm").unwrap();
    stage.server.misbehave(&stage.object("/cold"), Behaviour::After(Duration::from_secs(5)));
    let slow: Vec<_> = (0..20)
        .map(|_| {
            let path = mount.path("cold");
            std::thread::spawn(move || fs::read_to_string(path).unwrap())
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    for _ in 0..50 {
        assert_eq!(mount.read("warm").unwrap(), "warm\n");
        assert_eq!(errno(fs::metadata(mount.path("absent"))), libc::ENOENT);
    }
    assert!(slow.iter().any(|thread| !thread.is_finished()), "nobody waited, so nothing was shown");
    assert!(slow.into_iter().all(|thread| thread.join().unwrap() == "cold\n"));
    let fetched = stage.server.paths().into_iter().filter(|path| path.ends_with(&stage.object("/cold"))).count();
    assert_eq!(fetched, 1);
}

/// "The command ends when the first look at the root has worked. Else it says why, with status 1, and nothing is mounted."
#[test]
fn what_cannot_be_mounted_is_said() {
    let Some(stage) = stage() else { return };
    let user = stage.user();
    stage.server.stop();
    let mount = |user: &User, fqrn: &str| complaint(user.command(program()).args(user.arguments(&[], fqrn)));
    let said = mount(&user, FQRN);
    assert!(said.starts_with("cvmfs-mount: changing.test.example: ") && !is_mounted(&user.place()), "{said}");
    stage.server.restart();
    assert!(mount(&user, "no name").contains("no name"));
    let odd = stage.user().option("CVMFS_OOM_SCORE_ADJ", "high");
    let said = complaint(odd.command(program()).args(odd.arguments(&["--survive"], FQRN)));
    assert!(said.contains("CVMFS_OOM_SCORE_ADJ") && !is_mounted(&odd.place()), "{said}");
    fs::remove_dir(user.place()).unwrap();
    assert!(mount(&user, FQRN).contains("No such file or directory"));
    fs::write(user.place(), "").unwrap();
    assert!(mount(&user, FQRN).contains("not a directory"));
    let said = complaint(Command::new(program()).arg("--reload").arg("/proc"));
    assert!(said.contains("no repository is mounted there"), "{said}");
    let said = complaint(Command::new(program()).arg("--unmount").arg(user.home.path()));
    assert!(said.contains("nothing is mounted there"), "{said}");
}

/// "While somebody uses it, `--unmount` refuses; with `--lazy` nobody new finds it, and who has something open goes on."
#[test]
fn unmounting_what_is_in_use() {
    let Some(stage) = stage() else { return };
    let user = stage.user();
    let mount = user.mount(FQRN);
    let open = File::open(mount.path("warm")).unwrap();
    let unmount = |lazy: &[&str]| {
        let mut command = Command::new(program());
        command.arg("--unmount").args(lazy).arg(&mount.place);
        command
    };
    assert!(complaint(&mut unmount(&[])).contains("somebody uses it"));
    let server = mount.server();
    output(&mut unmount(&["--lazy"]));
    assert!(!is_mounted(&mount.place));
    assert_eq!(std::io::read_to_string(open).unwrap(), "warm\n");
    eventually("the server ends", || !Path::new(&format!("/proc/{server}")).exists());
    // At the same place at once: nobody unmounts what is not his.
    for _ in 0..5 {
        let again = user.mount(FQRN);
        assert_eq!(again.read("warm").unwrap(), "warm\n");
        output(&mut unmount(&[]));
        std::mem::forget(again);
    }
}

/// "The signal TERM unmounts it as `--lazy` does."
#[test]
fn the_server_ends_when_asked_to() {
    let Some(stage) = stage() else { return };
    let mount = stage.user().mount(FQRN);
    let server = mount.server();
    let pid = rustix::process::Pid::from_raw(server.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    eventually("it is unmounted", || !is_mounted(&mount.place));
    eventually("the server ends", || !Path::new(&format!("/proc/{server}")).exists());
}

/// Where a link leads is what is mounted on, whichever way it is unmounted.
#[test]
fn the_place_may_be_a_link() {
    let Some(stage) = stage() else { return };
    let user = stage.user();
    let link = user.path("link");
    std::os::unix::fs::symlink(user.place(), &link).unwrap();
    let mut arguments = user.arguments(&[], FQRN);
    *arguments.last_mut().unwrap() = link.display().to_string();
    output(user.command(program()).args(&arguments));
    let mount = user.mounted();
    output(Command::new(program()).arg("--unmount").arg(&link));
    assert!(!is_mounted(&mount.place));
    output(user.command(program()).args(&arguments));
    let pid = rustix::process::Pid::from_raw(mount.server().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    eventually("it is unmounted", || !is_mounted(&mount.place));
}

/// "When the process that serves is killed, every call fails with `ENOTCONN` until it is unmounted; then it can be mounted again."
#[test]
fn a_killed_server_is_noticed() {
    let Some(stage) = stage() else { return };
    let user = stage.user();
    let mount = user.mount(FQRN);
    let open = File::open(mount.path("warm")).unwrap();
    let pid = rustix::process::Pid::from_raw(mount.server().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    eventually("it is dead", || errno(fs::metadata(&mount.place)) == libc::ENOTCONN);
    assert_eq!(errno(fs::metadata(mount.path("warm"))), libc::ENOTCONN);
    drop(open);
    let said = complaint(user.command(program()).args(user.arguments(&[], FQRN)));
    assert!(said.contains("has died") && said.contains("--unmount"), "{said}");
    output(Command::new(program()).arg("--unmount").arg(&mount.place));
    let again = user.mount(FQRN);
    assert_eq!(again.read("warm").unwrap(), "warm\n");
}

/// Files that a process has open for writing.
fn open_for_writing(pid: u32) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let target = fs::read_link(format!("/proc/{pid}/fd/{name}")).unwrap().display().to_string();
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{name}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("0").trim();
        let writes = u32::from_str_radix(flags, 8).unwrap() & 3 != 0;
        if writes && !target.starts_with("/dev/") && target.starts_with('/') {
            found.push(target);
        }
    }
    found
}

/// "`--drop-writable` gives up every descriptor by which files are written, the log's too, and writes nothing from then on. What is in the
/// cache can be read on; what is not is an input/output error. The revision stays."
#[test]
fn nothing_is_written_any_more() {
    let Some(stage) = stage() else { return };
    let user = stage.user();
    let list = user.path("opened.list");
    let mount = user.mount_with(&["-v", "--record", list.to_str().unwrap()], FQRN);
    mount.read("warm").unwrap();
    let server = mount.server();
    assert!(!open_for_writing(server).is_empty(), "the log is written to");
    assert_eq!(text(&mut mount.ask("--drop-writable")), "nothing is written any more\n");
    assert_eq!(open_for_writing(server), Vec::<String>::new());
    let opened = fs::read_to_string(list).unwrap();
    assert!(opened.contains("/warm\n") && !opened.contains("/never"), "what was opened is listed: {opened}");
    let files = |directory: &Path| text(Command::new("find").arg(directory).args(["-xdev", "-printf", "%p %s %T@\\n"]));
    let before = files(user.home.path());
    assert_eq!(mount.read("warm").unwrap(), "warm\n");
    assert_eq!(errno(mount.read("never")), libc::EIO);
    assert_eq!(errno(fs::read_dir(mount.path("nested"))), libc::EIO);
    assert_eq!(text(&mut mount.ask("--reload")), "still revision 1\n");
    assert_eq!(files(user.home.path()), before);
}

/// "Name servers can be told to it while it runs (`--name-servers`)."
#[test]
fn name_servers_change() {
    let Some(stage) = stage() else { return };
    let url = stage.server.server_url().replace("127.0.0.1", "server.invalid");
    // A name server that knows nothing, then the machine's own with a name that it knows.
    let user = stage.user().option("CVMFS_SERVER_URL", &stage.server.server_url().replace("127.0.0.1", "localhost"));
    let mount = user.option("CVMFS_DNS_SERVER", "127.0.0.1:9").option("CVMFS_DNS_RETRIES", "0").mount(FQRN);
    assert!(url.contains("server.invalid"));
    assert_eq!(text(mount.ask("--name-servers=127.0.0.1:9,[::1]:9").arg("--")), "set\n");
    assert_eq!(text(&mut mount.ask("--name-servers=system")), "set\n");
    assert_eq!(mount.read("cold").unwrap(), "cold\n");
}

/// "With `--survive` its name begins with `@`, by which systemd spares it, and the kernel ends it last when memory runs out."
#[test]
fn a_server_that_outlives_the_system() {
    let Some(stage) = stage() else { return };
    let mount = stage.user().mount_with(&["--survive"], FQRN);
    let about = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", mount.server())).unwrap();
    assert!(about("cmdline").starts_with("@cvmfs-mount\0"), "{}", about("cmdline"));
    // Not every root may do that.
    let allowed = text(
        Command::new("sh")
            .args(["-c", "echo -1000 2>/dev/null >/proc/self/oom_score_adj; cat /proc/self/oom_score_adj"]),
    );
    assert_eq!(about("oom_score_adj"), allowed);
    assert!(!about("status").contains("VmLck:\t       0 kB"), "{}", about("status"));
    assert_eq!(mount.read("warm").unwrap(), "warm\n");
}

/// "Questions are answered to root and to whoever mounted it."
#[test]
fn others_may_not_ask() {
    if !cvmfs_tests::tools::is_root() {
        return cvmfs_tests::tools::skip("only root can become somebody else");
    }
    let Some(stage) = stage() else { return };
    let user = stage.user();
    let mount = user.mount(FQRN);
    cvmfs_tests::tools::copy_program(program(), user.path("cvmfs-mount"));
    fs::set_permissions(user.home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut ask = Command::new(cvmfs_tests::tools::SOMEBODY_ELSE[0]);
    ask.args(&cvmfs_tests::tools::SOMEBODY_ELSE[1..])
        .arg(user.path("cvmfs-mount"))
        .arg("--drop-writable")
        .arg(&mount.place);
    assert!(complaint(&mut ask).contains("only root and whoever mounted it"));
    assert_eq!(mount.read("never").unwrap(), "never\n");
}

#[test]
fn the_manual_page_is_that_of_the_command_line() {
    let fresh = tempfile::tempdir().unwrap();
    output(Command::new(program()).args(["generate", "man"]).arg(fresh.path()));
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../doc/man/cvmfs-mount.1");
    let same = fs::read(fresh.path().join("cvmfs-mount.1")).unwrap() == fs::read(committed).unwrap_or_default();
    assert!(same, "it is out of date: run 'cvmfs-mount generate man doc/man'");
    output(Command::new(program()).args(["generate", "completions"]).arg(fresh.path()));
    assert!(fresh.path().join("_cvmfs-mount").is_file());
}
