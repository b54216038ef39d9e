//! Everything that a µCernVM can be told, and who is believed.
//!
//! From the lowest to the highest: what the image was built with, the kernel command line, user data, and the pin on scratch.
//! The image's own values are words of its kernel command line, so that they can be edited in the boot menu.

use crate::command_line::CommandLine;
use crate::section::{Section, shown};
use crate::words::{self, Here, WORDS};

/// Settings of one boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `cvmfs_server`: Stratum 1 hosts.
    pub servers: Vec<String>,
    /// `cvmfs_cdn`: hosts that replace the servers; empty for none.
    pub cdn: Vec<String>,
    /// `cvmfs_url`: complete URLs, separated by semicolons, instead of servers and CDN.
    pub url: Option<String>,
    /// `cvmfs_repos`, `cvmfs_branch`: the repository of the operating system.
    pub repository: Option<String>,
    /// `cvmfs_proxy`, `cvmfs_http_proxy`.
    pub proxy: String,
    /// `cvmfs_pac_urls`.
    pub pac_urls: Option<String>,
    /// `cvmfs_repository_tag`, `cvmfs_tag`: the snapshot to pin; the newest if not told.
    pub tag: Option<String>,
    /// `cvmfs_force_tag`: the tag to boot this once, whatever is pinned. Only the kernel command line says so.
    pub force_tag: Option<String>,
    /// `cvmfs_record`: what the system reads is written down, as a list to fetch at other boots. Only the kernel command line says so.
    pub record: bool,
    /// `cernvm_pin=previous`: this once the snapshot that was pinned before the present one. Only the kernel command line says so.
    pub previous: bool,
    /// `cernvm_loader`: no loader on the scratch is started. Only the kernel command line says so.
    pub own_loader: bool,
    /// `cvmfs_root_hash` on the kernel command line: the snapshot to boot this once, whatever is pinned.
    pub root_hash: Option<String>,
    /// `cvmfs_root_hash` in user data: the snapshot that a first boot pins.
    pub first_root_hash: Option<String>,
    /// `cernvm_path`: the root tree inside the repository, without slashes at its ends.
    pub path: String,
    /// `resize_rootfs`: the scratch partition takes the whole disk.
    pub whole_disk: bool,
    /// `scratch_device`: a disk or partition to use, and to format if it is not a scratch already.
    pub scratch_device: Option<String>,
    /// `cvmfs_ntp`: whom to ask for the time.
    pub time: TimeSource,
    /// `cernvm_target`: the target that systemd starts.
    pub target: Option<String>,
    /// `cernvm_units`: units of systemd to start besides.
    pub units: Vec<String>,
    /// `cvm_cluster_pin`: the cluster that this machine belongs to.
    pub cluster_pin: Option<String>,
    /// `cvm_cluster_master`: it is the head node.
    pub is_cluster_head: bool,
    /// `cvm_service_url`: where machines of a cluster find each other.
    pub cluster_service: Option<String>,
    /// `cernvm_inject`: an archive to unpack once, as base64.
    pub inject: Option<String>,
    /// `cvmdebug`: a shell before the operating system starts.
    pub debug: bool,
    /// `rescue=reboot`: the rescue shell is left after a time.
    pub rescue: Rescue,
}

/// Who is asked for the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeSource {
    /// Nobody said: the network's own server, or else a public one.
    Usual,
    /// This server, whatever the network says.
    Server(String),
    /// Nobody.
    Nobody,
}

/// What happens when a step fails for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rescue {
    /// A shell on the console; leaving it starts the machine again.
    Shell,
    /// No shell: the machine starts again.
    Reboot,
    /// No shell: the machine is switched off.
    PowerOff,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            servers: Vec::new(),
            cdn: Vec::new(),
            url: None,
            repository: None,
            proxy: "DIRECT".to_owned(),
            pac_urls: None,
            tag: None,
            force_tag: None,
            record: false,
            previous: false,
            own_loader: false,
            root_hash: None,
            first_root_hash: None,
            path: String::new(),
            whole_disk: true,
            scratch_device: None,
            time: TimeSource::Usual,
            target: None,
            units: Vec::new(),
            cluster_pin: None,
            is_cluster_head: false,
            cluster_service: None,
            inject: None,
            debug: false,
            rescue: Rescue::Shell,
        }
    }
}

