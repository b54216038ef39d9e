//! What machines are told, as far as it takes a whole machine: `ci/full boot`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod config_drive;

use common::{SERVER, Site, blank_disk, debian, is_clean};
use cvmfs_tests::tools::output;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TOLD: &str = "\
[amiconfig]
plugins=cernvm hostname disablesshpasswdauth ganglia

[hostname]
hostname=vm.example.org

[cernvm]
users=alice:atlas:secret,eve:cms:
repositories=atlas.cern.ch,grid.cern.ch
proxy=http://squid.example.org:3128;DIRECT
environment=CMS_SITECONFIG=CERN
services=systemd-networkd
contextualization_command=alice:id -un > /tmp/who
";

/// An image for volunteers has its context on itself: sections for `amiconfig`, which cloud-init does here, and an archive. It is
/// the head node of a cluster, too, whose service is not there.
#[test]
#[ignore = "one boot, and a system to download"]
fn cloud_init_does_what_amiconfig_was_told_by_the_image_itself() {
    let Some(site) = Site::new() else { return };
    site.unpack(&debian("bookworm", "cloud-init,openssh-server"), "cloud");
    // Locales were left out of the tree.
    fs::write(site.tree("cloud/etc/cloud/cloud.cfg.d/90-locale.cfg"), "locale: C.UTF-8\n").unwrap();
    site.publish("v2");
    let (plain, _) = site.build("plain.iso", &[]);
    let head = format!("cvm_cluster_pin=abc\ncvm_cluster_master=yes\ncvm_service_url=http://{SERVER}\n");
    let role = "cernvm_path=cloud\ncernvm_target=multi-user.target\n";
    let data = format!("{TOLD}[ucernvm-begin]\n{role}{head}[ucernvm-end]\n");
    let image = with_context(&site, &plain, &data);
    let scratch = blank_disk(&site, "scratch.raw");
    let mut machine = site.plan(&image, &scratch).start();
    machine.expect("[INF] Contextualizing VM... (none)");
    machine.expect("[INF] Extra user data... ");
    machine.expect("(pickup)");
    // The server knows no clusters.
    machine.expect("[INF] Master cluster contextualization... failed");
    machine.expect("[WRN] user data: plug-in ganglia has no effect: ");
    machine.expect("[INF] Unpacking pickup.tar.gz... check");
    machine.log_in();
    assert!(machine.ask("cloud-init status --wait --long").contains("status: done"), "{}", machine.said);
    assert_eq!(machine.ask("id -gn alice; id -gn eve; cat /tmp/who"), "atlas\ncms\nalice");
    assert_eq!(machine.ask("grep -c '^alice:[$]' /etc/shadow; grep -c '^eve:!' /etc/shadow"), "1\n1");
    assert_eq!(machine.ask("hostname"), "vm");
    assert_eq!(
        machine.ask("cat /etc/cvmfs/default.d/90-amiconfig.conf"),
        "CVMFS_REPOSITORIES=atlas.cern.ch,grid.cern.ch\nCVMFS_HTTP_PROXY='http://squid.example.org:3128;DIRECT'"
    );
    assert_eq!(
        machine.ask("bash -lc 'echo $CMS_SITECONFIG'; sshd -T | grep -i '^passwordauth'"),
        "CERN\npasswordauthentication no"
    );
    assert_eq!(
        machine.ask("systemctl get-default; systemctl is-enabled systemd-networkd"),
        "multi-user.target\nenabled"
    );
    assert_eq!(machine.ask("cat /opt/brought-along"), "by the image");
    let ready = machine.ask("systemctl is-active cernvm-cluster-ready; journalctl -b | grep -ci 'ordering cycle'");
    assert_eq!(ready, "activating\n0", "it goes on trying, when all else has started");
    machine.power_off();
    assert!(is_clean(&scratch));
}

/// Without any user data, cloud-init lets in whom a config drive names, and gives the machine its name.
#[test]
#[ignore = "one boot, and a system to download"]
fn cloud_init_takes_key_and_name_of_a_config_drive() {
    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHRlc3RzIG9mIGEga2V5IHRoYXQgaXMgbm9uZSEh me@example.org";
    let Some(site) = Site::new() else { return };
    site.unpack(&debian("bookworm", "cloud-init,openssh-server"), "");
    fs::write(site.tree("etc/cloud/cloud.cfg.d/90-locale.cfg"), "locale: C.UTF-8\n").unwrap();
    site.publish("v2");
    let (image, _) = site.build("ucernvm.iso", &[]);
    let scratch = blank_disk(&site, "scratch.raw");
    let drive = config_drive::make(&site, KEY, "");
    let mut machine = site.plan(&image, &scratch).with(&["--", "-drive", &drive]).start();
    machine.expect("[INF] Contextualizing VM... ConfigDrive");
    machine.log_in();
    assert!(machine.ask("cloud-init status --wait --long").contains("status: done"), "{}", machine.said);
    assert_eq!(machine.ask("cat /home/debian/.ssh/authorized_keys"), KEY);
    assert_eq!(machine.ask("hostname; cat /var/lib/cloud/data/instance-id"), "vm\ni-1");
    machine.power_off();
    assert!(is_clean(&scratch));
}

/// The image with more user data and an archive on it, as anybody can put them there.
fn with_context(site: &Site, image: &Path, data: &str) -> PathBuf {
    let place = |name: &str| site.directory.path().join(name);
    fs::create_dir_all(place("pickup/opt")).unwrap();
    fs::write(place("pickup/opt/brought-along"), "by the image\n").unwrap();
    fs::write(place("extra-user-data"), data).unwrap();
    output(
        Command::new("tar")
            .arg("-czf")
            .arg(place("pickup.tar.gz"))
            .arg("-C")
            .arg(place("pickup"))
            .arg("opt/brought-along"),
    );
    let changed = place("volunteer.iso");
    let mut xorriso = Command::new("xorriso");
    xorriso.arg("-indev").arg(image).arg("-outdev").arg(&changed).args(["-boot_image", "any", "replay"]);
    for name in ["extra-user-data", "pickup.tar.gz"] {
        xorriso.arg("-map").arg(place(name)).arg(format!("/cernvm/{name}"));
    }
    output(&mut xorriso);
    changed
}
