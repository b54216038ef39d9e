//! Boots that take too long for every change: `ci/full boot`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::machine::{Machine, Plan};
use common::{FQRN, Site, blank_disk, is_clean};
use cvmfs_tests::server::WebRoot;
use cvmfs_tests::tools::output;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Where the server is on a network of the local link.
const LINK_SERVER: &str = "169.254.0.100";

/// A network in which a metadata service answers where clouds have theirs, and the server as well.
fn cloud(service: &WebRoot, site: &Site) -> String {
    let forward = |address: &str, port: u16| format!("guestfwd=tcp:{address}:80-cmd:/bin/busybox nc 127.0.0.1 {port}");
    format!(
        "user,id=net,restrict=on,net=169.254.0.0/16,host=169.254.0.2,dns=169.254.0.3,dhcpstart=169.254.0.15,{},{}",
        forward("169.254.169.254", service.port()),
        forward(LINK_SERVER, site.server.port())
    )
}

fn release(machine: &mut Machine) -> String {
    machine.ask("cat /etc/release-of-test")
}

/// User data of a metadata service, an NVMe disk, a qcow2 image; and other snapshots for one boot and for good.
#[test]
#[ignore = "four boots"]
fn a_machine_in_a_cloud_gets_its_words_once_and_goes_to_other_snapshots() {
    let Some(site) = Site::new() else { return };
    fs::write(site.tree("etc/release-of-test"), "v2\n").unwrap();
    site.publish("v2");
    let (image, _) = site.build("ucernvm.qcow2", &["--format", "qcow2"]);
    let (newer, _) = site.build_with("newer.raw", "cvmfs_force_tag=v2", &["--format", "raw"]);
    let data = site.directory.path().join("service");
    fs::create_dir(&data).unwrap();
    fs::write(
        data.join("user-data"),
        format!("[ucernvm-begin]\ncvmfs_server={LINK_SERVER}\ncvmfs_tag=v1\n[ucernvm-end]\n"),
    )
    .unwrap();
    let service = WebRoot::new();
    service.mount("/2016-04-19", &data);
    let network = cloud(&service, &site);
    let scratch = blank_disk(&site, "scratch.raw");
    let drive = format!("file={},if=none,id=scratch,format=raw", scratch.display());
    let start = |image: &Path| {
        let nvme = ["--network", &network, "--", "-drive", &drive, "-device", "nvme,drive=scratch,serial=1"];
        Plan::new(image).with(&nvme).start()
    };

    let mut first = start(&image);
    first.expect("[INF] Contextualizing VM... EC2");
    first.expect("[INF] Partitioning /dev/nvme0n1... check");
    first.expect("[INF] Formatting /dev/nvme0n1p1... check");
    first.log_in();
    assert_eq!(release(&mut first), "v1");
    first.power_off();
    assert!(is_clean(&scratch));

    service.forget_requests();
    let mut other = start(&newer);
    other.log_in();
    assert_eq!(release(&mut other), "v2", "for this boot");
    other.power_off();

    let mut back = start(&image);
    back.log_in();
    assert_eq!(release(&mut back), "v1", "the pin has not changed");
    assert_eq!(service.requests().len(), 0, "the service is asked at the first boot only");
    back.ask("echo v2 > /mnt/.rw/aux/cvmfs_force_tag; sync");
    back.power_off();

    let mut forced = start(&image);
    forced.log_in();
    assert_eq!(release(&mut forced), "v2");
    assert_eq!(forced.ask("ls /mnt/.rw/aux/cvmfs_force_tag 2>/dev/null; tail -n 1 /mnt/.rw/aux/cvmfs_snapshot"), "v2");
    forced.power_off();
}

/// A scratch that needs a person, and a server whose letters nobody we trust has signed.
#[test]
#[ignore = "two boots"]
fn what_is_broken_or_forged_ends_in_the_rescue_shell() {
    let Some(site) = Site::new() else { return };
    let (cd, _) = site.build("ucernvm.iso", &[]);
    let scratch = blank_disk(&site, "scratch.raw");
    output(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-L", "UROOT"]).arg(&scratch));
    output(Command::new("debugfs").args(["-w", "-R", "clri <2>"]).arg(&scratch));
    let mut machine =
        Plan::new(&cd).network(site.server.port()).with(&["--scratch", scratch.to_str().unwrap()]).start();
    machine.expect("[INF] Mounting root filesystem... failed");
    machine.expect("[ERR] step 'scratch': /dev/vda needs a repair by hand");
    machine.expect("(initrd) ");
    drop(machine);

    // The same name, with other keys.
    let Some(forged) = Site::new() else { return };
    let mut machine = Plan::new(&cd).network(forged.server.port()).start();
    machine.expect("[INF] Starting CernVM File System... failed");
    machine.expect(&format!("[ERR] step 'repository': {FQRN} cannot be mounted"));
    machine.expect("(initrd) ");
}

/// The power fails at any moment of a first or later boot; the machine comes up afterwards.
#[test]
#[ignore = "tens of boots"]
fn power_cuts_leave_a_machine_that_boots() {
    let cuts = std::env::var("CVMFS_TESTS_POWER_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(20u32);
    let Some(site) = Site::new() else { return };
    let (disk, _) = site.build("ucernvm.raw", &["--format", "raw"]);
    let scratch = blank_disk(&site, "scratch.raw");
    let plan = || Plan::new(&disk).network(site.server.port()).with(&["--scratch", scratch.to_str().unwrap()]);
    let mut random = 0x2545_f491_u32;
    for cut in 0..cuts {
        // A new disk every fifth time: formatting is cut, too.
        if cut % 5 == 0 {
            fs::File::create(&scratch).unwrap().set_len(2 << 30).unwrap();
        }
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mut machine = plan().start();
        machine.expect("* Welcome to micro-CernVM");
        std::thread::sleep(Duration::from_millis(u64::from(random >> 17)));
        drop(machine);
        if cut % 5 == 4 || cut + 1 == cuts {
            let mut machine = plan().start();
            machine.log_in();
            assert_eq!(release(&mut machine), "v1", "after cut {cut}");
            machine.power_off();
            assert!(is_clean(&scratch), "after cut {cut}");
        }
    }
}
