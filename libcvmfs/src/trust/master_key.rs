use super::{Letter, TrustError, pem};
use rsa::pkcs8::DecodePublicKey as _;
use rsa::{Pkcs1v15Sign, RsaPublicKey};
use std::path::Path;

/// The public keys any of which may sign whitelists.
#[derive(Debug, Clone, Default)]
pub struct MasterKeys(Vec<MasterKey>);

#[derive(Debug, Clone)]
struct MasterKey {
    source: String,
    key: RsaPublicKey,
}

impl MasterKeys {
    /// Reads one key from each file. A single unusable file is an error: skipping it would hide a mistake.
    pub fn load<P: AsRef<Path>>(paths: &[P]) -> Result<MasterKeys, TrustError> {
        let mut keys = MasterKeys::default();
        for path in paths {
            let path = path.as_ref();
            let unusable = |reason: String| TrustError::MasterKeyFile { path: path.to_owned(), reason };
            let bytes = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
            keys.add(&path.display().to_string(), &bytes)?;
        }
        Ok(keys)
    }

    /// Adds the PEM public key in `bytes`; `source` names it in messages. Only the first block of a file counts, as
    /// for the official client.
    pub fn add(&mut self, source: &str, bytes: &[u8]) -> Result<(), TrustError> {
        let unusable = |reason: String| TrustError::MasterKeyFile { path: source.into(), reason };
        let (der, rest) = pem::first_block("PUBLIC KEY", bytes).map_err(unusable)?;
        if pem::first_block("PUBLIC KEY", rest).is_ok() {
            log::warn!("master key file {source}: only the first of several keys is used; give each its own file");
        }
        let key = RsaPublicKey::from_public_key_der(&der)
            .map_err(|error| unusable(format!("holds no usable RSA public key: {error}")))?;
        self.0.push(MasterKey { source: source.to_owned(), key });
        Ok(())
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none, so that nothing can be verified.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where the keys came from, joined by commas.
    pub(super) fn names(&self) -> String {
        self.0.iter().map(|key| key.source.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The source of the key that signed the letter: PKCS#1 type 1 padding around the bare hash in words.
    pub(super) fn signer(&self, letter: &Letter) -> Option<&str> {
        let signed = |key: &&MasterKey| {
            key.key.verify(Pkcs1v15Sign::new_unprefixed(), letter.signed_words(), letter.signature())
        };
        self.0.iter().find(|key| signed(key).is_ok()).map(|key| key.source.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = include_str!("testdata/master.pub");

    #[test]
    fn one_unusable_file_fails_the_whole_load_and_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (good, bad, missing) = (dir.path().join("good.pub"), dir.path().join("bad.pub"), dir.path().join("no.pub"));
        std::fs::write(&good, KEY).unwrap();
        for content in ["", "no key", &KEY[..200], &KEY.replace("MIIB", "MIIC")] {
            std::fs::write(&bad, content).unwrap();
            let error = MasterKeys::load(&[&good, &bad]).unwrap_err().to_string();
            assert!(error.contains("bad.pub"), "{error}");
        }
        assert!(MasterKeys::load(&[&good, &missing]).unwrap_err().to_string().contains("no.pub"));
        assert_eq!(MasterKeys::load(&[&good, &good]).unwrap().len(), 2);
    }

    #[test]
    fn text_around_the_key_and_line_lengths_do_not_matter() {
        let reflowed = format!("key of example\n{}\r\nend", KEY.replace('\n', "\r\n").replacen("MIIB", "MI\nIB", 1));
        let mut keys = MasterKeys::default();
        keys.add("x", reflowed.as_bytes()).unwrap();
        keys.add("y", KEY.as_bytes()).unwrap();
        assert_eq!(keys.0[0].key, keys.0[1].key);
    }
}
