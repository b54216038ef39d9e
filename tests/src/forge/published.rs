use super::store;
use crate::fixtures::RepositoryFixture;
use libcvmfs::hash::ContentHash;
use libcvmfs::object::ObjectName;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One revision as it was written.
#[derive(Debug, Clone)]
pub struct Published {
    /// The name of the repository.
    pub fqrn: String,
    /// The directory with `.cvmfspublished` in it.
    pub web_root: PathBuf,
    /// The file with the public master key.
    pub public_key: PathBuf,
    /// The revision.
    pub revision: u64,
    /// The time of publication, seconds since 1970.
    pub timestamp: u64,
    /// The root catalog.
    pub root_catalog: ContentHash,
    /// Size of the plain root catalog, bytes.
    pub root_size: u64,
    /// Hash and plain size of every catalog by mount point; the root catalog's is empty.
    pub catalogs: BTreeMap<String, (ContentHash, u64)>,
    /// The signing certificate.
    pub certificate: ContentHash,
    /// The history database, when there are tags.
    pub history: Option<ContentHash>,
    /// The meta information.
    pub meta_info: Option<ContentHash>,
    /// The objects of each regular file by path: one, or one per chunk.
    pub objects: BTreeMap<String, Vec<ObjectName>>,
    /// The signed manifest.
    pub manifest: Vec<u8>,
    /// The signed whitelist.
    pub whitelist: Vec<u8>,
}

impl Published {
    /// Writes manifest and whitelist of this revision again: after a later one was published a roll-back.
    pub fn put_manifest(&self) {
        store::replace(&self.web_root.join(".cvmfswhitelist"), &self.whitelist);
        store::replace(&self.web_root.join(".cvmfspublished"), &self.manifest);
    }

    /// Where an object lies on disk.
    pub fn object_file(&self, object: &ObjectName) -> PathBuf {
        self.web_root.join(&object.path()[1..])
    }

    /// The same thing as a fixture, with its mount parameters.
    pub fn repository(&self) -> RepositoryFixture {
        RepositoryFixture {
            web_root: self.web_root.clone(),
            fqrn: self.fqrn.clone(),
            public_key: self.public_key.clone(),
        }
    }
}
