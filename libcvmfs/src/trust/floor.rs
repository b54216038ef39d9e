//! What was seen of each repository before, so that nobody can take it back unnoticed.

use super::{Blacklist, CertificateIdentity, Fingerprint, TrustError, VerifiedManifest, atomic};
use crate::fqrn::Fqrn;
use crate::hash::ContentHash;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

/// A jump this far ahead is reported: no repository publishes so often.
const IMPLAUSIBLE_JUMP: u64 = 1_000_000;

/// The age of a manifest, as far as rollback is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The revision.
    pub revision: u64,
    /// Time of publication in seconds since 1970, 0 if not stated.
    pub timestamp: u64,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "revision {} of time {}", self.revision, self.timestamp)
    }
}

/// The newest verified state seen of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floor {
    /// The repository.
    pub fqrn: Fqrn,
    /// Revision and time of publication.
    pub seen: Seen,
    /// The root catalog.
    pub root_catalog: ContentHash,
    /// Who signed it.
    pub certificate: CertificateIdentity,
    /// The latest expiry of a whitelist seen, in seconds since 1970.
    pub whitelist_expires: u64,
}

impl Floor {
    fn of(manifest: &VerifiedManifest) -> Floor {
        Floor {
            fqrn: manifest.fqrn().clone(),
            seen: Seen { revision: manifest.revision(), timestamp: manifest.timestamp().unwrap_or(0) },
            root_catalog: manifest.root_catalog().hash,
            certificate: *manifest.certificate_identity(),
            whitelist_expires: manifest.whitelist().expires(),
        }
    }

    /// A clock that cannot be right any more is moved up to the last publication seen: a machine that starts in 1970
    /// must not find expired whitelists valid.
    pub fn plausible_now(&self, now: u64) -> u64 {
        if now < self.seen.timestamp {
            log::warn!("the clock ({now}) is behind a publication of {} ({})", self.fqrn, self.seen.timestamp);
        }
        now.max(self.seen.timestamp)
    }
}

/// How a manifest compares with what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was seen before.
    First,
    /// The same revision again.
    Unchanged,
    /// A newer revision.
    Newer {
        /// What was seen before.
        than: Floor,
    },
    /// Older than what was seen, but what was seen had been signed with a certificate that has since been withdrawn.
    Recovered {
        /// What does not count any more.
        from: Floor,
    },
}

/// The memory of all repositories: one small file each in a directory that no eviction touches.
#[derive(Debug, Clone)]
pub struct Floors {
    dir: PathBuf,
    minimum_revision: Option<u64>,
}

/// The file format.
#[derive(Serialize, Deserialize)]
struct Record {
    fqrn: String,
    revision: u64,
    timestamp: u64,
    root_catalog: String,
    certificate: [String; 3],
    whitelist_expires: u64,
}

/// Most bytes of a record.
const RECORD_LIMIT: u64 = 16 << 10;

impl Floors {
    /// Remembers in `dir`, which is created when there is something to remember.
    pub fn new(dir: impl Into<PathBuf>) -> Floors {
        Floors { dir: dir.into(), minimum_revision: None }
    }

    /// Refuses revisions below `minimum`, even if nothing is remembered: for machines that start with an empty memory.
    pub fn with_minimum_revision(mut self, minimum: Option<u64>) -> Floors {
        self.minimum_revision = minimum;
        self
    }

    /// What is remembered of a repository.
    pub fn load(&self, fqrn: &Fqrn) -> Result<Option<Floor>, TrustError> {
        let path = self.path(fqrn);
        let Some(bytes) = atomic::read(&path, RECORD_LIMIT)? else { return Ok(None) };
        let floor = serde_json::from_slice(&bytes).map_err(|error| error.to_string()).and_then(Floor::from_record);
        match floor {
            Ok(floor) if floor.fqrn == *fqrn => Ok(Some(floor)),
            Ok(floor) => Err(TrustError::MemoryDamaged { path, reason: format!("it is about {}", floor.fqrn) }),
            Err(reason) => Err(TrustError::MemoryDamaged { path, reason }),
        }
    }

    /// Compares a manifest with what was seen, and remembers nothing.
    ///
    /// An older revision or time of publication is a [`TrustError::Rollback`], another root hash under the same
    /// revision a [`TrustError::Equivocation`], unless the certificate that had signed what was seen has been withdrawn:
    /// it is on the blacklist, or a whitelist newer than all seen before does not list it any more. (That the manifest
    /// is signed with another certificate is not enough: a whitelist may list several, old ones among them.)
    pub fn check(&self, manifest: &VerifiedManifest, blacklist: &Blacklist) -> Result<Verdict, TrustError> {
        let fqrn = manifest.fqrn();
        if let Some(minimum) = self.minimum_revision.filter(|minimum| manifest.revision() < *minimum) {
            return Err(TrustError::BelowMinimum { fqrn: fqrn.clone(), revision: manifest.revision(), minimum });
        }
        let Some(floor) = self.load_or_forget(fqrn)? else { return Ok(Verdict::First) };
        let offered = Floor::of(manifest);
        let refusal = if offered.seen.revision < floor.seen.revision || offered.seen.timestamp < floor.seen.timestamp {
            TrustError::Rollback { fqrn: fqrn.clone(), have: floor.seen, offered: offered.seen }
        } else if offered.seen.revision > floor.seen.revision {
            if offered.seen.revision - floor.seen.revision > IMPLAUSIBLE_JUMP {
                log::warn!("{fqrn} jumps from revision {} to {}", floor.seen.revision, offered.seen.revision);
            }
            return Ok(Verdict::Newer { than: floor });
        } else if offered.root_catalog == floor.root_catalog {
            return Ok(Verdict::Unchanged);
        } else {
            TrustError::Equivocation {
                fqrn: fqrn.clone(),
                revision: offered.seen.revision,
                have: floor.root_catalog,
                offered: offered.root_catalog,
            }
        };
        let whitelist = manifest.whitelist();
        let unlisted = !whitelist.lists(&floor.certificate) && whitelist.expires() > floor.whitelist_expires;
        if unlisted || blacklist.refuses(&floor.certificate) {
            log::warn!("{refusal}; accepted because certificate {} was withdrawn", floor.certificate.sha1);
            return Ok(Verdict::Recovered { from: floor });
        }
        Err(refusal)
    }

