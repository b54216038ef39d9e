//! User data for `amiconfig`, the contextualization of CernVM before cloud-init: sections of `key=value`, one for each plug-in.
//!
//! Nothing of it is done here. A tree that has `amiconfig` gets the data as they are. For others, what needs no code of its own is
//! translated into cloud-config, which cloud-init takes as the vendor's: what the user says to cloud-init itself counts more.

use crate::section::shown;
use crate::{UserData, unwrap};

mod plugins;
mod translate;

pub use plugins::{PLUGINS, Plugin};
pub use translate::Translation;

/// The section that says which plug-ins are wanted.
const OWN: &str = "amiconfig";
/// A plug-in that is wanted unless the contrary is said.
const USUAL: &str = "rootsshkeys";
/// More sections than anybody has.
const MOST_SECTIONS: usize = 128;

/// The sections, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amiconfig {
    sections: Vec<Section>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Section {
    name: String,
    /// Keys in lower case.
    pairs: Vec<(String, String)>,
}

impl Amiconfig {
    /// What is in user data, in whatever they are wrapped; `None` if there is nothing for `amiconfig`.
    ///
    /// Sections may follow a script; they begin after its last line `exit`.
    pub fn find(data: &UserData) -> Option<Amiconfig> {
        let mut found = Amiconfig::default();
        for part in unwrap::parts(&data.bytes).0 {
            let is_named = part.kind.is_some_and(|kind| kind.starts_with("text/amiconfig"));
            let sections = sections(without_script(&String::from_utf8_lossy(&part.bytes)));
            if is_named || sections.iter().any(|section| section.name == OWN) {
                found.sections.extend(sections);
            }
        }
        found.sections.iter().any(|section| section.name == OWN).then_some(found)
    }

    /// The last value of a key in a section; `None` if it is empty, too.
    fn value(&self, section: &str, key: &str) -> Option<&str> {
        let sections = self.sections.iter().filter(|found| found.name == section);
        let pair = sections.flat_map(|found| &found.pairs).rfind(|(name, _)| name == key)?;
        Some(pair.1.as_str()).filter(|value| !value.is_empty())
    }

    /// Keys of a section with their values.
    fn pairs<'a>(&'a self, section: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let sections = self.sections.iter().filter(move |found| found.name == section);
        sections.flat_map(|found| &found.pairs).map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether a plug-in is to do its work.
    fn wants(&self, plugin: &str) -> bool {
        let lists = |key: &str| self.value(OWN, key).is_some_and(|names| words(names).any(|name| name == plugin));
        (plugin == USUAL || lists("plugins")) && !lists("disabled_plugins")
    }
}

/// Words between spaces and commas.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t', '\n', ',']).filter(|word| !word.is_empty())
}

/// What follows a script's last line `exit`; all if it is no script, nothing if the script has no such line.
fn without_script(text: &str) -> &str {
    if !text.trim_start().starts_with("#!") {
        return text;
    }
    let mut end = text.len();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.len();
        if line.split_ascii_whitespace().next() == Some("exit") {
            end = at;
        }
    }
    text.get(end..).unwrap_or_default()
}

/// The sections of an INI file as Python's `ConfigParser` reads them: lines that begin with a space belong to the value above.
fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines().map(str::trim_end) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let name = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        if let Some((name, _)) = name {
            if sections.len() == MOST_SECTIONS {
                break;
            }
            sections.push(Section { name: name.trim().to_owned(), pairs: Vec::new() });
            continue;
        }
        // Before the first section there is nothing.
        let Some(section) = sections.last_mut() else { continue };
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = section.pairs.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((key, value)) = line.split_once(['=', ':']) {
            section.pairs.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sections
}

/// A remark about a value that cannot be used.
fn unusable(section: &str, key: &str, value: &str) -> String {
    format!("[{section}] {key}: '{}' cannot be used", shown(value))
}

#[cfg(test)]
mod tests;
