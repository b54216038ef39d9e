//! The words that a loader is told: those of the kernel command line and those of the section in user data, the original's and ours.
//!
//! The table is what [`crate::Settings`] goes by, and what `doc/COMPATIBILITY.md` says.

/// One thing that can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// Its name on the kernel command line, if it has one there.
    pub line: Option<&'static str>,
    /// Its key in the section of user data, if it has one there.
    pub section: Option<&'static str>,
    /// What becomes of it.
    pub here: Here,
}

/// What becomes of a word, with what there is to say about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Here {
    /// It does what it does in the original.
    Yes(&'static str),
    /// The original does not know it.
    New(&'static str),
    /// It has no effect, because of this.
    No(&'static str),
    /// It is for the kernel or the operating system, which see it.
    HandedOn(&'static str),
}

use Here::{HandedOn, New, No, Yes};

const fn both(line: &'static str, section: &'static str, here: Here) -> Word {
    Word { line: Some(line), section: Some(section), here }
}

const fn line(line: &'static str, here: Here) -> Word {
    Word { line: Some(line), section: None, here }
}

const fn section(section: &'static str, here: Here) -> Word {
    Word { line: None, section: Some(section), here }
}

/// All words.
pub const WORDS: [Word; 33] = [
    both(
        "cvmfs_server",
        "cvmfs_server",
        Yes("separated by commas, semicolons or spaces. In user data it turns the CDN and URLs of the image off"),
    ),
    both("cvmfs_cdn", "cvmfs_cdn", Yes("also `NONE`")),
    both(
        "cvmfs_url",
        "cvmfs_url",
        Yes(
            "complete URLs, `https` for images whose program was built with `FEATURES=tls ci/boot`; the original knows it on the command line only",
        ),
    ),
    both("cvmfs_repos", "cvmfs_branch", Yes("")),
    both(
        "cvmfs_proxy",
        "cvmfs_http_proxy",
        Yes("in user data it turns the CDN off. The default is `DIRECT`, not `auto;DIRECT`"),
    ),
    both(
        "cvmfs_pac_urls",
        "cvmfs_pac_urls",
        Yes("by images whose program was built with `FEATURES=pac ci/boot`; no WPAD servers are built in"),
    ),
    both("cvmfs_repository_tag", "cvmfs_tag", Yes("the snapshot that a first boot pins; `HEAD` is the newest")),
    both("cernvm_path", "cernvm_path", Yes("it cannot lead out of the repository")),
    both("resize_rootfs", "resize_rootfs", Yes("`off` makes a scratch of 20 GiB and a partition of the rest")),
    section("cernvm_inject", Yes("once")),
    line("cvmdebug", Yes("")),
    line("cvmssh", No("anybody in the network could log in as root; `cvmdebug` has a shell on the console")),
    section("use_boothd", No("no partition is added to the disk that was booted; `scratch_device` names another")),
    section(
        "cvmfs_wait_on_squid",
        No("a proxy that does not answer ends in the rescue shell; `rescue=reboot` tries again and again"),
    ),
    section("useglideinwms", No("user data of glideinWMS are not looked for, so there is nothing to switch off")),
    section("cvm_cluster_pin", Yes("`###MASTER_IP_PLACEHOLDER###` in user data becomes the address of the head node")),
    section("cvm_cluster_master", Yes("the head node says when it is ready by itself, if it has systemd")),
    section("cvm_service_url", Yes("`http://HOST:PORT` only, and nothing is built in: the loader has no TLS")),
    section("cernvm_target", New("the target of systemd that the system starts with, once: a role of the machine")),
    section("cernvm_units", New("units of systemd to start besides, once, between commas")),
    both("scratch_device", "scratch_device", New("a disk or partition to format if need be, or `memory`")),
    both("cvmfs_ntp", "cvmfs_ntp", New("whom to ask for the time, or `NONE`")),
    both(
        "cvmfs_root_hash",
        "cvmfs_root_hash",
        New(
            "the root catalog of a snapshot: on the command line for this boot, whatever is pinned; in user data the one that a first boot pins",
        ),
    ),
    line("cvmfs_force_tag", New("a snapshot for this boot, whatever is pinned")),
    line("cernvm_pin", New("`previous`: the snapshot before the last change, for this boot")),
    line(
        "cernvm_loader",
        New(
            "there at all, no loader on the scratch is started: `builtin` for this boot; a loader that was started from there has its own name in it",
        ),
    ),
    line("cvmfs_record", New("writes a list of what was read, for `/.ucernvm_prefetch`")),
    line("rescue", New("`shell`, `reboot`, `poweroff`")),
    line("ip", New("as the kernel's own; IPv6 addresses in brackets")),
    line(
        "ds",
        New(
            "`nocloud;s=http://HOST/PATH/`, as cloud-init has it: where user data are. Also as the serial number of the machine, `ds=nocloud;s=...`",
        ),
    ),
    line("quiet", HandedOn("to the kernel and the operating system, as `loglevel`, `consoleblank`, `console` are")),
    line(
        "root",
        HandedOn("to the kernel, to which it means nothing here; so are `noresume`, `crashkernel`, `divider`"),
    ),
    line(
        "systemd.show_status",
        HandedOn("to the operating system, as `selinux`, `log_buf_len` and all others are; images have none of them"),
    ),
];

/// What a key of user data is. Keys have the names of the command line, too.
pub fn in_section(key: &str) -> Option<&'static Word> {
    let here = |word: &&Word| word.section == Some(key) || word.section.is_some() && word.line == Some(key);
    WORDS.iter().find(here)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    const BEGIN: &str = "<!-- words: generated from the table in boot/context/src/words.rs -->\n";
    const END: &str = "<!-- end of the words -->\n";

    fn page() -> String {
        let mut page = "\n| command line | user data | here |\n|---|---|---|\n".to_owned();
        for word in &WORDS {
            let code = |name: Option<&str>| name.map_or("-".to_owned(), |name| format!("`{name}`"));
            let (here, why) = match word.here {
                Yes(why) => ("yes", why),
                New(why) => ("new", why),
                No(why) => ("no", why),
                HandedOn(why) => ("handed on", why),
            };
            let separator = match word.here {
                Yes(_) => "; ",
                New(_) | No(_) => ": ",
                HandedOn(_) => " ",
            };
            let here = if why.is_empty() { here.to_owned() } else { format!("{here}{separator}{why}") };
            writeln!(page, "| {} | {} | {here} |", code(word.line), code(word.section))
                .expect("a String takes all text");
        }
        page + "\n"
    }

    #[test]
    fn the_page_on_compatibility_says_the_same() {
        crate::page::says(BEGIN, END, &page());
    }

    /// Names that are asked for in the sources of both crates.
    fn asked_for(directory: &std::path::Path, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).expect("sources").flatten() {
            let path = entry.path();
            if path.is_dir() {
                asked_for(&path, names);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for call in ["line.value(\"", "line.values(\"", "line.has(\"", "line.has_any(\""] {
                let found = code.split(call).skip(1).filter_map(|rest| rest.split('"').next());
                names.extend(found.map(str::to_owned));
            }
        }
    }

    #[test]
    fn nothing_is_asked_of_the_command_line_that_is_not_in_the_table() {
        let mut names = Vec::new();
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        asked_for(&here.join("src"), &mut names);
        asked_for(&here.join("../init/src"), &mut names);
        assert!(names.len() >= 6 && names.iter().any(|name| name == "cvmdebug"), "{names:?}");
        for name in names {
            assert!(WORDS.iter().any(|word| word.line == Some(name.as_str())), "{name} is not in the table");
        }
    }

    #[test]
    fn each_name_is_there_once_and_in_lower_case() {
        for names in [WORDS.map(|word| word.line), WORDS.map(|word| word.section)] {
            let mut names: Vec<&str> = names.into_iter().flatten().collect();
            assert!(names.iter().all(|name| *name == name.to_ascii_lowercase()), "a section is read in lower case");
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count);
        }
    }
}
