//! What user data for `amiconfig` mean in cloud-config.
//!
//! Every value is checked for what it is, and stands in JSON, which is YAML. Commands are lists, so no shell reads a value, but for
//! the one key whose value is a command.

use super::{Amiconfig, OWN, PLUGINS, Plugin, unusable, words};
use crate::section::shown;
use crate::settings::switch;
use crate::unwrap;
use crate::words::Here;
use serde_json::{Map, Value, json};

/// Cloud-config, and what could not be said in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translation {
    /// The text; `None` if there is nothing to say.
    pub cloud_config: Option<String>,
    /// Remarks for a person.
    pub remarks: Vec<String>,
}

impl Amiconfig {
    /// Translates what can be done without `amiconfig`.
    pub fn translation(&self) -> Translation {
        let mut writer = Writer { told: self, config: Map::new(), remarks: Vec::new() };
        let translators: [(&str, Translator<'_>); 5] = [
            ("rootsshkeys", Writer::root),
            ("hostname", Writer::hostname),
            ("disablesshpasswdauth", Writer::passwords),
            ("cernvm", Writer::cernvm),
            ("tcpbuffers", Writer::buffers),
        ];
        for (plugin, translate) in translators {
            if self.wants(plugin) {
                translate(&mut writer);
            }
        }
        writer.remark_what_is_left();
        let Writer { config, remarks, .. } = writer;
        let text = || format!("#cloud-config\n{}\n", Value::Object(config.clone()));
        Translation { cloud_config: (!config.is_empty()).then(text), remarks }
    }
}

type Translator<'a> = fn(&mut Writer<'a>);

struct Writer<'a> {
    told: &'a Amiconfig,
    config: Map<String, Value>,
    remarks: Vec<String>,
}

impl<'a> Writer<'a> {
    fn set(&mut self, key: &str, value: Value) {
        self.config.insert(key.to_owned(), value);
    }

    fn add(&mut self, key: &str, value: Value) {
        if let Value::Array(list) = self.config.entry(key).or_insert_with(|| json!([])) {
            list.push(value);
        }
    }

    fn file(&mut self, path: &str, content: &str) {
        self.add("write_files", json!({ "path": path, "content": content }));
    }

