//! One test or more for each attack that a chain of signatures is there to stop, named after the attack.

use super::forge::*;
use super::*;
use crate::fqrn::Fqrn;
use crate::hash::Algorithm;
use crate::object::Receiver as _;
use crate::object::decode::SmallBody;
use proptest::prelude::*;
use std::os::fd::AsRawFd as _;

macro_rules! assert_refused {
    ($result:expr, $variant:pat) => {{
        let result = $result;
        assert!(matches!(&result, Err($variant)), "expected {}, got {result:?}", stringify!($variant));
    }};
}

fn blacklist_of(pem: &str) -> Blacklist {
    Blacklist::parse(Certificate::parse(pem.as_bytes()).unwrap().identity().sha1.to_string().as_bytes())
}

#[test]
fn the_good_case_is_accepted() {
    let verified = verify(&evidence(7)).unwrap();
    assert_eq!((verified.revision(), verified.root_catalog().hash), (7, root(8)));
    assert_eq!(verify(&verified.evidence()).unwrap().fields(), &fields(7));
}

// Arbitrary software

#[test]
fn arbitrary_software_any_flipped_byte_of_the_letters() {
    let good = evidence(7);
    for flip in [0x01, 0x20, 0x80] {
        for at in 0..good.manifest.len() {
            let mut bad = good.clone();
            bad.manifest[at] ^= flip;
            assert!(verify(&bad).is_err(), "manifest byte {at}");
        }
        for at in 0..good.whitelist.len() {
            let mut bad = good.clone();
            bad.whitelist[at] ^= flip;
            assert!(verify(&bad).is_err(), "whitelist byte {at}");
        }
    }
}

#[test]
fn arbitrary_software_any_flipped_byte_of_the_certificate() {
    let good = evidence(7);
    let identity = *Certificate::parse(&good.certificate).unwrap().identity();
    for flip in [0x01, 0x20, 0x80] {
        for at in 0..good.certificate.len() {
            let mut bad = good.clone();
            bad.certificate[at] ^= flip;
            // Line breaks carry no meaning in PEM; everything else must be refused.
            let same = Certificate::parse(&bad.certificate).is_ok_and(|c| *c.identity() == identity);
            assert!(same || verify(&bad).is_err(), "certificate byte {at}");
            assert!(!same || good.certificate[at].is_ascii_whitespace(), "certificate byte {at} does not count");
        }
    }
}

#[test]
fn arbitrary_software_any_missing_tail() {
    let good = evidence(7);
    for length in 0..good.manifest.len() {
        let bad = Evidence { manifest: good.manifest[..length].to_vec(), ..good.clone() };
        assert!(verify(&bad).is_err(), "manifest of {length} bytes");
    }
    for length in 0..good.whitelist.len() {
        let bad = Evidence { whitelist: good.whitelist[..length].to_vec(), ..good.clone() };
        assert!(verify(&bad).is_err(), "whitelist of {length} bytes");
    }
}

#[test]
fn arbitrary_software_signed_by_an_unlisted_key() {
    let mut bad = evidence(7);
    bad.manifest = manifest(&fields(7), Key::Successor);
    assert_refused!(verify(&bad), TrustError::ManifestSignature { .. });
    bad.certificate = SUCCESSOR.as_bytes().to_vec();
    assert_refused!(verify(&bad), TrustError::CertificateNotListed { .. });
}

