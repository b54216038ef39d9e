//! What a client asks a server for: exactly what was touched, once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cvmfs_tests::forge::{Forge, Published};
use cvmfs_tests::mount::{Mount, assert_clean};
use cvmfs_tests::server::WebRoot;
use libcvmfs::cache::Key;
use libcvmfs::hash::ContentHash;
use libcvmfs::object::{ObjectKind, ObjectName};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const FQRN: &str = "cold.test.example";

struct Stage {
    published: Published,
    server: WebRoot,
    mount: Mount,
    _web_root: TempDir,
}

fn stage() -> Stage {
    let web_root = tempfile::tempdir().unwrap();
    let published = Forge::new(FQRN)
        .file("/top.txt", "top")
        .file("/twin.txt", "top")
        .symlink("/to_one", "a/one")
        .nested("/a")
        .file("/a/one", "one")
        .file("/a/two", "two")
        .nested("/a/deep")
        .file("/a/deep/three", "three")
        .nested("/b")
        .file("/b/four", "four")
        .file("/b/large", [7; 2500])
        .chunks_of(1000)
        .tag("v1")
        .meta_info("{}")
        .publish(web_root.path());
    let server = WebRoot::serve(FQRN, web_root.path());
    let mount = Mount::over(&published.repository(), &[&server]);
    Stage { published, server, mount, _web_root: web_root }
}

impl Stage {
    /// The paths asked for since the last call, sorted, without the repository's prefix.
    fn asked(&self) -> Vec<String> {
        let prefix = format!("/cvmfs/{FQRN}");
        let mut paths = self.server.paths();
        self.server.forget_requests();
        paths.sort();
        paths.into_iter().map(|path| path.strip_prefix(&prefix).unwrap_or(&path).to_owned()).collect()
    }

    fn catalog(&self, mountpoint: &str) -> String {
        ObjectName::new(self.published.catalogs[mountpoint].0, ObjectKind::Catalog).path()
    }

    fn content(&self, path: &str) -> Vec<String> {
        self.published.objects[path].iter().map(ObjectName::path).collect()
    }

    fn letters(&self) -> Vec<String> {
        [".cvmfspublished", ".cvmfswhitelist"].map(|name| format!("/{name}")).to_vec()
    }
}

fn sorted(parts: &[Vec<String>]) -> Vec<String> {
    let mut all = parts.concat();
    all.sort();
    all
}

const NOTHING: Vec<String> = Vec::new();

#[test]
fn exactly_what_is_touched_is_asked_for_and_nothing_twice() {
    let stage = stage();
    let certificate = ObjectName::new(stage.published.certificate, ObjectKind::Certificate).path();

    let mounted = stage.mount.client();
    assert_eq!(stage.asked(), NOTHING, "a client that nobody asks anything");
    mounted.repository().unwrap();
    assert_eq!(stage.asked(), sorted(&[stage.letters(), vec![certificate, stage.catalog("")]]));

    assert_eq!(mounted.list("").unwrap().len(), 5);
    assert!(mounted.node("/a").unwrap().attributes().nlink > 0);
    assert_eq!(mounted.link("/to_one").unwrap().read_link().unwrap(), b"a/one");
    assert_eq!(mounted.node("/nothing").unwrap_err().errno(), libc::ENOENT);
    assert_eq!(stage.asked(), NOTHING, "the root catalog knows all this");

    assert_eq!(mounted.node("/to_one").unwrap().path(), format!("/cvmfs/{FQRN}/a/one").into_bytes());
    assert_eq!(stage.asked(), [stage.catalog("/a")]);
    assert_eq!(mounted.list("/a").unwrap().len(), 3);
    assert_eq!(mounted.node("/a/none").unwrap_err().errno(), libc::ENOENT);
    assert_eq!(stage.asked(), NOTHING);
    assert_eq!(mounted.node("/a/deep/three").unwrap().attributes().size, 5);
    assert_eq!(stage.asked(), [stage.catalog("/a/deep")]);

    assert_eq!(mounted.read("/a/one").unwrap(), b"one");
    assert_eq!(stage.asked(), stage.content("/a/one"));
    assert_eq!(mounted.read("/top.txt").unwrap(), mounted.read("/twin.txt").unwrap());
    assert_eq!(stage.asked(), stage.content("/top.txt"), "the same content is one object");
    assert_eq!(mounted.read("/b/large").unwrap(), [7; 2500]);
    let mut expected = sorted(&[stage.content("/b/large"), vec![stage.catalog("/b")]]);
    expected.dedup();
    assert_eq!(stage.asked(), expected, "the first two chunks are one object, too");

    for path in ["/a/one", "/top.txt", "/b/large"] {
        mounted.read(path).unwrap();
    }
    assert_eq!(stage.asked(), NOTHING, "all of this is in the cache");
    assert_clean(mounted.repository().unwrap().cache());

    // Another process on the same cache asks for nothing but what may have changed.
    let other = stage.mount.client();
    assert_eq!(other.read("/a/one").unwrap(), b"one");
    assert_eq!(other.read("/b/large").unwrap(), [7; 2500]);
    assert_eq!(other.node("/a/deep/three").unwrap().attributes().size, 5);
    assert_eq!(stage.asked(), stage.letters());
    assert_eq!(other.read("/a/deep/three").unwrap(), b"three");
    assert_eq!(stage.asked(), stage.content("/a/deep/three"));
}

