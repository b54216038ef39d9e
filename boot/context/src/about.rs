//! What sources tell besides user data: who may log in, and what the machine is called.

use serde_json::Value;

/// What NoCloud calls them.
const INSTANCE: &str = "instance-id";
const HOSTNAME: &str = "local-hostname";

/// What a source tells besides user data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The name of this machine's incarnation.
    pub instance: Option<String>,
    /// The host name.
    pub hostname: Option<String>,
    /// Public SSH keys, one in each element.
    pub keys: Vec<String>,
    /// All of it as NoCloud's `meta-data`, where that is what the source has.
    pub document: Option<String>,
}

impl About {
    /// NoCloud's `meta-data`. It is YAML, of which two keys of the first level are known here; who reads all of it gets all of it.
    pub fn from_no_cloud(bytes: &[u8]) -> About {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let value = |key: &str| {
            let value = yaml_value(&text, key)?.trim().trim_matches(['"', '\'']);
            (!value.is_empty()).then(|| value.to_owned())
        };
        About {
            instance: value(INSTANCE),
            hostname: value(HOSTNAME),
            keys: Vec::new(),
            document: Some(text).filter(|text| !text.trim().is_empty()),
        }
    }

    /// With what another source tells, where this one says nothing.
    pub fn or(self, other: About) -> About {
        About {
            instance: self.instance.or(other.instance),
            hostname: self.hostname.or(other.hostname),
            keys: if self.keys.is_empty() { other.keys } else { self.keys },
            document: self.document.or(other.document),
        }
    }

    /// All of it as NoCloud's `meta-data`: what the source had as such, and what that lacks.
    pub fn to_no_cloud(&self) -> String {
        let mut text = self.document.clone().unwrap_or_default();
        // What is no YAML of lines has all that it needs.
        if text.trim_start().starts_with('{') {
            return text;
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        let instance = self.instance.as_deref().unwrap_or("ucernvm");
        for (key, value) in [(INSTANCE, Some(instance)), (HOSTNAME, self.hostname.as_deref())] {
            if let Some(value) = value.filter(|_| yaml_value(&text, key).is_none()) {
                text.push_str(&format!("{key}: {}\n", quoted(value)));
            }
        }
        if !self.keys.is_empty() {
            text.push_str("public-keys:\n");
            self.keys.iter().for_each(|key| text.push_str(&format!("  - {}\n", quoted(key))));
        }
        text
    }

    /// OpenStack's `meta_data.json`. What is no JSON says nothing.
    pub fn from_open_stack(bytes: &[u8]) -> About {
        let told: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let keys = told["public_keys"].as_object().into_iter().flat_map(|keys| keys.values());
        About {
            instance: string(&told["uuid"]),
            hostname: string(&told["hostname"]),
            keys: keys.filter_map(Value::as_str).flat_map(keys_in).collect(),
            document: None,
        }
    }

    /// What Azure's service says of `compute`. What is no JSON says nothing.
    pub fn from_azure(bytes: &[u8]) -> About {
        let told: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let keys = told["publicKeys"].as_array().into_iter().flatten();
        About {
            instance: string(&told["vmId"]),
            hostname: string(&told["osProfile"]["computerName"]).or_else(|| string(&told["name"])),
            keys: keys.filter_map(|key| key["keyData"].as_str()).flat_map(keys_in).collect(),
            document: None,
        }
    }
}

/// What stands behind `key` in a line of its own.
fn yaml_value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
}

/// As a string of YAML, which those of JSON are.
fn quoted(text: &str) -> String {
    let mut made = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => made.extend(['\\', character]),
            _ if character.is_control() => made.push(' '),
            _ => made.push(character),
        }
    }
    made + "\""
}

