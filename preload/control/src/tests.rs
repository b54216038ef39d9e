//! Both sides of a page.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use super::*;
use crate::read::Catalog;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};

const SESSION: Session<'_> = Session {
    cookie: 0x1234_5678_9abc_def0,
    mount_dir: b"/cvmfs",
    view_prefix: path_of("/home/u/.cache/cvmfs/view"),
    view_device: 77,
    preload: b"/lib/shim.so",
    flags: Flags::VIEW_FILES_ARE_READ_ONLY,
};

const fn path_of(text: &str) -> &Path {
    // SAFETY: on Unix a path is its bytes.
    unsafe { &*(text as *const str as *const Path) }
}

fn snapshot<'a>(fqrn: &'a [u8], view_key: &'a [u8]) -> NewSnapshot<'a> {
    let presentation =
        Presentation::Simple { owner: Owner::AsCatalog, world_readable: false, lists_computed: false, variables: &[] };
    NewSnapshot { fqrn, view_key, device: 5, presentation }
}

fn catalog(snapshot: SnapshotId, above: Option<(CatalogId, u32)>, mount: &[u8]) -> NewCatalog<'_> {
    let root_hash = PathHasher::new(99);
    NewCatalog { snapshot, above, mount, salt: 3, root_hash, file: Path::new("/cache/index"), length: 4096 }
}

/// The page as another process maps it.
fn mapped(path: &Path) -> Control<'static> {
    let file = File::open(path).unwrap();
    assert_eq!(file.metadata().unwrap().len(), Page::LEN as u64);
    // SAFETY: a new mapping, never unmapped, of a file that only a writer changes.
    unsafe {
        let address =
            rustix::mm::mmap(std::ptr::null_mut(), Page::LEN, ProtFlags::READ, MapFlags::SHARED, &file, 0).unwrap();
        Control::at(address.cast(), Page::LEN).unwrap()
    }
}

#[test]
fn another_process_reads_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control");
    let mut writer = Writer::create(&path, &SESSION).unwrap();
    let control = mapped(&path);
    assert_eq!(control.cookie(), SESSION.cookie);
    assert_eq!(control.mount_dir(), b"/cvmfs");
    assert_eq!(control.view_prefix(), b"/home/u/.cache/cvmfs/view");
    assert_eq!(control.view_device(), 77);
    assert!(control.flags().contains(Flags::VIEW_FILES_ARE_READ_ONLY));
    assert_eq!(control.preload_entry(), b"LD_PRELOAD=/lib/shim.so");
    let entry = control.control_entry().strip_prefix(b"CVMFS_RUN_CONTROL=").unwrap();
    assert_eq!(session::parse(entry), Some((SESSION.cookie, path.as_os_str().as_bytes())));
    assert!(control.newest(b"a.example").is_none());

    let variables: &[(&[u8], &[u8])] = &[(b"A", b"alpha"), (b"LONG", &[b'x'; 300]), (b"EMPTY", b"")];
    let presentation =
        Presentation::Simple { owner: Owner::Claimed(7, 8), world_readable: true, lists_computed: false, variables };
    let id = writer.add_snapshot(&NewSnapshot { presentation, ..snapshot(b"a.example", b"00aa") }).unwrap();
    let root = writer.add_catalog(&catalog(id, None, b"")).unwrap();
    let nested = writer.add_catalog(&catalog(id, Some((root, 17)), b"/n/m")).unwrap();
    let deeper = writer.add_catalog(&catalog(id, Some((nested, 17)), b"/n/m/deeper")).unwrap();

    let found = control.newest(b"a.example").unwrap();
    assert_eq!((found.fqrn(), found.view_key(), found.device()), (b"a.example".as_slice(), b"00aa".as_slice(), 5));
    assert_eq!(found.claimed_by(), Some((7, 8)));
    assert!(found.is_world_readable() && !found.is_too_complex());
    assert_eq!(found.variable(b"A"), Some(b"alpha".as_slice()));
    assert_eq!(found.variable(b"LONG").map(<[u8]>::len), Some(300));
    assert_eq!(found.variable(b"EMPTY"), Some(b"".as_slice()));
    assert_eq!(found.variable(b"NO"), None);
    let top = found.root().unwrap();
    assert!(top.above().is_none() && top.below(16).is_none());
    let below = top.below(17).unwrap();
    assert_eq!((below.mount(), below.salt(), below.length()), (b"/n/m".as_slice(), 3, 4096));
    assert_eq!(below.file(), b"/cache/index");
    assert_eq!(below.snapshot().unwrap().number(), 0);
    assert_eq!(below.above().map(|(above, entry)| (above.number(), entry)), Some((top.number(), 17)));
    assert_eq!(below.below(17).map(Catalog::number), Some(deeper.0));
    let hash = PathHasher::new(99).child(b"n").child(b"m");
    assert!(top.may_have_mount(hash) && !below.may_have_mount(hash));
    assert!(below.may_have_mount(PathHasher::new(99).child(b"deeper")));
    assert!(control.by_view_key(b"00aa").is_some() && control.by_view_key(b"00ab").is_none());
}

