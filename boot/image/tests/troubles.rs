//! What is wrong with time, server or disk ends in the line that says so, and nothing is lost. What takes too long for every change is
//! ignored: `ci/full boot`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod config_drive;
mod told;

use common::machine::Plan;
use common::{FQRN, Site, blank_disk, is_clean};
use cvmfs_tests::tools::output;
use std::fs;
use std::process::Command;
use told::{KEY, SEED, described};

/// The whitelist is valid for a month. A machine whose clock is years ahead trusts nobody; with the right time it boots from the same
/// scratch, with what a config drive has told it at the first boot.
#[test]
fn what_is_out_of_date_is_not_booted() {
    let Some(site) = Site::new() else { return };
    let (cd, _) = site.build("ucernvm.iso", &[]);
    let scratch = blank_disk(&site, "scratch.raw");
    let script = "#!/bin/sh\necho first\n";
    let start = |script: &str, date: &str| {
        let drive = config_drive::make(&site, KEY, &format!("{script}[ucernvm-begin]\ncvmfs_tag=v1\n[ucernvm-end]\n"));
        site.plan(&cd, &scratch).with(&["--", "-drive", &drive, "-rtc", date]).start()
    };
    let mut late = start(script, "base=2040-01-01");
    late.expect("[INF] Contextualizing VM... ConfigDrive");
    late.expect("[INF] Starting CernVM File System... failed");
    late.expect("whitelist");
    late.expect(&format!("[ERR] step 'repository': {FQRN} cannot be mounted"));
    late.expect("(initrd) ");
    drop(late);

    fs::write(site.tree("etc/release-of-test"), "v2\n").unwrap();
    site.publish("v2");
    let mut machine = start("#!/bin/sh\necho second\n", "base=utc");
    machine.log_in();
    assert!(!machine.said.contains("Contextualizing"), "{}", machine.said);
    assert_eq!(machine.ask("cat /etc/release-of-test"), "v1");
    assert_eq!(machine.ask(&format!("head -n 2 {SEED}/user-data")), script.trim_end());
    assert_eq!(machine.ask(&format!("cat {SEED}/meta-data")), described());
    machine.power_off();
    assert!(is_clean(&scratch));
}

/// A scratch that needs a person, one without room for anything, and a server whose letters nobody we trust has signed.
#[test]
fn what_is_broken_full_or_forged_ends_in_the_rescue_shell() {
    let Some(site) = Site::new() else { return };
    let (cd, _) = site.build("ucernvm.iso", &[]);
    let scratch = blank_disk(&site, "scratch.raw");
    output(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-L", "UROOT"]).arg(&scratch));
    output(Command::new("debugfs").args(["-w", "-R", "clri <2>"]).arg(&scratch));
    let mut machine = site.plan(&cd, &scratch).start();
    // The kernel has to say something in between.
    machine.expect("[INF] Mounting root filesystem... ");
    machine.expect("failed\r\n[ERR] step 'scratch': /dev/vda needs a repair by hand");
    machine.expect("(initrd) ");
    drop(machine);

    let (full, kept) = (site.directory.path().join("full"), site.directory.path().join("kept"));
    fs::create_dir(&full).unwrap();
    fs::write(full.join("film"), vec![1; 13 << 20]).unwrap();
    let small = blank_disk(&site, "small.raw");
    fs::OpenOptions::new().write(true).open(&small).unwrap().set_len(16 << 20).unwrap();
    let mut format = Command::new("mke2fs");
    output(format.args(["-q", "-F", "-t", "ext4", "-m", "0", "-L", "UROOT", "-d"]).arg(&full).arg(&small));
    let mut machine = site.plan(&cd, &small).start();
    machine.expect("[INF] Starting CernVM File System... failed");
    machine.expect(&format!("[ERR] step 'repository': {FQRN} cannot be mounted"));
    machine.expect("no space left");
    machine.expect("(initrd) ");
    machine.ask("sync");
    drop(machine);
    output(Command::new("debugfs").arg("-R").arg(format!("dump film {}", kept.display())).arg(&small));
    assert!(fs::read(kept).unwrap() == vec![1; 13 << 20], "somebody's file has changed");

    // The same name, with other keys.
    let Some(forged) = Site::new() else { return };
    let mut machine = Plan::new(&cd).network(forged.server.port()).start();
    machine.expect("[INF] Starting CernVM File System... failed");
    machine.expect(&format!("[ERR] step 'repository': {FQRN} cannot be mounted"));
    machine.expect("(initrd) ");
}

/// Fills what is left of a disk, in ever smaller pieces.
const FILL: &str = "n=64; while [ $n -gt 0 ]; do fallocate -l $((n << 20)) /var/tmp/$((i = i + 1)) || n=$((n / 2)); done; yes > /var/tmp/rest";

/// A user has filled the scratch, so that what was not read yet cannot be had. What was put aside for that gives room to go on, and
/// nothing that was written is lost.
#[test]
#[ignore = "three boots"]
fn a_full_scratch_loses_nothing() {
    let Some(site) = Site::new() else { return };
    let (cd, _) = site.build("ucernvm.iso", &[]);
    let scratch = blank_disk(&site, "scratch.raw");
    let plan = || site.plan(&cd, &scratch);
    let mut first = plan().start();
    first.log_in();
    first.ask("echo mine > /root/mine");
    first.ask(&format!("setpriv --reuid=65534 --regid=65534 --clear-groups sh -c '{FILL}' 2>/dev/null; sync"));
    // The shell does it by itself.
    assert_eq!(first.ask(": > /mnt/.rw/aux/safety/space && echo done"), "done");
    first.power_off();
    assert!(is_clean(&scratch));

    let mut second = plan().start();
    second.log_in();
    assert_eq!(second.ask("cat /root/mine"), "mine");
    second.ask("rm /var/tmp/*");
    second.power_off();
    assert!(is_clean(&scratch));

    let mut third = plan().start();
    third.log_in();
    assert_eq!(third.ask("cat /root/mine; echo more > /root/more && cat /root/more"), "mine\nmore");
    third.power_off();
    assert!(is_clean(&scratch));
}