#[test]
fn arbitrary_software_certificate_swapped() {
    let mut bad = evidence(7);
    bad.certificate = SUCCESSOR.as_bytes().to_vec();
    bad.whitelist = whitelist(EXPIRY, &[PUBLISHER, SUCCESSOR]);
    assert_refused!(verify(&bad), TrustError::ManifestSignature { .. });
    for (not_one, reason) in [(ELLIPTIC, "RSA"), ("{\"no\": \"certificate\"}", "BEGIN CERTIFICATE"), (MASTER, "BEGIN")]
    {
        bad.certificate = not_one.as_bytes().to_vec();
        let Err(TrustError::MalformedCertificate(text)) = verify(&bad) else { panic!("accepted {not_one}") };
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn arbitrary_software_signature_of_another_letter() {
    let (old, new) = (evidence(7), evidence(8));
    let signature = Letter::parse(LetterKind::Manifest, &old.manifest).unwrap().signature().to_vec();
    let bad = sealed(&fields(8).to_text(), |_| signature.clone());
    assert_refused!(verify(&Evidence { manifest: bad, ..new.clone() }), TrustError::ManifestSignature { .. });
    let signature = Letter::parse(LetterKind::Whitelist, &old.whitelist).unwrap().signature().to_vec();
    let bad = sealed(&whitelist_text(fqrn().as_str(), EXPIRY, &[SUCCESSOR]), |_| signature.clone());
    assert_refused!(verify(&Evidence { whitelist: bad, ..new }), TrustError::WhitelistSignature { .. });
}

#[test]
fn arbitrary_software_whitelist_by_a_stranger() {
    let mut bad = evidence(7);
    let text = whitelist_text(fqrn().as_str(), EXPIRY, &[PUBLISHER]);
    bad.whitelist = sealed(&text, |words| Key::Stranger.sign_bare(words));
    let blacklist = Blacklist::default();
    let result = bad.verify(&fqrn(), &master_keys(&[MASTER]), &blacklist, NOW);
    assert_refused!(result, TrustError::WhitelistSignature { keys: 1, .. });
    assert_refused!(bad.verify(&fqrn(), &master_keys(&[]), &blacklist, NOW), TrustError::NoMasterKey(_));
}

#[test]
fn arbitrary_software_one_letters_scheme_is_not_the_others() {
    let mut bad = evidence(7);
    bad.manifest = sealed(&fields(7).to_text(), |words| Key::Publisher.sign_bare(words));
    assert_refused!(verify(&bad), TrustError::ManifestSignature { .. });
    let mut bad = evidence(7);
    let text = whitelist_text(fqrn().as_str(), EXPIRY, &[PUBLISHER]);
    bad.whitelist = sealed(&text, |words| Key::Master.sign_digest(words));
    assert_refused!(verify(&bad), TrustError::WhitelistSignature { .. });
}

#[test]
fn arbitrary_software_signature_longer_than_the_key() {
    let good = evidence(7);
    let longer = |words: &[u8], sign: &dyn Fn(&[u8]) -> Vec<u8>, front: bool| {
        let mut signature = sign(words);
        signature.insert(if front { 0 } else { signature.len() }, 0);
        signature
    };
    for front in [true, false] {
        let sign = |words: &[u8]| Key::Publisher.sign_digest(words);
        let bad = sealed(&fields(7).to_text(), |words| longer(words, &sign, front));
        assert_refused!(verify(&Evidence { manifest: bad, ..good.clone() }), TrustError::ManifestSignature { .. });
        let sign = |words: &[u8]| Key::Master.sign_bare(words);
        let text = whitelist_text(fqrn().as_str(), EXPIRY, &[PUBLISHER]);
        let bad = sealed(&text, |words| longer(words, &sign, front));
        assert_refused!(verify(&Evidence { whitelist: bad, ..good.clone() }), TrustError::WhitelistSignature { .. });
    }
}

#[test]
fn arbitrary_software_a_known_root_hash_is_no_short_cut() {
    let dir = tempfile::tempdir().unwrap();
    let floors = Floors::new(dir.path());
    let genuine = verify(&evidence(7)).unwrap();
    floors.record(&genuine, &Blacklist::default()).unwrap();
    let mut inflated = fields(7);
    inflated.revision = u64::MAX;
    let bad = Evidence { manifest: manifest(&inflated, Key::Stranger), ..evidence(7) };
    assert_refused!(verify(&bad), TrustError::ManifestSignature { .. });
    assert_eq!(floors.load(&fqrn()).unwrap().unwrap().seen.revision, 7);
}

#[test]
fn arbitrary_software_other_schemes_are_unsupported_not_skipped() {
    for scheme in ["Vpkcs7", "Wcachain"] {
        let text = whitelist_text(fqrn().as_str(), EXPIRY, &[PUBLISHER]);
        let (head, tail) = text.split_at(text.find("\nN").unwrap() + "\nN".len() + fqrn().as_str().len() + 1);
        let text = format!("{head}{scheme}\n{tail}");
        let bad = Evidence { whitelist: sealed(&text, |words| Key::Master.sign_bare(words)), ..evidence(7) };
        assert_refused!(verify(&bad), TrustError::WhitelistUnsupported(_));
        assert_refused!(Whitelist::parse(text.as_bytes()), TrustError::WhitelistUnsupported(_));
    }
}

// Wrong software

#[test]
fn wrong_software_other_repository() {
    let other = Fqrn::new("other.test.example").unwrap();
    let keys = master_keys(&[MASTER]);
    let good = evidence(7);
    let result = good.verify(&other, &keys, &Blacklist::default(), NOW);
    assert_refused!(result, TrustError::WhitelistName { .. });

    let mut renamed = fields(7);
    renamed.name = Some(other.to_string());
    let bad = Evidence { manifest: manifest(&renamed, Key::Publisher), ..good.clone() };
    assert_refused!(verify(&bad), TrustError::ManifestName { .. });

    let text = whitelist_text(other.as_str(), EXPIRY, &[PUBLISHER]);
    let foreign = Whitelist::parse(&sealed(&text, |words| Key::Master.sign_bare(words))).unwrap();
    let foreign = foreign.verify(&other, &keys, NOW).unwrap();
    let certificate = Certificate::parse(&good.certificate).unwrap();
    let result =
        Manifest::parse(&good.manifest).unwrap().verify(&fqrn(), &certificate, &foreign, &Blacklist::default(), NOW);
    assert_refused!(result, TrustError::WhitelistName { .. });
}

#[test]
fn wrong_software_without_a_name() {
    let mut nameless = fields(7);
    nameless.name = None;
    let bad = Evidence { manifest: manifest(&nameless, Key::Publisher), ..evidence(7) };
    assert_refused!(verify(&bad), TrustError::IncompleteManifest('N'));
}

#[test]
fn wrong_software_a_nested_catalog_as_root() {
    let mut nested = fields(7);
    nested.root_path = "0123456789abcdef0123456789abcdef".to_owned();
    let bad = Evidence { manifest: manifest(&nested, Key::Publisher), ..evidence(7) };
    assert_refused!(verify(&bad), TrustError::ManifestRootPath { .. });
}

// Endless data

#[test]
fn endless_data_letters_stop_at_their_limit() {
    let long = vec![b'x'; LETTER_LIMIT + 1];
    assert_refused!(Manifest::parse(&long), TrustError::TooLong(LetterKind::Manifest));
    assert_refused!(Whitelist::parse(&long), TrustError::TooLong(LetterKind::Whitelist));
    assert_refused!(Certificate::parse(&long), TrustError::MalformedCertificate(_));
    let mut body = SmallBody::new("manifest of unit.test.example", LETTER_LIMIT);
    let accepted = (0..1000).take_while(|_| body.receive(&[0; 4096]).is_ok()).count();
    assert_eq!(accepted, LETTER_LIMIT / 4096);
}

// Rollback

fn seen(revision: u64) -> (tempfile::TempDir, Floors) {
    let dir = tempfile::tempdir().unwrap();
    let floors = Floors::new(dir.path().join("trust"));
    let verified = verify(&evidence(revision)).unwrap();
    assert_eq!(floors.check(&verified, &Blacklist::default()).unwrap(), Verdict::First);
    floors.record(&verified, &Blacklist::default()).unwrap();
    (dir, floors)
}

#[test]
fn rollback_older_revision() {
    let (_dir, floors) = seen(7);
    let older = verify(&evidence(6)).unwrap();
    let Err(TrustError::Rollback { have, offered, .. }) = floors.check(&older, &Blacklist::default()) else {
        panic!("a rollback went unnoticed");
    };
    assert_eq!((have.revision, offered.revision), (7, 6));
    let (same, newer) = (verify(&evidence(7)).unwrap(), verify(&evidence(8)).unwrap());
    assert_eq!(floors.check(&same, &Blacklist::default()).unwrap(), Verdict::Unchanged);
    assert!(matches!(floors.check(&newer, &Blacklist::default()), Ok(Verdict::Newer { than }) if than.seen == have));
}

#[test]
fn rollback_older_time_of_publication() {
    let (_dir, floors) = seen(7);
    for timestamp in [None, Some(1), Some(NOW - 86400 + 60 * 7 - 1)] {
        let fields = ManifestFields { timestamp, ..fields(8) };
        let older = verify(&Evidence { manifest: manifest(&fields, Key::Publisher), ..evidence(8) }).unwrap();
        assert_refused!(floors.check(&older, &Blacklist::default()), TrustError::Rollback { .. });
    }
}

#[test]
fn rollback_same_revision_with_another_root_hash_is_equivocation() {
    let (_dir, floors) = seen(7);
    let fields = ManifestFields { root_catalog: root(99), ..fields(7) };
    let other = verify(&Evidence { manifest: manifest(&fields, Key::Publisher), ..evidence(7) }).unwrap();
    assert_refused!(floors.check(&other, &Blacklist::default()), TrustError::Equivocation { revision: 7, .. });
    assert_refused!(floors.record(&other, &Blacklist::default()), TrustError::Equivocation { .. });
    assert_eq!(floors.load(&fqrn()).unwrap().unwrap().root_catalog, root(8));
}

#[test]
fn rollback_memory_is_monotone() {
    let (_dir, floors) = seen(7);
    floors.record(&verify(&evidence(6)).unwrap(), &Blacklist::default()).unwrap();
    assert_eq!(floors.load(&fqrn()).unwrap().unwrap().seen.revision, 7);
    floors.record(&verify(&evidence(9)).unwrap(), &Blacklist::default()).unwrap();
    assert_eq!(floors.load(&fqrn()).unwrap().unwrap().seen.revision, 9);
}

#[test]
fn rollback_memory_is_written_by_one_process_at_a_time() {
    let (dir, floors) = seen(7);
    let newer = verify(&evidence(8)).unwrap();
    let revision = || floors.load(&fqrn()).unwrap().unwrap().seen.revision;
    let lock = std::fs::File::open(dir.path().join("trust/.lock")).unwrap();
    // SAFETY: the descriptor is open; flock touches no memory.
    assert_eq!(unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) }, 0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| floors.record(&newer, &Blacklist::default()).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!(revision(), 7);
        drop(lock);
        writer.join().unwrap();
        assert_eq!(revision(), 8);
    });
}

