//! A repository as its publisher sees it: a storage, keys, and what is published now.

use crate::keys::KeyFiles;
use crate::storage::{self, Body, Storage, object_path, read_small};
use anyhow::{Context as _, Result, anyhow, bail};
use libcvmfs::fqrn::Fqrn;
use libcvmfs::hash::{Algorithm, ContentHash};
use libcvmfs::history::History;
use libcvmfs::object::decode::{Decoder, Expected, Output};
use libcvmfs::object::encode::{Encoded, Encoder, Encoding};
use libcvmfs::object::{Compression, ObjectKind, ObjectName, ReceiveError, Receiver as _};
use libcvmfs::reflog::Reflog;
use libcvmfs::trust::{
    Blacklist, Certificate, LETTER_LIMIT, Manifest, VerifiedManifest, VerifiedWhitelist, Whitelist, unix_now,
};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// The manifest.
pub const MANIFEST: &str = ".cvmfspublished";
/// The whitelist.
pub const WHITELIST: &str = ".cvmfswhitelist";
/// The reflog.
pub const REFLOG: &str = ".cvmfsreflog";
/// What mirrors and checks say about themselves.
pub const STATUS: &str = ".cvmfs_status.json";
/// Allows Stratum 1 servers to copy the repository.
pub const MASTER_REPLICA: &str = ".cvmfs_master_replica";
/// Most plain bytes of a catalog or another database.
const DATABASE_LIMIT: u64 = 16 << 30;

/// A repository in a storage.
pub struct Repository {
    /// Its name.
    pub fqrn: Fqrn,
    /// Where it lies.
    pub storage: Arc<dyn Storage>,
    /// Its keys.
    pub keys: KeyFiles,
}

impl Repository {
    /// The repository `fqrn` at `place` (see [`storage::open`]).
    pub fn new(fqrn: Fqrn, place: &str, keys: KeyFiles) -> Result<Repository> {
        Ok(Repository { fqrn, storage: storage::open(place)?, keys })
    }

    /// A directory for scratch files of this process, removed when dropped. It holds catalogs while they are written: in
    /// `TMPDIR`, or wherever temporary files go.
    pub fn scratch(&self) -> Result<TempDir> {
        tempfile::Builder::new().prefix("cvmfs-server-").tempdir().context("a directory for temporary files")
    }

    /// The whitelist, if it is signed by the master key and still valid.
    pub fn whitelist(&self) -> Result<VerifiedWhitelist> {
        let bytes = self.pointer(WHITELIST)?.ok_or_else(|| self.absent())?;
        let verified = Whitelist::parse(&bytes)?.verify(&self.fqrn, &self.keys.public()?, unix_now());
        verified.map_err(|error| match error {
            libcvmfs::trust::TrustError::WhitelistExpired { .. } => {
                anyhow!(error).context("the whitelist has to be signed again: cvmfs-server resign")
            }
            error => error.into(),
        })
    }

    /// What is published now; the whole chain of trust is verified, as by a client.
    pub fn head(&self) -> Result<VerifiedManifest> {
        let bytes = self.pointer(MANIFEST)?.ok_or_else(|| self.absent())?;
        let manifest = Manifest::parse(&bytes)?;
        let certificate =
            Certificate::parse(&self.object_bytes(&manifest.certificate(), Compression::Zlib, LETTER_LIMIT as u64)?)?;
        let whitelist = self.whitelist()?;
        Ok(manifest.verify(&self.fqrn, &certificate, &whitelist, &Blacklist::default(), unix_now())?)
    }

    fn absent(&self) -> anyhow::Error {
        anyhow!("there is no repository in {}: make one with cvmfs-server mkfs", self.storage.describe())
    }

    fn pointer(&self, path: &str) -> Result<Option<Vec<u8>>> {
        Ok(read_small(&*self.storage, path, LETTER_LIMIT)?)
    }

    /// Writes the plain content of a zlib-compressed object to the new file `to`, verified.
    pub fn fetch(&self, name: &ObjectName, to: &Path) -> Result<()> {
        let file = File::create_new(to).with_context(|| to.display().to_string())?;
        let expected = Expected::bounded(*name, Compression::Zlib, DATABASE_LIMIT);
        self.receive(name, Decoder::new(expected, file))?;
        Ok(())
    }

