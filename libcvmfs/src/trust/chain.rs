use super::{
    Blacklist, Certificate, CertificateIdentity, Letter, LetterKind, ManifestFields, MasterKeys, TrustError,
    VerifiedWhitelist, Whitelist,
};
use crate::fqrn::Fqrn;
use crate::hash::ContentHash;
use crate::object::{ObjectKind, ObjectName};

/// A manifest nobody has vouched for: it says nothing but where its certificate is.
#[derive(Debug, Clone)]
pub struct Manifest {
    letter: Letter,
    fields: ManifestFields,
    certificate: ContentHash,
    name: String,
}

/// A manifest whose whole chain was verified: letter, certificate, whitelist, master key, blacklist.
#[derive(Debug, Clone)]
pub struct VerifiedManifest {
    fqrn: Fqrn,
    letter: Letter,
    fields: ManifestFields,
    certificate: Certificate,
    certificate_object: ContentHash,
    whitelist: VerifiedWhitelist,
}

impl Manifest {
    /// Reads the content of `.cvmfspublished`. The fields N and X are required here, for there is no verification
    /// without them.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, TrustError> {
        let letter = Letter::parse(LetterKind::Manifest, bytes)?;
        let fields = ManifestFields::parse(letter.text())?;
        let name = fields.name.clone().ok_or(TrustError::IncompleteManifest('N'))?;
        let certificate = fields.certificate.ok_or(TrustError::IncompleteManifest('X'))?;
        Ok(Manifest { letter, fields, certificate, name })
    }

    /// The certificate object, to be fetched before the manifest can be verified.
    pub fn certificate(&self) -> ObjectName {
        ObjectName::new(self.certificate, ObjectKind::Certificate)
    }

    /// Whether the certificate may lie under its alternative path too: a hint for where to look, no more.
    pub fn has_alternative_paths(&self) -> bool {
        self.fields.alternative_paths
    }

    /// Goes through the whole chain, always, also if the root hash is one that is known already. `now` is in seconds
    /// since 1970; the whitelist may have been verified earlier and must still be valid.
    pub fn verify(
        self,
        fqrn: &Fqrn,
        certificate: &Certificate,
        whitelist: &VerifiedWhitelist,
        blacklist: &Blacklist,
        now: u64,
    ) -> Result<VerifiedManifest, TrustError> {
        if self.name != fqrn.as_str() {
            let found = self.name.escape_debug().take(255).collect();
            return Err(TrustError::ManifestName { expected: fqrn.clone(), found });
        }
        if !self.fields.is_about_the_root() {
            let found = self.fields.root_path.escape_debug().take(64).collect();
            return Err(TrustError::ManifestRootPath { fqrn: fqrn.clone(), found });
        }
        let fingerprint = certificate.identity().sha1;
        if !certificate.signed(&self.letter) {
            return Err(TrustError::ManifestSignature { fqrn: fqrn.clone(), certificate: fingerprint });
        }
        if whitelist.fqrn() != fqrn {
            let found = whitelist.fqrn().to_string();
            return Err(TrustError::WhitelistName { expected: fqrn.clone(), found });
        }
        whitelist.check_expiry(now)?;
        if blacklist.refuses(certificate.identity()) {
            return Err(TrustError::CertificateBlacklisted { fqrn: fqrn.clone(), certificate: fingerprint });
        }
        if !whitelist.lists(certificate.identity()) {
            return Err(TrustError::CertificateNotListed { fqrn: fqrn.clone(), certificate: fingerprint });
        }
        blacklist.check_revision(fqrn, self.fields.revision)?;
        Ok(VerifiedManifest {
            fqrn: fqrn.clone(),
            letter: self.letter,
            fields: self.fields,
            certificate: certificate.clone(),
            certificate_object: self.certificate,
            whitelist: whitelist.clone(),
        })
    }
}

impl VerifiedManifest {
    /// The repository.
    pub fn fqrn(&self) -> &Fqrn {
        &self.fqrn
    }

