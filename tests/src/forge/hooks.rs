use super::Forge;
use libcvmfs::object::ObjectKind;
use std::sync::Arc;

/// When a hook sees the bytes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before compression: a change gives a consistent object with another content.
    Plain,
    /// After compression, before hashing: the object keeps a right name and a wrong inside.
    Stored,
    /// After hashing: what is written under the name; the bytes no longer match it. `None` writes nothing.
    Written,
}

/// Which object a hook sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// What it is.
    pub kind: ObjectKind,
    /// The path of the file, the mount point of the catalog (empty: root), or empty.
    pub path: String,
    /// Offset of a chunk in its file.
    pub offset: u64,
}

impl ObjectInfo {
    pub(super) fn new(kind: ObjectKind, path: &[u8], offset: u64) -> ObjectInfo {
        ObjectInfo { kind, path: String::from_utf8_lossy(path).into_owned(), offset }
    }
}

type OnCatalog = dyn Fn(&rusqlite::Connection) + Send + Sync;
type OnObject = dyn Fn(&ObjectInfo, Vec<u8>) -> Option<Vec<u8>> + Send + Sync;
type OnText = dyn Fn(String) -> String + Send + Sync;
type OnBytes = dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync;

/// What is done to the parts of a repository before they are sealed, and after.
#[derive(Clone, Default)]
pub(super) struct Hooks {
    pub(super) catalog: Vec<(String, Arc<OnCatalog>)>,
    pub(super) history: Vec<Arc<OnCatalog>>,
    pub(super) object: Vec<(Stage, Arc<OnObject>)>,
    pub(super) manifest_text: Vec<Arc<OnText>>,
    pub(super) manifest_bytes: Vec<Arc<OnBytes>>,
    pub(super) whitelist_text: Vec<Arc<OnText>>,
    pub(super) whitelist_bytes: Vec<Arc<OnBytes>>,
}

impl Hooks {
    pub(super) fn pass(&self, stage: Stage, info: &ObjectInfo, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let mut hooks = self.object.iter().filter(|(at, _)| *at == stage);
        hooks.try_fold(bytes, |bytes, (_, hook)| hook(info, bytes))
    }
}

/// Ways to make a repository wrong. Several hooks of a kind run in the order in which they were given.
impl Forge {
    /// Changes the database of the catalog mounted at `mountpoint` (empty: the root catalog) before it is sealed.
    pub fn on_catalog(
        mut self,
        mountpoint: &str,
        change: impl Fn(&rusqlite::Connection) + Send + Sync + 'static,
    ) -> Forge {
        self.hooks.catalog.push((mountpoint.trim_end_matches('/').to_owned(), Arc::new(change)));
        self
    }

    /// Runs SQL statements on the catalog mounted at `mountpoint` before it is sealed.
    pub fn catalog_sql(self, mountpoint: &str, statements: &str) -> Forge {
        let statements = statements.to_owned();
        self.on_catalog(mountpoint, move |db| db.execute_batch(&statements).expect("the statements of the test"))
    }

    /// Changes the history database before it is sealed.
    pub fn on_history(mut self, change: impl Fn(&rusqlite::Connection) + Send + Sync + 'static) -> Forge {
        self.hooks.history.push(Arc::new(change));
        self
    }

    /// Changes the bytes of any object at one stage of its making.
    pub fn on_object(
        mut self,
        stage: Stage,
        change: impl Fn(&ObjectInfo, Vec<u8>) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Forge {
        self.hooks.object.push((stage, Arc::new(change)));
        self
    }

    /// Changes the bytes of the objects of this kind and path only.
    pub fn on_object_of(
        self,
        stage: Stage,
        kind: ObjectKind,
        path: &str,
        change: impl Fn(Vec<u8>) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Forge {
        let path = path.trim_end_matches('/').to_owned();
        let matching = move |info: &ObjectInfo| info.kind == kind && info.path == path;
        self.on_object(stage, move |info, bytes| if matching(info) { change(bytes) } else { Some(bytes) })
    }

    /// Changes the text of the manifest before it is signed.
    pub fn on_manifest_text(mut self, change: impl Fn(String) -> String + Send + Sync + 'static) -> Forge {
        self.hooks.manifest_text.push(Arc::new(change));
        self
    }

    /// Changes the whole manifest after it was signed.
    pub fn on_manifest(mut self, change: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> Forge {
        self.hooks.manifest_bytes.push(Arc::new(change));
        self
    }

    /// Changes the text of the whitelist before it is signed.
    pub fn on_whitelist_text(mut self, change: impl Fn(String) -> String + Send + Sync + 'static) -> Forge {
        self.hooks.whitelist_text.push(Arc::new(change));
        self
    }

    /// Changes the whole whitelist after it was signed.
    pub fn on_whitelist(mut self, change: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> Forge {
        self.hooks.whitelist_bytes.push(Arc::new(change));
        self
    }
}

/// Lets hooks change a database that is finished.
pub(super) fn change<'h>(file: &std::path::Path, hooks: impl Iterator<Item = &'h Arc<OnCatalog>>) {
    let mut hooks = hooks.peekable();
    if hooks.peek().is_some() {
        let db = rusqlite::Connection::open(file).expect("the database just written");
        db.execute_batch("PRAGMA synchronous = OFF").expect("a setting");
        hooks.for_each(|hook| hook(&db));
    }
}
