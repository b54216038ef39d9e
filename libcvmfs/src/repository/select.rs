//! Which revision to mount: the newest, a tag, a date, a root hash, or what the cache still knows.

use super::letters::Letters;
use crate::Error;
use crate::config::{Config, table};
use crate::fetch::{Fetcher, MANIFEST_PATH, WHITELIST_PATH};
use crate::fqrn::Fqrn;
use crate::hash::ContentHash;
use crate::history::{History, Tag, parse_date};
use crate::object::{ObjectKind, ObjectName};
use crate::snapshot::{Choice, Identity};
use crate::trust::{
    Blacklist, Certificate, Evidence, Floors, Manifest, MasterKeys, TrustError, Verdict, VerifiedManifest, Whitelist,
    unix_now,
};
use std::sync::Arc;

/// What the configuration asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    Newest,
    Tag(String),
    Date(i64),
    RootHash(ContentHash),
}

impl Wanted {
    pub(super) fn of(config: &Config) -> Result<Wanted, Error> {
        if let Some(text) = config.text(&table::ROOT_HASH)? {
            let wrong = |error: crate::hash::HashError| Error::Setting {
                parameter: table::ROOT_HASH.name,
                reason: error.to_string(),
            };
            return Ok(Wanted::RootHash(ContentHash::parse(text).map_err(wrong)?));
        }
        if let Some(tag) = config.text(&table::REPOSITORY_TAG)? {
            return Ok(Wanted::Tag(tag.to_owned()));
        }
        if let Some(date) = config.text(&table::REPOSITORY_DATE)? {
            let seconds = parse_date(date).ok_or_else(|| Error::Setting {
                parameter: table::REPOSITORY_DATE.name,
                reason: format!("'{date}' is no date of the form YYYY-MM-DDThh:mm:ssZ"),
            })?;
            return Ok(Wanted::Date(seconds));
        }
        Ok(Wanted::Newest)
    }
}

/// Everything the choice of a revision needs.
pub(super) struct Selector {
    pub(super) fqrn: Fqrn,
    pub(super) wanted: Wanted,
    pub(super) fetcher: Arc<Fetcher>,
    pub(super) keys: MasterKeys,
    pub(super) blacklist: Blacklist,
    pub(super) floors: Option<Floors>,
    pub(super) letters: Letters,
    pub(super) alternative_root: bool,
}

/// A chosen revision and how sure we are of it.
#[derive(Debug, Clone)]
pub(super) struct Selected {
    pub(super) identity: Identity,
    pub(super) manifest: Option<Arc<VerifiedManifest>>,
    /// Why the servers could not be asked, if they could not.
    pub(super) offline: Option<String>,
}

impl Selector {
    /// Whether a newer revision may replace the chosen one.
    pub(super) fn follows_updates(&self) -> bool {
        self.wanted == Wanted::Newest
    }

    pub(super) fn select(&self) -> Result<Selected, Error> {
        if let Wanted::RootHash(root_hash) = &self.wanted {
            let identity = Identity {
                fqrn: self.fqrn.clone(),
                root_hash: *root_hash,
                catalog_size: None,
                revision: 0,
                published: None,
                choice: Choice::RootHash,
            };
            if self.alternative_root {
                self.fetcher.prefer_alternative_path(ObjectName::new(*root_hash, ObjectKind::Catalog));
            }
            return Ok(Selected { identity, manifest: None, offline: None });
        }
        match self.newest_manifest() {
            Ok(manifest) => self.of_manifest(manifest, None),
            Err(online) if can_go_offline(&online) => {
                let reason = online.to_string();
                let selected = self.offline(online)?;
                log::warn!("{}: {reason}; going on with what the cache knows", self.fqrn);
                Ok(selected)
            }
            Err(error) => Err(error),
        }
    }