    /// The root catalog's object.
    pub fn root_catalog(&self) -> ObjectName {
        ObjectName::new(self.fields.root_catalog, ObjectKind::Catalog)
    }

    /// Plain size of the root catalog in bytes, if stated.
    pub fn catalog_size(&self) -> Option<u64> {
        self.fields.catalog_size
    }

    /// The revision.
    pub fn revision(&self) -> u64 {
        self.fields.revision
    }

    /// Time of publication in seconds since 1970, if stated.
    pub fn timestamp(&self) -> Option<u64> {
        self.fields.timestamp
    }

    /// Seconds since publication; negative if the local clock is behind the publisher's. Signed manifests never
    /// expire, so an age far beyond the repository's usual pace is the only sign of a frozen mirror.
    pub fn age(&self, now: u64) -> Option<i64> {
        let seconds = i128::from(now) - i128::from(self.fields.timestamp?);
        Some(i64::try_from(seconds).unwrap_or(if seconds < 0 { i64::MIN } else { i64::MAX }))
    }

    /// The D field in seconds; the root catalog's own TTL goes before it.
    pub fn ttl(&self) -> u64 {
        self.fields.ttl
    }

    /// The history database with the tags, if there is one.
    pub fn history(&self) -> Option<ObjectName> {
        self.fields.history.map(|hash| ObjectName::new(hash, ObjectKind::History))
    }

    /// The repository's meta information, if there is any.
    pub fn meta_info(&self) -> Option<ObjectName> {
        self.fields.meta_info.map(|hash| ObjectName::new(hash, ObjectKind::MetaInfo))
    }

    /// Hash of the plain reflog, which only the publishing side uses.
    pub fn reflog(&self) -> Option<ContentHash> {
        self.fields.reflog
    }

    /// Whether old objects may vanish from the server.
    pub fn is_garbage_collectable(&self) -> bool {
        self.fields.garbage_collectable
    }

    /// Whether bootstrap objects lie under alternative paths too.
    pub fn has_alternative_paths(&self) -> bool {
        self.fields.alternative_paths
    }

    /// All fields.
    pub fn fields(&self) -> &ManifestFields {
        &self.fields
    }

    /// The signing certificate's object.
    pub fn certificate_object(&self) -> ObjectName {
        ObjectName::new(self.certificate_object, ObjectKind::Certificate)
    }

    /// The signing certificate's fingerprints.
    pub fn certificate_identity(&self) -> &CertificateIdentity {
        self.certificate.identity()
    }

    /// The whitelist that allowed the certificate.
    pub fn whitelist(&self) -> &VerifiedWhitelist {
        &self.whitelist
    }

    /// Everything needed to verify this manifest again without a network.
    pub fn evidence(&self) -> Evidence {
        Evidence {
            manifest: self.letter.as_bytes().to_vec(),
            certificate: self.certificate.as_bytes().to_vec(),
            whitelist: self.whitelist.as_bytes().to_vec(),
        }
    }
}

/// The three files that prove a manifest, as bytes: unverified until [`Evidence::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Content of `.cvmfspublished`.
    pub manifest: Vec<u8>,
    /// Plain content of the certificate object.
    pub certificate: Vec<u8>,
    /// Content of `.cvmfswhitelist`.
    pub whitelist: Vec<u8>,
}

impl Evidence {
    /// Goes through the whole chain with these files.
    pub fn verify(
        &self,
        fqrn: &Fqrn,
        keys: &MasterKeys,
        blacklist: &Blacklist,
        now: u64,
    ) -> Result<VerifiedManifest, TrustError> {
        let manifest = Manifest::parse(&self.manifest)?;
        let certificate = Certificate::parse(&self.certificate)?;
        let whitelist = Whitelist::parse(&self.whitelist)?.verify(fqrn, keys, now)?;
        manifest.verify(fqrn, &certificate, &whitelist, blacklist, now)
    }
}