    fn cernvm_value(&self, key: &str) -> Option<&'a str> {
        self.told.value("cernvm", key)
    }

    /// Items of a list between commas that are what they should be; others are remarked.
    fn items(&mut self, key: &'static str, is_usable: fn(&str) -> bool) -> Vec<&'a str> {
        let items = self.cernvm_value(key).unwrap_or_default().split(',').map(str::trim);
        let (usable, others): (Vec<&str>, Vec<&str>) =
            items.filter(|item| !item.is_empty()).partition(|item| is_usable(item));
        self.remarks.extend(others.into_iter().map(|item| unusable("cernvm", key, item)));
        usable
    }

    fn one(&mut self, key: &'static str, is_usable: fn(&str) -> bool) -> Option<&'a str> {
        let value = self.cernvm_value(key)?;
        if !is_usable(value) {
            self.remarks.push(unusable("cernvm", key, value));
        }
        Some(value).filter(|value| is_usable(value))
    }

    fn root(&mut self) {
        self.set("disable_root", json!(false));
    }

    fn hostname(&mut self) {
        match self.told.value("hostname", "hostname") {
            Some(name) if is_host(name) => self.set("hostname", json!(name)),
            Some(name) => self.remarks.push(unusable("hostname", "hostname", name)),
            None => {}
        }
    }

    fn passwords(&mut self) {
        self.set("ssh_pwauth", json!(false));
    }

    fn buffers(&mut self) {
        let mut text = String::new();
        for (key, value) in self.told.pairs("tcpbuffers") {
            let is_usable = key.starts_with("net.") && is_name(key) && !value.contains('\n');
            if is_usable {
                text.push_str(&format!("{key} = {value}\n"));
            } else {
                self.remarks.push(unusable("tcpbuffers", key, value));
            }
        }
        if !text.is_empty() {
            const FILE: &str = "/etc/sysctl.d/90-amiconfig.conf";
            self.file(FILE, &text);
            self.add("runcmd", json!(["sysctl", "-p", FILE]));
        }
    }

    fn cernvm(&mut self) {
        self.users();
        self.repositories();
        self.environment();
        if let Some(layout) = self.one("keyboard", is_name) {
            self.set("keyboard", json!({ "layout": layout }));
        }
        for service in self.items("services", is_name) {
            self.add("runcmd", json!(["systemctl", "enable", "--now", service]));
        }
        let is_desktop = self.cernvm_value("edition").is_some_and(|edition| edition.eq_ignore_ascii_case("desktop"));
        if is_desktop || self.cernvm_value("startxdm").and_then(switch) == Some(true) {
            self.add("runcmd", json!(["systemctl", "set-default", "graphical.target"]));
            self.add("runcmd", json!(["systemctl", "--no-block", "isolate", "graphical.target"]));
        }
        if let Some(value) = self.cernvm_value("contextualization_command") {
            match value.split_once(':') {
                Some((user, command)) if is_account(user) => {
                    self.add("runcmd", json!(["runuser", "-u", user, "--", "/bin/sh", "-c", command]));
                }
                _ => self.remarks.push(unusable("cernvm", "contextualization_command", value)),
            }
        }
    }

    /// `NAME:GROUP:PASSWORD`, where the password may be its hash.
    fn users(&mut self) {
        let shell = self.one("shell", is_path).unwrap_or("/bin/bash");
        let described = self.items("users", |item| {
            let fields: Vec<&str> = item.splitn(3, ':').collect();
            matches!(fields.as_slice(), [name, group, _] if is_account(name) && is_account(group))
        });
        for item in described {
            let mut fields = item.splitn(3, ':');
            let (name, group) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
            let password = fields.next().unwrap_or_default();
            let mut user = json!({ "name": name, "primary_group": group, "shell": shell });
            user["lock_passwd"] = json!(password.is_empty());
            if !password.is_empty() {
                user[if password.starts_with('$') { "passwd" } else { "plain_text_passwd" }] = json!(password);
            }
            if !self.config.contains_key("users") {
                // A list replaces the system's own, which is meant to stay.
                self.add("users", json!("default"));
            }
            if !self.config.get("groups").and_then(Value::as_array).is_some_and(|all| all.contains(&json!(group))) {
                self.add("groups", json!(group));
            }
            self.add("users", user);
        }
    }

    fn repositories(&mut self) {
        let mut text = String::new();
        let names = self.items("repositories", is_name).join(",");
        if !names.is_empty() {
            text.push_str(&format!("CVMFS_REPOSITORIES={names}\n"));
        }
        if let Some(proxy) = self.one("proxy", is_quotable) {
            text.push_str(&format!("CVMFS_HTTP_PROXY='{proxy}'\n"));
        }
        if !text.is_empty() {
            self.file("/etc/cvmfs/default.d/90-amiconfig.conf", &text);
        }
        let described = self.items("extra_repositories", |item| {
            let fields: Vec<&str> = item.split('|').collect();
            matches!(fields.as_slice(), [name, server, key]
                if is_host(name) && is_quotable(server) && unwrap::base64(key).is_some_and(|key| key.is_ascii()))
        });
        for item in described {
            let fields: Vec<&str> = item.split('|').collect();
            let [name, server, key] = fields.as_slice() else { continue };
            let key = String::from_utf8(unwrap::base64(key).unwrap_or_default()).unwrap_or_default();
            let file = format!("/etc/cvmfs/keys/{name}.pub");
            let parameters = format!("CVMFS_SERVER_URL='http://{server}/cvmfs/{name}'\nCVMFS_PUBLIC_KEY={file}\n");
            self.file(&format!("/etc/cvmfs/config.d/{name}.conf"), &parameters);
            self.file(&file, &format!("{}\n", key.trim_end()));
        }
    }

    fn environment(&mut self) {
        let variables = self.items("environment", |item| {
            item.split_once('=').is_some_and(|(name, value)| is_variable(name) && is_quotable(value))
        });
        let lines = variables.iter().filter_map(|item| item.split_once('='));
        let text: String = lines.map(|(name, value)| format!("export {name}='{value}'\n")).collect();
        if !text.is_empty() {
            self.file("/etc/profile.d/amiconfig.sh", &text);
        }
    }

    /// Plug-ins that are wanted and not there, and keys of others that mean nothing here.
    fn remark_what_is_left(&mut self) {
        for name in self.told.value(OWN, "plugins").map(words).into_iter().flatten() {
            let rows = || PLUGINS.iter().filter(|row| row.name == name);
            let reason_of = |row: &Plugin| if let Here::No(reason) = row.here { Some(reason) } else { None };
            match rows().next().map(|first| (first, rows().all(|row| row.here == first.here))) {
                None => self.remarks.push(format!("plug-in {} is not known", shown(name))),
                Some((first, true)) => {
                    let reason = reason_of(first);
                    self.remarks.extend(reason.map(|reason| format!("plug-in {name} has no effect: {reason}")));
                }
                Some((_, false)) => {
                    for (key, _) in self.told.pairs(name).filter(|(_, value)| !value.is_empty()) {
                        let reason = rows().find(|row| row.keys.contains(&key)).and_then(reason_of);
                        self.remarks.extend(reason.map(|reason| format!("[{name}] {key} has no effect: {reason}")));
                    }
                }
            }
        }
    }
}

fn made_of(text: &str, more: &str, longest: usize) -> bool {
    let is_usable = |character: char| character.is_ascii_alphanumeric() || more.contains(character);
    (1..=longest).contains(&text.len()) && text.chars().all(is_usable) && !text.starts_with(['-', '.'])
}

fn is_name(text: &str) -> bool {
    made_of(text, "._-@", 128)
}

fn is_host(text: &str) -> bool {
    made_of(text, ".-", 253)
}

fn is_account(text: &str) -> bool {
    made_of(text, "_-", 32) && !text.starts_with(|first: char| first.is_ascii_digit())
}

fn is_variable(text: &str) -> bool {
    made_of(text, "_", 128) && !text.starts_with(|first: char| first.is_ascii_digit())
}

fn is_path(text: &str) -> bool {
    text.strip_prefix('/').is_some_and(|rest| made_of(rest, "._-/+", 255))
}

/// What means itself between single quotes.
fn is_quotable(text: &str) -> bool {
    !text.is_empty() && !text.contains(['\'', '\n', '\r', '\0'])
}
