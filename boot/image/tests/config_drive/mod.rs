//! A medium as OpenStack gives it to machines.

use crate::common::Site;
use cvmfs_tests::tools::output;
use std::fs;
use std::process::Command;

/// OpenStack's config drive with these user data, a key, and the name `vm`: as QEMU's `-drive` takes it.
pub(crate) fn make(site: &Site, key: &str, user_data: &str) -> String {
    let (tree, drive) = (site.directory.path().join("config"), site.directory.path().join("config.iso"));
    let latest = tree.join("openstack/latest");
    fs::create_dir_all(&latest).unwrap();
    fs::write(latest.join("user_data"), user_data).unwrap();
    let described = format!(r#"{{"uuid":"i-1","hostname":"vm","public_keys":{{"mine":"{key}\n"}}}}"#);
    fs::write(latest.join("meta_data.json"), described).unwrap();
    output(
        Command::new("xorriso").args(["-as", "mkisofs", "-quiet", "-R", "-V", "config-2", "-o"]).arg(&drive).arg(tree),
    );
    format!("file={},if=virtio,format=raw,readonly=on", drive.display())
}
