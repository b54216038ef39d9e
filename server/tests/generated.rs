//! Trees that nobody thought of.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::tree::assert_same;
use common::{Published, text};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// Changes a tree at random: every kind of entry comes, goes, and takes the place of another.
fn change(root: &Path, random: &mut fastrand::Rng, steps: usize) {
    for _ in 0..steps {
        let mut directories = vec![root.to_owned()];
        let mut others: Vec<PathBuf> = Vec::new();
        let mut at = 0;
        while let Some(directory) = directories.get(at).cloned() {
            at += 1;
            for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
                let list = if entry.file_type().unwrap().is_dir() { &mut directories } else { &mut others };
                list.push(entry.path());
            }
        }
        directories.sort();
        others.sort();
        let directory = directories[random.usize(..directories.len())].clone();
        let name: Vec<u8> = (0..random.usize(1..6)).map(|_| *random.choice(b"ab.\xff\xc3 \n\\$").unwrap()).collect();
        let name = if random.u8(..12) == 0 { b".cvmfscatalog".to_vec() } else { name };
        let path = directory.join(OsStr::from_bytes(&name));
        if name == b"." || name == b".." || (name == b".cvmfscatalog" && directory == root) {
            continue;
        }
        match random.u8(..16) {
            0 if directory != root => fs::remove_dir_all(&directory).unwrap(),
            1 | 2 if !others.is_empty() => fs::remove_file(random.choice(&others).unwrap()).unwrap(),
            3 if !others.is_empty() => {
                let old = random.choice(&others).unwrap();
                let _ = fs::rename(old, &path);
            }
            4 | 5 if !path.exists() => {
                let like = others.iter().find(|other| other.parent() == Some(&directory) && other.is_file());
                let Some(like) = like.filter(|like| !like.is_symlink()) else { continue };
                let _ = fs::hard_link(like, &path);
            }
            6 => drop(symlink(OsStr::from_bytes(&name), &path)),
            7 => {
                let mode = fs::Permissions::from_mode(0o700 | random.u32(..0o100));
                fs::set_permissions(&directory, mode).unwrap();
            }
            8..=11 => drop(fs::create_dir(&path)),
            _ if !path.is_dir() && !path.is_symlink() => {
                let size = random.choice([0_usize, 1, 100, 5000, 70_000]).unwrap();
                let bytes: Vec<u8> = (0..size).map(|_| random.u8(..)).collect();
                fs::write(&path, bytes).unwrap();
            }
            _ => {}
        }
    }
}

#[test]
fn any_tree_after_any_change_is_read_back() {
    for seed in 0..4 {
        let mut random = fastrand::Rng::with_seed(seed);
        let repository = Published::new(&[]);
        let root = repository.dir.path().join("tree");
        fs::create_dir(&root).unwrap();
        for round in 0..3 {
            change(&root, &mut random, 30);
            repository.publish(&[text(&root), "--chunks", "4096,8192,16384", "--force"]);
            println!("seed {seed}, round {round}");
            assert_same(&root, &repository);
        }
        // What came step by step is what comes at once.
        let at_once = Published::new(&[]);
        at_once.publish(&[text(&root), "--chunks", "4096,8192,16384"]);
        assert_eq!(at_once.check()["total"], repository.check()["total"], "seed {seed}");
    }
}

#[test]
fn deep_trees_and_large_directories() {
    let repository = Published::new(&[]);
    let root = repository.dir.path().join("tree");
    let mut deep = root.clone();
    for depth in 0..100 {
        deep.push(format!("d{depth}"));
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("leaf"), b"leaf").unwrap();
    let large = root.join("large");
    fs::create_dir(&large).unwrap();
    for number in 0..5_000 {
        symlink("x", large.join(format!("link{number:06}"))).unwrap();
    }
    repository.publish(&[text(&root)]);
    assert_same(&root, &repository);
}

#[test]
#[ignore = "takes minutes: part of ci/full"]
fn soak_a_huge_sparse_file_and_a_directory_of_a_hundred_thousand_entries() {
    use std::io::{Seek as _, SeekFrom, Write as _};
    let repository = Published::new(&[]);
    let root = repository.dir.path().join("tree");
    let large = root.join("large");
    fs::create_dir_all(&large).unwrap();
    for number in 0..100_000 {
        fs::write(large.join(format!("file{number:06}")), format!("{}", number % 1000)).unwrap();
    }
    let mut sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(3 << 30).unwrap();
    for offset in [0, 1 << 30, (3 << 30) - 5] {
        sparse.seek(SeekFrom::Start(offset)).unwrap();
        sparse.write_all(b"there").unwrap();
    }
    let told = repository.publish(&[text(&root)]);
    assert_eq!(told["summary"]["files_read"], 100_001, "{told}");
    let total = repository.check()["total"].clone();
    assert_eq!((&total["regular"], &total["chunked"]), (&100_001.into(), &1.into()));
    let mount = repository.mount().client();
    assert_eq!(mount.list("/large").unwrap().len(), 100_000);
    assert_eq!(mount.read("/large/file054321").unwrap(), b"321");
    let read = |offset: u64| {
        let mut file = mount.node("/sparse").unwrap().open().unwrap();
        file.seek(SeekFrom::Start(offset)).unwrap();
        let mut bytes = [1; 5];
        std::io::Read::read_exact(&mut file, &mut bytes).unwrap();
        bytes
    };
    assert_eq!([read(0), read(1 << 30), read((3 << 30) - 5), read(2 << 30)], [*b"there", *b"there", *b"there", [0; 5]]);
}
