//! A session without a supervisor: a control page, a view, and programs with the shim preloaded.
//!
//! What the shim gives up goes to the kernel, which knows no `/cvmfs`: every answer that a program gets is the shim's.
#![allow(dead_code, clippy::unwrap_used, reason = "shared by several tests, in which what cannot be done fails")]

use cvmfs_control::page::Flags;
use cvmfs_control::write::{NewCatalog, NewSnapshot, Owner, Presentation, Session as NewSession, SnapshotId, Writer};
use cvmfs_tests::fixtures::{self, Truth, truth};
use cvmfs_tests::mount::{Mount, Mounted};
pub(crate) use cvmfs_tests::tools::output;
use libcvmfs::cache::Key;
use libcvmfs::namespace::{FileKind, Node};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The repository with every kind of entry.
pub(crate) const FQRN: &str = "small.test.example";
/// Its path.
pub(crate) const SMALL: &str = "/cvmfs/small.test.example";
/// Any number: there is no filter.
const COOKIE: u64 = 0x1122_3344_5566_7788;

/// A session.
pub(crate) struct Session {
    /// Everything of the session lies here.
    pub(crate) home: TempDir,
    /// The client that fills it.
    pub(crate) mounted: Mounted,
    /// The page.
    pub(crate) writer: Writer,
    /// The snapshot on it.
    pub(crate) snapshot: SnapshotId,
    /// Directory of the view.
    pub(crate) view: PathBuf,
    /// Its directory for the snapshot.
    pub(crate) key: String,
    variable: OsString,
}

/// What is recorded about the repository.
pub(crate) fn records() -> BTreeMap<Vec<u8>, Truth> {
    truth(FQRN, None).map(|record| (record.path.clone(), record)).collect()
}

impl Session {
    /// A session in which every catalog is attached and every file was opened before.
    pub(crate) fn warm() -> Session {
        let mut session = Session::new(Presentation::Simple {
            owner: Owner::AsCatalog,
            world_readable: false,
            lists_computed: false,
            variables: &[(b"CVMFS_ANCHOR_VAR", b"anchor_value")],
        });
        for path in records().keys() {
            session.place(path);
        }
        session.attach();
        session
    }

    /// A session in which only the snapshot is known.
    pub(crate) fn new(presentation: Presentation<'_>) -> Session {
        assert!(!Path::new(SMALL).exists(), "the host must not know the repository");
        let home = tempfile::tempdir().unwrap();
        let mount = Mount::of(&fixtures::repository(FQRN)).environment("CVMFS_ANCHOR_VAR", "anchor_value");
        let mounted = mount.client();
        let repository = mounted.repository().unwrap();
        let view = home.path().canonicalize().unwrap().join("view");
        fs::create_dir(&view).unwrap();
        let control = home.path().join("control");
        let session = NewSession {
            cookie: COOKIE,
            mount_dir: b"/cvmfs",
            view_prefix: &view,
            view_device: fs::metadata(&view).unwrap().dev(),
            preload: b"",
            flags: Flags::VIEW_FILES_ARE_READ_ONLY,
        };
        let mut writer = Writer::create(&control, &session).unwrap();
        let key = repository.snapshot().identity().root_hash.to_string();
        let device = repository.snapshot().dev();
        let new = NewSnapshot { fqrn: FQRN.as_bytes(), view_key: key.as_bytes(), device, presentation };
        let snapshot = writer.add_snapshot(&new).unwrap();
        let variable = cvmfs_control::session::value(COOKIE, &control);
        Session { home, mounted, writer, snapshot, view, key, variable }
    }

    /// Tells of all catalogs that the client has attached.
    pub(crate) fn attach(&mut self) {
        let repository = self.mounted.repository().unwrap();
        let indexes = repository.cache().workspace().unwrap().join("indexes");
        let mut ids = Vec::new();
        for catalog in repository.snapshot().attached() {
            let file = indexes.join(Key::Index(catalog.reference.hash).file_name());
            let new = NewCatalog {
                snapshot: self.snapshot,
                above: catalog.above.map(|(above, entry)| (ids[above], entry)),
                mount: &catalog.reference.mount,
                salt: catalog.salt,
                root_hash: catalog.root_hash,
                file: &file,
                length: catalog.index_len,
            };
            ids.push(self.writer.add_catalog(&new).unwrap());
        }
    }

    /// The real name of a path in the repository.
    pub(crate) fn name(&self, path: &[u8]) -> PathBuf {
        let path = [SMALL.as_bytes(), path].concat();
        self.view.join(&self.key).join(OsStr::from_bytes(&path[1..]))
    }

    /// Makes the real name of a path, as a supervisor does when it is opened.
    pub(crate) fn place(&self, path: &[u8]) {
        let node = self.mounted.link(path).unwrap();
        self.place_node(&node, &self.name(path));
    }

    fn place_node(&self, node: &Node, name: &Path) {
        DirBuilder::new().recursive(true).mode(0o700).create(name.parent().unwrap()).unwrap();
        match node.kind() {
            FileKind::Directory => DirBuilder::new().recursive(true).mode(0o700).create(name).unwrap(),
            FileKind::Regular => {
                let object = node.open().unwrap();
                object.set_permissions(fs::Permissions::from_mode(0o555)).unwrap();
                let link = format!("/proc/self/fd/{}", object.as_raw_fd());
                fs::hard_link(fs::read_link(link).unwrap(), name).unwrap();
            }
            FileKind::Symlink => {
                std::os::unix::fs::symlink(OsStr::from_bytes(&node.read_link().unwrap()), name).unwrap();
            }
            _ => {}
        }
    }

    /// A program in the session.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("LD_PRELOAD", env!("CVMFS_SHIM_LIBRARY")).env("CVMFS_RUN_CONTROL", &self.variable).current_dir("/");
        command
    }

    /// Compiles a program of `programs/`; `None` where the compiler is missing.
    pub(crate) fn compile(&self, compiler: &str, name: &str) -> Option<PathBuf> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name);
        let program = self.home.path().join(format!("{name}-{compiler}"));
        cvmfs_tests::tools::compile(compiler, &[], &[source], &program).then_some(program)
    }
}