#[test]
fn rollback_with_an_empty_memory_is_caught_by_the_minimum_revision() {
    let dir = tempfile::tempdir().unwrap();
    let floors = Floors::new(dir.path()).with_minimum_revision(Some(7));
    let (older, exact) = (verify(&evidence(6)).unwrap(), verify(&evidence(7)).unwrap());
    assert_refused!(floors.check(&older, &Blacklist::default()), TrustError::BelowMinimum { minimum: 7, .. });
    assert_eq!(floors.check(&exact, &Blacklist::default()).unwrap(), Verdict::First);
}

#[test]
fn rollback_by_a_former_certificate_that_is_still_listed() {
    let both = whitelist("20270301000000", &[PUBLISHER, SUCCESSOR]);
    let dir = tempfile::tempdir().unwrap();
    let floors = Floors::new(dir.path());
    let current = Evidence {
        manifest: manifest(&fields(7), Key::Successor),
        certificate: SUCCESSOR.as_bytes().to_vec(),
        whitelist: both.clone(),
    };
    floors.record(&verify(&current).unwrap(), &Blacklist::default()).unwrap();
    let former = verify(&Evidence { whitelist: both, ..evidence(6) }).unwrap();
    assert_refused!(floors.check(&former, &Blacklist::default()), TrustError::Rollback { .. });
    // Nor does it help to replay a whitelist from before the change, which lists the former certificate alone.
    let replayed = verify(&evidence(6)).unwrap();
    assert_refused!(floors.check(&replayed, &Blacklist::default()), TrustError::Rollback { .. });
}

