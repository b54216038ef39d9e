use libcvmfs::trust::{Certificate, PrivateKey};
use std::sync::OnceLock;

/// The keys of a repository. They are public knowledge: good for tests and for the demo, for nothing else.
#[derive(Clone)]
pub struct Keys {
    /// Signs whitelists; its public half is what clients are configured with.
    pub master: PrivateKey,
    /// Signs manifests.
    pub signer: PrivateKey,
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
        let key = |pem| PrivateKey::from_pem(str::as_bytes(pem)).expect("an embedded key");
        Keys { master: key(master), signer: key(signer), certificate: certificate.to_owned() }
    }

    /// The public master key, PEM: the content of a `.pub` file.
    pub fn public_key(&self) -> String {
        self.master.public_pem().expect("an RSA key can be written")
    }

    /// The SHA-1 fingerprint of the certificate as whitelists spell it: `AB:CD:...`.
    pub fn fingerprint(&self) -> String {
        self.fingerprint_by(libcvmfs::hash::Algorithm::Sha1)
    }

    /// The fingerprint by any algorithm, with its upper-case id behind.
    pub fn fingerprint_by(&self, algorithm: libcvmfs::hash::Algorithm) -> String {
        use libcvmfs::hash::Algorithm;
        let certificate = Certificate::parse(self.certificate.as_bytes()).expect("an embedded certificate");
        let identity = certificate.identity();
        match algorithm {
            Algorithm::Sha1 => identity.sha1,
            Algorithm::Rmd160 => identity.rmd160,
            Algorithm::Shake128 => identity.shake128,
        }
        .to_string()
    }
}
