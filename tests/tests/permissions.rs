//! Permission bits, for callers that are not root.

use cvmfs_tests::forge::Forge;
use libcvmfs::client::{Client, ClientSettings};
use libcvmfs::fqrn::Fqrn;
use libcvmfs::namespace::{Caller, LastLink, Mounts, Namespace, Presentation};
use libcvmfs::snapshot::Snapshot;
use std::sync::Arc;

struct One(Arc<Snapshot>);

impl Mounts for One {
    fn mount(&self, name: &str) -> Result<Option<Arc<Snapshot>>, libcvmfs::Error> {
        Ok((name == self.0.fqrn().as_str()).then(|| self.0.clone()))
    }

    fn known(&self) -> Vec<Fqrn> {
        vec![self.0.fqrn().clone()]
    }
}

#[test]
fn a_checked_caller_gets_what_the_bits_allow() {
    let (web_root, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let published = Forge::new("a.example.org")
        .file("/open/private", "x")
        .mode(0o600)
        .file("/open/group", "x")
        .mode(0o640)
        .owner(0, 77)
        .file("/closed/file", "x")
        .at("/closed")
        .mode(0o700)
        .file("/dark/file", "x")
        .at("/dark")
        .mode(0o711)
        .publish(web_root.path());
    let mut options = published.repository().options();
    options.push(("CVMFS_CACHE_BASE".into(), cache.path().display().to_string()));
    let settings = ClientSettings { options, config_roots: Some(Vec::new()), ..ClientSettings::default() };
    let mounted = Client::new(settings).unwrap().repository("a.example.org").unwrap().snapshot();
    let tree = |checked: Option<Caller>| {
        let presentation = Arc::new(Presentation { checked, ..Presentation::default() });
        let snapshot = Snapshot::open(mounted.identity().clone(), mounted.source().clone(), presentation).unwrap();
        Namespace::new(b"/cvmfs", Arc::new(One(Arc::new(snapshot))))
    };
    let opened = |tree: &Namespace, path: &str| {
        let path = format!("/cvmfs/a.example.org{path}");
        let plain =
            tree.resolve(path.as_bytes(), LastLink::Follow).and_then(|r| r.node()).and_then(|n| n.open().map(drop));
        // The long way must say the same as the short one.
        let dotted = path.replace("example.org/", "example.org/./");
        let walked =
            tree.resolve(dotted.as_bytes(), LastLink::Follow).and_then(|r| r.node()).and_then(|n| n.open().map(drop));
        assert_eq!(plain.as_ref().err().map(|e| e.errno()), walked.err().map(|e| e.errno()), "{path}");
        plain.map_err(|e| e.errno())
    };
    let user = tree(Some(Caller { uid: 1000, groups: vec![1000, 77] }));
    let denied = Err(libc::EACCES);
    assert_eq!(opened(&user, "/open/private"), denied);
    assert_eq!(opened(&user, "/open/group"), Ok(()));
    assert_eq!(opened(&user, "/closed/file"), denied);
    assert_eq!(opened(&user, "/dark/file"), Ok(()));
    let list = |tree: &Namespace| {
        tree.resolve(b"/cvmfs/a.example.org/dark", LastLink::Follow).unwrap().node().unwrap().list().map(|l| l.len())
    };
    assert_eq!(list(&user).unwrap_err().errno(), libc::EACCES);
    let unchecked = tree(None);
    for path in ["/open/private", "/open/group", "/closed/file", "/dark/file"] {
        assert_eq!(opened(&unchecked, path), Ok(()), "{path}");
    }
    assert_eq!(list(&unchecked).unwrap(), 1);
}