#[test]
fn a_newer_revision_takes_the_name_but_not_the_view() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(&dir.path().join("control"), &SESSION).unwrap();
    let old = writer.add_snapshot(&snapshot(b"a.example", b"old")).unwrap();
    writer.add_snapshot(&snapshot(b"b.example", b"other")).unwrap();
    assert_eq!(writer.control().unwrap().newest(b"a.example").unwrap().view_key(), b"old");
    writer.add_snapshot(&snapshot(b"a.example", b"new")).unwrap();
    writer.supersede(old);
    let control = writer.control().unwrap();
    assert_eq!(control.newest(b"a.example").unwrap().view_key(), b"new");
    assert!(control.by_view_key(b"old").unwrap().is_superseded());
    assert_eq!(control.newest(b"b.example").unwrap().view_key(), b"other");
    let new = writer.add_snapshot(&snapshot(b"a.example", b"new")).unwrap();
    assert_eq!(writer.add_snapshot(&snapshot(b"a.example", b"old")).unwrap(), old, "a step back");
    writer.supersede(new);
    assert_eq!(writer.control().unwrap().newest(b"a.example").unwrap().view_key(), b"old");
}

#[test]
fn telling_twice_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(&dir.path().join("control"), &SESSION).unwrap();
    let id = writer.add_snapshot(&snapshot(b"a.example", b"k")).unwrap();
    let root = writer.add_catalog(&catalog(id, None, b"")).unwrap();
    let nested = writer.add_catalog(&catalog(id, Some((root, 1)), b"/n")).unwrap();
    assert_eq!(writer.add_catalog(&catalog(id, None, b"")).unwrap(), root);
    assert_eq!(writer.add_catalog(&catalog(id, Some((root, 1)), b"/n")).unwrap(), nested);
    assert_eq!(writer.control().unwrap().catalog_count(), 2);
    let unknown = writer.add_catalog(&catalog(SnapshotId(9), None, b""));
    assert!(matches!(unknown, Err(ControlError::Unknown)));
}

#[test]
fn what_is_too_complex_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(&dir.path().join("control"), &SESSION).unwrap();
    let complex = NewSnapshot { presentation: Presentation::TooComplex, ..snapshot(b"a", b"a") };
    writer.add_snapshot(&complex).unwrap();
    let value = vec![b'x'; 40_000];
    let variables: &[(&[u8], &[u8])] = &[(b"A", &value), (b"B", &value)];
    let presentation =
        Presentation::Simple { owner: Owner::AsCatalog, world_readable: false, lists_computed: false, variables };
    writer.add_snapshot(&NewSnapshot { presentation, ..snapshot(b"b", b"b") }).unwrap();
    assert!(writer.control().unwrap().snapshots().all(Snapshot::is_too_complex));
}

#[test]
fn full_pages_stay_sound() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(&dir.path().join("control"), &SESSION).unwrap();
    let id = writer.add_snapshot(&snapshot(b"a.example", b"k")).unwrap();
    for number in 1..SNAPSHOTS {
        writer.add_snapshot(&snapshot(b"b.example", format!("k{number}").as_bytes())).unwrap();
    }
    assert!(matches!(writer.add_snapshot(&snapshot(b"c", b"c")), Err(ControlError::Full(_))));
    let root = writer.add_catalog(&catalog(id, None, b"")).unwrap();
    for entry in 1..CATALOGS as u32 {
        writer.add_catalog(&catalog(id, Some((root, entry)), b"/n")).unwrap();
    }
    assert!(matches!(writer.add_catalog(&catalog(id, Some((root, 0)), b"/n")), Err(ControlError::Full(_))));
    let control = writer.control().unwrap();
    let root = control.newest(b"a.example").unwrap().root().unwrap();
    for entry in 1..CATALOGS as u32 {
        assert_eq!(root.below(entry).unwrap().number(), entry);
    }
    assert!(root.below(0).is_none());
}

#[test]
fn other_files_are_not_taken_for_pages() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control");
    let mut writer = Writer::create(&path, &SESSION).unwrap();
    assert!(Writer::create(&path, &SESSION).is_err(), "an existing file is not taken over");
    writer.page().version.store(VERSION + 1, Relaxed);
    assert!(writer.control().is_none());
    assert!(writer.add_snapshot(&snapshot(b"a", b"a")).is_ok());
    // SAFETY: the length is wrong, so nothing is read.
    assert!(unsafe { Control::at(writer.page.as_ptr().cast(), Page::LEN - 1) }.is_none());
}

/// A reader never sees a slot that is half written, whenever it looks.
#[test]
fn readers_see_whole_slots_while_they_are_added() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control");
    let mut writer = Writer::create(&path, &SESSION).unwrap();
    let control = mapped(&path);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut seen = 0;
                while !over.load(Ordering::Acquire) || seen < 4000 {
                    for snapshot in control.snapshots() {
                        assert_eq!(snapshot.fqrn(), format!("r{}.example", snapshot.number()).as_bytes());
                        let Some(root) = snapshot.root() else { continue };
                        assert_eq!(root.snapshot().unwrap().number(), snapshot.number());
                        for entry in 0..40 {
                            let Some(found) = root.below(entry) else { continue };
                            assert_eq!(found.mount(), format!("/n{entry}").as_bytes());
                            assert_eq!(found.above().unwrap().0.number(), root.number());
                            assert_eq!(found.length(), 4096);
                        }
                    }
                    seen = control.catalog_count();
                }
            });
        }
        for number in 0..100 {
            let name = format!("r{number}.example");
            let id = writer.add_snapshot(&snapshot(name.as_bytes(), name.as_bytes())).unwrap();
            let root = writer.add_catalog(&catalog(id, None, b"")).unwrap();
            for entry in 0..40 {
                let mount = format!("/n{entry}");
                writer.add_catalog(&catalog(id, Some((root, entry)), mount.as_bytes())).unwrap();
            }
        }
        over.store(true, Ordering::Release);
    });
}

#[test]
fn only_pages_without_a_writer_are_stale() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control");
    let writer = Writer::create(&path, &SESSION).unwrap();
    remove_stale(&path);
    assert!(path.exists());
    drop(writer);
    remove_stale(&path);
    assert!(!path.exists());
}
