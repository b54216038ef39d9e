//! Programs of many kinds, each at its daily work on a tree in a repository: they do the same as where the kernel has
//! mounted that tree.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::modes::{TRACE, modes};
use common::native::{as_root, mounted};
use common::{User, output};
use cvmfs_tests::forge::Forge;
use cvmfs_tests::tools::{is_root, require_tool};
use libcvmfs::object::Compression;
use std::path::Path;
use std::process::{Command, Stdio};

const FQRN: &str = "kinds.test.example";
const ROOT: &str = "/cvmfs/kinds.test.example";

/// Those cases of `programs/cases.sh` that need no large programs; the others are run by `ci/programs`.
const CASES: &[&str] = &[
    "configure_like",
    "cp_du_and_tar",
    "daemons",
    "debuggers_run_inside",
    "descriptors_closed",
    "find_and_xargs",
    "git_clones",
    "inotify_watches",
    "jemalloc_preloaded",
    "make_stats",
    "own_seccomp",
    "rsync_copies",
    "search_paths",
    "shell_features",
    "sqlite_reads",
];

/// What a case prints. A program that hangs is ended.
fn said(mut command: Command, case: &str, work: &Path, tools: &Path) -> String {
    let _ = std::fs::remove_dir_all(work);
    std::fs::create_dir(work).unwrap();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/cases.sh");
    let script = format!(". {}; {case}", cases.display());
    command.args(["120", "bash", "-c", &script]).env("R", ROOT).env("W", work).env("HOME", work).env("TOOLS", tools);
    let out = command.env("LC_ALL", "C.UTF-8").current_dir("/").stdin(Stdio::null()).output().unwrap();
    let text = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    format!("{}{}{}", text[0], text[1], out.status)
}

#[test]
fn programs_of_many_kinds_do_the_same_as_on_a_mounted_tree() {
    for tool in ["bash", "cpio", "gcc", "git", "inotifywait", "make", "rsync", "sqlite3", "strace"] {
        if require_tool(tool).is_none() {
            return;
        }
    }
    let user = User::with(Vec::new());
    let home = user.home.path();
    let (plain, tools, place) = (home.join("plain"), home.join("tools"), home.join("root"));
    std::fs::create_dir(&place).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/kinds.sh");
    output(Command::new("bash").arg(script).arg(&plain).arg(&tools).arg(ROOT));
    let published = Forge::new(FQRN).compression(Compression::None).tree("", &plain).publish(home.join("web"));
    let work = home.join("work");
    let user = user.using(&published.repository());
    let mut wrong = Vec::new();
    let as_caller = [as_root(), vec!["timeout"]].concat();
    for case in CASES {
        let Some(mut native) = mounted(&place, &plain, FQRN) else { return };
        native.arg("timeout");
        let native = said(native, case, &work, &tools);
        assert!(native.ends_with("exit status: 0"), "{case}: {native}");
        for mode in modes() {
            if mode == TRACE && *case == "debuggers_run_inside" {
                // A thread has one tracer only.
                continue;
            }
            let start = std::time::Instant::now();
            let mut command = user.run_in(mode, as_caller[0]);
            command.args(&as_caller[1..]);
            let ours = said(command, case, &work, &tools);
            println!("{case}, --mode={}: {:.1?}", mode.name, start.elapsed());
            // Nobody but root may look at a process that does not let itself be looked at.
            let tells = |text: &str| {
                if is_root() {
                    text.to_owned()
                } else {
                    text.split("undumpable:").next().unwrap_or_default().to_owned()
                }
            };
            if tells(&ours) != tells(&native) {
                wrong.push(format!("{case}, --mode={}:\n{native}\n--- but here:\n{ours}", mode.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
