//! Whole configurations: order of files, precedence, configuration repository, built-in domains.

use std::collections::BTreeMap;
use std::path::Path;

use super::check::{Severity, check};
use super::*;
use crate::fqrn::Fqrn;

/// A tree in the style of the shipped files.
fn shipped(root: &Path) {
    let files = [
        (
            "default.conf",
            "# Defaults of the package\nCVMFS_QUOTA_LIMIT=4000\nCVMFS_TIMEOUT=5\nCVMFS_TIMEOUT_DIRECT=10\nCVMFS_CLAIM_OWNERSHIP=yes\n\
             CVMFS_CACHE_BASE=/var/lib/cvmfs\nCVMFS_KEYS_DIR=/etc/cvmfs/keys\n\
             if [ \"x$CVMFS_BASE_ENV\" = \"x\" ]; then\n  readonly CVMFS_USER=cvmfs\n  readonly CVMFS_MOUNT_DIR=/cvmfs\n  readonly CVMFS_BASE_ENV=1\nfi\n",
        ),
        ("default.d/50-central.conf", "CVMFS_CONFIG_REPOSITORY=config.example.org\nCVMFS_DEFAULT_DOMAIN=example.org\n"),
        ("default.d/README", "not read"),
        ("default.local", "CVMFS_HTTP_PROXY='http://squid.site:3128'\nCVMFS_CONFIG_REPOSITORY=too.late.org\n"),
        ("domain.d/example.org.local", "CVMFS_MAX_RETRIES=3; CVMFS_TIMEOUT=7\n"),
        ("config.d/data.example.org.conf", "CVMFS_TIMEOUT=8 # of one repository\n"),
    ];
    for (name, text) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// A configuration repository in the style of the central one.
struct Central(BTreeMap<&'static str, &'static str>);

fn central() -> Central {
    Central(BTreeMap::from([
        (
            "/etc/cvmfs/default.conf",
            "if [ \"$(($$ % 2))\" == 1 ]; then\n CVMFS_PAC_URLS=\"http://a/wpad.dat;http://b/wpad.dat\"\nelse\n CVMFS_PAC_URLS='http://b/wpad.dat;http://a/wpad.dat'\nfi\n",
        ),
        (
            "/etc/cvmfs/common.conf",
            "if [ \"$CVMFS_CLIENT_PROFILE\" = \"single\" ] && [ \"$CVMFS_HTTP_PROXY\" = \"\" ]; then CVMFS_HTTP_PROXY=\"auto;DIRECT\"; fi\n\
             if [ -z \"$CVMFS_USE_CDN\" ]; then\n if [ \"$CVMFS_HTTP_PROXY\" = \"DIRECT\" ] || [ \"$CVMFS_HTTP_PROXY\" = \"auto;DIRECT\" ]; then\n  CVMFS_USE_CDN=yes\n fi\nfi\n\
             if [ \"$CVMFS_USE_CDN\" != \"yes\" ]; then\n CVMFS_FALLBACK_PROXY=\"http://backup.one:3126;http://backup.two:3126\"\nfi\n",
        ),
        (
            "/etc/cvmfs/domain.d/example.org.conf",
            "# named here to be taken from the included file\nCVMFS_USE_CDN=\"$CVMFS_USE_CDN\"\nCVMFS_HTTP_PROXY=\"$CVMFS_HTTP_PROXY\"\nCVMFS_FALLBACK_PROXY=\"$CVMFS_FALLBACK_PROXY\"\n. ../common.conf\n\
             if [ \"$CVMFS_USE_CDN\" = \"yes\" ]; then\n CVMFS_SERVER_URL=\"http://cdn.example.org/cvmfs/@fqrn@\"\nelse\n\
             CVMFS_SERVER_URL=\"http://one.example.org:8000/cvmfs/@fqrn@\"\n CVMFS_SERVER_URL=\"$CVMFS_SERVER_URL;http://two.example.org:8000/opt/@org@\"\nfi\n\
             CVMFS_KEYS_DIR=$CVMFS_MOUNT_DIR/$CVMFS_CONFIG_REPOSITORY/etc/cvmfs/keys/example.org\n",
        ),
        ("/etc/cvmfs/config.d/data.example.org.conf", "export LOCAL_SITE=${LOCAL_SITE:-T3_NONE}\nCVMFS_TIMEOUT=99\n"),
        ("/etc/cvmfs/keys/example.org/one.pub", "KEY ONE"),
        ("/etc/cvmfs/keys/example.org/two.pub", "KEY TWO"),
        ("/etc/cvmfs/keys/example.org/notes.txt", "no key"),
        ("/etc/cvmfs/blacklist", "<data.example.org 7\n"),
    ]))
}

impl ConfigRepository for Central {
    fn read(&self, path: &str) -> std::io::Result<Option<Vec<u8>>> {
        Ok(self.0.get(path).map(|t| t.as_bytes().to_vec()))
    }
    fn list(&self, directory: &str) -> std::io::Result<Vec<String>> {
        let prefix = format!("{directory}/");
        Ok(self.0.keys().filter_map(|p| p.strip_prefix(&prefix)).map(str::to_owned).collect())
    }
}

fn sources(roots: &[&Path], options: &[(&str, &str)], environment: &[(&str, &str)]) -> Sources {
    let owned =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    Sources {
        roots: roots.iter().map(|r| r.to_path_buf()).collect(),
        environment: owned(environment).into_iter().collect(),
        options: owned(options),
        random: 7,
    }
}

fn name(text: &str) -> Fqrn {
    Fqrn::new(text).unwrap()
}

#[test]
fn files_are_read_in_the_official_order_with_the_configuration_repository() {
    let etc = tempfile::tempdir().unwrap();
    shipped(etc.path());
    let loader = Loader::new(sources(&[etc.path()], &[], &[("LOCAL_SITE", "T1_HERE")]));
    let fqrn = loader.name("data").unwrap();
    assert_eq!(fqrn.as_str(), "data.example.org");
    let requested = loader.config_repository(&fqrn).unwrap().unwrap();
    assert_eq!(requested, RequestedRepository { fqrn: name("config.example.org"), required: false });
    assert_eq!(loader.config_repository(&requested.fqrn).unwrap(), None);

    let config = loader.load(&fqrn, Some(&central())).unwrap();
    assert_eq!(
        config.servers().unwrap(),
        ["http://one.example.org:8000/cvmfs/data.example.org", "http://two.example.org:8000/opt/data"]
    );
    assert_eq!(config.text(&table::FALLBACK_PROXY).unwrap().unwrap(), "http://backup.one:3126;http://backup.two:3126");
    assert_eq!(config.text(&table::PAC_URLS).unwrap().unwrap(), "http://a/wpad.dat;http://b/wpad.dat");
    assert_eq!(config.text(&table::CONFIG_REPOSITORY).unwrap().unwrap(), "config.example.org");
    assert_eq!(config.integer(&table::TIMEOUT).unwrap(), Some(8));
    assert_eq!(config.integer(&table::MAX_RETRIES).unwrap(), Some(3));
    assert!(config.on(&table::CLAIM_OWNERSHIP).unwrap());
    assert_eq!(config.environment_for_symlinks()["LOCAL_SITE"], "T1_HERE");
    let source = config.value("CVMFS_TIMEOUT").unwrap().source.to_string();
    assert_eq!(source, format!("{}:1", etc.path().join("config.d/data.example.org.conf").display()));
    let source = config.value("CVMFS_FALLBACK_PROXY").unwrap().source.to_string();
    assert_eq!(source, "/cvmfs/config.example.org/etc/cvmfs/domain.d/../common.conf:8");
    let keys: Vec<_> = config.master_keys().unwrap().into_iter().map(|k| k.pem).collect();
    assert_eq!(keys, [b"KEY ONE", b"KEY TWO"]);
    assert_eq!(config.blacklists().unwrap().first().unwrap(), b"<data.example.org 7\n");
}

#[test]
fn the_command_line_beats_the_environment_beats_the_files_and_conditions_see_it() {
    let etc = tempfile::tempdir().unwrap();
    shipped(etc.path());
    let environment = [("CVMFS_TIMEOUT", "20"), ("CVMFS_MAX_RETRIES", "21"), ("CVMFS_FALLBACK_PROXY", "")];
    let loader =
        Loader::new(sources(&[etc.path()], &[("CVMFS_TIMEOUT", "30"), ("CVMFS_HTTP_PROXY", "DIRECT")], &environment));
    let config = loader.load(&name("data.example.org"), Some(&central())).unwrap();
    assert_eq!(config.value("CVMFS_TIMEOUT").map(|v| (v.text.as_str(), &v.source)), Some(("30", &Source::CommandLine)));
    assert_eq!(
        config.value("CVMFS_MAX_RETRIES").map(|v| (v.text.as_str(), &v.source)),
        Some(("21", &Source::Environment))
    );
    assert_eq!(config.servers().unwrap(), ["http://cdn.example.org/cvmfs/data.example.org"]);
    assert_eq!(config.value("CVMFS_FALLBACK_PROXY"), None);
}

#[test]
fn the_files_of_the_user_are_read_after_their_namesakes() {
    let (etc, user) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    shipped(etc.path());
    std::fs::write(user.path().join("default.local"), "CVMFS_HTTP_PROXY=DIRECT\nCVMFS_CACHE_BASE=/tmp/mine\n").unwrap();
    let loader = Loader::new(sources(&[etc.path(), user.path()], &[], &[]));
    let config = loader.load(&name("data.example.org"), Some(&central())).unwrap();
    assert_eq!(config.proxies().unwrap(), "DIRECT");
    assert_eq!(config.servers().unwrap(), ["http://cdn.example.org/cvmfs/data.example.org"]);
    assert_eq!(config.cache_directory().unwrap(), Path::new("/tmp/mine/data.example.org"));
    assert_eq!(config.integer(&table::TIMEOUT).unwrap(), Some(8));
}

#[test]
fn public_domains_work_without_any_file() {
    let nothing = Path::new("/nonexistent/cvmfs");
    for fqrn in ["sft.cern.ch", "biomed.egi.eu", "oasis.opensciencegrid.org", "software.eessi.io"] {
        let loader = Loader::new(sources(&[nothing], &[], &[("HOME", "/home/u")]));
        assert_eq!(loader.config_repository(&name(fqrn)).unwrap(), None);
        let config = loader.load(&name(fqrn), None).unwrap();
        assert_eq!(config.proxies().unwrap(), "auto;DIRECT");
        assert!(config.servers().unwrap()[0].contains("-cvmfs.openhtc.io/cvmfs/"), "{:?}", config.servers());
        assert!(config.servers().unwrap().iter().all(|s| s.ends_with(fqrn)));
        assert!(config.master_keys().unwrap().iter().all(|k| k.pem.starts_with(b"-----BEGIN PUBLIC KEY-----")));
        assert_eq!(config.value("CVMFS_FALLBACK_PROXY"), None);
        assert_eq!(config.bytes(&table::QUOTA_LIMIT).unwrap(), Some(4000 << 20));
        assert_eq!(config.cache_directory().unwrap(), Path::new("/home/u/.cache/cvmfs/shared"));
        assert!(!config.on(&table::CLAIM_OWNERSHIP).unwrap());
        assert_eq!(check(&config).first(), None);
    }
    let behind = Loader::new(sources(&[nothing], &[("CVMFS_HTTP_PROXY", "http://squid:3128")], &[]));
    let config = behind.load(&name("sft.cern.ch"), None).unwrap();
    assert!(config.servers().unwrap()[0].starts_with("http://cvmfs-stratum-one.cern.ch:8000/"));
    assert!(config.text(&table::FALLBACK_PROXY).unwrap().unwrap().contains("cvmfsbproxy"));
}

#[test]
fn a_repository_described_on_the_command_line_needs_nothing_else() {
    let key = tempfile::NamedTempFile::new().unwrap();
    let key = key.path().to_str().unwrap();
    let options = [
        ("CVMFS_SERVER_URL", "http://127.0.0.1:1/cvmfs/@fqrn@"),
        ("CVMFS_HTTP_PROXY", "DIRECT"),
        ("CVMFS_PUBLIC_KEY", key),
        ("CVMFS_CACHE_BASE", "/tmp/c"),
    ];
    let etc = tempfile::tempdir().unwrap();
    shipped(etc.path());
    for root in [Path::new("/nonexistent"), etc.path()] {
        let loader = Loader::new(sources(&[root], &options, &[]));
        let fqrn = name("small.test.example");
        assert_eq!(loader.config_repository(&fqrn).unwrap(), None);
        let config = loader.load(&fqrn, None).unwrap();
        assert_eq!(config.servers().unwrap(), ["http://127.0.0.1:1/cvmfs/small.test.example"]);
        assert_eq!(config.master_keys().unwrap().len(), 1);
        assert!(config.cache_directory().unwrap().starts_with("/tmp/c"));
    }
}

#[test]
fn an_unknown_domain_asks_the_public_configuration_repository_and_fails_loudly_without_it() {
    let loader = Loader::new(sources(&[Path::new("/nonexistent")], &[], &[]));
    let fqrn = name("data.unknown.example");
    let requested = loader.config_repository(&fqrn).unwrap().unwrap();
    assert_eq!(requested.fqrn.as_str(), "cvmfs-config.cern.ch");
    let own = loader.load(&requested.fqrn, None).unwrap();
    assert!(own.servers().is_ok() && own.proxies().is_ok() && own.master_keys().is_ok());
    let config = loader.load(&fqrn, None).unwrap();
    assert!(config.servers().unwrap_err().to_string().contains("CVMFS_SERVER_URL is not set for data.unknown.example"));
    assert!(config.proxies().unwrap_err().to_string().contains("DIRECT"));
    assert!(config.master_keys().unwrap_err().to_string().contains("CVMFS_PUBLIC_KEY"));
    let errors = check(&config).into_iter().filter(|f| f.severity == Severity::Error).count();
    assert_eq!(errors, 3);
}

#[test]
fn a_required_configuration_repository_is_required() {
    let etc = tempfile::tempdir().unwrap();
    shipped(etc.path());
    let loader = Loader::new(sources(&[etc.path()], &[("CVMFS_CONFIG_REPO_REQUIRED", "Yes")], &[]));
    let error = loader.load(&name("data.example.org"), None).unwrap_err();
    assert!(error.to_string().contains("config.example.org is required"), "{error}");
    assert!(loader.load(&name("config.example.org"), None).is_ok());
}

#[test]
fn values_that_are_not_of_their_type_name_their_place() {
    let etc = tempfile::tempdir().unwrap();
    std::fs::write(
        etc.path().join("default.local"),
        "\nCVMFS_USE_GEOAPI=perhaps\nCVMFS_TIMEOUT=soon\nCVMFS_SERVR_URL=x\nCVMFS_HTTP_PROXY=\"a; b\"\nCVMFS_NFILES=1\n\
        CVMFS_ALIEN_CACHE=/a\nCVMFS_QUOTA_LIMIT=5\nCVMFS_MAX_SERVERS=$(nproc)\n",
    )
    .unwrap();
    let loader = Loader::new(sources(&[etc.path()], &[], &[("CVMFS_MY_VARIABLE", "x")]));
    let config = loader.load(&name("sft.cern.ch"), None).unwrap();
    let place = |line: u32| format!("{}:{line}", etc.path().join("default.local").display());
    let error = config.on(&table::USE_GEOAPI).unwrap_err().to_string();
    assert_eq!(error, format!("CVMFS_USE_GEOAPI='perhaps' ({}): expected yes or no", place(2)));
    let error = config.integer(&table::MAX_SERVERS).unwrap_err().to_string();
    assert!(error.contains("$(nproc)") && error.contains("CVMFS_MAX_SERVERS"), "{error}");
    let findings = check(&config);
    for (severity, what) in [
        (Severity::Error, "CVMFS_TIMEOUT='soon'"),
        (Severity::Error, "$(nproc)"),
        (Severity::Warning, "is CVMFS_SERVER_URL meant?"),
        (Severity::Warning, "without blanks"),
        (Severity::Warning, "has no quota"),
        (Severity::Note, "CVMFS_NFILES"),
        (Severity::Note, "CVMFS_MY_VARIABLE"),
    ] {
        assert!(findings.iter().any(|f| f.severity == severity && f.what.contains(what)), "{what}: {findings:#?}");
    }
}

#[test]
fn yes_and_no_are_read_in_any_case() {
    let loader = |text: &str| Loader::new(sources(&[], &[("CVMFS_AUTO_UPDATE", text)], &[]));
    let on = |text: &str| loader(text).load(&name("sft.cern.ch"), None).unwrap().on(&table::AUTO_UPDATE);
    for text in ["yes", "YES", "On", "1", "true"] {
        assert!(on(text).unwrap(), "{text}");
    }
    for text in ["no", "OFF", "0", "False"] {
        assert!(!on(text).unwrap(), "{text}");
    }
    assert!(on("").unwrap(), "empty is the default");
    assert!(on("y").is_err() && on("2").is_err());
}
