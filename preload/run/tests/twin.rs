//! Every kind of call with good and bad arguments, below a tree that is really mounted and below the same tree
//! published in a repository: the answers are the same, but for those that are listed with their reasons.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "twin/exceptions.rs"]
mod exceptions;
#[path = "twin/tree.rs"]
mod tree;

use common::SOMEBODY_ELSE;
use common::modes::{Mode, modes, modes_for_static};
use common::native::{as_root, mounted};
use common::{User, output};
use cvmfs_tests::tools::is_root;
use cvmfs_tests::tools::require_tool;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tree::{FQRN, Published};

/// Labels and results, in the order in which they were printed.
type Lines = Vec<(String, String)>;

fn lines(text: &str) -> Lines {
    let pair = |line: &str| {
        let (label, result) = line.split_once(" => ").unwrap_or((line, ""));
        (label.to_owned(), result.to_owned())
    };
    text.lines().map(pair).collect()
}

/// Compiles the probe.
fn probe(home: &Path, compiler: &str, flags: &[&str]) -> Option<PathBuf> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/twin");
    let mut sources: Vec<PathBuf> =
        std::fs::read_dir(sources).unwrap().map(|entry| entry.unwrap().path()).filter(|path| is_c(path)).collect();
    sources.sort();
    let program = home.join("twin");
    cvmfs_tests::tools::compile(compiler, flags, &sources, &program).then_some(program)
}

/// Compiles the probe in Go.
fn go_probe(home: &Path) -> Option<PathBuf> {
    let go = require_tool("go")?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/twin-go/main.go");
    let program = home.join("twin");
    let mut command = Command::new(go);
    command.args(["build", "-o"]).arg(&program).arg(source).envs([("CGO_ENABLED", "0"), ("GO111MODULE", "off")]);
    // What was compiled once serves all tests.
    output(command.env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go")));
    Some(program)
}

fn is_c(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "c")
}

/// Waits for a program, but not for ever.
fn bounded(child: &mut Child) -> String {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.to_string();
        }
        if start.elapsed() > Duration::from_secs(120) {
            child.kill().unwrap();
            return "it hung".to_owned();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a command, which must end well, and gives its lines. The directory for scratch files is new each time.
fn ran(command: &mut Command, scratch: &Path) -> Lines {
    let _ = std::fs::remove_dir_all(scratch);
    std::fs::create_dir_all(scratch).unwrap();
    std::fs::set_permissions(scratch, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    // Files instead of pipes: what stays behind holds them open and is not waited for.
    let [out, err] = ["out", "err"].map(|name| scratch.with_extension(name));
    command.stdout(std::fs::File::create(&out).unwrap()).stderr(std::fs::File::create(&err).unwrap());
    let child = command.arg(scratch).env("LC_ALL", "C").current_dir("/").stdin(std::process::Stdio::null()).spawn();
    let status = bounded(&mut child.unwrap());
    let [text, errors] = [out, err].map(|file| String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned());
    let end: String = text.lines().rev().take(5).map(|line| format!("\n    {line}")).collect();
    assert!(text.ends_with("== end\n"), "it did not come to its end: {status}, {errors}\nafter:{end}");
    lines(&text)
}

/// A label with what the mounted tree and ours said.
type Pair<'a> = (&'a str, &'a str, &'a str);

/// Brings the lines together. Where one side has lines that the other has not, as when a program could not be started,
/// the other says nothing.
fn pairs<'a>(theirs: &'a Lines, ours: &'a Lines) -> Vec<Pair<'a>> {
    let mut pairs = Vec::new();
    let (mut their, mut our) = (&theirs[..], &ours[..]);
    while !their.is_empty() || !our.is_empty() {
        // A started program says the same things each time: only labels of the probe tell where we are.
        let same = |i: usize, j: usize| {
            let (Some(a), Some(b)) = (their.get(i), our.get(j)) else { return false };
            a.0 == b.0 && (i + j == 0 || !(a.0.starts_with("hello ") || a.0.starts_with("script")))
        };
        let gap = (0..80).flat_map(|sum| (0..=sum).map(move |i| (i, sum - i))).find(|&(i, j)| same(i, j));
        let (i, j) = gap.unwrap_or((their.len(), our.len()));
        pairs.extend(their[..i].iter().map(|(label, result)| (&label[..], &result[..], "nothing")));
        pairs.extend(our[..j].iter().map(|(label, result)| (&label[..], "nothing", &result[..])));
        (their, our) = (&their[i..], &our[j..]);
        if let ([a, more @ ..], [b, others @ ..]) = (their, our) {
            pairs.push((&a.0, &a.1, &b.1));
            (their, our) = (more, others);
        }
    }
    pairs
}

/// Describes where the lines differ and may not.
fn differences(program: &str, mode: Mode, theirs: &Lines, ours: &Lines) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let mut family = "";
    for (label, their, our) in pairs(theirs, ours) {
        if label.starts_with("== ") {
            family = label.trim_start_matches("== ");
        }
        if their == our {
            continue;
        }
        match exceptions::covering(program, mode.name, &format!("{family}: {label}"), their, our) {
            Some(exception) => *reasons.entry(exception.reason).or_default() += 1,
            None => wrong.push(format!("{family}: {label}\n    mounted {their}\n    here    {our}")),
        }
    }
    println!(
        "{program}, --mode={}: {} lines, {} differ as listed",
        mode.name,
        theirs.len(),
        reasons.values().sum::<usize>()
    );
    reasons.iter().for_each(|(reason, count)| println!("    {count:4} {reason}"));
    wrong
}