    /// Fetches and verifies the manifest; what is wrong with one host's may be right on the next.
    pub(super) fn newest_manifest(&self) -> Result<VerifiedManifest, Error> {
        let (first_host, outcome) = self.try_manifest();
        let Err(error) = outcome else { return outcome };
        let worth_another = matches!(&error, Error::Refused { source, .. } if source.try_other_host());
        let Some(host) = first_host.filter(|_| worth_another) else { return Err(error) };
        self.fetcher.transport().switch_host(&host, &error.to_string());
        if self.fetcher.transport().hosts().first() == Some(&host) {
            return Err(error);
        }
        let (_, second) = self.try_manifest();
        second.map_err(|_| error)
    }

    /// One round; tells the host that served the manifest.
    fn try_manifest(&self) -> (Option<String>, Result<VerifiedManifest, Error>) {
        let (host, bytes) = match self.fetcher.letter(MANIFEST_PATH) {
            Ok(letter) => letter,
            Err(error) => return (None, Err(error)),
        };
        let refused = |error| match error {
            Error::Trust(source) if source.try_other_host() => Error::Refused { host: host.clone(), source },
            other => other,
        };
        let outcome = self.verify(&bytes).map_err(refused);
        (Some(host), outcome)
    }

    fn verify(&self, manifest: &[u8]) -> Result<VerifiedManifest, Error> {
        let now = self.plausible_now()?;
        let manifest = Manifest::parse(manifest)?;
        let certificate = self.fetcher.small_object(manifest.certificate(), manifest.has_alternative_paths())?;
        let certificate = Certificate::parse(&certificate)?;
        let (_, whitelist) = self.fetcher.letter(WHITELIST_PATH)?;
        let whitelist = Whitelist::parse(&whitelist)?.verify(&self.fqrn, &self.keys, now)?;
        let manifest = manifest.verify(&self.fqrn, &certificate, &whitelist, &self.blacklist, now)?;
        if let Some(floors) = &self.floors
            && let Verdict::Recovered { from } = floors.check(&manifest, &self.blacklist)?
        {
            log::warn!(
                "{}: going back from {} to revision {}: its certificate was withdrawn",
                self.fqrn,
                from.seen,
                manifest.revision()
            );
        }
        Ok(manifest)
    }

    /// Remembers a revision whose root catalog has arrived, so that nothing older is accepted any more.
    pub(super) fn accept(&self, selected: &Selected) -> Result<(), Error> {
        let Some(manifest) = selected.manifest.as_ref().filter(|_| selected.offline.is_none()) else { return Ok(()) };
        if let Some(floors) = &self.floors {
            floors.record(manifest, &self.blacklist)?;
        }
        self.letters.store(manifest);
        Ok(())
    }

    fn plausible_now(&self) -> Result<u64, Error> {
        let now = unix_now();
        let floor = self.floors.as_ref().map(|floors| floors.load(&self.fqrn)).transpose()?.flatten();
        Ok(floor.map_or(now, |floor| floor.plausible_now(now)))
    }

    /// The last revision verified here, or the one a breadcrumb of the official client names.
    pub(super) fn offline(&self, online: Error) -> Result<Selected, Error> {
        let reason = online.to_string();
        let fqrn = || self.fqrn.to_string();
        let unmountable =
            |offline: String, online| Error::Unmountable { fqrn: fqrn(), online: Box::new(online), offline };
        match self.letters.load() {
            Ok(Some(evidence)) => match self.verify_evidence(&evidence) {
                Ok(manifest) => self.of_manifest(manifest, Some(reason)),
                Err(error) => Err(unmountable(format!("the letters in the cache: {error}"), online)),
            },
            Ok(None) => match self.letters.breadcrumb() {
                Some(breadcrumb) if self.wanted == Wanted::Newest => {
                    log::warn!("{}: mounting {} from a breadcrumb, unsigned", self.fqrn, breadcrumb.catalog);
                    let identity = Identity {
                        fqrn: self.fqrn.clone(),
                        root_hash: breadcrumb.catalog,
                        catalog_size: None,
                        revision: breadcrumb.revision,
                        published: Some(breadcrumb.timestamp),
                        choice: Choice::Newest,
                    };
                    Ok(Selected { identity, manifest: None, offline: Some(reason) })
                }
                _ => Err(Error::Unseen { fqrn: fqrn(), online: Box::new(online) }),
            },
            Err(error) => Err(unmountable(error.to_string(), online)),
        }
    }

