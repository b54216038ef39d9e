//! What is wrong with time, server or disk ends in the line that says so, and nothing is lost: `ci/full boot`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{FQRN, Site, blank_disk, is_clean};

/// The whitelist is valid for a month. A machine whose clock is years ahead trusts nobody; with the right time it boots from the same
/// scratch.
#[test]
#[ignore = "two boots"]
fn what_is_out_of_date_is_not_booted() {
    let Some(site) = Site::new() else { return };
    let (cd, _) = site.build("ucernvm.iso", &[]);
    let scratch = blank_disk(&site, "scratch.raw");
    let plan = || site.plan(&cd, &scratch);
    let mut late = plan().with(&["--", "-rtc", "base=2040-01-01"]).start();
    late.expect("[INF] Starting CernVM File System... failed");
    late.expect("whitelist");
    late.expect(&format!("[ERR] step 'repository': {FQRN} cannot be mounted"));
    late.expect("(initrd) ");
    drop(late);

    let mut machine = plan().start();
    machine.log_in();
    machine.power_off();
    assert!(is_clean(&scratch));
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
