use super::{Fingerprint, LetterKind as Kind, Seen};
use crate::error::{Origin, Retry};
use crate::fqrn::Fqrn;
use crate::hash::{ContentHash, HashError};
use std::path::PathBuf;
use thiserror::Error;

/// Which signed letter an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LetterKind {
    /// `.cvmfspublished`.
    Manifest,
    /// `.cvmfswhitelist`.
    Whitelist,
}

impl std::fmt::Display for LetterKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LetterKind::Manifest => "manifest",
            LetterKind::Whitelist => "whitelist",
        })
    }
}

/// Why something is not believed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Zero bytes long.
    #[error("{0} is empty")]
    Empty(Kind),
    /// Longer than [`super::LETTER_LIMIT`].
    #[error("{0} is longer than the {limit} bytes allowed", limit = super::LETTER_LIMIT)]
    TooLong(Kind),
    /// No line of two dashes: nothing is signed.
    #[error("{0} is not signed: it has no '--' line")]
    Unsigned(Kind),
    /// The file ends before or within the hash line.
    #[error("{0} ends before its hash line does")]
    NoHashLine(Kind),
    /// The hash line holds no content hash.
    #[error("{letter} has a malformed hash line: {reason}")]
    HashLine {
        /// The letter.
        letter: Kind,
        /// What is wrong with it.
        reason: HashError,
    },
    /// The text does not hash to its hash line.
    #[error("{letter} was altered: its text hashes to {computed} but its hash line says {stated}")]
    LetterHash {
        /// The letter.
        letter: Kind,
        /// The hash line.
        stated: ContentHash,
        /// The hash of the text.
        computed: ContentHash,
    },
    /// Nothing follows the hash line.
    #[error("{0} has no signature bytes")]
    NoSignature(Kind),
    /// A required field is absent.
    #[error("manifest is incomplete: field {0} is missing")]
    IncompleteManifest(char),
    /// A field cannot be read.
    #[error("manifest field {field} is malformed: {reason}")]
    ManifestField {
        /// The field's letter.
        field: char,
        /// What is wrong with it.
        reason: String,
    },
    /// The manifest of another repository.
    #[error("manifest is of repository '{found}', not of {expected}")]
    ManifestName {
        /// The requested repository.
        expected: Fqrn,
        /// The N field.
        found: String,
    },
    /// The R field is not the hash of the empty path: the catalog is not a root catalog.
    #[error("manifest of {fqrn} is not about a root catalog: its R field is '{found}'")]
    ManifestRootPath {
        /// The requested repository.
        fqrn: Fqrn,
        /// The R field.
        found: String,
    },
    /// The certificate cannot be read.
    #[error("certificate is unusable: {0}")]
    MalformedCertificate(String),
    /// The manifest's signature was not made with the certificate's key.
    #[error("manifest of {fqrn} has an invalid signature: not made by the key of certificate {certificate}")]
    ManifestSignature {
        /// The requested repository.
        fqrn: Fqrn,
        /// The certificate.
        certificate: Fingerprint,
    },
    /// The certificate is genuine for nobody: its fingerprint is not on the whitelist.
    #[error("certificate {certificate} is not on the whitelist of {fqrn}")]
    CertificateNotListed {
        /// The requested repository.
        fqrn: Fqrn,
        /// The certificate.
        certificate: Fingerprint,
    },
    /// The local blacklist refuses the certificate.
    #[error("certificate {certificate} of {fqrn} is blacklisted")]
    CertificateBlacklisted {
        /// The requested repository.
        fqrn: Fqrn,
        /// The certificate.
        certificate: Fingerprint,
    },
    /// The local blacklist refuses this revision.
    #[error("revision {revision} of {fqrn} is blacklisted: the blacklist demands {minimum} or newer")]
    RevisionBlacklisted {
        /// The repository.
        fqrn: Fqrn,
        /// The manifest's revision.
        revision: u64,
        /// The oldest revision allowed.
        minimum: u64,
    },
    /// A line of the whitelist does not follow the format.
    #[error("whitelist line {line} is malformed: expected {expected}")]
    WhitelistLine {
        /// Line number, from 1.
        line: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// The whitelist asks for PKCS#7 or a certificate authority.
    #[error("whitelist asks for '{0}': verification by PKCS#7 or certificate authorities is not supported")]
    WhitelistUnsupported(String),
    /// The whitelist of another repository.
    #[error("whitelist is of repository '{found}', not of {expected}")]
    WhitelistName {
        /// The requested repository.
        expected: Fqrn,
        /// The N line.
        found: String,
    },
    /// The whitelist is not valid any more.
    #[error("whitelist of {fqrn} expired {} hours ago (expiry {expires}, clock {now}, in seconds since 1970)", (.now - .expires) / 3600)]
    WhitelistExpired {
        /// The repository.
        fqrn: Fqrn,
        /// The first second at which it is not valid any more, since 1970.
        expires: u64,
        /// The clock, seconds since 1970.
        now: u64,
    },
    /// No master key made the whitelist's signature.
    #[error("whitelist of {fqrn} has an invalid signature: made by none of the {keys} master keys ({names})")]
    WhitelistSignature {
        /// The repository.
        fqrn: Fqrn,
        /// Number of keys tried.
        keys: usize,
        /// Where they came from.
        names: String,
    },
    /// There is no key to verify the whitelist with.
    #[error("no master key is configured to verify the whitelist of {0}")]
    NoMasterKey(Fqrn),
    /// A key file cannot be read or holds no RSA public key.
    #[error("master key file {path}: {reason}")]
    MasterKeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A blacklist exists but cannot be read.
    #[error("blacklist {path}: {source}")]
    BlacklistFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An older manifest than one that was seen before.
    #[error("rollback of {fqrn}: offered {offered} after {have} was seen")]
    Rollback {
        /// The repository.
        fqrn: Fqrn,
        /// The newest manifest seen.
        have: Seen,
        /// The manifest at hand.
        offered: Seen,
    },
    /// An older revision than the configured minimum.
    #[error("revision {revision} of {fqrn} is older than the configured minimum {minimum}")]
    BelowMinimum {
        /// The repository.
        fqrn: Fqrn,
        /// The manifest's revision.
        revision: u64,
        /// The oldest revision allowed.
        minimum: u64,
    },
    /// Two different signed contents of one revision: somebody with the key shows different clients different trees.
    #[error(
        "equivocation of {fqrn}: revision {revision} has root hash {offered}, but {have} was seen under the same number"
    )]
    Equivocation {
        /// The repository.
        fqrn: Fqrn,
        /// The revision both claim.
        revision: u64,
        /// The root hash seen before.
        have: ContentHash,
        /// The root hash at hand.
        offered: ContentHash,
    },
    /// A private key cannot be made, read or used.
    #[error("private key: {0}")]
    PrivateKey(String),
    /// What was remembered cannot be read or written.
    #[error("{path}: {source}")]
    Memory {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What was remembered is damaged.
    #[error("{path} is damaged: {reason}")]
    MemoryDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl TrustError {
    /// Who is responsible.
    pub fn origin(&self) -> Origin {
        match self {
            TrustError::NoMasterKey(_)
            | TrustError::MasterKeyFile { .. }
            | TrustError::BlacklistFile { .. }
            | TrustError::PrivateKey(_) => Origin::Config,
            TrustError::Memory { .. } | TrustError::MemoryDamaged { .. } => Origin::Cache,
            _ => Origin::Content,
        }
    }

    /// Whether trying again can help: not with the same bytes.
    pub fn retry(&self) -> Retry {
        Retry::Never
    }

    /// Whether another server may offer something better. What the local configuration refuses, it refuses
    /// everywhere.
    pub fn try_other_host(&self) -> bool {
        self.origin() == Origin::Content
    }

    /// Whether nobody who is trusted said what was received: the bytes are no document at all (a login page in its
    /// place, say), they were cut or altered on the way, or signed by a stranger. It is worth no more than silence.
    pub fn is_unsigned(&self) -> bool {
        matches!(
            self,
            TrustError::Empty(_)
                | TrustError::TooLong(_)
                | TrustError::Unsigned(_)
                | TrustError::NoHashLine(_)
                | TrustError::HashLine { .. }
                | TrustError::LetterHash { .. }
                | TrustError::NoSignature(_)
                | TrustError::IncompleteManifest(_)
                | TrustError::ManifestField { .. }
                | TrustError::ManifestSignature { .. }
                | TrustError::WhitelistLine { .. }
                | TrustError::WhitelistSignature { .. }
        )
    }

    /// The official client's words for the same failure, which administrators search their logs for.
    pub fn official_text(&self) -> &'static str {
        match self {
            TrustError::Empty(Kind::Whitelist) => "empty whitelist",
            TrustError::WhitelistLine { .. }
            | TrustError::TooLong(Kind::Whitelist)
            | TrustError::WhitelistUnsupported(_) => "malformed whitelist",
            TrustError::WhitelistName { .. } => "repository name mismatch on whitelist",
            TrustError::WhitelistExpired { .. } => "expired whitelist",
            TrustError::WhitelistSignature { .. }
            | TrustError::NoMasterKey(_)
            | TrustError::Unsigned(Kind::Whitelist)
            | TrustError::NoHashLine(Kind::Whitelist)
            | TrustError::HashLine { letter: Kind::Whitelist, .. }
            | TrustError::LetterHash { letter: Kind::Whitelist, .. }
            | TrustError::NoSignature(Kind::Whitelist) => "invalid whitelist signature",
            TrustError::CertificateNotListed { .. } => "certificate not on whitelist",
            TrustError::CertificateBlacklisted { .. } => "certificate blacklisted",
            TrustError::Empty(Kind::Manifest)
            | TrustError::TooLong(Kind::Manifest)
            | TrustError::IncompleteManifest(_)
            | TrustError::ManifestField { .. } => "incomplete manifest",
            TrustError::ManifestName { .. } => "repository name mismatch",
            TrustError::ManifestRootPath { .. } => "catalog root path mismatch",
            TrustError::Rollback { .. } | TrustError::BelowMinimum { .. } => "outdated manifest",
            TrustError::RevisionBlacklisted { .. } => "revision blacklisted",
            TrustError::MalformedCertificate(_) => "bad certificate, failed to verify repository manifest",
            TrustError::ManifestSignature { .. }
            | TrustError::Unsigned(Kind::Manifest)
            | TrustError::NoHashLine(Kind::Manifest)
            | TrustError::HashLine { letter: Kind::Manifest, .. }
            | TrustError::LetterHash { letter: Kind::Manifest, .. }
            | TrustError::NoSignature(Kind::Manifest) => "bad signature, failed to verify repository manifest",
            TrustError::MasterKeyFile { .. }
            | TrustError::BlacklistFile { .. }
            | TrustError::Equivocation { .. }
            | TrustError::PrivateKey(_)
            | TrustError::Memory { .. }
            | TrustError::MemoryDamaged { .. } => "unknown error",
        }
    }
}
