//! Where a mirror takes everything from: servers, of which nothing is believed that was not verified.

use crate::repository::{MANIFEST, REFLOG, WHITELIST};
use crate::storage::Storage;
use anyhow::{Context as _, Result, ensure};
use libcvmfs::fqrn::Fqrn;
use libcvmfs::hash::{ContentHash, Hasher};
use libcvmfs::object::decode::{Decoder, Expected};
use libcvmfs::object::{Compression, ObjectName, Receiver as _, Stored};
use libcvmfs::transport::{ProxyList, Request, Settings, Transport, TransportError, split_host_chain};
use libcvmfs::trust::{
    Blacklist, Certificate, LETTER_LIMIT, Manifest, MasterKeys, VerifiedManifest, Whitelist, unix_now,
};
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;
use std::time::Duration;
use tempfile::NamedTempFile;

/// Most stored bytes of an object.
const OBJECT_LIMIT: u64 = 64 << 30;
/// Most plain bytes of a catalog.
const CATALOG_LIMIT: u64 = 16 << 30;
/// Most bytes of a reflog.
const REFLOG_LIMIT: u64 = 1 << 30;
/// No object takes longer, with all that is tried for it.
const DEADLINE: Duration = Duration::from_secs(3600);

/// The servers of a repository.
pub struct Source {
    fqrn: Fqrn,
    transport: Transport,
}

impl Source {
    /// The repository at `urls`: base URLs, separated by `;`, in which `@fqrn@` stands for its name. `proxies` is in the
    /// spelling of `CVMFS_HTTP_PROXY`.
    pub fn open(fqrn: &Fqrn, urls: &str, proxies: &str, connections: usize) -> Result<Source> {
        let settings = Settings {
            hosts: split_host_chain(&urls.replace("@fqrn@", fqrn.as_str())),
            proxies: ProxyList::parse(proxies)?,
            request_deadline: Some(DEADLINE),
            max_connections: connections,
            user_agent: concat!("cvmfs-server ", env!("CARGO_PKG_VERSION")).to_owned(),
            ..Settings::default()
        };
        Ok(Source { fqrn: fqrn.clone(), transport: Transport::new(settings)? })
    }

    fn letter(&self, name: &str) -> Result<Vec<u8>> {
        let (path, mut bytes) = (format!("/{name}"), Vec::new());
        // Not what a cache on the way remembers: it may be older than the objects that go with it.
        let request = Request { fresh: true, ..Request::new(&path, LETTER_LIMIT as u64) };
        self.transport.fetch(&request, &mut bytes)?;
        Ok(bytes)
    }

    /// The newest revision, verified like a client does.
    pub fn manifest(&self, keys: &MasterKeys) -> Result<VerifiedManifest> {
        let manifest = Manifest::parse(&self.letter(MANIFEST)?).context("the source's manifest")?;
        let name = manifest.certificate();
        let mut decoder = Decoder::new(Expected::bounded(name, Compression::Zlib, LETTER_LIMIT as u64), Vec::new());
        let path = name.path();
        self.transport.fetch(&Request::new(&path, LETTER_LIMIT as u64).with_hash(&name.hash), &mut decoder)?;
        let certificate = Certificate::parse(&decoder.into_output()?)?;
        let now = unix_now();
        let whitelist = Whitelist::parse(&self.letter(WHITELIST)?)?.verify(&self.fqrn, keys, now)?;
        Ok(manifest.verify(&self.fqrn, &certificate, &whitelist, &Blacklist::default(), now)?)
    }

    /// Fetches the stored bytes of an object into a file of the storage; its hash is right. Also tells their number.
    pub fn stage(&self, name: &ObjectName, storage: &dyn Storage) -> Result<(NamedTempFile, u64)> {
        self.stage_up_to(name, OBJECT_LIMIT, storage)
    }

    /// The same for an object that has at most `limit` stored bytes.
    pub fn stage_up_to(&self, name: &ObjectName, limit: u64, storage: &dyn Storage) -> Result<(NamedTempFile, u64)> {
        let mut file = storage.staging()?;
        let path = name.path();
        let mut receiver = Stored::new(*name, limit, file.as_file_mut());
        let fetched = self.transport.fetch(&Request::new(&path, limit).with_hash(&name.hash), &mut receiver)?;
        Ok((file, fetched.bytes))
    }

    /// The reflog of the manifest that names its hash.
    pub fn reflog(&self, expected: &ContentHash) -> Result<Vec<u8>> {
        let (path, mut bytes) = (format!("/{REFLOG}"), Vec::new());
        self.transport.fetch(&Request { fresh: true, ..Request::new(&path, REFLOG_LIMIT) }, &mut bytes)?;
        let found = Hasher::hash(expected.algorithm, &bytes);
        ensure!(
            found == *expected,
            "the source's reflog hashes to {found}, its manifest says {expected}: try again later"
        );
        Ok(bytes)
    }
}

/// Whether all hosts said that they do not have it.
pub(super) fn is_missing(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(TransportError::NotFound(_)))
}

/// Writes the plain content of a staged catalog to the new file `to`.
pub(super) fn unpack(name: &ObjectName, staged: &mut NamedTempFile, to: &Path) -> Result<()> {
    let output = File::create_new(to).with_context(|| to.display().to_string())?;
    let mut decoder = Decoder::new(Expected::bounded(*name, Compression::Zlib, CATALOG_LIMIT), output);
    let file = staged.as_file_mut();
    file.rewind()?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => decoder.receive(buffer.get(..count).unwrap_or_default())?,
        }
    }
    decoder.complete()?;
    decoder.into_output()?;
    Ok(())
}