// Indefinite freeze

#[test]
fn indefinite_freeze_shows_as_age() {
    let verified = verify(&evidence(7)).unwrap();
    let published = NOW - 86400 + 60 * 7;
    assert_eq!(verified.age(NOW), Some(86400 - 420));
    assert_eq!(verified.age(published - 5), Some(-5));
    let undated = ManifestFields { timestamp: None, ..fields(7) };
    let undated = verify(&Evidence { manifest: manifest(&undated, Key::Publisher), ..evidence(7) }).unwrap();
    assert_eq!(undated.age(NOW), None);
}

#[test]
fn indefinite_freeze_ends_when_the_whitelist_expires() {
    // NOW is 08:00:00; minutes and seconds of an expiry do not count, and the clock must be strictly before it.
    for (expiry, accepted) in [("20270115090000", true), ("20270115085959", false), ("20270115080000", false)] {
        let evidence = Evidence { whitelist: whitelist(expiry, &[PUBLISHER]), ..evidence(7) };
        match verify(&evidence) {
            Ok(_) => assert!(accepted, "{expiry}"),
            Err(error) => assert!(!accepted && matches!(error, TrustError::WhitelistExpired { .. }), "{error}"),
        }
    }
}

#[test]
fn indefinite_freeze_is_not_prolonged_by_a_whitelist_verified_long_ago() {
    let good = evidence(7);
    let whitelist = Whitelist::parse(&good.whitelist).unwrap().verify(&fqrn(), &master_keys(&[MASTER]), NOW).unwrap();
    let certificate = Certificate::parse(&good.certificate).unwrap();
    let manifest = Manifest::parse(&good.manifest).unwrap();
    let result = manifest.verify(&fqrn(), &certificate, &whitelist, &Blacklist::default(), whitelist.expires());
    assert_refused!(result, TrustError::WhitelistExpired { .. });
}

