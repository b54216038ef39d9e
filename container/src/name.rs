//! Names of instances. A path is made from a name only after it was validated here.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The longest name: as long as a host name may be.
const LONGEST: usize = 63;
/// Words that the command line has for itself.
const RESERVED: [&str; 7] = ["commit", "destroy", "export-oci", "generate", "help", "list", "probe"];

/// The name of an instance: a letter or digit, then letters, digits, `_`, `.` and `-`, at most 63 in all.
///
/// It is one component of a path, never `.` or `..`, never hidden, and never an option.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Name(String);

impl Name {
    /// As it was given.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Name, String> {
        let shown = text.escape_debug();
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let goes_on_well = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if !begins_well || !goes_on_well || text.len() > LONGEST {
            return Err(format!(
                "'{shown}' cannot be the name of an instance: a letter or digit, then letters, digits, '_', '.' and \
                 '-', at most {LONGEST} in all"
            ));
        }
        if RESERVED.contains(&text) {
            return Err(format!("'{shown}' is a command, so no instance can have that name"));
        }
        Ok(Name(text.to_owned()))
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Name, String> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Component, Path};

    #[test]
    fn usual_names_are_taken_and_hostile_ones_are_not() {
        for name in ["fork03", "a", "0", "atlas-2.1_x", &"n".repeat(63)] {
            assert_eq!(name.parse::<Name>().unwrap().as_str(), name);
        }
        let hostile = [
            "", ".", "..", "../x", "a/b", "/", "/etc", "-rf", "--new", ".lock", ".layers", "a b", "a\n", "a\0b", "é",
            "a:b", "a,b", "a\\b", "$HOME", "%s", "probe", "list", "destroy", "commit",
        ];
        for name in hostile.iter().map(ToString::to_string).chain(["n".repeat(64)]) {
            assert!(name.parse::<Name>().is_err(), "{name:?}");
        }
    }

    proptest! {
        /// Whatever is taken is one plain component of a path, and nothing that this program keeps beside instances.
        #[test]
        fn what_is_taken_is_one_plain_component(text in r"[a-z./\\\-\x00~ :é]{0,6}|\PC{0,80}|[A-Za-z0-9_.-]{1,70}") {
            if let Ok(name) = text.parse::<Name>() {
                let components: Vec<_> = Path::new(name.as_str()).components().collect();
                prop_assert_eq!(&components, &[Component::Normal(text.as_ref())]);
                prop_assert!(!text.starts_with(['.', '-']) && text.len() <= 63 && text.is_ascii());
            }
        }

        /// What is written into a description comes back only if it is valid.
        #[test]
        fn a_description_cannot_bring_in_another_name(text in r"\PC{0,70}") {
            let read = serde_json::from_str::<Name>(&serde_json::to_string(&text).unwrap());
            prop_assert_eq!(read.is_ok(), text.parse::<Name>().is_ok());
        }
    }
}
