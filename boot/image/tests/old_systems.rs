//! One image boots operating systems of several ages, and old sources compile in the old one. What takes too long for every change is
//! ignored: `ci/full boot`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::machine::Machine;
use common::{Site, blank_disk, debian, is_clean};
use cvmfs_tests::tools::output;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The oldest and the newest Debian that mirrors have.
const SYSTEMS: [&str; 2] = ["bullseye", "trixie"];
const COMPILE: &str = "cc -o /tmp/primes /root/primes.c 2>/tmp/errors && /tmp/primes || grep -c error: /tmp/errors";

/// Each system is a directory of one repository; user data choose. They bring along a program of the time before ANSI C.
#[test]
#[ignore = "two boots, and two systems to download"]
fn old_sources_compile_in_the_old_system_that_the_same_image_boots() {
    let Some(site) = Site::new() else { return };
    for system in SYSTEMS {
        site.unpack(&debian(system, "gcc,libc6-dev"), system);
    }
    site.publish("v2");
    let (cd, _) = site.build("ucernvm.iso", &[]);
    let answers = SYSTEMS.map(|system| {
        let scratch = blank_disk(&site, &format!("{system}.raw"));
        let data = site.directory.path().join("user-data");
        fs::write(
            &data,
            format!("[ucernvm-begin]\ncernvm_path={system}\ncernvm_inject={}\n[ucernvm-end]\n", source(&site)),
        )
        .unwrap();
        let with = ["--user-data", data.to_str().unwrap()];
        let mut machine = site.plan(&cd, &scratch).with(&with).start();
        machine.expect("[INF] Injecting files... check");
        machine.log_in();
        tell(system, &site, &mut machine);
        let answer = machine.ask(COMPILE);
        machine.power_off();
        assert!(is_clean(&scratch), "{system}");
        answer
    });
    assert_eq!(answers[0], "76127", "the sum of the primes below a thousand");
    assert_ne!(answers[1], "76127", "compilers of today refuse it");
}

/// Every snapshot of the repository boots, with the image that is there.
#[test]
fn one_image_boots_every_tag() {
    let Some(site) = Site::new() else { return };
    for tag in ["v2", "v3", "v4"] {
        fs::write(site.tree("etc/release-of-test"), format!("{tag}\n")).unwrap();
        site.publish(tag);
    }
    // Another system altogether, as the last one.
    fs::remove_dir_all(site.tree("")).unwrap();
    site.unpack(&debian("bullseye", ""), "");
    fs::write(site.tree("etc/release-of-test"), "v5\n").unwrap();
    site.publish("v5");
    let (cd, _) = site.build("ucernvm.iso", &[]);
    for tag in ["v1", "v2", "v3", "v4", "v5"] {
        let scratch = blank_disk(&site, &format!("{tag}.raw"));
        let data = site.directory.path().join("user-data");
        fs::write(&data, format!("[ucernvm-begin]\ncvmfs_tag={tag}\n[ucernvm-end]\n")).unwrap();
        let with = ["--user-data", data.to_str().unwrap()];
        let mut machine = site.plan(&cd, &scratch).with(&with).start();
        machine.log_in();
        assert_eq!(machine.ask("cat /etc/release-of-test"), tag);
        assert_eq!(machine.ask("systemctl is-system-running --wait"), "running", "{tag}");
        machine.power_off();
        assert!(is_clean(&scratch), "{tag}");
    }
}

/// The sources as user data can carry them.
fn source(site: &Site) -> String {
    let archive = site.directory.path().join("inject.tar.gz");
    let directory = site.directory.path().join("inject");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/boot/legacy/primes.c");
    fs::create_dir_all(directory.join("root")).unwrap();
    fs::copy(example, directory.join("root/primes.c")).unwrap();
    output(Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(&directory).arg("root/primes.c"));
    let packed = output(Command::new("base64").arg("-w0").arg(&archive)).stdout;
    String::from_utf8(packed).unwrap()
}

/// Figures for whoever wants to see them.
fn tell(system: &str, site: &Site, machine: &mut Machine) {
    let requests = site.server.requests().len();
    site.server.forget_requests();
    let versions =
        machine.ask("cat /etc/debian_version; uname -r; cc --version | head -n 1; ldd --version | head -n 1");
    println!("{system}: {requests} requests until the login\n{versions}");
}