// Fast-forward

fn fast_forwarded() -> (tempfile::TempDir, Floors) {
    let dir = tempfile::tempdir().unwrap();
    let floors = Floors::new(dir.path());
    let fields = ManifestFields { revision: u64::MAX, timestamp: Some(u64::MAX), ..fields(7) };
    let evidence = Evidence { manifest: manifest(&fields, Key::Publisher), ..evidence(7) };
    floors.record(&verify(&evidence).unwrap(), &Blacklist::default()).unwrap();
    (dir, floors)
}

/// After the key was stolen and replaced.
fn replaced(expiry: &str) -> VerifiedManifest {
    let evidence = Evidence {
        manifest: manifest(&fields(8), Key::Successor),
        certificate: SUCCESSOR.as_bytes().to_vec(),
        whitelist: whitelist(expiry, &[SUCCESSOR]),
    };
    verify(&evidence).unwrap()
}

#[test]
fn fast_forward_is_undone_by_a_newer_whitelist_without_the_certificate() {
    let (_dir, floors) = fast_forwarded();
    let blacklist = Blacklist::default();
    assert_refused!(floors.check(&replaced(EXPIRY), &blacklist), TrustError::Rollback { .. });
    let recovered = replaced("20270301000000");
    assert!(matches!(floors.check(&recovered, &blacklist), Ok(Verdict::Recovered { .. })));
    floors.record(&recovered, &blacklist).unwrap();
    assert_eq!(floors.check(&recovered, &blacklist).unwrap(), Verdict::Unchanged);
}