    /// Verifies letters that were verified when they were stored. A whitelist that has run out since only shows how
    /// long the servers have been out of reach, so it is judged by its last valid moment.
    fn verify_evidence(&self, evidence: &Evidence) -> Result<VerifiedManifest, Error> {
        let now = self.plausible_now()?;
        match evidence.verify(&self.fqrn, &self.keys, &self.blacklist, now) {
            Err(TrustError::WhitelistExpired { expires, .. }) => {
                log::warn!("{}: the whitelist in the cache expired at {expires} (seconds since 1970)", self.fqrn);
                let last_valid = expires.saturating_sub(3600);
                Ok(evidence.verify(&self.fqrn, &self.keys, &self.blacklist, last_valid)?)
            }
            outcome => Ok(outcome?),
        }
    }

    fn of_manifest(&self, manifest: VerifiedManifest, offline: Option<String>) -> Result<Selected, Error> {
        if manifest.has_alternative_paths() {
            self.fetcher.prefer_alternative_path(manifest.root_catalog());
        }
        let identity = match &self.wanted {
            Wanted::Newest | Wanted::RootHash(_) => self.of_newest(&manifest),
            Wanted::Tag(name) => self.tagged(&self.history(&manifest)?, name)?,
            Wanted::Date(seconds) => {
                let history = self.history(&manifest)?;
                let tag = history.tag_at(*seconds);
                let tag =
                    tag.ok_or_else(|| self.no_such(format!("revision as old as {seconds} (seconds since 1970)")))?;
                self.of_tag(tag, Choice::Date(*seconds, tag.name.clone()))
            }
        };
        Ok(Selected { identity, manifest: Some(Arc::new(manifest)), offline })
    }

    /// The revision that a manifest is about.
    pub(super) fn of_newest(&self, manifest: &VerifiedManifest) -> Identity {
        Identity {
            fqrn: self.fqrn.clone(),
            root_hash: manifest.root_catalog().hash,
            catalog_size: manifest.catalog_size(),
            revision: manifest.revision(),
            published: manifest.timestamp(),
            choice: Choice::Newest,
        }
    }

    /// The tag database that a manifest names.
    pub(super) fn history(&self, manifest: &VerifiedManifest) -> Result<History, Error> {
        let name = manifest.history().ok_or_else(|| self.no_such("tags".to_owned()))?;
        let file = self.fetcher.metadata(name)?;
        Ok(History::open(&file.path, &self.fqrn)?)
    }

    /// The revision behind a tag.
    pub(super) fn tagged(&self, history: &History, name: &str) -> Result<Identity, Error> {
        let tag = history.tag(name).ok_or_else(|| self.no_such(format!("tag '{name}'")))?;
        Ok(self.of_tag(tag, Choice::Tag(name.to_owned())))
    }

    fn of_tag(&self, tag: &Tag, choice: Choice) -> Identity {
        Identity {
            fqrn: self.fqrn.clone(),
            root_hash: tag.root,
            catalog_size: tag.size,
            revision: tag.revision,
            published: u64::try_from(tag.timestamp).ok(),
            choice,
        }
    }

    fn no_such(&self, wanted: String) -> Error {
        Error::NoSuchRevision { fqrn: self.fqrn.to_string(), wanted }
    }
}

/// Whether an error is about reaching the servers, so that the cache may answer instead: what nobody signed is no better
/// than silence. What is signed and cannot be accepted, or what the user configured wrongly, is reported.
pub(super) fn can_go_offline(error: &Error) -> bool {
    match error {
        Error::Transport(_) => true,
        Error::Refused { source, .. } => source.is_unsigned() || matches!(source, TrustError::Rollback { .. }),
        _ => false,
    }
}
