use super::*;
use crate::contract::OURS;
use crate::fails_at;
use crate::pack::archived;
use crate::state::replace;
use proptest::prelude::*;

/// The image that boots.
const IMAGE: &str = "1.0 1700000000";

fn loader(version: &str) -> Loader {
    let (kernel, initrd) = files(version);
    Loader { version: version.to_owned(), contract: OURS, kernel: Part::of(&kernel), initrd: Part::of(&initrd) }
}

/// More than one buffer, and no multiple of anything.
fn files(version: &str) -> (Vec<u8>, Vec<u8>) {
    let long = |what: &str| format!("{what} of {version}, ").repeat(6000).into_bytes();
    (long("kernel"), long("initrd"))
}

/// A scratch, and packs of some loaders.
struct Machine {
    directory: tempfile::TempDir,
}

impl Machine {
    fn new() -> Machine {
        let machine = Machine { directory: tempfile::tempdir().expect("a directory") };
        for name in [DIRECTORY, "aux"] {
            fs::create_dir_all(machine.scratch().join(name)).expect("a directory");
        }
        machine
    }

    fn scratch(&self) -> PathBuf {
        self.directory.path().join("scratch")
    }

    /// The pack of a loader as a directory.
    fn directory(&self, loader: &Loader) -> PathBuf {
        let directory = self.directory.path().join(&loader.version);
        fs::create_dir_all(&directory).expect("a directory");
        let (kernel, initrd) = files(&loader.version);
        for (name, bytes) in [(DESCRIPTOR, loader.to_text().into_bytes()), (KERNEL, kernel), (INITRD, initrd)] {
            fs::write(directory.join(name), bytes).expect("a file");
        }
        directory
    }

    /// The same as an archive.
    fn archive(&self, loader: &Loader) -> PathBuf {
        let file = self.directory.path().join(format!("{}.pack", loader.version));
        let (kernel, initrd) = files(&loader.version);
        fs::write(&file, archived(loader, &kernel, &initrd, 1).expect("an archive")).expect("a file");
        file
    }

    fn stage(&self, version: &str) {
        let pack = Pack::open(&self.directory(&loader(version))).expect("a pack");
        assert_eq!(stage(&self.scratch(), pack, None).expect("a loader"), [""; 0]);
    }

    fn staged(&self) -> Staged {
        Staged::read(&self.scratch()).expect("a descriptor").expect("a loader")
    }

    /// What a boot comes to: the version that is started, if it can be.
    fn boot(&self) -> Option<String> {
        match next(&self.scratch(), IMAGE).expect("an answer") {
            Next::Start(staged) => {
                staged.open(&self.scratch()).expect("its files");
                Some(staged.loader.version)
            }
            _ => None,
        }
    }