#[test]
fn fast_forward_is_undone_by_blacklisting_the_certificate() {
    let (_dir, floors) = fast_forwarded();
    assert!(matches!(floors.check(&replaced(EXPIRY), &blacklist_of(PUBLISHER)), Ok(Verdict::Recovered { .. })));
}

#[test]
fn fast_forward_is_undone_by_hand() {
    let (_dir, floors) = fast_forwarded();
    floors.forget(&fqrn()).unwrap();
    assert_eq!(floors.check(&replaced(EXPIRY), &Blacklist::default()).unwrap(), Verdict::First);
    floors.forget(&fqrn()).unwrap();
}

#[test]
fn fast_forward_beyond_64_bits_is_malformed() {
    let text = fields(7).to_text().replace("\nS7\n", "\nS18446744073709551616\n");
    let bad = Evidence { manifest: sealed(&text, |words| Key::Publisher.sign_digest(words)), ..evidence(7) };
    assert_refused!(verify(&bad), TrustError::ManifestField { field: 'S', .. });
}

// Key compromise

#[test]
fn key_compromise_blacklisted_certificate() {
    let result = evidence(7).verify(&fqrn(), &master_keys(&[MASTER]), &blacklist_of(PUBLISHER), NOW);
    assert_refused!(result, TrustError::CertificateBlacklisted { .. });
    assert!(evidence(7).verify(&fqrn(), &master_keys(&[MASTER]), &blacklist_of(SUCCESSOR), NOW).is_ok());
}

#[test]
fn key_compromise_blacklisted_revision() {
    let blacklist = Blacklist::parse(b"<unit.test.example 7\n<other.test.example 100\n");
    let with = |revision| evidence(revision).verify(&fqrn(), &master_keys(&[MASTER]), &blacklist, NOW);
    assert_refused!(with(6), TrustError::RevisionBlacklisted { revision: 6, minimum: 7, .. });
    assert!(with(7).is_ok());
}

// Hash weakness

#[test]
fn hash_weakness_a_letter_may_not_name_md5_or_an_unknown_algorithm() {
    let text = fields(7).to_text();
    for words in ["d41d8cd98f00b204e9800998ecf8427e", "2a695360ba25033e8899486a62c9dc7316650b56-sha256", ""] {
        let mut bad = format!("{text}--\n{words}\n").into_bytes();
        bad.extend(Key::Publisher.sign_digest(words.as_bytes()));
        assert_refused!(Manifest::parse(&bad), TrustError::HashLine { .. });
    }
}

#[test]
fn hash_weakness_other_algorithms_are_accepted_everywhere() {
    for algorithm in [Algorithm::Rmd160, Algorithm::Shake128] {
        let identity = *Certificate::parse(PUBLISHER.as_bytes()).unwrap().identity();
        let listed = if algorithm == Algorithm::Rmd160 { identity.rmd160 } else { identity.shake128 };
        let seal_with = |text: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
            seal(text.as_bytes(), algorithm, |words| Ok::<_, std::convert::Infallible>(sign(words))).unwrap()
        };
        let text = format!("{}{listed}\n", whitelist_text(fqrn().as_str(), EXPIRY, &[]));
        let evidence = Evidence {
            manifest: seal_with(&fields(7).to_text(), &|words| Key::Publisher.sign_digest(words)),
            whitelist: seal_with(&text, &|words| Key::Master.sign_bare(words)),
            ..evidence(7)
        };
        verify(&evidence).unwrap();
    }
}

// Bogus clock

