//! `ls`, `stat` and `find` print what their namesakes print: both are run over one real directory tree.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use clap::Command;
use cvmfs_command::find::{self, FindArgs, Order};
use cvmfs_command::ls::{Lister, LsArgs};
use cvmfs_command::stat::{Printer, StatArgs};
use cvmfs_command::tree::LocalEntry;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A tree below a directory of its own: `..` is listed, too, and nobody else may change it meanwhile.
struct Tree(tempfile::TempDir);

impl Tree {
    fn path(&self) -> PathBuf {
        self.0.path().join("tree")
    }
}

/// Every kind of entry, odd names, wide and narrow columns, old and future times.
fn tree() -> Tree {
    let place = Tree(tempfile::tempdir().unwrap());
    let at = |name: &str| place.path().join(name);
    for directory in ["deep/er/est", "empty", ".hidden", "many"] {
        std::fs::create_dir_all(at(directory)).unwrap();
    }
    for (name, size) in [("a", 0), ("large", 123_456), ("blank name", 1024), (".dot", 1025), ("deep/x", 7)] {
        std::fs::write(at(name), vec![b'x'; size]).unwrap();
    }
    for (number, size) in
        [0u64, 1, 1023, 1024, 10_239, 10_240, 10_241, 1 << 20, (1 << 20) - 1, 1 << 40].iter().enumerate()
    {
        std::fs::File::create(at(&format!("many/sparse-{number}"))).unwrap().set_len(*size).unwrap();
    }
    std::fs::write(place.path().join(OsStr::from_bytes(b"latin1-\xe9")), b"1").unwrap();
    std::fs::write(at("new\nline"), b"1").unwrap();
    std::fs::hard_link(at("a"), at("deep/hard")).unwrap();
    symlink("a", at("link")).unwrap();
    symlink("deep", at("to-directory")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    symlink("loop", at("loop")).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    for link in ["link", "to-directory", "dangling", "loop"] {
        // The first reading changes the time of access, later ones do not.
        std::fs::read_link(at(link)).unwrap();
    }
    for (name, mode) in [("suid", 0o4755), ("sgid", 0o2644), ("sticky", 0o1700), ("nothing", 0o000), ("SUID", 0o7666)] {
        std::fs::write(at(name), name).unwrap();
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    std::fs::set_permissions(at("empty"), std::fs::Permissions::from_mode(0o1777)).unwrap();
    let now = SystemTime::now();
    let half_a_year = Duration::from_secs(31_556_952 / 2);
    for (name, time) in [
        ("old", UNIX_EPOCH + Duration::from_nanos(1_234_567_890_123_456_789)),
        ("before", UNIX_EPOCH - Duration::from_millis(1500)),
        ("future", now + Duration::from_secs(100_000)),
        ("just-recent", now - half_a_year + Duration::from_secs(100)),
        ("just-old", now - half_a_year - Duration::from_secs(100)),
    ] {
        std::fs::write(at(name), name).unwrap();
        std::fs::File::options().write(true).open(at(name)).unwrap().set_modified(time).unwrap();
    }
    if rustix::process::getuid().is_root() {
        for (name, kind, (major, minor)) in [
            ("null", rustix::fs::FileType::CharacterDevice, (1, 3)),
            ("many/big", rustix::fs::FileType::CharacterDevice, (511, 70_000)),
            ("loop7", rustix::fs::FileType::BlockDevice, (7, 7)),
            ("pipe", rustix::fs::FileType::Fifo, (0, 0)),
            ("socket", rustix::fs::FileType::Socket, (0, 0)),
        ] {
            let device = rustix::fs::makedev(major, minor);
            // Containers forbid devices.
            let _ = rustix::fs::mknodat(rustix::fs::CWD, at(name), kind, 0o640.into(), device);
        }
        std::os::unix::fs::chown(at("large"), Some(12_345_678), Some(1)).unwrap();
    }
    place
}

fn of_coreutils(program: &str, directory: &Path, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new(program);
    command.args(arguments).current_dir(directory).env("LC_ALL", "C").env_remove("QUOTING_STYLE");
    let output = command.output().unwrap();
    show(&output.stdout)
}

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\n", "\n")
}

fn parse<A: clap::Args>(arguments: &[impl AsRef<OsStr>]) -> A {
    let matches = A::augment_args(Command::new("test"))
        .no_binary_name(true)
        .get_matches_from(arguments.iter().map(|argument| argument.as_ref()));
    A::from_arg_matches(&matches).unwrap()
}

fn ours(directory: &Path, arguments: &[&str]) -> String {
    let args: LsArgs = parse(arguments);
    let mut out = Vec::new();
    let mut complain = |_: &[u8], _: anyhow::Error| ();
    let paths: Vec<PathBuf> = args.paths.clone();
    let found = paths.iter().filter_map(|path| {
        let entry = LocalEntry::new(directory.join(path)).ok()?;
        Some((path.as_os_str().as_bytes().to_vec(), entry))
    });
    Lister::new(&args, &mut out, None, &mut complain).arguments(found.collect(), paths.len()).unwrap();
    show(&out)
}

#[test]
fn ls_prints_what_ls_prints() {
    let place = tree();
    for arguments in [
        &["."][..],
        &["-a", "."],
        &["-A", "."],
        &["-l", "."],
        &["-la", "."],
        &["-lA", "many"],
        &["-lh", "many"],
        &["-lhs", "many"],
        &["-s", "many"],
        &["-n", "."],
        &["-li", "."],
        &["-1i", "."],
        &["-R", "."],
        &["-lR", "."],
        &["-laR", "."],
        &["-Ri", "deep/"],
        &["-d", "deep", "a", "to-directory"],
        &["-ld", "deep", "a", "to-directory"],
        &["-l", "a", "deep", "missing", "large"],
        &["deep", "empty", "a"],
        &["deep", "missing"],
        &["missing", "a"],
        &["to-directory"],
        &["-l", "to-directory"],
        &["-lH", "to-directory", "link"],
        &["-lL", "."],
        &["-lL", "deep", "link"],
        &["link", "dangling"],
        &["-lt", "."],
        &["-ltr", "."],
        &["-lS", "many"],
        &["-r", "."],
        &["-C", "."],
        &["-C", "-w", "40", "."],
        &["-C", "-w", "10", "."],
        &["-Ci", "."],
        &["-CR", "-w", "100", "."],
        &["empty"],
        &["-la", "empty"],
    ] {
        let theirs = of_coreutils("ls", &place.path(), arguments);
        assert_eq!(ours(&place.path(), arguments), theirs, "ls {arguments:?}");
    }
}

#[test]
fn stat_prints_what_stat_prints() {
    let place = tree();
    let mut names: Vec<_> = std::fs::read_dir(place.path()).unwrap().map(|item| item.unwrap().file_name()).collect();
    names.sort();
    let all = "%a|%#a|%A|%b|%B|%d|%D|%f|%#f|%F|%g|%G|%h|%i|%n|%N|%o|%r|%R|%s|%t|%T|%u|%U|%W|%x|%X|%y|%Y|%z|%Z|%%|%Hd|%Ld|%Hr|%Lr";
    for arguments in [
        &[][..],
        &["-L"],
        &["-c", all],
        &["-Lc", all],
        &["-c", "[%12s] [%-12s] [%012s] [%+s] [%20n] [%-20n] [%.2n] [%.3Y] [%.Y] [%.12Y] [%20.3Y] [% s] [%5A] [%.3A]"],
        &["--printf", "%n\\t%s\\n\\101\\\\"],
    ] {
        for name in &names {
            let theirs = std::process::Command::new("stat")
                .args(arguments)
                .arg(name)
                .current_dir(place.path())
                .env("LC_ALL", "C")
                .output()
                .unwrap();
            let mut command_line: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
            command_line.push(name);
            let args: StatArgs = parse(&command_line);
            let entry = LocalEntry::new(place.path().join(name)).unwrap();
            let mut ours = Vec::new();
            let _ = Printer::new(&args).print(&mut ours, name.as_bytes(), &entry);
            assert_eq!(show(&ours), show(&theirs.stdout), "stat {arguments:?} {name:?}");
        }
    }
}

#[test]
fn find_finds_what_find_finds() {
    let place = tree();
    for words in [
        &["."][..],
        &[".", "-print0"],
        &["deep", "many"],
        &[".", "-name", "*a*"],
        &[".", "-iname", "SU*"],
        &[".", "-path", "*deep*x"],
        &[".", "-name", "[[:upper:]]*"],
        &["deep/", "-name", "deep"],
        &[".", "-type", "d"],
        &[".", "-type", "l,p,s"],
        &[".", "-maxdepth", "1"],
        &[".", "-mindepth", "2", "-maxdepth", "2"],
        &["many", "-size", "+10k"],
        &["many", "-size", "1"],
        &["many", "-size", "-2k"],
        &["many", "-size", "1024c"],
        &[".", "-empty"],
        &[".", "-perm", "644"],
        &[".", "-perm", "-4000"],
        &[".", "-perm", "/7000"],
        &[".", "-mtime", "+30"],
        &[".", "-mtime", "-1"],
        &[".", "-mtime", "0"],
        &[".", "-links", "+1"],
        &[".", "!", "-type", "f"],
        &[".", "-type", "f", "-o", "-name", "d*", "-type", "l"],
        &[".", "(", "-name", "a", "-o", "-name", "x", ")", "-size", "+0"],
        &[".", "-name", "deep", "-prune", "-o", "-type", "d", "-print"],
        &[".", "-uid", "0", "-not", "-group", "root"],
        &["missing"],
        &["deep", "-ls"],
        &[".", "-ls"],
        &[".", "-printf", "%p|%f|%h|%P|%H|%d|%i|%m|%M|%n|%s|%b|%k|%U|%G|%u|%g|%y|%l|%T@|%%\\n"],
    ] {
        let theirs = of_coreutils("find", &place.path(), words);
        let args: FindArgs = parse(words);
        let search = args.parse().unwrap();
        let mut printed = Vec::new();
        let mut printer = find::Printer::new(&mut printed);
        for path in &search.paths {
            let Ok(entry) = LocalEntry::new(place.path().join(path)) else { continue };
            let mut complain = |path: &[u8], error: anyhow::Error| panic!("{}: {error}", path.escape_ascii());
            let mut act = |action: &find::Action, visit: &find::Visit<LocalEntry>| printer.act(action, visit);
            search.walk(path.as_os_str().as_bytes(), entry, Order::Tree, &mut act, &mut complain).unwrap();
        }
        let sorted = |text: &str| {
            let separator = if words.contains(&"-print0") { "\\x00" } else { "\n" };
            let squeeze = |line: &str| {
                if words.contains(&"-ls") {
                    line.split_whitespace().collect::<Vec<_>>().join(" ")
                } else {
                    line.to_owned()
                }
            };
            let mut lines: Vec<String> = text.split(separator).map(squeeze).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&show(&printed)), sorted(&theirs), "find {words:?}");
    }
}

#[test]
fn find_visits_by_path_when_asked() {
    let place = tempfile::tempdir().unwrap();
    for directory in ["a", "a.b", "a/x", "a-"] {
        std::fs::create_dir(place.path().join(directory)).unwrap();
    }
    let search = parse::<FindArgs>(&["."]).parse().unwrap();
    let mut paths = Vec::new();
    let mut act = |_: &find::Action, visit: &find::Visit<LocalEntry>| {
        paths.push(String::from_utf8(visit.path.to_vec()).unwrap());
        Ok(())
    };
    let mut complain = |_: &[u8], _: anyhow::Error| ();
    let entry = LocalEntry::new(place.path()).unwrap();
    search.walk(b"", entry, Order::Path, &mut act, &mut complain).unwrap();
    assert_eq!(paths, ["", "/a", "/a-", "/a.b", "/a/x"]);
}