    /// Remembers a manifest, to be called when its root catalog has arrived too. Never lowers what is remembered, save
    /// for a [`Verdict::Recovered`]; if another process saw something newer meanwhile, that stays.
    pub fn record(&self, manifest: &VerifiedManifest, blacklist: &Blacklist) -> Result<(), TrustError> {
        let fqrn = manifest.fqrn();
        let path = self.path(fqrn);
        let failed = |source| TrustError::Memory { path: path.clone(), source };
        std::fs::create_dir_all(&self.dir).map_err(failed)?;
        let lock = File::create(self.dir.join(".lock")).map_err(failed)?;
        wait_for_lock(&lock);
        let mut floor = Floor::of(manifest);
        match self.check(manifest, blacklist) {
            Ok(Verdict::First | Verdict::Recovered { .. }) => {}
            Ok(Verdict::Newer { than }) => floor.keep_latest_expiry(&than),
            Ok(Verdict::Unchanged) => {
                let Some(remembered) = self.load_or_forget(fqrn)? else { return Ok(()) };
                floor.keep_latest_expiry(&remembered);
                if floor == remembered {
                    return Ok(());
                }
            }
            Err(TrustError::Rollback { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        let text = serde_json::to_vec_pretty(&floor.to_record())
            .map_err(|error| TrustError::MemoryDamaged { path: path.clone(), reason: error.to_string() })?;
        atomic::replace(&path, &text, 0o600)
    }

    /// Forgets a repository: the administrator's way out.
    pub fn forget(&self, fqrn: &Fqrn) -> Result<(), TrustError> {
        let path = self.path(fqrn);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(TrustError::Memory { path, source: error })
            }
            _ => Ok(()),
        }
    }

    /// A damaged record must not block the repository for ever.
    fn load_or_forget(&self, fqrn: &Fqrn) -> Result<Option<Floor>, TrustError> {
        match self.load(fqrn) {
            Err(error @ TrustError::MemoryDamaged { .. }) => {
                log::warn!("{error}; a rollback of {fqrn} would go unnoticed this time");
                Ok(None)
            }
            other => other,
        }
    }

    fn path(&self, fqrn: &Fqrn) -> PathBuf {
        self.dir.join(format!("{fqrn}.json"))
    }
}

impl Floor {
    fn keep_latest_expiry(&mut self, earlier: &Floor) {
        self.whitelist_expires = self.whitelist_expires.max(earlier.whitelist_expires);
    }

    fn to_record(&self) -> Record {
        let certificate = [self.certificate.sha1, self.certificate.rmd160, self.certificate.shake128];
        Record {
            fqrn: self.fqrn.to_string(),
            revision: self.seen.revision,
            timestamp: self.seen.timestamp,
            root_catalog: self.root_catalog.to_string(),
            certificate: certificate.map(|fingerprint| fingerprint.to_string()),
            whitelist_expires: self.whitelist_expires,
        }
    }

    fn from_record(record: Record) -> Result<Floor, String> {
        let fingerprint = |text: &String| {
            Fingerprint::parse(text.as_bytes()).ok_or_else(|| format!("'{}' is no fingerprint", text.escape_debug()))
        };
        let [sha1, rmd160, shake128] = &record.certificate;
        Ok(Floor {
            fqrn: Fqrn::new(&record.fqrn).map_err(|error| error.to_string())?,
            seen: Seen { revision: record.revision, timestamp: record.timestamp },
            root_catalog: ContentHash::parse(&record.root_catalog).map_err(|error| error.to_string())?,
            certificate: CertificateIdentity {
                sha1: fingerprint(sha1)?,
                rmd160: fingerprint(rmd160)?,
                shake128: fingerprint(shake128)?,
            },
            whitelist_expires: record.whitelist_expires,
        })
    }
}

/// Waits a second at most: where locks do not work, the worst is that of two simultaneous updates the older one stays.
fn wait_for_lock(file: &File) {
    for _ in 0..100 {
        // SAFETY: the descriptor is open for as long as `file` is borrowed; flock touches no memory.
        let locked = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0;
        if locked || std::io::Error::last_os_error().kind() != std::io::ErrorKind::WouldBlock {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