impl Settings {
    /// What the kernel command line says.
    pub fn from_command_line(line: &CommandLine) -> Settings {
        let mut settings = Settings::default();
        let mut explicit = Explicit::default();
        for key in WORDS.iter().filter_map(|word| word.line) {
            if let Some(value) = line.value(key) {
                settings.set(key, value, &mut explicit);
            }
        }
        settings.root_hash = settings.first_root_hash.take();
        settings.force_tag = line.value("cvmfs_force_tag").filter(|tag| !tag.is_empty()).map(str::to_owned);
        settings.record = line.has("cvmfs_record");
        settings.previous = line.value("cernvm_pin") == Some("previous");
        settings.own_loader = line.has_any("cernvm_loader");
        settings.debug = line.has("cvmdebug");
        settings.rescue = match line.value("rescue") {
            Some("reboot") => Rescue::Reboot,
            Some("poweroff") => Rescue::PowerOff,
            _ => Rescue::Shell,
        };
        settings
    }

    /// Whether the kernel command line names the snapshot, for this boot.
    pub fn is_for_once(&self) -> bool {
        self.root_hash.is_some() || self.force_tag.is_some() || self.previous
    }

    /// Applies the loader's section of the user data, and tells what in it has no effect.
    ///
    /// A server or proxy that is told here turns the CDN of the image off, unless the CDN is told here as well.
    pub fn apply(&mut self, section: &Section) -> Vec<String> {
        let mut explicit = Explicit::default();
        let mut remarks = section.remarks.clone();
        for (key, value) in section.pairs() {
            match words::in_section(key).map(|word| word.here) {
                Some(Here::No(reason)) => remarks.push(format!("{key} has no effect: {reason}")),
                Some(_) if self.set(key, value, &mut explicit) => {}
                _ => remarks.push(format!("{} is not known", shown(key))),
            }
        }
        if (explicit.server || explicit.proxy) && !explicit.cdn {
            self.cdn.clear();
        }
        // URLs of the image do not beat servers of the user.
        if explicit.server && !explicit.url {
            self.url = None;
        }
        remarks
    }

    fn set(&mut self, key: &str, value: &str, explicit: &mut Explicit) -> bool {
        let text = || (!value.is_empty()).then(|| value.to_owned());
        match key {
            "cvmfs_server" => {
                self.servers = list(value);
                explicit.server = true;
            }
            "cvmfs_cdn" => {
                self.cdn = if value.eq_ignore_ascii_case("none") { Vec::new() } else { list(value) };
                explicit.cdn = true;
            }
            "cvmfs_url" => {
                self.url = text();
                explicit.url = true;
            }
            "cvmfs_repos" | "cvmfs_branch" => self.repository = text(),
            "cvmfs_proxy" | "cvmfs_http_proxy" => {
                value.clone_into(&mut self.proxy);
                explicit.proxy = true;
            }
            "cvmfs_pac_urls" => self.pac_urls = text(),
            "cvmfs_repository_tag" | "cvmfs_tag" => self.tag = text().filter(|tag| !tag.eq_ignore_ascii_case("head")),
            "cvmfs_root_hash" => self.first_root_hash = text(),
            "cernvm_path" => value.trim_matches('/').clone_into(&mut self.path),
            "resize_rootfs" => self.whole_disk = switch(value).unwrap_or(self.whole_disk),
            "scratch_device" => self.scratch_device = text(),
            "cvmfs_ntp" => {
                self.time = match value {
                    "" => TimeSource::Usual,
                    _ if value.eq_ignore_ascii_case("none") => TimeSource::Nobody,
                    _ => TimeSource::Server(value.to_owned()),
                };
            }
            "cernvm_target" => self.target = text(),
            "cernvm_units" => self.units = list(value),
            "cvm_cluster_pin" => self.cluster_pin = text(),
            "cvm_cluster_master" => self.is_cluster_head = switch(value) == Some(true),
            "cvm_service_url" => self.cluster_service = text(),
            "cernvm_inject" => self.inject = text(),
            _ => return false,
        }
        true
    }

