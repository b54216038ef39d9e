//! Forged repositories through the library's own verification.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cvmfs_tests::forge::{Forge, Keys, Published};
use libcvmfs::fqrn::Fqrn;
use libcvmfs::hash::Algorithm;
use libcvmfs::object::{ObjectKind, ObjectName};
use libcvmfs::trust::{Blacklist, Evidence, Manifest, MasterKeys, TrustError, VerifiedManifest, unix_now};
use std::io::Read as _;
use std::path::Path;

const FQRN: &str = "forged.test.example";

fn verify_at(web_root: &Path, fqrn: &str, public_key: &Path) -> Result<VerifiedManifest, TrustError> {
    let read = |name: &str| std::fs::read(web_root.join(name)).unwrap();
    let manifest = read(".cvmfspublished");
    let object = Manifest::parse(&manifest)?.certificate();
    let mut certificate = Vec::new();
    flate2::read::ZlibDecoder::new(&read(&object.path()[1..])[..]).read_to_end(&mut certificate).unwrap();
    let evidence = Evidence { manifest, certificate, whitelist: read(".cvmfswhitelist") };
    let keys = MasterKeys::load(&[public_key]).unwrap();
    evidence.verify(&Fqrn::new(fqrn).unwrap(), &keys, &Blacklist::default(), unix_now())
}

fn verify(forge: Forge) -> Result<VerifiedManifest, TrustError> {
    let dir = tempfile::tempdir().unwrap();
    let Published { web_root, public_key, .. } = forge.publish(dir.path());
    verify_at(&web_root, FQRN, &public_key)
}

#[test]
fn good_ones_are_believed() {
    for algorithm in [Algorithm::Sha1, Algorithm::Rmd160, Algorithm::Shake128] {
        let dir = tempfile::tempdir().unwrap();
        let forge = Forge::new(FQRN).algorithm(algorithm).file("/f", b"x").revision(7).ttl(60).tag("t");
        let published = forge.publish(dir.path());
        let verified = verify_at(dir.path(), FQRN, &published.public_key).unwrap();
        assert_eq!(verified.root_catalog(), ObjectName::new(published.root_catalog, ObjectKind::Catalog));
        assert_eq!(verified.catalog_size(), Some(published.root_size));
        assert_eq!((verified.revision(), verified.ttl()), (7, 60));
        assert_eq!(verified.history().map(|object| object.hash), published.history);
    }
    let dir = tempfile::tempdir().unwrap();
    let demo = libcvmfs::demo::unpack(dir.path()).unwrap();
    assert_eq!(verify_at(&demo.web_root, demo.fqrn.as_str(), &demo.public_key).unwrap().revision(), 2);
    assert!(verify(Forge::new(FQRN).keys(Keys::renewed())).is_ok());
}

#[test]
fn wrong_ones_are_refused_for_the_right_reason() {
    let refused = |forge: Forge| verify(forge).unwrap_err();
    let stranger = Keys::stranger;
    assert!(matches!(refused(Forge::new("other.test.example")), TrustError::WhitelistName { .. }));
    assert!(matches!(
        refused(Forge::new(FQRN).manifest_field('N', "other.test.example")),
        TrustError::ManifestName { .. }
    ));
    assert!(matches!(
        refused(Forge::new(FQRN).sign_manifest_with(stranger())),
        TrustError::CertificateNotListed { .. }
    ));
    assert!(matches!(refused(Forge::new(FQRN).sign_whitelist_with(stranger())), TrustError::WhitelistSignature { .. }));
    assert!(matches!(
        refused(Forge::new(FQRN).whitelist_expires("20240101000000")),
        TrustError::WhitelistExpired { .. }
    ));
    assert!(matches!(refused(Forge::new(FQRN).without_manifest_field('S')), TrustError::IncompleteManifest('S')));
    // The null hash is how no hash is written.
    let null = "0".repeat(40);
    assert!(matches!(refused(Forge::new(FQRN).manifest_field('C', &null)), TrustError::IncompleteManifest('C')));
    let odd = Forge::new(FQRN).manifest_field('C', "0123");
    assert!(matches!(refused(odd), TrustError::ManifestField { .. }));
    let flipped = Forge::new(FQRN).on_manifest(|mut bytes| {
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    });
    assert!(matches!(refused(flipped), TrustError::ManifestSignature { .. }));
}
