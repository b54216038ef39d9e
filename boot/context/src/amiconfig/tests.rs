use super::*;
use crate::About;
use crate::words::Here;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::fmt::Write as _;

fn told(text: &str) -> Option<Amiconfig> {
    Amiconfig::find(&UserData { source: "test", bytes: text.as_bytes().to_vec(), about: About::default() })
}

/// The cloud-config of a `[cernvm]` section with these lines, and the remarks.
fn cernvm(lines: &str) -> (Value, Vec<String>) {
    translated(&format!("[amiconfig]\nplugins=cernvm\ndisabled_plugins=rootsshkeys\n[cernvm]\n{lines}\n"))
}

fn translated(text: &str) -> (Value, Vec<String>) {
    let translation = told(text).expect("sections").translation();
    let config = translation.cloud_config.map_or(json!({}), |text| {
        let body = text.strip_prefix("#cloud-config\n").expect("a heading");
        serde_json::from_str(body).expect("JSON")
    });
    (config, translation.remarks)
}

#[test]
fn sections_are_found_wherever_they_are() {
    let sections = "[cernvm]\nusers=a:b:\n[amiconfig]\nplugins=cernvm\n";
    let mime = format!(
        "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/x-shellscript\n\n#!/bin/sh\n\
         --x\nContent-Type: text/amiconfig-user-data\n\n{sections}--x--\n"
    );
    let script =
        format!("#!/bin/sh\n[ -e x ] && echo '[amiconfig]'\nexit 0\n{sections}[ucernvm-begin]\na=b\n[ucernvm-end]\n");
    for text in [sections, &mime, &script] {
        assert_eq!(told(text).expect("sections").value("cernvm", "users"), Some("a:b:"), "{text}");
    }
    for text in ["", "#!/bin/sh\necho\n[amiconfig]\n", "[cernvm]\nusers=a:b:\n", "#cloud-config\n{}\n"] {
        assert_eq!(told(text), None, "{text}");
    }
}

#[test]
fn lines_are_read_as_python_reads_them() {
    let told = told("a=b\n[amiconfig]\n# c=d\nPlugins : one two,\n  three\nx = 1 = 2\nx=3\n").expect("sections");
    assert_eq!(told.value("amiconfig", "plugins"), Some("one two,\nthree"));
    assert_eq!(told.value("amiconfig", "x"), Some("3"));
    assert!(told.wants("three") && told.wants("rootsshkeys") && !told.wants("cernvm"));
}

#[test]
fn people_and_their_passwords() {
    let (config, remarks) =
        cernvm("users=alice:atlas:$6$salt$hash,bob:atlas:secret,eve:cms:,x y:z:,root\nshell=/bin/zsh");
    assert_eq!(config["users"][0], "default");
    assert_eq!(config["users"][1]["passwd"], "$6$salt$hash");
    assert_eq!(config["users"][2]["plain_text_passwd"], "secret");
    assert_eq!(
        config["users"][3],
        json!({"name": "eve", "primary_group": "cms", "shell": "/bin/zsh", "lock_passwd": true})
    );
    assert_eq!(config["users"].as_array().map(Vec::len), Some(4));
    assert_eq!(config["groups"], json!(["atlas", "cms"]));
    assert_eq!(remarks, ["[cernvm] users: 'x y:z:' cannot be used", "[cernvm] users: 'root' cannot be used"]);
}

#[test]
fn parameters_of_the_client() {
    let lines = "repositories=atlas.cern.ch,grid\nproxy=http://p:3128;DIRECT\nextra_repositories=x.example.org|s.example.org:8000|LS0tCg==";
    let (config, remarks) = cernvm(lines);
    assert_eq!(remarks, [""; 0]);
    let files = |at: usize| (config["write_files"][at]["path"].as_str(), config["write_files"][at]["content"].as_str());
    assert_eq!(
        files(0),
        (
            Some("/etc/cvmfs/default.d/90-amiconfig.conf"),
            Some("CVMFS_REPOSITORIES=atlas.cern.ch,grid\nCVMFS_HTTP_PROXY='http://p:3128;DIRECT'\n")
        )
    );
    assert_eq!(files(1).0, Some("/etc/cvmfs/config.d/x.example.org.conf"));
    assert_eq!(files(2), (Some("/etc/cvmfs/keys/x.example.org.pub"), Some("---\n")));
}

