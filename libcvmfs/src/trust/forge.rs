//! Signs letters for tests, rightly and wrongly, with keys that exist for nothing else.

use super::*;
use crate::fqrn::Fqrn;
use crate::hash::{Algorithm, ContentHash};
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};

/// 15 January 2027, 08:00:00 UTC: the present of these tests.
pub(super) const NOW: u64 = 1_800_000_000;
/// In the future of [`NOW`].
pub(super) const EXPIRY: &str = "20270201000000";

pub(super) const PUBLISHER: &str = include_str!("testdata/publisher.crt");
pub(super) const SUCCESSOR: &str = include_str!("testdata/successor.crt");
pub(super) const ELLIPTIC: &str = include_str!("testdata/elliptic.crt");
pub(super) const MASTER: &str = include_str!("testdata/master.pub");
pub(super) const STRANGER: &str = include_str!("testdata/stranger.pub");

#[derive(Clone, Copy)]
pub(super) enum Key {
    Publisher,
    Successor,
    Master,
    Stranger,
}

impl Key {
    fn private(self) -> RsaPrivateKey {
        RsaPrivateKey::from_pkcs8_pem(match self {
            Key::Publisher => include_str!("testdata/publisher.key"),
            Key::Successor => include_str!("testdata/successor.key"),
            Key::Master => include_str!("testdata/master.key"),
            Key::Stranger => include_str!("testdata/stranger.key"),
        })
        .unwrap()
    }

    /// As whitelists are signed.
    pub(super) fn sign_bare(self, words: &[u8]) -> Vec<u8> {
        self.private().sign(Pkcs1v15Sign::new_unprefixed(), words).unwrap()
    }

    /// As manifests are signed.
    pub(super) fn sign_digest(self, words: &[u8]) -> Vec<u8> {
        let hashed = <sha1::Sha1 as sha1::Digest>::digest(words);
        self.private().sign(Pkcs1v15Sign::new::<sha1::Sha1>(), &hashed).unwrap()
    }
}

pub(super) fn fqrn() -> Fqrn {
    Fqrn::new("unit.test.example").unwrap()
}

pub(super) fn root(number: u8) -> ContentHash {
    ContentHash::new(Algorithm::Sha1, [number; 20])
}

/// A manifest of revision `revision`, published `revision` minutes after one day before now.
pub(super) fn fields(revision: u64) -> ManifestFields {
    ManifestFields {
        revision,
        name: Some(fqrn().to_string()),
        certificate: Some(root(200)),
        timestamp: Some(NOW - 86400 + 60 * revision),
        ..ManifestFields::new(root(revision as u8 + 1), 240)
    }
}

pub(super) fn sealed(text: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    seal(text.as_bytes(), Algorithm::Sha1, |words| Ok::<_, std::convert::Infallible>(sign(words))).unwrap()
}

pub(super) fn manifest(fields: &ManifestFields, key: Key) -> Vec<u8> {
    sealed(&fields.to_text(), |words| key.sign_digest(words))
}

pub(super) fn whitelist_text(name: &str, expiry: &str, certificates: &[&str]) -> String {
    let listed = |pem: &&str| format!("{} # listed\n", Certificate::parse(pem.as_bytes()).unwrap().identity().sha1);
    format!("20270101000000\nE{expiry}\nN{name}\n{}", certificates.iter().map(listed).collect::<String>())
}

pub(super) fn whitelist(expiry: &str, certificates: &[&str]) -> Vec<u8> {
    sealed(&whitelist_text(fqrn().as_str(), expiry, certificates), |words| Key::Master.sign_bare(words))
}

pub(super) fn master_keys(pems: &[&str]) -> MasterKeys {
    let mut keys = MasterKeys::default();
    for pem in pems {
        keys.add("test key", pem.as_bytes()).unwrap();
    }
    keys
}

/// The good case, to be spoilt.
pub(super) fn evidence(revision: u64) -> Evidence {
    Evidence {
        manifest: manifest(&fields(revision), Key::Publisher),
        certificate: PUBLISHER.as_bytes().to_vec(),
        whitelist: whitelist(EXPIRY, &[PUBLISHER]),
    }
}

pub(super) fn verify(evidence: &Evidence) -> Result<VerifiedManifest, TrustError> {
    static KEYS: std::sync::LazyLock<MasterKeys> = std::sync::LazyLock::new(|| master_keys(&[STRANGER, MASTER]));
    evidence.verify(&fqrn(), &KEYS, &Blacklist::default(), NOW)
}
