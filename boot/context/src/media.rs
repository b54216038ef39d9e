//! Sources of user data on media: CDs and disks that a cloud or a hypervisor adds to the machine.

use crate::opennebula::Context;
use crate::{About, LARGEST_USER_DATA, UserData, ovf};

/// A medium, as far as it is looked at.
pub trait Medium {
    /// The label of its file system, empty if it has none.
    fn label(&self) -> &str;
    /// The content of a file on it, at most `limit` bytes; `None` if there is no such file, or it is larger.
    fn read(&self, path: &str, limit: usize) -> Option<Vec<u8>>;
}

/// The most bytes of an archive for the system, which is held in memory for a while.
const LARGEST_PICKUP: usize = 32 << 20;

type Reader = fn(&dyn Medium) -> Option<UserData>;

/// Readers of all sources, in the order in which they are asked.
const READERS: [Reader; 6] = [no_cloud, config_drive, opennebula, azure, ovf_environment, vsphere];

/// The user data of the first source that is found on `medium`.
pub fn user_data(medium: &dyn Medium) -> Option<UserData> {
    READERS.iter().find_map(|reader| reader(medium))
}

/// OpenNebula's description of the network, which is wanted at every boot.
pub fn opennebula_context(medium: &dyn Medium) -> Option<Context> {
    let text = medium.read("context.sh", LARGEST_USER_DATA)?;
    Some(Context::parse(&String::from_utf8_lossy(&text)))
}

/// More user data, which a medium may have whatever else is on it.
pub fn extra(medium: &dyn Medium) -> Option<Vec<u8>> {
    medium.read("cernvm/extra-user-data", LARGEST_USER_DATA)
}

/// An archive (tar.gz) that a medium may have for the system.
pub fn pickup(medium: &dyn Medium) -> Option<Vec<u8>> {
    medium.read("cernvm/pickup.tar.gz", LARGEST_PICKUP)
}

fn no_cloud(medium: &dyn Medium) -> Option<UserData> {
    if !medium.label().eq_ignore_ascii_case("cidata") {
        return None;
    }
    let about = medium.read("meta-data", LARGEST_USER_DATA).map(|text| About::from_no_cloud(&text)).unwrap_or_default();
    Some(UserData { source: "NoCloud", bytes: medium.read("user-data", LARGEST_USER_DATA).unwrap_or_default(), about })
}

fn config_drive(medium: &dyn Medium) -> Option<UserData> {
    let described = medium.read("openstack/latest/meta_data.json", LARGEST_USER_DATA);
    let bytes = medium.read("openstack/latest/user_data", LARGEST_USER_DATA);
    let labelled = medium.label().eq_ignore_ascii_case("config-2");
    (labelled || described.is_some() || bytes.is_some()).then(|| UserData {
        source: "ConfigDrive",
        bytes: bytes.unwrap_or_default(),
        about: described.map(|text| About::from_open_stack(&text)).unwrap_or_default(),
    })
}

fn opennebula(medium: &dyn Medium) -> Option<UserData> {
    opennebula_context(medium).map(|context| context.user_data())
}

fn azure(medium: &dyn Medium) -> Option<UserData> {
    medium.read("E6DA6616-8EC4-48E0-BE93-58CE6ACE3CFB.tag", 1 << 10)?;
    let environment = medium.read("ovf-env.xml", LARGEST_USER_DATA);
    let described = environment.and_then(|text| ovf::user_data(&String::from_utf8_lossy(&text)));
    let mut data = described.unwrap_or(UserData { source: "Azure", bytes: Vec::new(), about: About::default() });
    data.source = "Azure";
    if let Some(bytes) = medium.read("CustomData.bin", LARGEST_USER_DATA) {
        data.bytes = bytes;
    }
    Some(data)
}

fn ovf_environment(medium: &dyn Medium) -> Option<UserData> {
    ovf::user_data(&String::from_utf8_lossy(&medium.read("ovf-env.xml", LARGEST_USER_DATA)?))
}

fn vsphere(medium: &dyn Medium) -> Option<UserData> {
    let bytes = medium.read("user-data.txt", LARGEST_USER_DATA)?;
    Some(UserData { source: "vSphere", bytes, about: About::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Made(&'static str, &'static [(&'static str, &'static str)]);

    impl Medium for Made {
        fn label(&self) -> &str {
            self.0
        }
        fn read(&self, path: &str, limit: usize) -> Option<Vec<u8>> {
            let found = self.1.iter().find(|(name, _)| *name == path)?;
            (found.1.len() <= limit).then(|| found.1.as_bytes().to_vec())
        }
    }

    fn found(medium: &Made) -> Option<(&'static str, String)> {
        user_data(medium).map(|data| (data.source, String::from_utf8_lossy(&data.bytes).into_owned()))
    }

    #[test]
    fn each_source_is_known_by_its_files() {
        const TAG: &str = "E6DA6616-8EC4-48E0-BE93-58CE6ACE3CFB.tag";
        let cases: [(Made, Option<(&str, &str)>); 8] = [
            (Made("CIDATA", &[("user-data", "u")]), Some(("NoCloud", "u"))),
            (Made("cidata", &[]), Some(("NoCloud", ""))),
            (Made("x", &[("openstack/latest/user_data", "u")]), Some(("ConfigDrive", "u"))),
            (Made("config-2", &[]), Some(("ConfigDrive", ""))),
            (Made("CONTEXT", &[("context.sh", "EC2_USER_DATA=dQ==")]), Some(("OpenNebula", "u"))),
            (Made("", &[(TAG, ""), ("CustomData.bin", "u")]), Some(("Azure", "u"))),
            (Made("", &[("user-data.txt", "u")]), Some(("vSphere", "u"))),
            (Made("DATA", &[("user-data", "u")]), None),
        ];
        for (medium, expected) in cases {
            assert_eq!(found(&medium), expected.map(|(source, data)| (source, data.to_owned())), "{:?}", medium.1);
        }
    }

    #[test]
    fn names_and_keys_are_in_files_of_their_own() {
        let about = |medium: &Made| user_data(medium).expect("a source").about;
        let no_cloud = about(&Made("cidata", &[("meta-data", "instance-id: i-1\n")]));
        assert_eq!(no_cloud.instance.as_deref(), Some("i-1"));
        const JSON: &str = r#"{"hostname":"vm","public_keys":{"mine":"ssh-rsa A"}}"#;
        let drive = about(&Made("config-2", &[("openstack/latest/meta_data.json", JSON)]));
        assert_eq!((drive.hostname.as_deref(), drive.keys), (Some("vm"), vec!["ssh-rsa A".to_owned()]));
    }
}
