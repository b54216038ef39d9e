//! Letters written by the official server tools: what it accepts is accepted, what it refuses is refused.

use super::forge::NOW;
use super::*;
use crate::fqrn::Fqrn;
use crate::object::Compression;
use crate::object::Receiver as _;
use crate::object::decode::{Decoder, Expected};

macro_rules! data {
    ($file:literal) => {
        include_bytes!(concat!("testdata/", $file)).as_slice()
    };
}

struct Official {
    fqrn: &'static str,
    manifest: &'static [u8],
    whitelist: &'static [u8],
    certificate: &'static [u8],
    key: &'static [u8],
}

const SMALL: Official = Official {
    fqrn: "small.test.example",
    manifest: data!("small/manifest"),
    whitelist: data!("small/whitelist"),
    certificate: data!("small/certificate"),
    key: data!("small/master.pub"),
};

const RMD160: Official = Official {
    fqrn: "rmd160.test.example",
    manifest: data!("rmd160/manifest"),
    whitelist: data!("rmd160/whitelist"),
    certificate: data!("rmd160/certificate"),
    key: data!("rmd160/master.pub"),
};

const SHAKE128: Official = Official {
    fqrn: "shake128.test.example",
    manifest: data!("shake128/manifest"),
    whitelist: data!("shake128/whitelist"),
    certificate: data!("shake128/certificate"),
    key: data!("shake128/master.pub"),
};

/// Verifies as a client does: the certificate is received as the object that the manifest names.
fn verify(official: &Official) -> Result<VerifiedManifest, TrustError> {
    let fqrn = Fqrn::new(official.fqrn).unwrap();
    let manifest = Manifest::parse(official.manifest)?;
    let mut keys = MasterKeys::default();
    keys.add("master.pub", official.key)?;
    let whitelist = Whitelist::parse(official.whitelist)?.verify(&fqrn, &keys, NOW)?;
    let expected = Expected::bounded(manifest.certificate(), Compression::Zlib, LETTER_LIMIT as u64);
    let mut decoder = Decoder::new(expected, Vec::new());
    decoder.receive(official.certificate).unwrap();
    decoder.complete().unwrap();
    let certificate = Certificate::parse(&decoder.into_output().unwrap())?;
    manifest.verify(&fqrn, &certificate, &whitelist, &Blacklist::default(), NOW)
}

#[test]
fn official_letters_of_every_algorithm_verify() {
    for (official, revision, timestamp) in
        [(&SMALL, 9, 1_795_262_300), (&RMD160, 3, 1_795_262_357), (&SHAKE128, 3, 1_795_262_370)]
    {
        let verified = verify(official).unwrap();
        assert_eq!((verified.revision(), verified.timestamp()), (revision, Some(timestamp)), "{}", official.fqrn);
        assert!(verified.history().is_some() && verified.meta_info().is_some() && verified.reflog().is_some());
        assert_eq!((verified.ttl(), verified.is_garbage_collectable()), (240, false));
    }
    let small = verify(&SMALL).unwrap();
    assert_eq!(small.root_catalog().to_string(), "073e8f52186124b22c195c432d6dcd95f5e7e9b7C");
    assert_eq!(small.catalog_size(), Some(376_832));
    let printed = "D8:6E:17:36:61:83:AC:ED:D2:D2:50:0E:AE:00:E1:30:3A:99:EE:B0";
    assert_eq!(small.certificate_identity().sha1.to_string(), printed);
}

#[test]
fn official_manifests_are_written_byte_for_byte() {
    for official in [&SMALL, &RMD160, &SHAKE128] {
        let letter = Letter::parse(LetterKind::Manifest, official.manifest).unwrap();
        assert_eq!(ManifestFields::parse(letter.text()).unwrap().to_text().as_bytes(), letter.text());
        let algorithm = verify(official).unwrap().root_catalog().hash.algorithm;
        let sealed = seal(letter.text(), algorithm, |_| Ok::<_, TrustError>(letter.signature().to_vec())).unwrap();
        assert!(sealed == official.manifest);
    }
}

#[test]
fn letters_of_one_repository_do_not_serve_another() {
    let mixed = Official { manifest: RMD160.manifest, certificate: RMD160.certificate, ..SMALL };
    assert!(matches!(verify(&mixed), Err(TrustError::ManifestName { .. })));
    let mixed = Official { whitelist: RMD160.whitelist, ..SMALL };
    assert!(matches!(verify(&mixed), Err(TrustError::WhitelistSignature { .. })));
    let mixed = Official { whitelist: RMD160.whitelist, key: RMD160.key, ..SMALL };
    assert!(matches!(verify(&mixed), Err(TrustError::WhitelistName { .. })));
}

macro_rules! spoilt {
    ($($name:ident: $part:ident => $outcome:pat,)*) => {$(
        #[test]
        fn $name() {
            let spoilt = Official { $part: include_bytes!(concat!("testdata/small/", stringify!($name))), ..SMALL };
            let result = verify(&spoilt);
            assert!(matches!(&result, $outcome), "{result:?}");
        }
    )*};
}

spoilt! {
    manifest_empty: manifest => Err(TrustError::Empty(LetterKind::Manifest)),
    manifest_garbage: manifest => Err(TrustError::Unsigned(LetterKind::Manifest)),
    manifest_missing_revision: manifest => Err(TrustError::IncompleteManifest('S')),
    manifest_no_signature: manifest => Err(TrustError::NoSignature(LetterKind::Manifest)),
    manifest_tampered_body: manifest => Err(TrustError::LetterHash { letter: LetterKind::Manifest, .. }),
    manifest_tampered_rehashed: manifest => Err(TrustError::ManifestSignature { .. }),
    manifest_unknown_fields: manifest => Ok(VerifiedManifest { .. }),
    manifest_unsigned: manifest => Err(TrustError::Unsigned(LetterKind::Manifest)),
    manifest_wrong_name: manifest => Err(TrustError::ManifestName { .. }),
    whitelist_bad_signature: whitelist => Err(TrustError::WhitelistSignature { .. }),
    whitelist_expired: whitelist => Err(TrustError::WhitelistExpired { .. }),
    whitelist_fingerprint_comment: whitelist => Ok(VerifiedManifest { .. }),
    whitelist_multi_fingerprint: whitelist => Ok(VerifiedManifest { .. }),
    whitelist_tampered_body: whitelist => Err(TrustError::LetterHash { letter: LetterKind::Whitelist, .. }),
    whitelist_tampered_rehashed: whitelist => Err(TrustError::WhitelistSignature { .. }),
    whitelist_wrong_name: whitelist => Err(TrustError::WhitelistName { .. }),
}