    /// `CVMFS_SERVER_URL` for the repository; `None` if nobody said where it is.
    pub fn server_url(&self) -> Option<String> {
        if let Some(url) = &self.url {
            return Some(url.clone());
        }
        let hosts = if self.cdn.is_empty() { &self.servers } else { &self.cdn };
        let urls: Vec<String> = hosts.iter().map(|host| url_of(host)).collect();
        (!urls.is_empty()).then(|| urls.join(";"))
    }

    /// The path of the root tree below the mount point; `None` if it would lead out of it.
    pub fn tree(&self) -> Option<&str> {
        let inside = self.path.split('/').all(|part| part != ".." && part != ".");
        inside.then_some(self.path.as_str())
    }
}

#[derive(Default)]
struct Explicit {
    server: bool,
    cdn: bool,
    url: bool,
    proxy: bool,
}

/// Hosts between commas, semicolons or spaces.
fn list(value: &str) -> Vec<String> {
    let separator = |character: char| matches!(character, ',' | ';') || character.is_whitespace();
    value.split(separator).filter(|host| !host.is_empty()).map(str::to_owned).collect()
}

fn url_of(host: &str) -> String {
    match host {
        _ if host.contains("@fqrn@") => host.to_owned(),
        _ if host.contains("://") => format!("{}/cvmfs/@fqrn@", host.trim_end_matches('/')),
        _ => format!("http://{host}/cvmfs/@fqrn@"),
    }
}

