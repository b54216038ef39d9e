//! Machines that boot a published Debian, in QEMU without hardware support. Each boot takes most of a minute, so there are few, and
//! each shows several things.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::machine::{Machine, Plan};
use common::{Site, blank_disk, is_clean};
use cvmfs_tests::tools::output;
use std::fs;
use std::path::Path;
use std::process::Command;
use ucernvm_update::pack::Pack;
use ucernvm_update::staged;

/// A machine that starts something else than the tree would have it start.
const ROLE: &str = "cernvm_target=multi-user.target\ncernvm_units=systemd-networkd.service,desktop.service\n";

#[test]
fn machines_boot() {
    let Some(site) = Site::new() else { return };
    let (cd, report) = site.build("ucernvm.iso", &[]);
    let (_, again) = site.build("ucernvm.raw", &["--format", "raw"]);
    assert_eq!(report["sha256"], again["sha256"], "the same input makes the same bytes");
    assert_eq!(report["absent_modules"].as_array().map(Vec::len), Some(0), "{report}");
    let (disk, small) = site.build("small.raw", &["--format", "raw", "--drivers", "virtio"]);
    println!("{report:#} {small:#}");
    a_debian_boots_and_keeps_what_was_written_and_its_snapshot(&site, &cd, &disk);
    a_disk_with_data_is_left_as_it_is(&site, &cd);
    another_loader_is_started_and_given_up_when_it_has_no_more_tries(&site, &cd);
    without_its_server_a_machine_ends_in_the_rescue_shell(site, &cd);
}

/// One machine through its life: first boot from a disk with UEFI and no driver but those for virtio, second from a CD with a BIOS.
fn a_debian_boots_and_keeps_what_was_written_and_its_snapshot(site: &Site, cd: &Path, disk: &Path) {
    let scratch = blank_disk(site, "scratch.raw");
    let data = site.directory.path().join("user-data");
    fs::write(&data, format!("#!/bin/sh\necho hello\n[ucernvm-begin]\nnonsense=1\n{ROLE}[ucernvm-end]\n")).unwrap();
    let seeded = ["--user-data", data.to_str().unwrap(), "--uefi"];
    let mut first = site.plan(disk, &scratch).with(&seeded).start();
    for line in [
        "* Welcome to micro-CernVM",
        "[INF] Loading predefined modules... check",
        "[INF] Starting networking... check",
        "[INF] Contextualizing VM... NoCloud",
        "[WRN] user data: nonsense is not known",
        "[INF] Partitioning /dev/vdb... check",
        "[INF] Formatting /dev/vdb1... check",
        "[INF] Mounting root filesystem... check",
        "[INF] Starting CernVM File System... connected to os.example.org",
        "[INF] Posting kernel modules... check",
        "[WRN] user data: the system has no desktop.service",
        "[INF] Pinning core file set... check",
        "[INF] Booting CERN Virtual Machine",
    ] {
        first.expect(line);
    }
    first.log_in();
    assert_eq!(first.ask("cat /etc/release-of-test"), "v1");
    let role =
        first.ask("systemctl get-default; systemctl is-enabled systemd-networkd; systemctl is-active systemd-networkd");
    assert_eq!(role, "multi-user.target\nenabled\nactive");
    assert!(first.ask("cat /var/lib/cloud/seed/nocloud/user-data").contains("echo hello"), "it is handed on");
    assert_eq!(
        first.ask("echo written > /etc/mine; rm /etc/issue.net; test -d /lib/modules/$(uname -r) && echo modules"),
        "modules"
    );
    let cold = site.server.requests().len();
    tell("cold", cold, &mut first);
    let said = first.power_off();
    assert!(said.contains("Unmounting root filesystem... check"), "{said}");
    assert!(is_clean(&scratch));

    // A new snapshot is published; this machine stays where it is.
    fs::write(site.tree("etc/release-of-test"), "v2\n").unwrap();
    site.publish("v2");
    site.server.forget_requests();
    let mut second = site.plan(cd, &scratch).start();
    second.expect("connected to os.example.org");
    second.log_in();
    assert!(!second.said.contains("Formatting") && !second.said.contains("Contextualizing"), "{}", second.said);
    assert_eq!(second.ask("cat /etc/mine /etc/release-of-test; ls /etc/issue.net 2>/dev/null"), "written\nv1");
    let warm = site.server.requests().len();
    tell("warm", warm, &mut second);
    assert!(warm * 10 < cold, "{cold} requests at first, then {warm}");
    assert!(second.power_off().contains("Unmounting root filesystem... check"));
    assert!(is_clean(&scratch));
}

