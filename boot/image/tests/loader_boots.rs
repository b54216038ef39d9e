//! Machines whose loader is another one than that of their image: `ci/full boot`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::machine::Machine;
use common::{Site, blank_disk, is_clean};
use std::fs;
use std::path::Path;
use ucernvm_update::contract::OURS;
use ucernvm_update::loader::{DESCRIPTOR, INITRD, KERNEL, Loader, Part};

/// What `cernvm-update loader` says when the system is up.
fn loader(machine: &mut Machine) -> String {
    machine.ask("systemctl is-system-running --wait >/dev/null; cernvm-update loader")
}

/// A kernel that is good, with an initramfs that is none.
fn write_broken(pack: &Path, kernel: &Path) {
    let (kernel, initrd) = (fs::read(kernel).unwrap(), b"no archive at all".to_vec());
    let parts = (Part::of(&kernel), Part::of(&initrd));
    let loader = Loader { version: "6.6".to_owned(), contract: OURS, kernel: parts.0, initrd: parts.1 };
    fs::create_dir_all(pack).unwrap();
    for (name, bytes) in [(DESCRIPTOR, loader.to_text().into_bytes()), (KERNEL, kernel), (INITRD, initrd)] {
        fs::write(pack.join(name), bytes).unwrap();
    }
}

/// A loader out of the repository boots the system, and proves itself. One that panics does so three times, without anybody's help;
/// then the image's own boots.
#[test]
#[ignore = "seven boots"]
fn a_loader_of_the_repository_boots_the_system_and_a_broken_one_is_given_up() {
    let Some(site) = Site::new() else { return };
    let (cd, _) = site.build("ucernvm.iso", &["--release", "1.0"]);
    let (pack, _) = site.build("new.pack", &["--release", "9.9", "--format", "pack"]);
    let (kernel, _) = site.build("kernel", &["--format", "kernel"]);
    fs::copy(&pack, site.tree("opt/new.pack")).unwrap();
    write_broken(&site.tree("opt/broken"), &kernel.join(KERNEL));
    site.publish("v2");
    let scratch = blank_disk(&site, "scratch.raw");

    let mut first = site.plan(&cd, &scratch).start();
    first.log_in();
    assert_eq!(loader(&mut first), "loader:    1.0, the image's own");
    assert!(first.ask("cernvm-update loader /opt/absent; echo $?").ends_with('1'));
    let said = first.ask("cernvm-update -k /mnt/.ro/opt/new.pack");
    assert!(said.starts_with("loader 9.9 is started at the next boot"), "{said}");
    first.power_off();
    assert!(is_clean(&scratch));

    for (more, is_told) in [("2 more tries", true), ("2 more tries", false)] {
        let mut machine = site.plan(&cd, &scratch).start();
        machine.expect("* Release 1.0");
        machine.expect(&format!("[INF] Starting loader 9.9 ({more})... check"));
        machine.expect("* Release 9.9");
        machine.log_in();
        assert_eq!(loader(&mut machine), "loader:    9.9, staged, it has come up, 3 of 3 tries left");
        assert_eq!(machine.ask("cat /etc/release-of-test; cat /mnt/.rw/aux/ucernvm-version"), "v1\n9.9");
        let line = machine.ask("cat /proc/cmdline");
        assert!(line.contains("cernvm_loader=") && line.contains("rescue=reboot") == is_told, "{line}");
        if !is_told {
            machine.ask("cernvm-update loader /opt/broken");
        }
        machine.power_off();
        assert!(is_clean(&scratch));
    }

    for left in (0..3).rev() {
        let mut machine = site.plan(&cd, &scratch).start();
        machine.expect(&format!("[INF] Starting loader 6.6 ({left} more tries)... check"));
        machine.expect("Kernel panic");
        // The machine that would be started again ends.
        machine.wait();
        assert!(is_clean(&scratch), "nobody has mounted it");
    }
    let mut last = site.plan(&cd, &scratch).start();
    last.expect("[WRN] loader 6.6 did not come up so often that the image's own goes on");
    last.log_in();
    assert_eq!(loader(&mut last), "loader:    1.0; 6.6 is staged, it has not come up yet, 0 of 3 tries left");
    assert_eq!(
        last.ask("cernvm-update loader --drop; ls -A /mnt/.rw/kexec"),
        "the image's own loader goes on at the next boot"
    );
    assert_eq!(loader(&mut last), "loader:    1.0, the image's own");
    last.power_off();
}

/// After `diverge` to a snapshot with which the system never comes up a machine goes back to the one before, by itself.
#[test]
#[ignore = "five boots"]
fn a_snapshot_that_does_not_come_up_is_left_again() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(site) = Site::new() else { return };
    let (cd, _) = site.build("ucernvm.iso", &[]);
    let scratch = blank_disk(&site, "scratch.raw");
    let mut first = site.plan(&cd, &scratch).start();
    first.log_in();
    let init = site.tree("usr/sbin/init");
    fs::remove_file(&init).unwrap();
    fs::write(&init, "#!/bin/sh\necho this is no system\nsleep 1000\n").unwrap();
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
    site.publish("v2");
    assert_eq!(first.ask("cernvm-update diverge"), "it is done at the next boot");
    first.power_off();

    for _ in 0..3 {
        let mut machine = site.plan(&cd, &scratch).start();
        machine.expect("[INF] Booting CERN Virtual Machine");
        machine.expect("this is no system");
    }
    let mut last = site.plan(&cd, &scratch).start();
    last.expect("[WRN] the system did not come up with snapshot");
    last.log_in();
    assert_eq!(last.ask("cernvm-update check; echo $?"), "v2 is available\n100");
    last.power_off();
    assert!(is_clean(&scratch));
}