#[test]
fn threads_of_one_client_share_every_download() {
    let stage = stage();
    stage.server.set_delay(std::time::Duration::from_millis(20));
    let mounted = stage.mount.client();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                assert_eq!(mounted.read("/a/one").unwrap(), b"one");
                assert_eq!(mounted.read("/b/four").unwrap(), b"four");
                assert_eq!(mounted.read("/a/deep/three").unwrap(), b"three");
            });
        }
    });
    let asked = stage.asked();
    let mut distinct = asked.clone();
    distinct.dedup();
    assert_eq!(asked, distinct, "nothing twice");
    assert_eq!(asked.len(), 2 + 1 + 4 + 3);
}

/// Files of the cache named by these hashes.
fn cached(cache: &Path, hash: ContentHash) -> [PathBuf; 2] {
    let hex = hash.to_string();
    let name = format!("{}/{}", &hex[..2], &hex[2..]);
    [cache.join(&name), cache.join("local/indexes").join(&name)]
}

#[test]
fn lookups_need_no_sqlite_once_there_are_indexes() {
    let stage = stage();
    let first = stage.mount.client();
    let everything = |mounted: &cvmfs_tests::mount::Mounted| {
        assert_eq!(mounted.list("").unwrap().len(), 5);
        assert_eq!(mounted.node("/a/deep/three").unwrap().attributes().size, 5);
        assert_eq!(mounted.node("/b/large").unwrap().attributes().size, 2500);
        assert_eq!(mounted.read("/top.txt").unwrap(), b"top");
        assert_eq!(mounted.node("/a/none").unwrap_err().errno(), libc::ENOENT);
    };
    everything(&first);
    let cache = first.repository().unwrap().cache().settings().directory.clone();
    for (hash, _) in stage.published.catalogs.values() {
        let [object, index] = cached(&cache, *hash);
        assert!(index.is_file());
        std::fs::remove_file(object).unwrap();
    }
    stage.server.stop();
    everything(&stage.mount.client());

    // That was the indexes' work: without one of them and without a server there is no way.
    let [_, index] = cached(&cache, stage.published.catalogs["/b"].0);
    std::fs::remove_file(index).unwrap();
    let third = stage.mount.client();
    assert_eq!(third.node("/a/deep/three").unwrap().attributes().size, 5);
    assert_eq!(third.node("/b/large").unwrap_err().errno(), libc::EIO);
    let [_, index] = cached(&cache, stage.published.catalogs[""].0);
    std::fs::remove_file(index).unwrap();
    let error = stage.mount.client().node("/a/deep/three").unwrap_err();
    assert_eq!(error.errno(), libc::EIO);
    // The client that holds it mapped goes on.
    assert_eq!(first.node("/a/deep/three").unwrap().attributes().size, 5);
    stage.server.restart();
    everything(&stage.mount.client());
}

#[test]
fn a_damaged_index_or_catalog_in_the_cache_is_made_again() {
    let stage = stage();
    let first = stage.mount.client();
    assert_eq!(first.node("/a/one").unwrap().attributes().size, 3);
    let cache = first.repository().unwrap().cache().settings().directory.clone();
    let [object, index] = cached(&cache, stage.published.catalogs["/a"].0);
    drop(first);
    let overwrite = |file: &Path, at: usize| {
        let mut bytes = std::fs::read(file).unwrap();
        let end = bytes.len().min(at + 64);
        bytes[at..end].fill(0xa5);
        std::fs::remove_file(file).unwrap();
        std::fs::write(file, bytes).unwrap();
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o444)).unwrap();
    };
    stage.asked();
    let half = std::fs::metadata(&index).unwrap().len() as usize / 2;
    overwrite(&index, half);
    assert_eq!(stage.mount.client().node("/a/one").unwrap().attributes().size, 3);
    assert_eq!(stage.asked(), stage.letters(), "made again from the catalog in the cache");

    // The header of the database is gone as well: it is fetched again.
    overwrite(&index, half);
    overwrite(&object, 0);
    assert_eq!(stage.mount.client().node("/a/one").unwrap().attributes().size, 3);
    assert_eq!(stage.asked(), sorted(&[stage.letters(), vec![stage.catalog("/a")]]));
    let repository = stage.mount.client().repository().unwrap();
    assert!(repository.cache().find(&Key::Index(stage.published.catalogs["/a"].0), None).unwrap().is_some());
    assert_clean(repository.cache());
}