#[test]
fn no_value_becomes_something_else() {
    let evil = "users=a;reboot:b:c\nshell=/bin/sh -c reboot\nrepositories=$(reboot)\nproxy=x'$(reboot)'\nenvironment=A=';reboot;',B;C=d\n\
                services=--now,a b\nkeyboard=us;reboot\nextra_repositories=../../x|s|LS0tCg==\ncontextualization_command=a b:reboot";
    let (config, remarks) = cernvm(evil);
    assert_eq!(config, json!({}));
    assert_eq!(remarks.len(), 11, "{remarks:?}");
}

#[test]
fn plug_ins_that_are_not_wanted_are_left_out_and_those_that_are_not_there_remarked() {
    let text = "[amiconfig]\nplugins = hostname ganglia nonsense disablesshpasswdauth\n[hostname]\nhostname=vm.example.org\n\
                [cernvm]\nusers=a:b:\n[ganglia]\nname=x\n";
    let (config, remarks) = translated(text);
    assert_eq!(config, json!({"disable_root": false, "hostname": "vm.example.org", "ssh_pwauth": false}));
    assert!(remarks[0].starts_with("plug-in ganglia has no effect: "), "{remarks:?}");
    assert_eq!(remarks[1..], ["plug-in nonsense is not known"]);
    let (_, remarks) = cernvm("organisations=atlas\nkeyboard=us\nswap_size=");
    assert_eq!(remarks.len(), 1, "{remarks:?}");
    assert!(remarks[0].starts_with("[cernvm] organisations has no effect"), "{remarks:?}");
}

/// The table does not promise more than is done.
#[test]
fn every_key_that_the_table_says_yes_to_has_an_effect() {
    for row in PLUGINS.iter().filter(|row| matches!(row.here, Here::Yes(_)) && row.name != OWN) {
        let keys = if row.keys.is_empty() { &["any"][..] } else { row.keys };
        for key in keys {
            let value = match *key {
                "users" => "a:b:c",
                "shell" => "/bin/zsh\nusers=a:b:c",
                "extra_repositories" => "x.example.org|s|LS0tCg==",
                "environment" => "A=b",
                "contextualization_command" => "a:b",
                "edition" => "Desktop",
                "startxdm" => "on",
                _ => "name",
            };
            let key = key.replace('*', "core.rmem_max");
            let with = |name: &str| translated(&format!("[amiconfig]\nplugins={name}\n[{name}]\n{key}={value}\n"));
            let without = translated("[amiconfig]\ndisabled_plugins=rootsshkeys\n");
            assert_ne!(with(row.name).0, without.0, "[{}] {key}", row.name);
            assert_eq!(with(row.name).1, [""; 0]);
        }
    }
    let mut names: Vec<&str> = PLUGINS.iter().map(|row| row.name).filter(|name| *name != OWN).collect();
    names.dedup();
    assert_eq!(names.len(), 22);
}

const BEGIN: &str = "<!-- plug-ins: generated from the table in boot/context/src/amiconfig/plugins.rs -->\n";
const END: &str = "<!-- end of the plug-ins -->\n";

fn page() -> String {
    let mut page = "\n| plug-in | keys | without `amiconfig` in the tree |\n|---|---|---|\n".to_owned();
    for row in &PLUGINS {
        let keys = row.keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        let (here, why) = match row.here {
            Here::Yes(why) | Here::New(why) | Here::HandedOn(why) => ("yes", why),
            Here::No(why) => ("no", why),
        };
        let keys = if keys.is_empty() { "all" } else { &keys };
        writeln!(page, "| `{}` | {keys} | {here}: {why} |", row.name).expect("a String takes all text");
    }
    page + "\n"
}

#[test]
fn the_page_on_compatibility_says_the_same() {
    crate::page::says(BEGIN, END, &page());
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "(#!/bin/sh\nexit\n)?\\[amiconfig\\]\nplugins=cernvm hostname tcpbuffers\n\\[cernvm\\]\n(users|proxy|environment|services|extra_repositories)=[\\PC\n,:|='$]{0,80}") {
        if let Some(told) = told(&text) {
            let translation = told.translation();
            prop_assert!(translation.cloud_config.is_none_or(|text| serde_json::from_str::<Value>(text.split_once('\n').expect("lines").1).is_ok()));
        }
    }
}
