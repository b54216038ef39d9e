//! From bytes of unknown origin to a manifest that may be believed, as types.
//!
//! ```text
//! bytes -> Manifest ---------------------------\
//! bytes -> Certificate -------------------------> VerifiedManifest -> check against what was seen before
//! bytes -> Whitelist -> VerifiedWhitelist -----/
//! ```
//!
//! Each type can only be made from the one before it, by its checks; there is no flag to ask or to forget. An
//! unverified [`Manifest`] tells nothing but the name of the certificate object, which is needed to go on.
//!
//! The clock is always handed in, as seconds since 1970; see [`unix_now`].

mod atomic;
mod blacklist;
mod certificate;
mod chain;
mod error;
mod fingerprint;
mod floor;
mod letter;
mod manifest;
mod master_key;
mod pem;
mod sign;
mod whitelist;

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod forge;

pub use blacklist::Blacklist;
pub use certificate::{Certificate, CertificateIdentity};
pub use chain::{Evidence, Manifest, VerifiedManifest};
pub use error::{LetterKind, TrustError};
pub use fingerprint::Fingerprint;
pub use floor::{Floor, Floors, Seen, Verdict};
pub use letter::{Letter, seal};
pub use manifest::ManifestFields;
pub use master_key::MasterKeys;
pub use sign::{PrivateKey, new_whitelist};
pub use whitelist::{VerifiedWhitelist, Whitelist};

/// Most bytes of a manifest, a whitelist or a certificate: real ones have below 4 KiB.
pub const LETTER_LIMIT: usize = 64 << 10;

/// The system clock in seconds since 1970; a clock before that counts as 1970.
pub fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