/// Whose rights the probe has.
#[derive(Clone, Copy)]
enum Caller {
    /// The owner of the tree.
    Root,
    /// Somebody else.
    Nobody,
}

fn compare(program: &str, compiler: &str, flags: &[&str], modes: &[Mode], caller: Caller) {
    compare_built(program, |home| probe(home, compiler, flags), 3000, modes, caller);
}

/// `build` makes the probe in a directory; it says so many lines at least.
fn compare_built(
    program: &str,
    build: impl FnOnce(&Path) -> Option<PathBuf>,
    least: usize,
    modes: &[Mode],
    caller: Caller,
) {
    if modes.is_empty() {
        return;
    }
    let Some(published) = Published::new() else { return };
    let Published { user, tree } = &published;
    let home = user.home.path();
    let Some(probe) = build(home) else { return };
    let (root, scratch) = (home.join("root"), home.join("scratch"));
    std::fs::create_dir(&root).unwrap();
    let Some(mut command) = mounted(&root, tree, FQRN) else { return };
    if let Caller::Nobody = caller {
        user.open_to_others();
        command.args(SOMEBODY_ELSE);
    }
    let theirs = ran(command.arg(&probe), &scratch);
    assert!(theirs.len() > least, "{}", theirs.len());
    for &mode in modes {
        let ours = ran(&mut by(caller, user, mode, &probe), &scratch);
        let wrong = differences(program, mode, &theirs, &ours);
        assert!(wrong.is_empty(), "{program}, --mode={}: {} differences\n{}", mode.name, wrong.len(), wrong.join("\n"));
    }
}

/// `cvmfs-run` started by this caller.
fn by(caller: Caller, user: &User, mode: Mode, probe: &Path) -> Command {
    let run = user.run_in(mode, probe);
    match (caller, &as_root()[..]) {
        (Caller::Nobody, _) => user.by_somebody_else(&run),
        (Caller::Root, []) => run,
        (Caller::Root, [first, others @ ..]) => {
            let mut command = user.command(Path::new(first));
            command.args(others).arg(run.get_program()).args(run.get_args());
            command
        }
    }
}

#[test]
fn dynamic_programs() {
    compare("dynamic", "cc", &[], &modes(), Caller::Root);
}

#[test]
fn dynamic_programs_of_somebody_else() {
    if !is_root() {
        return cvmfs_tests::tools::skip("only root can become somebody else");
    }
    compare("dynamic nobody", "cc", &[], &modes(), Caller::Nobody);
}

#[test]
fn static_programs() {
    compare("static", "cc", &["-static"], &modes_for_static(), Caller::Root);
}

#[test]
fn programs_in_go() {
    compare_built("go", go_probe, 700, &modes_for_static(), Caller::Root);
}

#[test]
fn programs_of_another_c_library() {
    compare("musl", "musl-gcc", &["-static"], &modes_for_static(), Caller::Root);
}