    fn approve(&self, version: &str) -> bool {
        approve(&self.scratch(), Some(&loader(version).id())).expect("an answer").is_some()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.scratch().join(DIRECTORY)).expect("a directory");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

#[test]
fn a_loader_is_tried_so_often_and_approved_it_has_all_its_tries_again() {
    let machine = Machine::new();
    assert_eq!(next(&machine.scratch(), IMAGE).expect("an answer"), Next::Own);
    machine.stage("2");
    assert!(!machine.staged().proven);
    for left in (0..TRIES).rev() {
        assert_eq!(machine.boot().as_deref(), Some("2"));
        assert_eq!(machine.staged().tries, left, "counted before it is started");
    }
    for _ in 0..2 {
        assert!(matches!(next(&machine.scratch(), IMAGE), Ok(Next::Exhausted(_))));
    }
    // The image's own loader is up, and another one: neither says anything about this one.
    assert_eq!(approve(&machine.scratch(), None).expect("an answer"), None);
    assert!(!machine.approve("1"));
    assert_eq!(machine.boot(), None);
    machine.stage("2");
    assert_eq!(machine.boot().as_deref(), Some("2"), "who stages it again wants to try again");
    assert!(machine.approve("2"));
    assert_eq!((machine.staged().tries, machine.staged().proven), (TRIES, true));
    assert!(machine.approve("2"), "twice is as good as once");
}

#[test]
fn another_image_boots_its_own_loader() {
    let machine = Machine::new();
    machine.stage("2");
    assert_eq!(machine.boot().as_deref(), Some("2"));
    assert!(machine.approve("2"));
    assert!(matches!(next(&machine.scratch(), "3.0 1800000000"), Ok(Next::OtherImage(_))));
    assert_eq!(machine.boot().as_deref(), Some("2"), "and the one before still has it");
    machine.stage("2");
    assert!(matches!(next(&machine.scratch(), "3.0 1800000000"), Ok(Next::Start(_))), "unless it was wanted since");
}

#[test]
fn directories_and_archives_are_staged_alike() {
    let machine = Machine::new();
    let two = loader("2");
    for pack in [machine.directory(&two), machine.archive(&two)] {
        stage(&machine.scratch(), Pack::open(&pack).expect("a pack"), None).expect("a loader");
        let names = [DESCRIPTOR.to_owned(), format!("initrd-{}", two.id()), format!("vmlinuz-{}", two.id())];
        assert_eq!(machine.names(), names);
        let (mut kernel, mut initrd) = machine.staged().open(&machine.scratch()).expect("its files");
        let content = |file: &mut File| {
            let mut bytes = Vec::new();
            std::io::Seek::rewind(file).and_then(|()| file.read_to_end(&mut bytes)).expect("its bytes");
            bytes
        };
        assert!((content(&mut kernel), content(&mut initrd)) == files("2"));
        assert!(forget(&machine.scratch()).expect("nothing"));
        assert!(!forget(&machine.scratch()).expect("nothing"));
        assert_eq!(machine.names(), [""; 0]);
        assert_eq!(machine.boot(), None);
    }
}

#[test]
fn what_does_not_fit_or_is_damaged_is_refused_and_the_one_before_stays() {
    let machine = Machine::new();
    machine.stage("2");
    let before = machine.names();
    let refused = |pack: &Path, tree: Option<&str>, reason: &str| {
        let error = Pack::open(pack).and_then(|pack| stage(&machine.scratch(), pack, tree)).expect_err(reason);
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(machine.names(), before, "{reason}");
        assert_eq!(machine.staged().loader, loader("2"));
        machine.staged().open(&machine.scratch()).expect("its files");
    };
    let three = loader("3");
    let directory = machine.directory(&three);
    refused(&directory, Some("version=2.0"), "the operating system is of contract 2.0, the loader of 1.");
    replace(&machine.scratch().join(OF_SCRATCH), b"version=3.0\n").expect("a file");
    refused(&directory, None, "the scratch is of contract 3.0");
    fs::remove_file(machine.scratch().join(OF_SCRATCH)).expect("a file");

    let (mut kernel, mut initrd) = files("3");
    fs::write(directory.join(INITRD), &initrd[1..]).expect("a file");
    refused(&directory, None, "initrd is not what the descriptor says");
    initrd.push(0);
    fs::write(directory.join(INITRD), &initrd).expect("a file");
    refused(&directory, None, "initrd is not what the descriptor says");
    kernel[70_000] ^= 1;
    fs::write(directory.join(KERNEL), &kernel).expect("a file");
    refused(&directory, None, "vmlinuz is not what the descriptor says");
    fs::remove_file(directory.join(KERNEL)).expect("a file");
    refused(&directory, None, "vmlinuz");
    fs::write(directory.join(DESCRIPTOR), "version=3\n").expect("a file");
    refused(&directory, None, "another version, or no loader");
    fs::remove_file(directory.join(DESCRIPTOR)).expect("a file");
    refused(&directory, None, DESCRIPTOR);

    let archive = machine.archive(&three);
    let whole = fs::read(&archive).expect("an archive");
    for length in [0, 50, 200, 600, 50_000, 100_000, 150_000] {
        fs::write(&archive, &whole[..length]).expect("a file");
        refused(&archive, None, "");
    }
    fs::write(&archive, [&whole[..60_000], b"x", &whole[60_001..]].concat()).expect("a file");
    refused(&archive, None, "vmlinuz is not what the descriptor says");
    refused(Path::new("/dev/null"), None, "no loader");
}

#[test]
fn what_may_be_missing_is_said() {
    let machine = Machine::new();
    let newer = Version { minor: OURS.minor + 1, ..OURS };
    let pack = Pack::open(&machine.directory(&loader("2"))).expect("a pack");
    let remarks = stage(&machine.scratch(), pack, Some(&newer.to_text())).expect("a loader");
    assert_eq!(remarks.len(), 1);
    assert!(remarks[0].starts_with("the operating system is of contract"), "{remarks:?}");
}

#[test]
fn what_lies_on_the_scratch_and_was_changed_is_not_started() {
    let machine = Machine::new();
    machine.stage("2");
    let initrd = place(&machine.scratch(), INITRD, &loader("2"));
    let mut bytes = fs::read(&initrd).expect("a file");
    bytes[12_345] ^= 4;
    fs::write(&initrd, bytes).expect("a file");
    let Ok(Next::Start(staged)) = next(&machine.scratch(), IMAGE) else { panic!("it is there") };
    let error = staged.open(&machine.scratch()).expect_err("a changed file").to_string();
    assert!(error.contains("initrd-") && error.contains("not what the descriptor says"), "{error}");
    for text in ["", "tries=3", &loader("2").to_text()] {
        fs::write(descriptor(&machine.scratch()), text).expect("a file");
        next(&machine.scratch(), IMAGE).expect_err("half a descriptor");
    }
    machine.stage("2");
    assert_eq!(machine.boot().as_deref(), Some("2"), "it can be staged again");
}

#[test]
fn whenever_the_power_fails_while_staging_the_old_loader_or_the_new_one_is_whole() {
    for again in ["2", "3"] {
        let mut moment = 0;
        let mut seen = Vec::new();
        loop {
            let machine = Machine::new();
            machine.stage("2");
            assert!(machine.approve("2"));
            let pack = Pack::open(&machine.archive(&loader(again))).expect("a pack");
            let done = stage_with(&machine.scratch(), pack, None, &mut fails_at(moment)).is_ok();
            let version = machine.boot().expect("one of them");
            assert!(!done || version == again, "moment {moment}");
            seen.push(version);
            // What was left behind is no hindrance, and goes.
            machine.stage("3");
            assert_eq!(machine.names().len(), 3, "moment {moment}");
            if done {
                break;
            }
            moment += 1;
        }
        assert!(moment > 5 && seen.first().is_some_and(|first| first == "2"), "{seen:?}");
        assert!(seen.is_sorted(), "once the new one, always the new one: {seen:?}");
    }
}

#[test]
fn whenever_the_power_fails_while_it_is_taken_away_it_is_whole_or_gone() {
    let mut moment = 0;
    loop {
        let machine = Machine::new();
        machine.stage("2");
        let done = forget_with(&machine.scratch(), &mut fails_at(moment)).is_ok();
        assert!(machine.boot().is_none() || moment == 0, "moment {moment}");
        forget(&machine.scratch()).expect("the rest");
        assert_eq!(machine.names(), [""; 0]);
        if done {
            break;
        }
        moment += 1;
    }
    assert_eq!(moment, 2);
}

#[test]
fn without_room_to_count_nothing_is_started() {
    let machine = Machine::new();
    machine.stage("2");
    // As a full disk would: the file with the new number cannot be made.
    fs::create_dir(machine.scratch().join(DIRECTORY).join(format!("{DESCRIPTOR}.new"))).expect("a directory");
    next(&machine.scratch(), IMAGE).expect_err("it cannot be counted");
    assert_eq!(machine.staged().tries, TRIES);
}

/// What happens to a machine.
#[derive(Debug, Clone)]
enum Event {
    Stage(u8),
    Forget,
    /// A boot; whether the system comes up, and says so.
    Boot(bool),
    /// A boot of this image for once, with its own loader.
    Own,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However it goes: a loader that does not come up is left alone after its tries, and one that does is never given up.
    #[test]
    fn no_loader_is_started_more_often_in_vain(
        events in proptest::collection::vec(
            prop_oneof![
                1 => (0u8..3).prop_map(Event::Stage),
                1 => Just(Event::Forget),
                6 => any::<bool>().prop_map(Event::Boot),
                1 => Just(Event::Own),
            ],
            0..40,
        )
    ) {
        let machine = Machine::new();
        let mut expected: Option<(String, u32)> = None;
        for event in events {
            match event {
                Event::Stage(number) => {
                    machine.stage(&number.to_string());
                    expected = Some((number.to_string(), TRIES));
                }
                Event::Forget => {
                    prop_assert_eq!(forget(&machine.scratch()).expect("nothing"), expected.is_some());
                    expected = None;
                }
                Event::Own => prop_assert!(approve(&machine.scratch(), Some("builtin")).expect("an answer").is_none()),
                Event::Boot(comes_up) => {
                    let started = machine.boot();
                    let may = expected.as_ref().filter(|(_, tries)| *tries > 0).map(|(version, _)| version.clone());
                    prop_assert_eq!(&started, &may);
                    if let (Some((_, tries)), Some(version)) = (&mut expected, started) {
                        *tries -= 1;
                        if comes_up {
                            prop_assert!(machine.approve(&version));
                            *tries = TRIES;
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn descriptors_on_the_scratch_read_back(tries in any::<u32>(), proven in any::<bool>(), image in proptest::option::of("[ -~]{1,40}")) {
        let staged = Staged { loader: loader("2"), tries, proven, image };
        prop_assert_eq!(Staged::parse(&staged.to_text()), Ok(staged));
    }
}
