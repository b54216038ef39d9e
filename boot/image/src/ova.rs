//! A machine to import: the description of the Open Virtualization Format, the boot disk, and their sums, in one archive.

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// What the machine gets; whoever imports it can change that.
const PROCESSORS: u32 = 2;
const MEMORY_MIB: u32 = 2048;
/// The empty disk that becomes the scratch: it grows as it is written to.
const SCRATCH_GIB: u32 = 20;

/// Puts a stream-optimised vmdk of a disk with `capacity` bytes into an archive.
pub(crate) fn write(vmdk: &Path, capacity: u64, output: &Path, epoch: u64) -> Result<PathBuf> {
    let disk = fs::read(vmdk).with_context(|| vmdk.display().to_string())?;
    let description = description(disk.len(), capacity).into_bytes();
    let sum = |name: &str, bytes: &[u8]| format!("SHA256({name})= {:x}\n", Sha256::digest(bytes));
    let sums = sum("ucernvm.ovf", &description) + &sum("ucernvm-disk1.vmdk", &disk);
    let mut archive = tar::Builder::new(Vec::new());
    // The description has to be the first, its sums the next.
    for (name, bytes) in
        [("ucernvm.ovf", description.as_slice()), ("ucernvm.mf", sums.as_bytes()), ("ucernvm-disk1.vmdk", &disk)]
    {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(epoch);
        archive.append_data(&mut header, name, bytes).context("writing the archive")?;
    }
    fs::write(output, archive.into_inner().context("writing the archive")?)
        .with_context(|| output.display().to_string())?;
    Ok(output.to_owned())
}

