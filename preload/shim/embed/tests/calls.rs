//! The corners of single calls, and calls from everywhere.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Session, output};
use cvmfs_control::write::Presentation;
use std::sync::OnceLock;

const PARTS: [&str; 11] = [
    "names",
    "attributes",
    "real paths",
    "pointers",
    "native",
    "relative",
    "streams",
    "threads",
    "signals",
    "children",
    "stacks",
];

fn session() -> &'static Session {
    static SESSION: OnceLock<Session> = OnceLock::new();
    SESSION.get_or_init(Session::warm)
}

fn every_part(compiler: &str) {
    let session = session();
    let Some(program) = session.compile(compiler, "calls.c") else { return };
    for part in PARTS {
        let out = output(session.command(&program).arg(part).arg(session.name(b"")));
        eprint!("{part}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

#[test]
fn calls_of_glibc_programs() {
    every_part("cc");
}

#[test]
fn calls_of_musl_programs() {
    every_part("musl-gcc");
}

/// "What the shim does not know it gives up": without a supervisor, that is a path of which the kernel knows nothing.
#[test]
fn what_is_not_at_hand_is_given_up() {
    let simple = Presentation::Simple {
        owner: cvmfs_control::write::Owner::AsCatalog,
        world_readable: false,
        lists_computed: false,
        variables: &[],
    };
    let mut session = Session::new(simple);
    let look = |session: &Session, path: &str| {
        let mut command = session.command("stat");
        command.args(["-c", "%s", path]).output().unwrap().status.success()
    };
    let (tiny, nested) = ("/cvmfs/small.test.example/files/tiny.txt", "/cvmfs/small.test.example/nested/a/b/c");
    assert!(!look(&session, tiny), "no catalog is attached");
    session.attach();
    assert!(look(&session, tiny));
    assert!(!look(&session, nested), "the nested catalog is not attached");
    session.mounted.node("/nested/a/b/c").unwrap();
    session.attach();
    assert!(look(&session, nested));
    assert!(!look(&session, "/cvmfs/other.test.example"), "another repository");
    session.writer.supersede(session.snapshot);
    assert!(!look(&session, tiny), "a newer revision is about to come");
    let mut complex = Session::new(Presentation::TooComplex);
    complex.attach();
    assert!(!look(&complex, tiny), "only the supervisor knows how it looks");
    // A page of another session, or none, changes nothing.
    let mut command = session.command("stat");
    assert!(command.env("CVMFS_RUN_CONTROL", "0000000000000001:/no/such").arg("/").output().unwrap().status.success());
    let mut command = session.command("stat");
    assert!(command.env_remove("CVMFS_RUN_CONTROL").arg("/").output().unwrap().status.success());
}

/// "A name that stands for a file that was not fetched is not the file."
#[test]
fn placeholders_are_not_served() {
    let mut session = Session::new(Presentation::Simple {
        owner: cvmfs_control::write::Owner::Claimed(7, 8),
        world_readable: false,
        lists_computed: false,
        variables: &[],
    });
    session.attach();
    session.place(b"/files/tiny.txt");
    let path = "/cvmfs/small.test.example/files/tiny.txt";
    let read = |session: &Session| session.command("cat").arg(path).output().unwrap();
    assert!(read(&session).status.success() && !read(&session).stdout.is_empty());
    let name = session.name(b"/files/tiny.txt");
    std::fs::remove_file(&name).unwrap();
    std::fs::write(&name, "").unwrap();
    std::fs::set_permissions(&name, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    assert!(!read(&session).status.success());
    // Nor is a directory that the kernel could not list.
    let list = |session: &Session| {
        let script =
            "import os; fd = os.open('/cvmfs/small.test.example/files', os.O_RDONLY); print(os.fstat(fd).st_uid)";
        session.command("python3").args(["-c", script]).output().unwrap()
    };
    if cvmfs_tests::tools::require_tool("python3").is_some() {
        assert!(!list(&session).status.success());
        let mode = std::os::unix::fs::PermissionsExt::from_mode(cvmfs_control::page::FILLED_MODE);
        std::fs::set_permissions(session.name(b"/files"), mode).unwrap();
        assert_eq!(list(&session).stdout, b"7\n");
    }
    let owner = output(session.command("stat").args(["-c", "%u %g", path]));
    assert_eq!(owner.stdout, b"7 8\n");
}