#[test]
fn bogus_clock_of_1970_is_moved_up_to_what_was_seen() {
    let (_dir, floors) = seen(7);
    let floor = floors.load(&fqrn()).unwrap().unwrap();
    let stale = Evidence { whitelist: whitelist("20270114000000", &[PUBLISHER]), ..evidence(7) };
    let keys = master_keys(&[MASTER]);
    assert!(stale.verify(&fqrn(), &keys, &Blacklist::default(), 0).is_ok(), "this is what the memory is for");
    let result = stale.verify(&fqrn(), &keys, &Blacklist::default(), floor.plausible_now(0));
    assert_refused!(result, TrustError::WhitelistExpired { .. });
    assert_eq!(floor.plausible_now(NOW), NOW);
}

#[test]
fn bogus_clock_of_2100_refuses_and_says_so() {
    let year_2100 = 4_102_444_800;
    let error = evidence(7).verify(&fqrn(), &master_keys(&[MASTER]), &Blacklist::default(), year_2100).unwrap_err();
    assert!(error.to_string().contains("clock 4102444800"), "{error}");
}

// Unrecoverable state

#[test]
fn unrecoverable_state_no_failed_round_changes_the_next_one() {
    let (_dir, floors) = seen(7);
    let good = evidence(8);
    let mut rounds = vec![
        Evidence { manifest: Vec::new(), ..good.clone() },
        Evidence { certificate: b"<html>".to_vec(), ..good.clone() },
        Evidence { whitelist: whitelist("20200101000000", &[PUBLISHER]), ..good.clone() },
        Evidence { manifest: manifest(&fields(200), Key::Stranger), ..good.clone() },
    ];
    rounds.push(evidence(6));
    for round in rounds {
        let outcome = verify(&round).and_then(|manifest| floors.check(&manifest, &Blacklist::default()));
        assert!(outcome.is_err());
        let unchanged = verify(&evidence(7)).unwrap();
        assert_eq!(floors.check(&unchanged, &Blacklist::default()).unwrap(), Verdict::Unchanged);
    }
    assert!(matches!(floors.check(&verify(&good).unwrap(), &Blacklist::default()), Ok(Verdict::Newer { .. })));
}

#[test]
fn unrecoverable_state_a_damaged_memory_is_reported_and_overcome() {
    let (dir, floors) = seen(7);
    let path = dir.path().join("trust/unit.test.example.json");
    let whole = std::fs::read_to_string(&path).unwrap();
    for damaged in ["", "{}", &whole[..whole.len() / 2], &whole.replace("unit.test", "other.test")] {
        std::fs::write(&path, damaged).unwrap();
        assert_refused!(floors.load(&fqrn()), TrustError::MemoryDamaged { .. });
        let verified = verify(&evidence(6)).unwrap();
        assert_eq!(floors.check(&verified, &Blacklist::default()).unwrap(), Verdict::First);
        floors.record(&verified, &Blacklist::default()).unwrap();
        assert_eq!(floors.load(&fqrn()).unwrap().unwrap().seen.revision, 6);
    }
}

#[test]
fn unrecoverable_state_an_unwritable_memory_is_an_error_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let floors = Floors::new(file.join("below"));
    assert_refused!(floors.record(&verify(&evidence(7)).unwrap(), &Blacklist::default()), TrustError::Memory { .. });
}

proptest! {
    #[test]
    fn parsers_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        which in 0..3usize,
    ) {
        static GOOD: std::sync::LazyLock<Evidence> = std::sync::LazyLock::new(|| evidence(7));
        let good = GOOD.clone();
        let mut spoilt = [good.manifest, good.whitelist, good.certificate][which].clone();
        let at = at.index(spoilt.len());
        let end = (at + bytes.len() / 2).min(spoilt.len());
        spoilt.splice(at..end, bytes.iter().copied());
        for bytes in [&bytes, &spoilt] {
            let _ = Manifest::parse(bytes);
            let _ = Whitelist::parse(bytes);
            let _ = Certificate::parse(bytes);
            let _ = Blacklist::parse(bytes);
            let _ = Fingerprint::parse(bytes);
            let _ = MasterKeys::default().add("x", bytes);
        }
    }
}