/// Figures for whoever wants to see them.
fn tell(which: &str, requests: usize, machine: &mut Machine) {
    let received = machine.ask("cat /sys/class/net/eth0/statistics/rx_bytes");
    let steps = machine.ask("cat /mnt/.rw/ulogs/steps.log; cat /proc/uptime");
    println!("{which}: {requests} requests, {received} bytes received\n{steps}");
}

/// No server: the line that says so, then a shell.
fn without_its_server_a_machine_ends_in_the_rescue_shell(site: Site, cd: &Path) {
    let port = site.server.port();
    site.server.stop();
    let mut machine = Plan::new(cd).network(port).start();
    machine.expect("[WRN] no disk: what is written is lost when the machine ends");
    machine.expect("[INF] Starting CernVM File System... failed");
    machine.expect("[ERR] step 'repository': os.example.org cannot be mounted");
    machine.expect("(initrd) ");
    assert_eq!(machine.ask("ls /etc/cvmfs/keys"), "os.example.org.pub", "it is a shell that works");
    let unknown =
        "busybox --list > /tmp/names; cd /bin; for name in *; do grep -qxF -- $name /tmp/names || echo $name; done";
    assert_eq!(machine.ask(unknown), "busybox\ncvmfs-mount", "it has all that it has names for");
}

/// A disk with somebody's data, and no network: both are said, and the disk is as it was.
fn a_disk_with_data_is_left_as_it_is(site: &Site, cd: &Path) {
    let disk = blank_disk(site, "data.raw");
    assert!(Command::new("mke2fs").args(["-q", "-t", "ext4", "-L", "photos"]).arg(&disk).status().unwrap().success());
    let before = sum(&disk);
    // Not one of virtio this time.
    let drive = format!("file={},format=raw,if=ide", disk.display());
    let mut machine = Plan::new(cd).with(&["--network", "none", "--", "-drive", &drive]).start();
    machine.expect("[INF] Starting networking... failed");
    machine.expect("[ERR] step 'new scratch': Unable to find empty partition");
    machine.expect("/dev/sda holds an ext file system");
    machine.expect("(initrd) ");
    drop(machine);
    assert!(sum(&disk) == before, "the disk was changed");
}

/// A scratch with another loader that has one try left, and no network, so that the system does not come up.
fn another_loader_is_started_and_given_up_when_it_has_no_more_tries(site: &Site, cd: &Path) {
    let (pack, _) = site.build("new.pack", &["--release", "9.9", "--format", "pack"]);
    let tree = site.directory.path().join("scratch");
    for name in ["aux", "kexec"] {
        fs::create_dir_all(tree.join(name)).unwrap();
    }
    staged::stage(&tree, Pack::open(&pack).unwrap(), None).unwrap();
    let descriptor = tree.join("kexec/apply");
    fs::write(&descriptor, fs::read_to_string(&descriptor).unwrap().replace("tries=3", "tries=1")).unwrap();
    let scratch = blank_disk(site, "staged.raw");
    output(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-L", "UROOT", "-d"]).arg(&tree).arg(&scratch));
    let start = || Plan::new(cd).with(&["--network", "none", "--scratch", scratch.to_str().unwrap()]).start();

    let mut machine = start();
    machine.expect("[INF] Mounting root filesystem... check");
    machine.expect("[INF] Starting loader 9.9 (0 more tries)... check");
    machine.expect("* Release 9.9");
    machine.expect("[INF] Mounting root filesystem... check");
    machine.expect("[ERR] step 'repository'");
    // The power fails: it was counted before.
    drop(machine);
    let mut machine = start();
    machine.expect("[WRN] loader 9.9 did not come up so often that the image's own goes on");
    machine.expect("[ERR] step 'repository'");
    machine.expect("(initrd) ");
}

fn sum(file: &Path) -> Vec<u8> {
    output(Command::new("sha256sum").arg(file)).stdout
}