    /// The plain content of a small object, verified; at most `limit` bytes.
    pub fn object_bytes(&self, name: &ObjectName, compression: Compression, limit: u64) -> Result<Vec<u8>> {
        let expected = Expected::bounded(*name, compression, limit);
        self.receive(name, Decoder::new(expected, Vec::new()))
    }

    /// Reads an object to its end and compares it with what is expected, without keeping it.
    pub fn examine(&self, expected: Expected) -> Result<()> {
        self.receive(&expected.name, Decoder::new(expected, io::sink())).map(drop)
    }

    fn receive<W: Output>(&self, name: &ObjectName, mut decoder: Decoder<'_, W>) -> Result<W> {
        let path = object_path(name);
        let mut sink = Sink { decoder: &mut decoder, refused: None };
        let found = self.storage.get(&path, &mut sink);
        if let Some(error) = sink.refused {
            return Err(error.into());
        }
        if !found? {
            bail!("object {name} is missing in {}", self.storage.describe());
        }
        decoder.complete()?;
        Ok(decoder.into_output()?)
    }

    /// Puts bytes as a zlib-compressed object.
    pub fn put(&self, kind: ObjectKind, plain: &[u8], algorithm: Algorithm) -> Result<Encoded> {
        self.put_from(kind, plain, algorithm)
    }

    /// Puts the content of a file as a zlib-compressed object: catalogs and other databases.
    pub fn put_file(&self, kind: ObjectKind, file: &Path, algorithm: Algorithm) -> Result<Encoded> {
        let plain = File::open(file).with_context(|| file.display().to_string())?;
        self.put_from(kind, plain, algorithm)
    }

    fn put_from(&self, kind: ObjectKind, plain: impl io::Read, algorithm: Algorithm) -> Result<Encoded> {
        let mut staged = self.storage.staging()?;
        let encoded = Encoder::new(Encoding::new(algorithm, Compression::Zlib)).reader(plain, &mut staged);
        let encoded = encoded.map_err(|error| storage::StorageError::io(self.storage.describe(), error))?;
        self.storage.put_object(&ObjectName::new(encoded.hash, kind), Body::File(staged))?;
        Ok(encoded)
    }

    /// The tags and branches of a revision.
    pub fn history(&self, manifest: &VerifiedManifest) -> Result<History> {
        let Some(name) = manifest.history() else { return Ok(History::empty()) };
        let scratch = self.scratch()?;
        let file = scratch.path().join("history");
        self.fetch(&name, &file)?;
        Ok(History::open(&file, &self.fqrn)?)
    }

    /// The reflog; an empty one if there is none.
    pub fn reflog(&self) -> Result<Reflog> {
        let scratch = self.scratch()?;
        let path = scratch.path().join("reflog");
        let mut file = File::create_new(&path)?;
        match self.storage.get(REFLOG, &mut file)? {
            true => Ok(Reflog::open(&path, &self.fqrn)?),
            false => Ok(Reflog::empty(&self.fqrn)),
        }
    }

    /// The hash of the reflog as it is stored; `None` if there is none.
    pub fn reflog_hash(&self, algorithm: Algorithm) -> Result<Option<ContentHash>> {
        let mut bytes = Vec::new();
        let found = self.storage.get(REFLOG, &mut bytes)?;
        Ok(found.then(|| libcvmfs::hash::Hasher::hash(algorithm, &bytes)))
    }

    /// Writes the reflog and returns the hash of the file, for the manifest.
    pub fn put_reflog(&self, reflog: &Reflog, algorithm: Algorithm) -> Result<ContentHash> {
        let scratch = self.scratch()?;
        let path = scratch.path().join("reflog");
        reflog.write(&path)?;
        let bytes = std::fs::read(&path)?;
        self.storage.put_pointer(REFLOG, &bytes)?;
        Ok(libcvmfs::hash::Hasher::hash(algorithm, &bytes))
    }
}

/// Hands what a storage writes to a decoder.
struct Sink<'a, 'd, W> {
    decoder: &'a mut Decoder<'d, W>,
    refused: Option<ReceiveError>,
}

impl<W: Output> Write for Sink<'_, '_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.decoder.receive(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                let told = io::Error::other(error.to_string());
                self.refused = Some(error);
                Err(told)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
