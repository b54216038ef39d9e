//! The recorded repositories and the records about them fit together.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cvmfs_tests::fixtures::{self, FileType, Magic};
use sha2::{Digest as _, Sha256};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;

#[test]
fn every_repository_has_its_manifest_and_its_key() {
    for fqrn in ["small", "rmd160", "shake128", "nocomp", "external"].map(|name| format!("{name}.test.example")) {
        let repository = fixtures::repository(&fqrn);
        let manifest = std::fs::read(repository.web_root.join(".cvmfspublished")).unwrap();
        assert!(String::from_utf8_lossy(&manifest).contains(&format!("\nN{fqrn}\n")));
        assert!(std::fs::read_to_string(repository.public_key).unwrap().starts_with("-----BEGIN PUBLIC KEY-----"));
        assert!(fixtures::truth(&fqrn, None).count() > 200);
    }
}

#[test]
fn every_bad_case_lies_on_disk() {
    let cases = fixtures::bad_cases();
    assert_eq!(cases.len(), 43);
    for case in &cases {
        assert!(fixtures::bad(&case.case).web_root.join("data").is_dir(), "{}", case.case);
    }
    let expired = cases.iter().find(|case| case.case == "whitelist_expired").unwrap();
    assert_eq!(expired.mount_rc, 16);
    assert!(expired.syslog.iter().any(|line| line.contains("expired whitelist")));
}

#[test]
fn names_that_are_no_utf8_come_back_as_their_bytes() {
    let paths: Vec<Vec<u8>> = fixtures::truth("small.test.example", None).map(|truth| truth.path).collect();
    for path in [&b"/names/latin1_\xe9"[..], b"/names/bin_\x01\x7f\xff"] {
        assert!(paths.iter().any(|p| p == path), "{}", path.escape_ascii());
    }
    assert!(paths.iter().any(|p| std::str::from_utf8(p).is_ok_and(|p| !p.is_ascii())), "UTF-8 names stay UTF-8");
}

#[test]
fn records_have_all_their_parts() {
    let find = |path: &str| {
        fixtures::truth("small.test.example", None).find(|truth| truth.path == path.as_bytes()).expect(path)
    };
    let root = find("/");
    assert_eq!((root.file_type, root.mode, root.nlink), (FileType::Dir, 0o755, 22));
    assert_eq!(root.magic.get("user.fqrn"), Some(&Magic::Value(b"small.test.example".to_vec())));
    assert!(
        fixtures::truth("small.test.example", None).any(|t| t.magic.values().any(|m| matches!(m, Magic::Errno(61))))
    );
    assert_eq!(find("/symlinks/variant_plain").target.as_deref(), Some(&b"anchor_value"[..]));
    assert_eq!(find("/special/blk_loop7").rdev, Some((7, 7)));
    assert_eq!(find("/xattrs/capability").xattrs["security.capability"].len(), 20);
    assert_eq!(fixtures::truth("small.test.example", Some("v1")).next().unwrap().nlink, 19);
}

#[test]
fn truth_external_bytes_and_hard_links_agree() {
    let data = fixtures::external_data();
    let mut compared = 0;
    for truth in fixtures::truth("external.test.example", None).filter(|truth| truth.file_type == FileType::Reg) {
        let Ok(path) = std::str::from_utf8(&truth.path) else { continue };
        let Ok(mut file) = std::fs::File::open(data.join(&path[1..])) else { continue };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(truth.sha256, Some(digest), "{path}");
        compared += 1;
    }
    assert!(compared > 100, "{compared} files compared");
    // The variants share what they did not change: unpacked as hard links they cost no space.
    let whitelist = std::fs::metadata(fixtures::bad("good_control").web_root.join(".cvmfswhitelist")).unwrap();
    assert!(whitelist.nlink() > 30);
}
