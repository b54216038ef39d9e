//! Storages keep their word.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cvmfs_server::storage::{LocalStorage, Storage, conformance};

#[test]
fn a_directory_does_what_a_storage_must() {
    let dir = tempfile::tempdir().unwrap();
    conformance::check(&LocalStorage::open(&dir.path().join("not/there/yet")).unwrap());
}

#[test]
fn what_a_killed_publisher_left_is_cleared_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let storage = LocalStorage::open(dir.path()).unwrap();
    let (_, left) = storage.staging().unwrap().keep().unwrap();
    storage.lock("next").unwrap();
    assert!(!left.exists());
}