/// What `on`, `off` and their synonyms mean.
pub fn switch(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "yes" | "true" | "1" => Some(true),
        "off" | "no" | "false" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(more: &str) -> Settings {
        let line = "cvmfs_server=s1.example.org cvmfs_cdn=cdn.example.org,cdn2.example.org cvmfs_repos=os.example.org";
        Settings::from_command_line(&CommandLine::parse(&format!("{line} {more}")))
    }

    fn section(lines: &str) -> Section {
        Section::find(&format!("[ucernvm-begin]\n{lines}\n[ucernvm-end]\n")).expect("a section")
    }

    #[test]
    fn the_cdn_replaces_the_servers() {
        assert_eq!(
            image("").server_url().as_deref(),
            Some("http://cdn.example.org/cvmfs/@fqrn@;http://cdn2.example.org/cvmfs/@fqrn@")
        );
        assert_eq!(image("cvmfs_cdn=NONE").server_url().as_deref(), Some("http://s1.example.org/cvmfs/@fqrn@"));
        assert_eq!(image("cvmfs_url=file:///x").server_url().as_deref(), Some("file:///x"));
    }

    #[test]
    fn what_the_user_says_about_servers_and_proxies_turns_the_cdn_off() {
        let cases = [
            ("cvmfs_server=a:8000;b", "http://a:8000/cvmfs/@fqrn@;http://b/cvmfs/@fqrn@"),
            ("cvmfs_http_proxy=http://p:3128", "http://s1.example.org/cvmfs/@fqrn@"),
            ("cvmfs_server=a\ncvmfs_cdn=c", "http://c/cvmfs/@fqrn@"),
            ("cvmfs_tag=x", "http://cdn.example.org/cvmfs/@fqrn@;http://cdn2.example.org/cvmfs/@fqrn@"),
        ];
        for (lines, expected) in cases {
            let mut settings = image("");
            assert_eq!(settings.apply(&section(lines)), [""; 0]);
            assert_eq!(settings.server_url().as_deref(), Some(expected), "{lines}");
        }
    }

    #[test]
    fn user_data_beats_the_command_line() {
        let mut settings = image("cvmfs_repository_tag=old cernvm_path=/cvm4/ cvmfs_ntp=NONE");
        assert_eq!(
            (settings.tag.as_deref(), settings.tree(), &settings.time),
            (Some("old"), Some("cvm4"), &TimeSource::Nobody)
        );
        settings.apply(&section("cvmfs_branch=test.example.org\ncvmfs_tag=new\nresize_rootfs=no"));
        assert_eq!(settings.repository.as_deref(), Some("test.example.org"));
        assert_eq!(settings.tag.as_deref(), Some("new"));
        assert!(!settings.whole_disk);
    }

    #[test]
    fn a_tree_cannot_lead_out_of_the_repository() {
        assert_eq!(image("cernvm_path=a/../../etc").tree(), None);
        assert_eq!(image("cernvm_path=").tree(), Some(""));
    }

    #[test]
    fn what_has_no_effect_is_remarked() {
        let remarks = image("").apply(&section("use_boothd=on\nfoo=bar\nrescue=reboot"));
        assert!(remarks[0].starts_with("use_boothd has no effect: no partition is added"), "{remarks:?}");
        assert_eq!(remarks[1..], ["foo is not known", "rescue is not known"]);
    }

    #[test]
    fn whom_to_ask_for_the_time_is_told_by_user_data_as_well() {
        for (line, lines, expected) in [
            ("", "cvmfs_tag=x", TimeSource::Usual),
            ("", "cvmfs_ntp=ntp.example.org", TimeSource::Server("ntp.example.org".to_owned())),
            ("cvmfs_ntp=ntp.example.org", "cvmfs_ntp=none", TimeSource::Nobody),
            ("cvmfs_ntp=NONE", "cvmfs_ntp=", TimeSource::Usual),
        ] {
            let mut settings = image(line);
            assert_eq!(settings.apply(&section(lines)), [""; 0]);
            assert_eq!(settings.time, expected, "{line} {lines}");
        }
    }

    #[test]
    fn a_root_hash_of_user_data_is_for_the_first_boot_and_one_of_the_command_line_for_this_one() {
        let hash = |text: &str| Some(text.to_owned());
        let mut settings = image("cvmfs_root_hash=abc");
        assert_eq!((&settings.root_hash, &settings.first_root_hash), (&hash("abc"), &None));
        settings.apply(&section("cvmfs_root_hash=def"));
        assert_eq!((&settings.root_hash, &settings.first_root_hash), (&hash("abc"), &hash("def")));
    }

    #[test]
    fn every_word_of_the_table_is_followed_or_explained() {
        for word in &WORDS {
            if let (Some(key), Here::Yes(_) | Here::New(_)) = (word.section, word.here) {
                for key in [Some(key), word.line].into_iter().flatten() {
                    let mut settings = Settings::default();
                    let value = if key == "cvm_cluster_master" { "on" } else { "off" };
                    assert_eq!(settings.apply(&section(&format!("{key}={value}"))), [""; 0]);
                    assert_ne!(settings, Settings::default(), "{key} changes nothing");
                }
            }
            if let (Some(key), Here::Yes(_) | Here::New(_)) = (word.line, word.here) {
                let value = match key {
                    "ip" | "ds" => continue, // Others read them.
                    "cernvm_pin" => "previous",
                    "rescue" => "poweroff",
                    "cvmdebug" | "cvmfs_record" => "1",
                    _ => "off",
                };
                let settings = Settings::from_command_line(&CommandLine::parse(&format!("{key}={value}")));
                assert_ne!(settings, Settings::default(), "{key} changes nothing");
            }
        }
    }
}
