//! Everything about every path, by programs of two C libraries, against what the official client said.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{SMALL, Session, output, records};
use cvmfs_tests::fixtures::{FileType, Truth};
use std::collections::BTreeMap;

fn line(session: &Session, record: &Truth) -> String {
    let attributes = session.mounted.link(&record.path).unwrap().attributes();
    let kind = match record.file_type {
        FileType::Reg => 0o100_000,
        FileType::Dir => 0o040_000,
        FileType::Lnk => 0o120_000,
        FileType::Fifo => 0o010_000,
        FileType::Sock => 0o140_000,
        FileType::Blk => 0o060_000,
        FileType::Chr => 0o020_000,
    };
    format!(
        "{:o} {} {} {} {} {}.{:09} {} {} {}",
        kind | record.mode,
        record.uid,
        record.gid,
        record.nlink,
        record.size,
        record.mtime_ns.div_euclid(1_000_000_000),
        record.mtime_ns.rem_euclid(1_000_000_000),
        attributes.dev,
        attributes.ino,
        String::from_utf8_lossy(record.target.as_deref().unwrap_or_default())
    )
}

/// Whether a path lies below directories that everybody may list and search only.
fn is_open(records: &BTreeMap<Vec<u8>, Truth>, path: &[u8]) -> bool {
    let mut way = path;
    while let Some(slash) = way.iter().rposition(|&b| b == b'/') {
        way = &way[..slash];
        let key: &[u8] = if way.is_empty() { b"/" } else { way };
        let mode = records.get(key).or_else(|| records.get(way)).map(|record| record.mode);
        if mode.is_none_or(|mode| mode & 0o555 != 0o555) {
            return false;
        }
        if way.is_empty() {
            break;
        }
    }
    true
}

fn compare(compiler: &str) {
    let session = Session::warm();
    let Some(program) = session.compile(compiler, "walk.c") else { return };
    let found = output(session.command(program).arg(SMALL));
    let mut fields = found.stdout.split(|&b| b == 0);
    let mut seen = BTreeMap::new();
    while let (Some(path), Some(facts)) = (fields.next(), fields.next()) {
        seen.insert(path[SMALL.len()..].to_vec(), String::from_utf8_lossy(facts).into_owned());
    }
    let records = records();
    let mut expected = BTreeMap::new();
    for (path, record) in &records {
        let path: &[u8] = if path == b"/" { b"" } else { path };
        if is_open(&records, path) {
            expected.insert(path.to_vec(), line(&session, record));
        }
    }
    assert!(expected.len() > 2000, "{}", expected.len());
    for (path, facts) in &expected {
        assert_eq!(seen.get(path), Some(facts), "{}", String::from_utf8_lossy(path));
    }
    for path in seen.keys() {
        assert!(expected.contains_key(path), "{} should not be listed", String::from_utf8_lossy(path));
    }
}

/// "What the index knows, programs of any C library are told."
#[test]
fn glibc_programs_see_what_the_official_client_says() {
    compare("cc");
}

#[test]
fn musl_programs_see_the_same() {
    compare("musl-gcc");
}
