//! Signed letters: manifest and whitelist.

use libcvmfs::hash::{Algorithm, ContentHash, Hasher};
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use sha1::{Digest as _, Sha1};

/// How the hash of a letter is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// PKCS #1 v1.5 over the SHA-1 of the hash text: manifests.
    Manifest,
    /// PKCS #1 v1.5 padding around the bare hash text: whitelists.
    Whitelist,
}

/// Signs `text`, which must end in a newline: text, separator, hash, signature.
pub fn sign(text: &[u8], algorithm: Algorithm, key: &RsaPrivateKey, scheme: Scheme) -> Vec<u8> {
    let hash = Hasher::hash(algorithm, text).to_string();
    let signature = match scheme {
        Scheme::Manifest => key.sign(Pkcs1v15Sign::new::<Sha1>(), &Sha1::digest(hash.as_bytes())),
        Scheme::Whitelist => key.sign(Pkcs1v15Sign::new_unprefixed(), hash.as_bytes()),
    };
    let signature = signature.expect("the key is long enough for a hash");
    [text, b"--\n", hash.as_bytes(), b"\n", &signature].concat()
}

pub(super) fn fingerprint(hash: &ContentHash) -> String {
    let pairs: Vec<String> = hash.digest.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":") + &hash.algorithm.id().to_uppercase()
}
