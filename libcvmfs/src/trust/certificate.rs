use super::{Fingerprint, LETTER_LIMIT, Letter, TrustError, pem};
use crate::hash::{Algorithm, Hasher};
use rsa::pkcs8::DecodePublicKey as _;
use rsa::{Pkcs1v15Sign, RsaPublicKey};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::{Decode as _, Encode as _};

/// A signing certificate. Nothing in it counts but its key and its fingerprint: dates, issuer and usage are not looked
/// at, as in the official client, since only the whitelist makes a certificate valid.
#[derive(Debug, Clone)]
pub struct Certificate {
    bytes: Vec<u8>,
    identity: CertificateIdentity,
    key: RsaPublicKey,
}

/// The fingerprints of one certificate under every algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateIdentity {
    /// The one that is printed.
    pub sha1: Fingerprint,
    /// For whitelists that use RIPEMD-160.
    pub rmd160: Fingerprint,
    /// For whitelists that use SHAKE-128.
    pub shake128: Fingerprint,
}

impl CertificateIdentity {
    /// Whether `listed` is this certificate's fingerprint.
    pub fn matches(&self, listed: &Fingerprint) -> bool {
        *listed
            == match listed.0.algorithm {
                Algorithm::Sha1 => self.sha1,
                Algorithm::Rmd160 => self.rmd160,
                Algorithm::Shake128 => self.shake128,
            }
    }
}

impl Certificate {
    /// Reads the plain content of a certificate object: a PEM X.509 certificate with an RSA key.
    pub fn parse(bytes: &[u8]) -> Result<Certificate, TrustError> {
        let malformed = TrustError::MalformedCertificate;
        if bytes.len() > LETTER_LIMIT {
            return Err(malformed(format!("it is longer than the {LETTER_LIMIT} bytes allowed")));
        }
        let (der, _) = pem::first_block("CERTIFICATE", bytes).map_err(|reason| malformed(format!("it {reason}")))?;
        let certificate = CertificateInner::<Raw>::from_der(&der)
            .map_err(|error| malformed(format!("it is no X.509 certificate: {error}")))?;
        let key = certificate
            .tbs_certificate
            .subject_public_key_info
            .to_der()
            .map_err(|error| error.to_string())
            .and_then(|info| RsaPublicKey::from_public_key_der(&info).map_err(|error| error.to_string()))
            .map_err(|error| malformed(format!("it holds no usable RSA key: {error}")))?;
        let fingerprint = |algorithm| Fingerprint(Hasher::hash(algorithm, &der));
        let identity = CertificateIdentity {
            sha1: fingerprint(Algorithm::Sha1),
            rmd160: fingerprint(Algorithm::Rmd160),
            shake128: fingerprint(Algorithm::Shake128),
        };
        Ok(Certificate { bytes: bytes.to_vec(), identity, key })
    }

    /// The fingerprints.
    pub fn identity(&self) -> &CertificateIdentity {
        &self.identity
    }

    /// The bytes it was read from.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn key(&self) -> &RsaPublicKey {
        &self.key
    }

    /// Whether this certificate's key signed the letter: PKCS#1 v1.5 with SHA-1 over the hash in words.
    pub(super) fn signed(&self, letter: &Letter) -> bool {
        let hashed = <sha1::Sha1 as sha1::Digest>::digest(letter.signed_words());
        self.key.verify(Pkcs1v15Sign::new::<sha1::Sha1>(), &hashed, letter.signature()).is_ok()
    }
}