/// A machine with a BIOS, as VMware and VirtualBox both take it: an LSI controller, an Intel card.
fn description(size: usize, capacity: u64) -> String {
    let item = |rows: &[(&str, &str)]| {
        let rows: String =
            rows.iter().map(|(name, value)| format!("        <rasd:{name}>{value}</rasd:{name}>\n")).collect();
        format!("      <Item>\n{rows}      </Item>\n")
    };
    let (processors, memory) = (PROCESSORS.to_string(), MEMORY_MIB.to_string());
    // The order of the elements is that of their names, which the format demands.
    let items = [
        item(&[
            ("ElementName", "processors"),
            ("InstanceID", "1"),
            ("ResourceType", "3"),
            ("VirtualQuantity", &processors),
        ]),
        item(&[
            ("AllocationUnits", "byte * 2^20"),
            ("ElementName", "memory"),
            ("InstanceID", "2"),
            ("ResourceType", "4"),
            ("VirtualQuantity", &memory),
        ]),
        item(&[
            ("Address", "0"),
            ("ElementName", "disks"),
            ("InstanceID", "3"),
            ("ResourceSubType", "lsilogic"),
            ("ResourceType", "6"),
        ]),
        item(&[
            ("AddressOnParent", "0"),
            ("ElementName", "loader"),
            ("HostResource", "ovf:/disk/loader"),
            ("InstanceID", "4"),
            ("Parent", "3"),
            ("ResourceType", "17"),
        ]),
        item(&[
            ("AddressOnParent", "1"),
            ("ElementName", "scratch"),
            ("HostResource", "ovf:/disk/scratch"),
            ("InstanceID", "5"),
            ("Parent", "3"),
            ("ResourceType", "17"),
        ]),
        item(&[
            ("AutomaticAllocation", "true"),
            ("Connection", "NAT"),
            ("ElementName", "network"),
            ("InstanceID", "6"),
            ("ResourceSubType", "E1000"),
            ("ResourceType", "10"),
        ]),
    ]
    .concat();
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope ovf:version="1.0" xml:lang="en-US" xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <References>
    <File ovf:id="disk1" ovf:href="ucernvm-disk1.vmdk" ovf:size="{size}"/>
  </References>
  <DiskSection>
    <Info>The loader, and an empty disk for what is written</Info>
    <Disk ovf:diskId="loader" ovf:fileRef="disk1" ovf:capacity="{capacity}" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
    <Disk ovf:diskId="scratch" ovf:capacity="{SCRATCH_GIB}" ovf:capacityAllocationUnits="byte * 2^30" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection>
    <Info>One network, from which the operating system comes</Info>
    <Network ovf:name="NAT">
      <Description>It needs a DHCP server</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="ucernvm">
    <Info>An operating system out of CernVM-FS</Info>
    <OperatingSystemSection ovf:id="101">
      <Info>Linux</Info>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>The machine</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemType>vmx-10 virtualbox-2.2</vssd:VirtualSystemType>
      </System>
{items}    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::process::Command;

    /// Reads the description as one who imports does: references lead to what is there.
    const READER: &str = r#"
import sys, xml.etree.ElementTree as tree
ovf = "{http://schemas.dmtf.org/ovf/envelope/1}"
rasd = "{http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData}"
root = tree.fromstring(sys.stdin.read())
files = {file.get(ovf + "id"): file for file in root.iter(ovf + "File")}
disks = {disk.get(ovf + "diskId"): disk for disk in root.iter(ovf + "Disk")}
items = list(root.iter(ovf + "Item"))
numbers = {item.find(rasd + "InstanceID").text for item in items}
assert len(numbers) == len(items)
networks = {network.get(ovf + "name") for network in root.iter(ovf + "Network")}
for item in items:
    names = [part.tag for part in item]
    assert names == sorted(names), names
    host, parent, connection = (item.find(rasd + name) for name in ("HostResource", "Parent", "Connection"))
    assert host is None or host.text.removeprefix("ovf:/disk/") in disks
    assert parent is None or parent.text in numbers
    assert connection is None or connection.text in networks
for disk in disks.values():
    file = disk.get(ovf + "fileRef")
    print(disk.get(ovf + "capacity"), file and files[file].get(ovf + "href"), file and files[file].get(ovf + "size"))
"#;

    #[test]
    fn an_archive_has_what_its_description_says() {
        let directory = tempfile::tempdir().expect("a directory");
        let vmdk = directory.path().join("disk");
        fs::write(&vmdk, vec![7; 3000]).expect("a disk");
        let made = write(&vmdk, 1 << 24, &directory.path().join("1.ova"), 1_700_000_000).expect("an archive");
        let again = write(&vmdk, 1 << 24, &directory.path().join("2.ova"), 1_700_000_000).expect("an archive");
        assert_eq!(fs::read(&made).expect("bytes"), fs::read(again).expect("bytes"));
        let mut archive = tar::Archive::new(fs::File::open(made).expect("an archive"));
        let mut members = Vec::new();
        for entry in archive.entries().expect("members") {
            let mut entry = entry.expect("a member");
            let name = entry.path().expect("a name").display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("bytes");
            members.push((name, bytes));
        }
        let [(first, description), (second, sums), (third, disk)] = members.as_slice() else { panic!("{members:?}") };
        assert_eq!([first, second, third], ["ucernvm.ovf", "ucernvm.mf", "ucernvm-disk1.vmdk"]);
        assert_eq!(*disk, vec![7; 3000]);
        let wanted: String = [(first, description), (third, disk)]
            .map(|(name, bytes)| format!("SHA256({name})= {:x}\n", Sha256::digest(bytes)))
            .concat();
        assert_eq!(String::from_utf8_lossy(sums), wanted);
        fs::write(directory.path().join("ovf"), description).expect("a file");
        let described = fs::File::open(directory.path().join("ovf")).expect("a file");
        let read = Command::new("python3").args(["-c", READER]).stdin(described).output().expect("python3");
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        assert_eq!(String::from_utf8_lossy(&read.stdout), "16777216 ucernvm-disk1.vmdk 3000\n20 None None\n");
    }
}
