//! Other snapshots, clouds, the menu. What takes too long for every change is ignored: `ci/full boot`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod told;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::machine::{Machine, Plan};
use common::{Site, blank_disk, is_clean, partition};
use cvmfs_tests::server::{Behaviour, LoggedRequest, WebRoot};
use cvmfs_tests::tools::output;
use std::fs;
use std::path::Path;
use std::process::Command;
use told::{KEY, SEED, described};

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

/// User data and a key of a metadata service, an NVMe disk, a qcow2 image; and other snapshots for one boot and for good.
#[test]
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
    let keys = site.directory.path().join("about/public-keys/0");
    fs::create_dir_all(&keys).unwrap();
    fs::write(keys.join("openssh-key"), KEY).unwrap();
    let service = WebRoot::new();
    service.mount("/2016-04-19", &data);
    service.mount("/latest/meta-data", site.directory.path().join("about"));
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
    assert!(first.ask(&format!("cat {SEED}/meta-data")).contains(KEY));
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

/// A metadata service that was made up.
struct Cloud {
    name: &'static str,
    /// What has to be there in every request but that for a token.
    header: Option<(&'static str, &'static str)>,
    /// Bodies by paths, with what follows a `?`.
    pages: Vec<(&'static str, String)>,
}

impl Cloud {
    /// Answers as the services of clouds do to those who ask as they want it.
    fn answer(&self, request: &LoggedRequest) -> Behaviour {
        if request.method == "PUT" {
            let token = self.header.filter(|(name, _)| *name == "x-aws-ec2-metadata-token");
            let is_asked_well = request.target == "/latest/api/token"
                && request.header("x-aws-ec2-metadata-token-ttl-seconds").is_some();
            return token
                .filter(|_| is_asked_well)
                .map_or(Behaviour::Status(405), |(_, token)| Behaviour::Body(token.into()));
        }
        if self.header.is_some_and(|(name, value)| request.header(name) != Some(value)) {
            return Behaviour::Status(401);
        }
        let page = self.pages.iter().find(|(path, _)| *path == request.target);
        page.map_or(Behaviour::Status(404), |(_, body)| Behaviour::Body(body.clone().into_bytes()))
    }
}

/// The clouds whose services can be asked, with these user data, a key, and the name `vm` of the machine `i-1`.
fn clouds(user_data: &str) -> [Cloud; 4] {
    let page = |path, body: &str| (path, body.to_owned());
    [
        Cloud {
            name: "EC2",
            header: Some(("x-aws-ec2-metadata-token", "secret")),
            pages: vec![
                page("/latest/user-data", user_data),
                page("/latest/meta-data/instance-id", "i-1"),
                page("/latest/meta-data/local-hostname", "vm"),
                page("/latest/meta-data/public-keys/", "0=mine"),
                page("/latest/meta-data/public-keys/0/openssh-key", KEY),
            ],
        },
        Cloud {
            name: "GCE",
            header: Some(("metadata-flavor", "Google")),
            pages: vec![
                page("/computeMetadata/v1/instance/attributes/user-data", user_data),
                page("/computeMetadata/v1/instance/id", "i-1"),
                page("/computeMetadata/v1/instance/hostname", "vm"),
                page("/computeMetadata/v1/project/attributes/ssh-keys", &format!("me:{KEY}\n")),
            ],
        },
        Cloud {
            name: "Azure",
            header: Some(("metadata", "true")),
            pages: vec![
                page(
                    "/metadata/instance/compute/userData?api-version=2021-01-01&format=text",
                    &STANDARD.encode(user_data),
                ),
                page(
                    "/metadata/instance/compute?api-version=2021-01-01&format=json",
                    &format!(r#"{{"vmId":"i-1","name":"vm","publicKeys":[{{"keyData":"{KEY}"}}]}}"#),
                ),
            ],
        },
        Cloud {
            name: "OpenStack",
            header: None,
            pages: vec![
                page("/openstack/2013-10-17/user_data", user_data),
                page(
                    "/openstack/2013-10-17/meta_data.json",
                    &format!(r#"{{"uuid":"i-1","hostname":"vm","public_keys":{{"mine":"{KEY}"}}}}"#),
                ),
            ],
        },
    ]
}

/// Script, key and name of each cloud's service are there after the first boot; at the second one nobody is asked.
#[test]
fn services_of_all_clouds_are_asked_at_the_first_boot_only() {
    let Some(site) = Site::new() else { return };
    let (image, _) = site.build("ucernvm.iso", &[]);
    let service = WebRoot::new();
    let network = cloud(&service, &site);
    let script = "#!/bin/sh\necho of a cloud";
    let user_data = format!("{script}\n[ucernvm-begin]\ncvmfs_server={LINK_SERVER}\n[ucernvm-end]\n");
    for made in clouds(&user_data) {
        let name = made.name;
        service.script(move |request| made.answer(request));
        let scratch = blank_disk(&site, &format!("{name}.raw"));
        let start = || {
            let disk = ["--network", &network, "--scratch", scratch.to_str().unwrap()];
            Plan::new(&image).with(&disk).start()
        };
        let mut first = start();
        first.expect(&format!("[INF] Contextualizing VM... {name}"));
        first.log_in();
        assert_eq!(first.ask(&format!("head -n 2 {SEED}/user-data")), script, "{name}");
        assert_eq!(first.ask(&format!("cat {SEED}/meta-data")), described(), "{name}");
        first.power_off();
        assert!(is_clean(&scratch), "{name}");

        service.forget_requests();
        let mut second = start();
        second.expect("[INF] Starting CernVM File System... connected to os.example.org");
        assert!(!second.said.contains("Contextualizing"), "{name}: {}", second.said);
        assert_eq!(service.requests().len(), 0, "{name}");
    }
}

/// A new snapshot is published: a rebase takes it, with what was changed here; the boot menu has the old one for once, and another
/// rebase goes back for good.
#[test]
fn a_machine_goes_to_a_new_snapshot_with_what_is_its_own_and_back() {
    let Some(site) = Site::new() else { return };
    let write = |path: &str, text: &str| fs::write(site.tree(path), text).unwrap();
    write("usr/share/thing", "thing of v1\n");
    write("usr/share/gone", "gone\n");
    site.publish("v1b");
    let (cd, _) = site.build("ucernvm.iso", &["--menu-tag", "v1b", "--menu-seconds", "60"]);
    let scratch = blank_disk(&site, "scratch.raw");
    let start = |downs: usize| {
        let mut machine = site.plan(&cd, &scratch).start();
        // The menu is there. Arrow keys, as a terminal sends them.
        machine.expect("Automatic boot in");
        machine.send(&"\x1b[B".repeat(downs));
        machine
    };

    let mut first = start(0);
    first.log_in();
    first.ask("echo local > /etc/mine; echo local > /usr/share/thing; rm /usr/share/gone; useradd -r -u 990 joe");
    assert_eq!(first.ask("cernvm-update check; echo $?"), "up to date\n0");
    write("usr/share/thing", "thing of v2\n");
    write("etc/release-of-test", "v2\n");
    let passwd = fs::read_to_string(site.tree("etc/passwd")).unwrap();
    write("etc/passwd", &format!("{passwd}bus:x:990:990::/nonexistent:/usr/sbin/nologin\n"));
    write("var/bus", "of bus\n");
    std::os::unix::fs::chown(site.tree("var/bus"), Some(990), None).unwrap();
    site.publish("v2");
    assert_eq!(first.ask("cernvm-update check --motd; echo $?; grep -c 'v2' /etc/motd"), "v2 is available\n100\n1");
    assert_eq!(first.ask("cernvm-update rebase; grep -c 'v2' /etc/motd"), "it is done at the next boot\n0");
    assert!(first.ask("systemctl list-timers --no-legend").contains("cernvm-update.timer"));
    first.power_off();
    assert!(is_clean(&scratch));

    let mut second = start(0);
    second.expect("[INF] Rebasing system to new version... check");
    second.log_in();
    assert_eq!(release(&mut second), "v2");
    assert_eq!(second.ask("cat /etc/mine /usr/share/thing /usr/share/gone"), "local\nthing of v2\ngone");
    assert_eq!(second.ask("stat -c %U /var/bus; id -u joe; id -u bus"), "bus\n990\n999");
    assert_eq!(second.ask("cernvm-update check"), "up to date");
    second.power_off();
    assert!(is_clean(&scratch));

    let mut once = start(3);
    once.log_in();
    assert_eq!(release(&mut once), "v1", "for this boot");
    assert_eq!(once.ask("cernvm-update rebase --previous"), "it is done at the next boot");
    once.power_off();

    let mut back = start(0);
    back.expect("[INF] Rebasing system to new version... check");
    back.log_in();
    assert_eq!(release(&mut back), "v1");
    assert_eq!(back.ask("cat /etc/mine /usr/share/thing; id -u joe"), "local\nthing of v1\n990");
    back.power_off();
    assert!(is_clean(&scratch));
}

/// What one machine read is published as a list; another machine has it all in its cache before its system starts.
#[test]
#[ignore = "two boots"]
fn a_recorded_boot_is_fetched_at_once_by_others() {
    let Some(site) = Site::new() else { return };
    let (records, _) = site.build_with("records.iso", "cvmfs_record", &[]);
    let (cd, _) = site.build("ucernvm.iso", &[]);
    let boot = |image: &Path, scratch: &Path| {
        site.server.forget_requests();
        let mut machine = site.plan(image, scratch).start();
        machine.expect("Booting CERN Virtual Machine");
        let before = site.server.requests().len();
        machine.log_in();
        let all = site.server.requests().len();
        let received = machine.ask("cat /sys/class/net/eth0/statistics/rx_bytes");
        println!("{before} requests before the system starts, {all} until the login, {received} bytes");
        let said = machine.said.clone();
        machine.power_off();
        assert!(is_clean(scratch));
        (all - before, said)
    };
    let first = blank_disk(&site, "first.raw");
    let (without, _) = boot(&records, &first);
    let list = site.directory.path().join("opened.list");
    output(
        Command::new("debugfs")
            .arg("-R")
            .arg(format!("dump /ulogs/opened.list {}", list.display()))
            .arg(partition(&first)),
    );
    let text = fs::read_to_string(&list).unwrap();
    assert!(text.lines().filter(|line| line.starts_with("object os.example.org ")).count() > 100, "{text}");
    fs::copy(&list, site.tree(".ucernvm_prefetch")).unwrap();
    site.publish("v2");
    let (with, said) = boot(&cd, &blank_disk(&site, "second.raw"));
    assert!(said.contains("[INF] Fetching recorded files... check"), "{said}");
    assert!(with * 20 < without, "{without} requests while the system starts without a list, {with} with it");
}

/// UEFI, from a CD: the second entry of the menu, with a word more.
#[test]
fn the_menu_of_uefi_shows_its_entries_and_lets_a_line_be_edited() {
    let Some(site) = Site::new() else { return };
    let (cd, _) = site.build("ucernvm.iso", &["--menu-tag", "v1", "--menu-seconds", "60"]);
    let scratch = blank_disk(&site, "scratch.raw");
    let mut machine = site.plan(&cd, &scratch).with(&["--uefi"]).start();
    machine.expect("Welcome to uCernVM");
    machine.expect("Snapshot v1");
    machine.send("\x1b[Beown_word=1 ");
    machine.expect("Kernel command line: initrd=\\initrd own_word=1 ");
    machine.expect("cvmdebug");
    machine.expect("* Welcome to micro-CernVM");
}
