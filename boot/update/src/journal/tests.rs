use super::*;
use crate::fails_at;
use crate::state::{self, Wish};
use crate::trial::Trial;
use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::collections::BTreeMap;

/// A machine with three trees and a scratch.
struct Machine {
    directory: tempfile::TempDir,
}

impl Machine {
    fn new() -> Machine {
        let machine = Machine { directory: tempfile::tempdir().expect("a directory") };
        for (name, version) in [("base", "1"), ("new", "2")] {
            for path in ["etc/conf", "etc/motd", "usr/bin/tool", "usr/bin/gone", "usr/share/opened/x"] {
                machine.file(&format!("{name}/{path}"), version);
            }
        }
        machine.file("base/etc/passwd", "root:x:0:0::/:/bin/sh\n");
        machine.file("base/etc/group", "root:x:0:\n");
        machine.file("new/etc/passwd", "root:x:0:0::/:/bin/sh\nbus:x:101:101::/:/bin/false\n");
        machine.file("new/etc/group", "root:x:0:\nbus:x:101:\n");
        machine.file("base/var/lib/dpkg/status", "Package: a\nVersion: 1\n");
        machine.file("new/var/lib/dpkg/status", "Package: a\nVersion: 2\n");
        // What the user did.
        let upper = format!("scratch/{UPPER}");
        machine.file(&format!("{upper}/etc/conf"), "local");
        machine.file(&format!("{upper}/usr/bin/tool"), "local");
        machine.file(&format!("{upper}/usr/local/bin/own file\n%"), "own");
        machine.file(&format!("{upper}/etc/passwd"), "root:x:0:0::/:/bin/sh\njoe:x:101:101::/:/bin/sh\n");
        machine.file(&format!("{upper}/var/lib/dpkg/status"), "Package: a\nVersion: 1\n\nPackage: vim\nVersion: 1\n");
        let gone = machine.path(&format!("{upper}/usr/bin/gone"));
        mknodat(CWD, gone, FileType::CharacterDevice, Mode::empty(), 0).expect("a whiteout");
        fs::create_dir_all(machine.path("scratch/aux")).expect("a directory");
        old().write(&machine.scratch()).expect("a pin");
        let wish = Wish { action: Action::Rebase, root_hash: None, tag: Some("v2".to_owned()) };
        wish.write(&machine.scratch()).expect("a wish");
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn scratch(&self) -> PathBuf {
        self.path("scratch")
    }

    fn file(&self, path: &str, text: &str) {
        let file = self.path(path);
        fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
        fs::write(file, text).expect("a file");
    }

    fn prepare(&self, before: Before<'_>) -> Result<Report, Error> {
        let (base, new) = (self.path("base"), self.path("new"));
        let upper = self.scratch().join(UPPER);
        let trees = Trees { base: Some(&base), new: &new, upper: &upper };
        prepare_with(&trees, &self.scratch(), &wanted(), before)
    }

    /// Overlay, pin, maps and wish: what a boot makes of a machine.
    fn state(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let scratch = self.scratch();
        let mut left = vec![PathBuf::from(UPPER)];
        left.extend([state::PIN, state::WISH, trial::TRIAL, MAPS[0], MAPS[1]].map(PathBuf::from));
        while let Some(path) = left.pop() {
            let Some(metadata) = look(&scratch.join(&path)).expect("a state") else { continue };
            if metadata.is_dir() {
                let entries = fs::read_dir(scratch.join(&path)).expect("a directory");
                left.extend(entries.map(|entry| path.join(entry.expect("an entry").file_name())));
            } else if metadata.is_file() {
                found.insert(path.clone(), fs::read_to_string(scratch.join(&path)).expect("text"));
            } else {
                found.insert(path, "whiteout".to_owned());
            }
        }
        found
    }
}

fn old() -> Pin {
    Pin { root_hash: "aaaa".to_owned(), tag: None }
}

fn wanted() -> Pin {
    Pin { root_hash: "bbbb".to_owned(), tag: Some("v2".to_owned()) }
}

#[test]
fn a_rebase_takes_the_new_system_and_leaves_what_is_the_users() {
    let machine = Machine::new();
    let report = machine.prepare(&mut || Ok(())).expect("a journal");
    assert_eq!((report.conflicts, report.maps_changed, report.packages_unknown), (2, true, false));
    assert_eq!(report.packages, ["vim:"]);
    assert_eq!(finish(&machine.scratch()).expect("an end"), Some(wanted()));
    let state = machine.state();
    let text = |path: &str| state.get(Path::new(path)).map(String::as_str);
    assert_eq!(text("persistent/etc/conf"), Some("local"), "configuration is kept");
    assert_eq!(text("persistent/usr/bin/tool"), None, "the new system's is seen");
    assert_eq!(text("persistent/usr/bin/gone"), None, "and so is what was removed");
    assert_eq!(text("persistent/usr/local/bin/own file\n%"), Some("own"));
    let passwd = "root:x:0:0::/:/bin/sh\njoe:x:101:101::/:/bin/sh\nbus:x:999:101::/:/bin/false\n";
    assert_eq!(text("persistent/etc/passwd"), Some(passwd));
    assert_eq!(text("aux/uid_map"), Some("101 999\n"));
    assert_eq!(text("aux/gid_map"), None, "groups do not clash");
    assert_eq!(text("persistent/var/lib/dpkg/status"), Some("Package: a\nVersion: 2\n\nPackage: vim\nVersion: 1\n\n"));
    assert_eq!(text(state::PIN), Some("bbbb\nv2\n"));
    assert_eq!(text(state::WISH), None);
    assert_eq!(Pin::read(&machine.scratch(), state::PREVIOUS), Some(old()));
    let replaced = machine.scratch().join(REPLACED).join("usr/bin/tool");
    assert_eq!(fs::read_to_string(replaced).expect("what was replaced is kept"), "local");
    let log = fs::read_to_string(report.log).expect("a log");
    assert!(log.contains("conflict /etc/conf\n") && log.contains("rebase /usr/bin/tool\n") && log.ends_with("bbbb\n"));
    assert_eq!(finish(&machine.scratch()).expect("nothing to do"), None);
}

#[test]
fn whenever_the_power_fails_the_state_is_the_old_one_or_becomes_the_new_one() {
    let (before, after) = {
        let machine = Machine::new();
        let before = machine.state();
        machine.prepare(&mut || Ok(())).expect("a journal");
        finish(&machine.scratch()).expect("an end");
        (before, machine.state())
    };
    assert_ne!(before, after);
    let mut preparing = 0;
    loop {
        let machine = Machine::new();
        if machine.prepare(&mut fails_at(preparing)).is_ok() {
            break;
        }
        assert_eq!(finish(&machine.scratch()).expect("nothing to do"), None, "moment {preparing}");
        assert_eq!(machine.state(), before, "moment {preparing} before the journal");
        // The wish is still there: the next boot begins again.
        machine.prepare(&mut || Ok(())).expect("a journal");
        finish(&machine.scratch()).expect("an end");
        assert_eq!(machine.state(), after, "again after moment {preparing}");
        preparing += 1;
    }
    let mut finishing = 0;
    loop {
        let machine = Machine::new();
        machine.prepare(&mut || Ok(())).expect("a journal");
        if finish_with(&machine.scratch(), &mut fails_at(finishing)).is_ok() {
            break;
        }
        let pin = Pin::read(&machine.scratch(), state::PIN);
        let trial = Trial::read(&machine.scratch()).map(|trial| trial.root_hash);
        assert!(
            pin != Some(wanted()) || trial == Some(wanted().root_hash),
            "moment {finishing}: pinned and not on trial"
        );
        // Cut short once more, and then not.
        let _ = finish_with(&machine.scratch(), &mut fails_at(finishing / 2));
        finish(&machine.scratch()).expect("an end");
        assert_eq!(machine.state(), after, "moment {finishing} after the journal");
        finishing += 1;
    }
    assert!(preparing > 4 && finishing > 6, "{preparing} and {finishing} moments");
}

#[test]
fn an_overlay_with_nothing_in_it_has_only_its_pin_changed() {
    let machine = Machine::new();
    fs::remove_dir_all(machine.scratch().join(UPPER)).expect("an overlay");
    fs::create_dir(machine.scratch().join(UPPER)).expect("an overlay");
    let report = machine.prepare(&mut || Ok(())).expect("a journal");
    assert_eq!(report.steps, 0);
    finish(&machine.scratch()).expect("an end");
    let files = [(state::PIN, "bbbb\nv2\n"), (trial::TRIAL, "root_hash=bbbb\naction=rebase\ntries=2\n")];
    assert_eq!(machine.state(), BTreeMap::from(files.map(|(name, text)| (PathBuf::from(name), text.to_owned()))));
}

#[test]
fn a_journal_of_somebody_else_is_not_followed() {
    let machine = Machine::new();
    let begin = format!("{BEGIN}\npin x\ntag \n");
    for (text, reason) in [
        ("ucernvm-rebase 2\n".to_owned(), "another version"),
        (begin.clone(), "it has no end"),
        (format!("{begin}replace ../../etc\nend\n"), "a path that is none"),
        (format!("{begin}replace /etc\nend\n"), "a path that is none"),
        (format!("{begin}explode x\nend\n"), "an unknown step"),
    ] {
        machine.file(&format!("scratch/{JOURNAL}"), &text);
        let error = finish(&machine.scratch()).expect_err("it is wrong").to_string();
        assert!(error.contains(reason), "{error}");
    }
}

proptest! {
    #[test]
    fn journals_read_back(paths in proptest::collection::vec(proptest::collection::vec(1u8..=255, 1..12), 0..8)) {
        let mut steps = Vec::new();
        for (number, bytes) in paths.into_iter().enumerate() {
            let path = PathBuf::from(OsStr::from_bytes(&bytes));
            // As walking a directory gives them.
            let path: PathBuf = path.components().filter(|part| matches!(part, std::path::Component::Normal(_))).collect();
            if path.as_os_str().is_empty() {
                continue;
            }
            steps.push(match number % 5 {
                0 => Step::Replace(path),
                1 => Step::Unhide(path),
                2 => Step::Open(path),
                3 => Step::Furnish(path),
                _ => Step::Install(path),
            });
        }
        prop_assert_eq!(read(&written(&steps, &wanted())), Ok((steps, wanted())));
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }
}
