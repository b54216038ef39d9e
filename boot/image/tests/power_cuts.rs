//! Machines whose power fails: `ci/full boot`. `CVMFS_TESTS_POWER_CUTS` is how often, in each test.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::machine::Machine;
use common::{FIRST, Site, blank_disk, is_clean, partition};
use cvmfs_tests::tools::output;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use ucernvm_update::state::{PIN, Pin, WISH};

fn cuts(usual: u32) -> u32 {
    std::env::var("CVMFS_TESTS_POWER_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Moments that are different ones in each round, and the same ones in each run.
struct Moments(u32);

impl Moments {
    fn between(&mut self, first: Duration, last: Duration) -> Duration {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        first + last.saturating_sub(first).mul_f64(f64::from(self.0) / f64::from(u32::MAX))
    }
}

/// A disk that is like `base` until something is written. Where something is, QEMU keeps in memory until the guest flushes: whoever
/// kills it takes from the disk what a disk with a cache of its own loses with its power.
fn disk_above(site: &Site, base: &Path, name: &str) -> PathBuf {
    let disk = site.directory.path().join(name);
    let mut create = Command::new("qemu-img");
    output(create.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).args([base, &disk]));
    disk
}

/// The power fails at any moment of a first or later boot; the machine comes up afterwards.
#[test]
#[ignore = "tens of boots"]
fn power_cuts_leave_a_machine_that_boots() {
    let cuts = cuts(20);
    let Some(site) = Site::new() else { return };
    let (image, _) = site.build("ucernvm.raw", &["--format", "raw"]);
    let blank = blank_disk(&site, "blank.raw");
    let mut scratch = PathBuf::new();
    let mut moments = Moments(0x2545_f491);
    for cut in 0..cuts {
        // A new disk every fifth time: formatting is cut, too.
        if cut % 5 == 0 {
            scratch = disk_above(&site, &blank, "scratch.qcow2");
        }
        let mut machine = site.plan(&image, &scratch).start();
        machine.expect("* Welcome to micro-CernVM");
        std::thread::sleep(moments.between(Duration::ZERO, Duration::from_secs(33)));
        machine.cut();
        if cut % 5 == 4 || cut + 1 == cuts {
            let mut machine = site.plan(&image, &scratch).start();
            machine.log_in();
            assert_eq!(machine.ask("cat /etc/release-of-test"), "v1", "after cut {cut}");
            machine.power_off();
            assert!(is_clean(&scratch), "after cut {cut}");
        }
    }
}

/// Files of the system that are changed here, so that a rebase takes them out of the overlay.
const SYSTEM: u32 = 3000;
/// Files that are here only.
const OWN: u32 = 1000;
/// Configuration of which every second file is changed here, and the others only touched.
const SETTINGS: u32 = 300;

/// What a system says about itself, a line for each thing.
const TELL: &str = "cat /etc/release-of-test /etc/mine; ls /etc/gone /usr/share/gone 2>/dev/null; \
    cat /usr/share/many/* | sort | uniq -c; cat /etc/many/* | sort | uniq -c; cat /usr/own/* | uniq -c; \
    stat -c %U /home/joe; id -u joe; stat -c %U /var/bus 2>/dev/null; \
    dpkg-query -W -f '${Package} ${Status}\\n' own theirs 2>/dev/null; \
    find /mnt/.rw/aux/rebase/journal /mnt/.rw/aux/rebase/staged -not -type d 2>/dev/null";

/// All that [`TELL`] says at the old snapshot, and at the new one.
fn told() -> [String; 2] {
    let half = SETTINGS / 2;
    [
        format!("v1\nlocal\n{SYSTEM} local\n{half} local\n{half} of v1\n{OWN} own\njoe\n990\nown install ok installed"),
        format!(
            "v2\nlocal\n/usr/share/gone\n{SYSTEM} of v2\n{half} local\n{half} of v2\n{OWN} own\njoe\n990\nbus\n\
             own install ok installed\ntheirs install ok installed"
        ),
    ]
}

fn tell(machine: &mut Machine) -> String {
    machine.ask(TELL).lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

/// Writes the many files of the system into the tree that is published next.
fn write_system(site: &Site, version: &str) {
    for (directory, number) in [("usr/share/many", SYSTEM), ("etc/many", SETTINGS)] {
        fs::create_dir_all(site.tree(directory)).unwrap();
        for file in 0..number {
            fs::write(site.tree(directory).join(file.to_string()), format!("of {version}\n")).unwrap();
        }
    }
}

/// Adds what the new snapshot has to the tree that is published next.
fn write_new_system(site: &Site) {
    write_system(site, "v2");
    fs::write(site.tree("etc/release-of-test"), "v2\n").unwrap();
    let append = |path: &str, more: &str| {
        let text = fs::read_to_string(site.tree(path)).unwrap();
        fs::write(site.tree(path), format!("{text}{more}")).unwrap();
    };
    append("etc/passwd", "bus:x:990:990::/nonexistent:/usr/sbin/nologin\n");
    append("var/lib/dpkg/status", &package("theirs"));
    fs::write(site.tree("var/bus"), "").unwrap();
    std::os::unix::fs::chown(site.tree("var/bus"), Some(990), None).unwrap();
}

fn package(name: &str) -> String {
    format!(
        "Package: {name}\nStatus: install ok installed\nMaintainer: nobody <nobody@example.org>\n\
         Architecture: amd64\nVersion: 1\nDescription: a package\n\n"
    )
}

/// Changes all that may be changed.
fn change_system(machine: &mut Machine) {
    for command in [
        "echo local > /etc/mine; rm /etc/gone /usr/share/gone; useradd -r -u 990 joe; mkdir /home/joe; chown joe /home/joe",
        "for i in /usr/share/many/*; do echo local > $i; done",
        "for i in /etc/many/*[02468]; do echo local > $i; done; for i in /etc/many/*[13579]; do echo of v1 > $i; done",
        &format!("mkdir /usr/own; for i in $(seq {OWN}); do echo own > /usr/own/$i; done"),
        &format!("printf '{}' >> /var/lib/dpkg/status", package("own").replace('\n', "\\n")),
    ] {
        machine.ask(command);
    }
}

/// What a disk holds after a cut.
#[derive(Debug)]
struct Left {
    pin: String,
    has_journal: bool,
    is_wished: bool,
}

/// Looks at a disk, as the next boot will.
fn look(disk: &Path) -> Left {
    let partition = partition(disk);
    let check = Command::new("e2fsck").arg("-p").arg(&partition).output().unwrap();
    assert!(matches!(check.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&check.stdout));
    let content = |name: &str| {
        let debugfs = Command::new("debugfs").args(["-R", &format!("cat /{name}")]).arg(&partition).output().unwrap();
        String::from_utf8(debugfs.stdout).unwrap()
    };
    let journal = content("aux/rebase/journal");
    assert!(journal.is_empty() || journal.ends_with("\nend\n"), "a journal is complete or not there: {journal}");
    Left {
        pin: Pin::parse(&content(PIN)).unwrap().root_hash,
        has_journal: !journal.is_empty(),
        is_wished: content(WISH).contains("rebase"),
    }
}

/// How long the parts of a rebase take when nothing disturbs it.
struct Parts {
    /// From its first word until the journal is there.
    journal: Duration,
    /// Until all that it says is done.
    done: Duration,
    /// Until the login.
    login: Duration,
}

/// Boots once without a cut.
fn measure(site: &Site, image: &Path, scratch: &Path) -> Parts {
    let mut machine = site.plan(image, scratch).start();
    machine.expect("[INF] Rebasing system to new version");
    let begun = Instant::now();
    machine.log_in();
    let login = begun.elapsed();
    let log = machine.ask("cat /mnt/.rw/ulogs/steps.log");
    println!("{log}");
    let at = |name: &str| {
        let line = log.lines().find_map(|line| line.trim().strip_suffix(&format!(" ms {name}")));
        Duration::from_millis(line.unwrap().parse().unwrap())
    };
    assert_eq!(tell(&mut machine), told()[1]);
    machine.power_off();
    assert!(is_clean(scratch));
    let first = at("repository");
    Parts { journal: at("rebase: journal") - first, done: at("rebase: done") - first, login }
}

/// The power fails while a rebase is wished, while it is done, and while it is gone on with. The machine comes up at one of the two
/// snapshots, with all that was changed here, and at the new one if that was promised.
#[test]
#[ignore = "tens of boots"]
fn power_cuts_during_a_rebase_leave_the_old_snapshot_or_the_new_one() {
    let Some(site) = Site::new() else { return };
    let (image, _) = site.build("ucernvm.raw", &["--format", "raw"]);
    write_system(&site, "v1");
    for path in ["etc/gone", "usr/share/gone"] {
        fs::write(site.tree(path), "gone\n").unwrap();
    }
    site.publish("v1b");
    let wished = blank_disk(&site, "wished.raw");
    let mut machine = site.plan(&image, &wished).start();
    machine.log_in();
    change_system(&mut machine);
    assert_eq!(tell(&mut machine), told()[0]);
    write_new_system(&site);
    site.publish("v2");
    let begun = Instant::now();
    assert_eq!(machine.ask("cernvm-update rebase"), "it is done at the next boot");
    let wishing = begun.elapsed();
    machine.power_off();
    let old = look(&wished).pin;
    let unwished = site.directory.path().join("unwished.raw");
    output(Command::new("cp").arg("--sparse=always").args([&wished, &unwished]));
    let place = format!("{}?offset={FIRST}", unwished.display());
    output(Command::new("debugfs").args(["-w", "-R", &format!("rm /{WISH}"), &place]));
    assert!(!look(&unwished).is_wished);

    let whole = disk_above(&site, &wished, "whole.qcow2");
    let parts = measure(&site, &image, &whole);
    let new = look(&whole).pin;
    println!("{wishing:?} to wish; journal {:?}, done {:?}, login {:?}", parts.journal, parts.done, parts.login);

    let mut moments = Moments(0x5eed_0001);
    // Where the journal is followed. When that is depends on what else this computer does, so who came too late goes back a little.
    let near = parts.done - parts.journal;
    let mut aim = parts.journal + near / 2;
    for cut in 0..cuts(20) {
        let scratch = disk_above(&site, if cut % 5 == 4 { &unwished } else { &wished }, "scratch.qcow2");
        let mut machine = site.plan(&image, &scratch).start();
        let (after, is_promised) = if cut % 5 == 4 {
            machine.log_in();
            let after = moments.between(Duration::ZERO, wishing.mul_f64(1.2));
            machine.send("cernvm-update rebase");
            std::thread::sleep(after);
            (after, machine.cut().contains("it is done at the next boot"))
        } else {
            machine.expect("[INF] Rebasing system to new version");
            let after = match cut % 5 {
                0 => moments.between(Duration::ZERO, parts.login),
                _ => moments.between(aim.saturating_sub(near), aim + near),
            };
            std::thread::sleep(after);
            machine.cut();
            (after, true)
        };
        let left = look(&scratch);
        println!("cut {cut} after {after:?}: {left:?}, old pin: {}", left.pin == old);
        assert!(left.pin == old || left.pin == new);
        let is_on_its_way = left.is_wished || left.has_journal || left.pin == new;
        assert!(is_on_its_way || !is_promised, "what was promised is forgotten");
        if !matches!(cut % 5, 0 | 4) && !left.has_journal {
            aim = if left.pin == old { after + near } else { after.saturating_sub(near) };
        }
        if cut % 5 == 2 {
            let mut machine = site.plan(&image, &scratch).start();
            machine.expect("[INF] Mounting root filesystem... check");
            std::thread::sleep(moments.between(Duration::ZERO, parts.done));
            machine.cut();
            println!("once more: {:?}", look(&scratch));
        }

        let mut machine = site.plan(&image, &scratch).start();
        machine.log_in();
        assert_eq!(tell(&mut machine), told()[usize::from(is_on_its_way)], "after cut {cut}");
        machine.power_off();
        assert!(is_clean(&scratch), "after cut {cut}");
        let left = look(&scratch);
        assert!(!left.has_journal && !left.is_wished && left.pin == if is_on_its_way { &new } else { &old }.as_str());
    }
}

/// The power fails while programs write. What they were told to be on the disk is there at the next boot.
#[test]
#[ignore = "ten boots"]
fn power_cuts_while_the_system_is_in_use_leave_what_was_synced() {
    let Some(site) = Site::new() else { return };
    let (image, _) = site.build("ucernvm.raw", &["--format", "raw"]);
    write_system(&site, "v1");
    site.publish("v1b");
    let scratch = disk_above(&site, &blank_disk(&site, "blank.raw"), "scratch.qcow2");
    // A new file, renamed; a file of the system that is copied into the overlay; a log that grows. And much that nobody syncs.
    let write = "mkdir -p /var/kept; (while sleep 0.2; do dd if=/dev/urandom of=/var/noise bs=64k count=16; done) 2>/dev/null & \
        while :; do echo kept $n > /var/kept/new; sync /var/kept/new; mv /var/kept/new /var/kept/$n; sync /var/kept; \
        echo $n >> /usr/share/many/$n; sync /usr/share/many/$n; echo $n >> /var/log/kept; sync /var/log/kept; \
        echo syn''ced $n.; n=$((n + 1)); done";
    let mut moments = Moments(0x5eed_0002);
    let mut synced = 0;
    for cut in 0..cuts(5) {
        let mut machine = site.plan(&image, &scratch).start();
        machine.log_in();
        let first = synced + 1;
        machine.send(&format!("n={first}; {write}"));
        machine.expect(&format!("synced {first}."));
        std::thread::sleep(moments.between(Duration::ZERO, Duration::from_secs(25)));
        let said = machine.cut();
        let mut numbers =
            said.lines().filter_map(|line| line.trim().strip_prefix("synced ")?.strip_suffix('.')?.parse().ok());
        synced = numbers.next_back().unwrap_or(first);
        println!("cut {cut}: {synced} synced");
        let header = Command::new("dumpe2fs").arg("-h").arg(partition(&scratch)).output().unwrap();
        assert!(String::from_utf8_lossy(&header.stdout).contains("needs_recovery"), "the journal is to be replayed");

        let mut machine = site.plan(&image, &scratch).start();
        machine.log_in();
        let kept = machine
            .ask(&format!("cd /var/kept; cat $(seq {synced}) | sha256sum; head -n {synced} /var/log/kept | sha256sum"));
        let changed = machine.ask(&format!("cd /usr/share/many; cat $(seq {synced}) | sha256sum; cd"));
        let text = |line: fn(u32) -> String| sum(&(1..=synced).map(line).collect::<String>());
        let lines = [text(|n| format!("kept {n}\n")), text(|n| format!("{n}\n"))];
        assert_eq!(kept, lines.join("\n"), "after cut {cut}");
        assert_eq!(changed, text(|n| format!("of v1\n{n}\n")), "after cut {cut}");
        // What was written and not told begins again.
        machine.ask(&format!(
            "n=$(({synced} + 1)); rm -f /var/kept/$n; echo of v1 > /usr/share/many/$n; seq {synced} > /var/log/kept"
        ));
        machine.power_off();
        assert!(is_clean(&scratch), "after cut {cut}");
    }
}

/// As `sha256sum` says it.
fn sum(text: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let digest: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digest}  -")
}