fn string(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Lines that are public keys, as in sshd's `authorized_keys`: options may stand in front. Kinds that are not there yet count, too, for
/// a loader is older than the system that it boots.
pub(crate) fn keys_in(text: &str) -> Vec<String> {
    const KINDS: [&str; 4] = ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"];
    let is_kind = |word: &str| KINDS.iter().any(|kind| word.starts_with(kind));
    let is_base64 = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
    let is_key = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        !line.starts_with('#') && words.windows(2).any(|pair| is_kind(pair[0]) && is_base64(pair[1]))
    };
    text.lines().map(str::trim).filter(is_key).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cloud_is_known_in_part_and_kept_whole() {
        let text = "instance-id: i-1\nlocal-hostname: \"vm\"\npublic-keys:\n  - ssh-rsa A\n";
        let about = About::from_no_cloud(text.as_bytes());
        assert_eq!((about.instance.as_deref(), about.hostname.as_deref()), (Some("i-1"), Some("vm")));
        assert_eq!(about.document.as_deref(), Some(text));
        assert_eq!(About::from_no_cloud(b"\n"), About::default());
    }

    #[test]
    fn the_description_is_yaml_whatever_is_in_it() {
        let about =
            About { hostname: Some("a\"\nb".to_owned()), keys: vec!["ssh-rsa A".to_owned()], ..About::default() };
        let text = about.to_no_cloud();
        assert_eq!(text, "instance-id: \"ucernvm\"\nlocal-hostname: \"a\\\" b\"\npublic-keys:\n  - \"ssh-rsa A\"\n");
    }

    #[test]
    fn what_no_cloud_says_is_handed_on_as_it_is() {
        let of = |text: &str| About::from_no_cloud(text.as_bytes()).to_no_cloud();
        let whole = "instance-id: i-1\nlocal-hostname: vm\npublic-keys:\n  mine: ssh-rsa A\n";
        assert_eq!(of(whole), whole);
        assert_eq!(of("public-keys: [ssh-rsa A]"), "public-keys: [ssh-rsa A]\ninstance-id: \"ucernvm\"\n");
        assert_eq!(of("{\"instance-id\": \"i-1\"}"), "{\"instance-id\": \"i-1\"}");
    }

    #[test]
    fn open_stack_and_azure_tell_keys_and_names() {
        let open_stack = br#"{"uuid":"u-1","hostname":"vm.novalocal","name":"vm","availability_zone":null,
            "public_keys":{"mine":"ssh-ed25519 A me\n","other":"ssh-rsa B\nnonsense"}}"#;
        let about = About::from_open_stack(open_stack);
        assert_eq!((about.instance.as_deref(), about.hostname.as_deref()), (Some("u-1"), Some("vm.novalocal")));
        assert_eq!(about.keys, ["ssh-ed25519 A me", "ssh-rsa B"]);
        let azure = br#"{"vmId":"v-1","name":"n","osProfile":{"computerName":"vm"},
            "publicKeys":[{"keyData":"ssh-rsa A\r\n","path":"/home/me/.ssh/authorized_keys"},{"keyData":7}]}"#;
        let about = About::from_azure(azure);
        assert_eq!((about.instance.as_deref(), about.hostname.as_deref()), (Some("v-1"), Some("vm")));
        assert_eq!(about.keys, ["ssh-rsa A"]);
        assert_eq!(About::from_azure(br#"{"name":"n"}"#).hostname.as_deref(), Some("n"));
    }

    #[test]
    fn keys_are_lines_that_sshd_would_read() {
        let good = "ssh-ed25519 A\nno-pty,command=\"echo a b\" ssh-rsa B me\nsk-ssh-ed25519@openssh.com C\nssh-of-tomorrow D\n";
        assert_eq!(keys_in(good), good.lines().collect::<Vec<_>>());
        assert_eq!(keys_in("# ssh-rsa A\nssh-rsa\n<p>ask ssh-keygen</p>\n\nssh-rsa <b>\n"), Vec::<String>::new());
    }

    #[test]
    fn what_is_something_else_says_nothing() {
        for text in ["", "[]", "7", "{", r#"{"public_keys":["ssh-rsa A"],"publicKeys":{},"uuid":1}"#] {
            for about in [About::from_open_stack(text.as_bytes()), About::from_azure(text.as_bytes())] {
                assert_eq!(about, About::default(), "{text}");
            }
        }
    }
}
