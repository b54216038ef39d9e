//! The secret halves: making keys and certificates, signing manifests and whitelists.

use super::{Certificate, CertificateIdentity, ManifestFields, TrustError, pem, seal};
use crate::fqrn::Fqrn;
use crate::hash::Algorithm;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use rsa::rand_core::{OsRng, RngCore as _};
use rsa::{Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey};
use std::str::FromStr as _;
use std::time::Duration;
use x509_cert::builder::{Builder as _, CertificateBuilder, Profile};
use x509_cert::der::EncodePem as _;
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::time::Validity;

/// Bits of new keys: the official publishers'.
const KEY_BITS: usize = 2048;
/// Seconds of a day.
const DAY: u64 = 24 * 3600;

/// A private RSA key. It is never shown.
#[derive(Clone)]
pub struct PrivateKey(RsaPrivateKey);

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

impl PrivateKey {
    /// A new key of 2048 bits.
    pub fn generate() -> Result<PrivateKey, TrustError> {
        let failed = |error: rsa::Error| TrustError::PrivateKey(format!("cannot be made: {error}"));
        RsaPrivateKey::new(&mut OsRng, KEY_BITS).map(PrivateKey).map_err(failed)
    }

    /// Reads a PEM file, of either the general form (`PRIVATE KEY`) or that of RSA alone (`RSA PRIVATE KEY`).
    pub fn from_pem(bytes: &[u8]) -> Result<PrivateKey, TrustError> {
        let unusable = |reason: String| TrustError::PrivateKey(reason);
        if let Ok((der, _)) = pem::first_block("RSA PRIVATE KEY", bytes) {
            return RsaPrivateKey::from_pkcs1_der(&der).map(PrivateKey).map_err(|error| unusable(error.to_string()));
        }
        let (der, _) = pem::first_block("PRIVATE KEY", bytes).map_err(unusable)?;
        RsaPrivateKey::from_pkcs8_der(&der).map(PrivateKey).map_err(|error| unusable(error.to_string()))
    }

    /// The key as a PEM file, unencrypted.
    pub fn to_pem(&self) -> Result<String, TrustError> {
        let text = self.0.to_pkcs8_pem(LineEnding::LF).map_err(|error| TrustError::PrivateKey(error.to_string()))?;
        Ok(text.to_string())
    }

    /// Its public half as a PEM file: what clients are configured with if this is a master key.
    pub fn public_pem(&self) -> Result<String, TrustError> {
        let public = RsaPublicKey::from(&self.0).to_public_key_pem(LineEnding::LF);
        public.map_err(|error| TrustError::PrivateKey(error.to_string()))
    }

    /// Makes a self-signed certificate of this key for the publishers of a repository, as a PEM file. It counts for
    /// what the whitelist says, its dates are for people: from `now` (seconds since 1970) for so many days.
    pub fn certify(&self, fqrn: &Fqrn, now: u64, days: u64) -> Result<String, TrustError> {
        let failed = |error: &dyn std::fmt::Display| TrustError::PrivateKey(format!("cannot be certified: {error}"));
        let name = Name::from_str(&format!("CN={fqrn} CernVM-FS Release Managers")).map_err(|error| failed(&error))?;
        let time = |seconds: u64| -> Result<x509_cert::time::Time, TrustError> {
            let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
            x509_cert::time::Time::try_from(time).map_err(|error| failed(&error))
        };
        let validity = Validity { not_before: time(now)?, not_after: time(now.saturating_add(days * DAY))? };
        let key = self.public_key_info().map_err(|error| failed(&error))?;
        let mut serial = [0_u8; 16];
        OsRng.fill_bytes(&mut serial);
        let serial = SerialNumber::new(&serial).map_err(|error| failed(&error))?;
        let signer = rsa::pkcs1v15::SigningKey::<rsa::sha2::Sha256>::new(self.0.clone());
        let builder = CertificateBuilder::new(Profile::Root, serial, validity, name, key, &signer);
        let certificate = builder.and_then(|builder| builder.build::<rsa::pkcs1v15::Signature>());
        let certificate = certificate.map_err(|error| failed(&error))?;
        certificate.to_pem(LineEnding::LF).map_err(|error| failed(&error))
    }

    fn public_key_info(&self) -> Result<SubjectPublicKeyInfoOwned, String> {
        let der = RsaPublicKey::from(&self.0).to_public_key_der().map_err(|error| error.to_string())?;
        SubjectPublicKeyInfoOwned::try_from(der.as_bytes()).map_err(|error| error.to_string())
    }

    /// Whether the certificate is one of this key.
    pub fn is_of(&self, certificate: &Certificate) -> bool {
        certificate.key() == &RsaPublicKey::from(&self.0)
    }

