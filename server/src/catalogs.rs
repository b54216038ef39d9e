//! The catalogs of revisions, from the root catalogs downwards: what checks, garbage collection and mirrors go through.

use anyhow::{Context as _, Result, anyhow};
use libcvmfs::catalog::{
    self, BuildReport, Digest, EntryKind, Index, Nested, NestedKind, SqliteCatalog, Statistics, build_index,
};
use libcvmfs::hash::ContentHash;
use libcvmfs::object::decode::Expected;
use libcvmfs::object::{Compression, ObjectKind, ObjectName};
use std::collections::HashSet;
use std::path::Path;

/// A place in the tree of catalogs that waits for its turn.
#[derive(Debug, Clone)]
pub struct Mounted {
    /// The catalog.
    pub hash: ContentHash,
    /// Where it is mounted: empty for the root, else an absolute path in the repository.
    pub path: Vec<u8>,
    /// Its plain size in bytes, if whoever mounts it says so.
    pub size: Option<u64>,
}

impl Mounted {
    /// A root catalog.
    pub fn root(hash: ContentHash, size: Option<u64>) -> Mounted {
        Mounted { hash, path: Vec::new(), size }
    }

    /// The object.
    pub fn name(&self) -> ObjectName {
        ObjectName::new(self.hash, ObjectKind::Catalog)
    }

    /// The path for messages.
    pub fn shown(&self) -> String {
        if self.path.is_empty() { "/".to_owned() } else { self.path.escape_ascii().to_string() }
    }
}

/// A catalog that was read.
pub struct Catalog {
    image: Vec<u8>,
    digest: Digest,
    /// What was wrong with its rows.
    pub report: BuildReport,
    /// Its plain size in bytes.
    pub size: u64,
    /// Revision of its schema; later ones have more counters.
    pub schema_revision: u32,
    /// The catalog it replaced.
    pub previous: Option<ContentHash>,
    /// When it was written, in seconds since 1970.
    pub modified: i64,
}

impl Catalog {
    /// Reads the plain file of a catalog, whose hash was checked.
    pub fn read(file: &Path, hash: &ContentHash) -> Result<Catalog> {
        let sqlite = SqliteCatalog::open(file)?;
        let (image, report) = build_index(&sqlite, hash)?;
        let size = std::fs::metadata(file).with_context(|| file.display().to_string())?.len();
        Ok(Catalog {
            image,
            digest: catalog::digest(hash),
            report,
            size,
            schema_revision: sqlite.schema().1,
            previous: sqlite.previous_revision(),
            modified: sqlite.last_modified(),
        })
    }

    /// Its entries.
    pub fn index(&self) -> Result<Index<'_>> {
        Index::open(&self.image, &self.digest).map_err(|error| anyhow!("catalog: {error:?}"))
    }

    /// What its publisher counted.
    pub fn statistics(&self) -> Result<Statistics> {
        Ok(Statistics::of(&self.index()?))
    }
}

/// The catalogs mounted in this one that are parts of the same tree.
pub fn nested<'a>(index: &Index<'a>) -> impl Iterator<Item = Nested<'a>> + use<'a> {
    index.all_nested().filter(|nested| nested.kind() == NestedKind::Nested)
}

/// What is mounted at `nested`; `None` if its hash is not known.
pub fn mounted(nested: &Nested<'_>) -> Option<Mounted> {
    let digest = nested.catalog()?;
    Some(Mounted { hash: catalog::content_hash(digest), path: nested.path().to_vec(), size: nested.size() })
}

/// Every object that the files of a catalog consist of, with repetitions. Files whose row is damaged have none.
pub fn objects<'a>(index: &Index<'a>) -> impl Iterator<Item = (u32, Expected)> + use<'a> {
    index.entries().filter(|entry| entry.kind() == EntryKind::Regular && !entry.is_external()).flat_map(|entry| {
        let compression = catalog::compression(&entry).filter(|_| entry.damage().is_none());
        let object = move |digest, kind, size| {
            let name = ObjectName::new(catalog::content_hash(digest), kind);
            compression.map(|compression: Compression| (entry.number(), Expected::sized(name, compression, size)))
        };
        let whole = entry.content().and_then(|digest| object(digest, ObjectKind::File, entry.size()));
        let chunks = entry.chunks();
        let chunks = chunks.iter().filter_map(move |c| object(c.digest, ObjectKind::Partial, c.size));
        whole.into_iter().chain(chunks).collect::<Vec<_>>()
    })
}

/// Fewer bytes than any zlib stream has.
const LEAST_ZLIB: u64 = 8;

/// Whether an object may have `size` stored bytes, as far as can be told without reading it.
pub fn is_plausible(expected: &Expected, size: u64) -> bool {
    match expected.compression {
        Compression::None => expected.plain_size.is_none_or(|plain| plain == size),
        Compression::Zlib => (LEAST_ZLIB..=expected.stored_limit).contains(&size),
    }
}

/// A set of objects that remembers 8 bytes of each. Of 10^9 objects two are taken for the same once in 37 times.
#[derive(Debug, Default)]
pub struct Marks(HashSet<u64>);

impl Marks {
    fn key(name: &ObjectName) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = name.hash.digest;
        // Objects of different kinds are different objects, though their hash be the same.
        u64::from_le_bytes([a, b, c, d, e, f, g, h]) ^ (name.kind as u64) << 56 ^ (name.hash.algorithm as u64) << 48
    }

    /// Adds an object; false if it is there already.
    pub fn add(&mut self, name: &ObjectName) -> bool {
        self.0.insert(Self::key(name))
    }

    /// Whether it is there.
    pub fn contains(&self, name: &ObjectName) -> bool {
        self.0.contains(&Self::key(name))
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
