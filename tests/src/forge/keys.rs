use crate::forge::letter;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePublicKey as _, LineEnding};
use rsa::{RsaPrivateKey, RsaPublicKey};
use std::sync::OnceLock;
use x509_cert::der::Document;

/// The keys of a repository. They are public knowledge: good for tests and for the demo, for nothing else.
#[derive(Clone)]
pub struct Keys {
    /// Signs whitelists; its public half is what clients are configured with.
    pub master: RsaPrivateKey,
    /// Signs manifests.
    pub signer: RsaPrivateKey,
    /// The certificate of `signer`, PEM.
    pub certificate: String,
}

impl Keys {
    /// The keys every forged repository has unless told otherwise.
    pub fn standard() -> Keys {
        static KEYS: OnceLock<Keys> = OnceLock::new();
        let read = || {
            Keys::read(
                include_str!("keys/standard-master.pem"),
                include_str!("keys/standard-signer.pem"),
                include_str!("keys/standard-certificate.pem"),
            )
        };
        KEYS.get_or_init(read).clone()
    }

    /// Keys of somebody else: an attacker, another repository, or parts for a change of keys.
    pub fn stranger() -> Keys {
        static KEYS: OnceLock<Keys> = OnceLock::new();
        let read = || {
            Keys::read(
                include_str!("keys/stranger-master.pem"),
                include_str!("keys/stranger-signer.pem"),
                include_str!("keys/stranger-certificate.pem"),
            )
        };
        KEYS.get_or_init(read).clone()
    }

    /// The standard master key with a new signer: what a repository looks like after its certificate was replaced.
    pub fn renewed() -> Keys {
        Keys { master: Keys::standard().master, ..Keys::stranger() }
    }

    fn read(master: &str, signer: &str, certificate: &str) -> Keys {
        let key = |pem| RsaPrivateKey::from_pkcs8_pem(pem).expect("an embedded key");
        Keys { master: key(master), signer: key(signer), certificate: certificate.to_owned() }
    }

    /// The public master key, PEM: the content of a `.pub` file.
    pub fn public_key(&self) -> String {
        RsaPublicKey::from(&self.master).to_public_key_pem(LineEnding::LF).expect("an RSA key can be written")
    }

    /// The SHA-1 fingerprint of the certificate as whitelists spell it: `AB:CD:...`.
    pub fn fingerprint(&self) -> String {
        self.fingerprint_by(libcvmfs::hash::Algorithm::Sha1)
    }

    /// The fingerprint by any algorithm, with its upper-case id behind.
    pub fn fingerprint_by(&self, algorithm: libcvmfs::hash::Algorithm) -> String {
        let (_, der) = Document::from_pem(&self.certificate).expect("an embedded certificate");
        letter::fingerprint(&libcvmfs::hash::Hasher::hash(algorithm, der.as_bytes()))
    }
}
