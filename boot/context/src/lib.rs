//! Contextualization of a µCernVM: what the kernel command line and the user data say, parsed as data.
//!
//! Nothing here opens a file or a socket, and nothing that was read is ever run. Whoever boots (`ucernvm-init`) brings the
//! bytes and acts on the answers.
//!
//! | module | knows |
//! |---|---|
//! | [`command_line`] | the kernel command line |
//! | [`mod@unwrap`] | gzip, base64 and MIME around user data, with limits |
//! | [`wrap`] | several documents as one |
//! | [`section`] | the loader's section inside user data |
//! | [`words`] | what can be told, as a table |
//! | [`mod@amiconfig`] | sections for `amiconfig`, as cloud-config |
//! | [`cluster`] | how machines of a cluster find their head node |
//! | [`settings`] | every setting, its sources in order of precedence |
//! | [`shell`] | files of shell assignments, read without a shell |
//! | [`opennebula`] | what `context.sh` says about the network and the user |
//! | [`ovf`] | the environment document of vSphere and others |
//! | [`media`] | sources of user data on disks and CDs |
//! | [`metadata`] | sources of user data behind HTTP addresses |
//! | [`about`] | what all of them tell besides: keys and names |
//! | [`interface`] | addresses of a network card that are not asked of DHCP |

pub mod about;
pub mod amiconfig;
pub mod cluster;
pub mod command_line;
pub mod interface;
pub mod media;
pub mod metadata;
pub mod opennebula;
pub mod ovf;
#[cfg(test)]
mod page;
pub mod section;
pub mod settings;
pub mod shell;
pub mod unwrap;
pub mod words;
pub mod wrap;

pub use about::About;
pub use command_line::CommandLine;
pub use interface::Interface;
pub use section::Section;
pub use settings::Settings;

/// The most bytes of user data that are looked at, as they come from their source.
pub const LARGEST_USER_DATA: usize = 1 << 20;

/// User data as its source has it, and who that was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserData {
    /// The name of the source, as it is said on the console and kept for the operating system.
    pub source: &'static str,
    /// The bytes; empty where the source exists but has nothing for this machine.
    pub bytes: Vec<u8>,
    /// Keys for root and the name of the machine, where the source has them.
    pub about: About,
}

impl UserData {
    /// The loader's section, wherever in the data it is, and what was strange on the way there. Of several documents with
    /// sections the last one counts most.
    pub fn section(&self) -> (Option<Section>, Vec<String>) {
        let (parts, remarks) = unwrap::parts(&self.bytes);
        let sections = parts.iter().filter_map(|part| Section::find(&String::from_utf8_lossy(&part.bytes)));
        (sections.reduce(Section::with), remarks)
    }

    /// The same with another document besides.
    pub fn with(self, more: &[u8]) -> UserData {
        if self.bytes.trim_ascii().is_empty() {
            return UserData { bytes: more.to_vec(), ..self };
        }
        let both = [unwrap::parts(&self.bytes).0, unwrap::parts(more).0].concat();
        UserData { bytes: wrap::multipart(&both), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_joined_and_the_last_section_counts_most() {
        let of = |text: &str| UserData { source: "test", bytes: text.as_bytes().to_vec(), about: About::default() };
        let section = |lines: &str| format!("[ucernvm-begin]\n{lines}\n[ucernvm-end]\n");
        let more = section("cvmfs_tag=new\nresize_rootfs=off");
        assert_eq!(of("\n").with(more.as_bytes()).bytes, more.as_bytes());
        let both = of(&format!("#!/bin/sh\n{}", section("cvmfs_tag=old\ncernvm_path=x"))).with(more.as_bytes());
        let (found, remarks) = both.section();
        assert_eq!(remarks, [""; 0]);
        let found = found.expect("a section");
        let pairs: Vec<_> = found.pairs().collect();
        assert_eq!(pairs, [("cvmfs_tag", "new"), ("cernvm_path", "x"), ("resize_rootfs", "off")]);
        let kinds: Vec<_> = unwrap::parts(&both.bytes).0.into_iter().map(|part| part.kind).collect();
        assert_eq!(kinds.len(), 2);
    }
}