    /// Signs the text of a manifest, which must end in a line break: the whole file. PKCS#1 v1.5 with SHA-1 over the hash
    /// in words.
    pub fn sign_manifest(&self, text: &[u8], algorithm: Algorithm) -> Result<Vec<u8>, TrustError> {
        seal(text, algorithm, |words| {
            let hashed = <sha1::Sha1 as sha1::Digest>::digest(words);
            self.sign(Pkcs1v15Sign::new::<sha1::Sha1>(), &hashed)
        })
    }

    /// Signs the text of a whitelist, which must end in a line break: the whole file. PKCS#1 v1.5 padding around the bare
    /// hash in words.
    pub fn sign_whitelist(&self, text: &[u8], algorithm: Algorithm) -> Result<Vec<u8>, TrustError> {
        seal(text, algorithm, |words| self.sign(Pkcs1v15Sign::new_unprefixed(), words))
    }

    fn sign(&self, scheme: Pkcs1v15Sign, hashed: &[u8]) -> Result<Vec<u8>, TrustError> {
        let failed = |error: rsa::Error| TrustError::PrivateKey(format!("cannot sign: {error}"));
        self.0.sign_with_rng(&mut OsRng, scheme, hashed).map_err(failed)
    }
}

impl ManifestFields {
    /// Signs this manifest with the key of its certificate: the content of `.cvmfspublished`.
    pub fn seal(&self, key: &PrivateKey) -> Result<Vec<u8>, TrustError> {
        key.sign_manifest(self.to_text().as_bytes(), self.root_catalog.algorithm)
    }
}

/// The text of a whitelist, ready to be signed: made at `now` (seconds since 1970), valid for so many days.
pub fn new_whitelist(fqrn: &Fqrn, certificates: &[CertificateIdentity], now: u64, days: u64) -> String {
    let mut text = format!("{}\nE{}\nN{fqrn}\n", stamp(now), stamp(now.saturating_add(days * DAY)));
    for certificate in certificates {
        text += &format!("{}\n", certificate.sha1);
    }
    text
}

/// `YYYYMMDDhhmmss` of a time in seconds since 1970, UTC.
fn stamp(seconds: u64) -> String {
    let time = x509_cert::der::DateTime::from_unix_duration(Duration::from_secs(seconds));
    let latest = "99991231235959".to_owned();
    time.map_or(latest, |t| {
        let (date, clock) = ((t.year(), t.month(), t.day()), (t.hour(), t.minutes(), t.seconds()));
        format!("{:04}{:02}{:02}{:02}{:02}{:02}", date.0, date.1, date.2, clock.0, clock.1, clock.2)
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Blacklist, Evidence, MasterKeys, Whitelist};
    use super::*;
    use crate::hash::ContentHash;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn new_keys_certify_sign_and_are_believed() {
        let fqrn = Fqrn::new("sign.test.example").unwrap();
        let (master, signer) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let signer = PrivateKey::from_pem(signer.to_pem().unwrap().as_bytes()).unwrap();
        let pem = signer.certify(&fqrn, NOW, 365).unwrap();
        let certificate = Certificate::parse(pem.as_bytes()).unwrap();
        assert!(signer.is_of(&certificate) && !master.is_of(&certificate));
        for algorithm in [Algorithm::Sha1, Algorithm::Rmd160, Algorithm::Shake128] {
            let hash = ContentHash::new(algorithm, [7; 20]);
            let mut fields = ManifestFields::new(hash, 240);
            (fields.name, fields.certificate, fields.revision) = (Some(fqrn.to_string()), Some(hash), 3);
            let text = new_whitelist(&fqrn, &[*certificate.identity()], NOW, 30);
            let evidence = Evidence {
                manifest: fields.seal(&signer).unwrap(),
                certificate: pem.clone().into_bytes(),
                whitelist: master.sign_whitelist(text.as_bytes(), algorithm).unwrap(),
            };
            let mut keys = MasterKeys::default();
            keys.add("new", master.public_pem().unwrap().as_bytes()).unwrap();
            let verify = |now| evidence.verify(&fqrn, &keys, &Blacklist::default(), now);
            assert_eq!(verify(NOW).unwrap().revision(), 3);
            assert!(matches!(verify(NOW + 30 * DAY), Err(TrustError::WhitelistExpired { .. })));
            let mut keys = MasterKeys::default();
            keys.add("other", signer.public_pem().unwrap().as_bytes()).unwrap();
            assert!(Whitelist::parse(&evidence.whitelist).unwrap().verify(&fqrn, &keys, NOW).is_err());
        }
    }

    #[test]
    fn times_are_written_as_whitelists_have_them() {
        assert_eq!(stamp(1_800_000_000), "20270115080000");
        assert_eq!(stamp(0), "19700101000000");
    }
}
