use super::*;
use crate::hash::{Algorithm, ContentHash};
use crate::object::ObjectKind;
use proptest::prelude::*;

const ALGORITHMS: [Algorithm; 3] = [Algorithm::Sha1, Algorithm::Rmd160, Algorithm::Shake128];
const COMPRESSIONS: [Compression; 2] = [Compression::Zlib, Compression::None];

fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut stored = vec![0; plain.len() + plain.len() / 1000 + 128];
    let mut deflate = zlib_rs::Deflate::new(6, true, 15);
    let status = deflate.compress(plain, &mut stored, zlib_rs::DeflateFlush::Finish).unwrap();
    assert_eq!(status, zlib_rs::Status::StreamEnd);
    stored.truncate(deflate.total_out() as usize);
    stored
}

fn store(plain: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::Zlib => deflate(plain),
        Compression::None => plain.to_vec(),
    }
}

fn name_of(stored: &[u8], algorithm: Algorithm) -> ObjectName {
    ObjectName::new(Hasher::hash(algorithm, stored), ObjectKind::File)
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = |state: &mut u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state as u8
    };
    (0..len).map(|_| step(&mut state)).collect()
}

/// Sends `stored` in pieces of the given sizes (repeated) and returns the plain bytes.
fn send(expected: Expected, stored: &[u8], pieces: &[usize]) -> Result<Vec<u8>, ReceiveError> {
    let alone = {
        let mut decoder = Decoder::new(expected, Vec::new());
        send_to(&mut decoder, stored, pieces).and_then(|()| decoder.into_output())
    };
    let threaded = std::thread::scope(|scope| {
        let mut decoder = Decoder::threaded(scope, expected, Vec::new());
        send_to(&mut decoder, stored, pieces).and_then(|()| decoder.into_output())
    });
    assert!(alone.as_ref().ok() == threaded.as_ref().ok(), "the thread makes a difference");
    threaded
}

fn send_to<W: Output>(decoder: &mut Decoder<'_, W>, mut stored: &[u8], pieces: &[usize]) -> Result<(), ReceiveError> {
    for size in pieces.iter().cycle() {
        let (now, later) = stored.split_at(stored.len().min((*size).max(1)));
        decoder.receive(now)?;
        stored = later;
        if stored.is_empty() {
            break;
        }
    }
    decoder.complete()
}

fn refusal(result: Result<Vec<u8>, ReceiveError>) -> String {
    match result {
        Err(ReceiveError::Corrupt(reason)) => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn every_algorithm_and_compression_round_trips() {
    for plain in [Vec::new(), b"abc".to_vec(), vec![7; 300_000], noise(300_000), noise(2_000_000)] {
        for algorithm in ALGORITHMS {
            for compression in COMPRESSIONS {
                let stored = store(&plain, compression);
                let expected = Expected::sized(name_of(&stored, algorithm), compression, plain.len() as u64);
                let received = send(expected, &stored, &[64 << 10]).unwrap();
                assert!(received == plain, "{algorithm:?} {compression:?} {}", plain.len());
            }
        }
    }
}

#[test]
fn a_zip_bomb_ends_at_the_announced_size() {
    let stored = deflate(&vec![0; 20 << 20]);
    let name = name_of(&stored, Algorithm::Sha1);
    let mut decoder = Decoder::new(Expected::sized(name, Compression::Zlib, 20_000), Vec::new());
    decoder.expected.stored_limit = u64::MAX;
    assert!(refusal(decoder.receive(&stored).map(|()| Vec::new())).contains("more than the 20000 plain bytes"));
    let Stage::Here(unpacker) = decoder.stage else { panic!("a short object needs no thread") };
    assert_eq!(unpacker.plain, 20_001);
    assert!(unpacker.into_output().len() <= 20_000);
}

#[test]
fn endless_stored_bytes_end_at_the_limit() {
    // An endless row of empty blocks is a zlib stream that never holds a plain byte.
    let (zlib_header, empty_block) = ([0x78, 0x01], [0x00, 0x00, 0x00, 0xff, 0xff]);
    for compression in COMPRESSIONS {
        let expected = Expected::bounded(name_of(b"", Algorithm::Sha1), compression, 4096);
        let mut decoder = Decoder::new(expected, Vec::new());
        decoder.receive(&zlib_header).unwrap();
        let accepted = (0..1_000_000).take_while(|_| decoder.receive(&empty_block).is_ok()).count() as u64;
        assert_eq!(accepted, (expected.stored_limit - 2) / 5, "{compression:?}");
        assert!(expected.stored_limit <= 4096 + 4096 / 8 + 1024);
    }
}

#[test]
fn a_size_that_is_not_the_announced_one_is_refused() {
    for compression in COMPRESSIONS {
        let stored = store(&noise(1000), compression);
        for (announced, reason) in [(999, "more than"), (1001, "1000 plain bytes where 1001")] {
            let expected = Expected::sized(name_of(&stored, Algorithm::Sha1), compression, announced);
            assert!(refusal(send(expected, &stored, &[100])).contains(reason));
        }
    }
}

#[test]
fn bytes_after_the_zlib_stream_are_refused() {
    for size in [1000, 900_000] {
        let plain = noise(size);
        let mut stored = deflate(&plain);
        stored.push(0);
        let expected = Expected::bounded(name_of(&stored, Algorithm::Sha1), Compression::Zlib, 1 << 20);
        for pieces in [1 << 20, stored.len() - 1, 4096] {
            assert!(refusal(send(expected, &stored, &[pieces])).contains("after the end of its zlib stream"));
        }
    }
}

#[test]
fn an_unfinished_zlib_stream_is_refused() {
    let whole = deflate(&noise(900_000));
    for len in [0, 1, 2, 100, whole.len() - 4, whole.len() - 1] {
        let stored = &whole[..len];
        let expected = Expected::bounded(name_of(stored, Algorithm::Sha1), Compression::Zlib, 1 << 20);
        assert!(refusal(send(expected, stored, &[4096])).contains("inside its zlib stream"), "{len}");
    }
}

#[test]
fn zstd_is_named() {
    let stored = [0x28, 0xb5, 0x2f, 0xfd, 4, 0, 1, 0, 0];
    let expected = Expected::bounded(name_of(&stored, Algorithm::Sha1), Compression::Zlib, 100);
    for pieces in [1, 2, 9] {
        assert!(refusal(send(expected, &stored, &[pieces])).contains("zstd"));
    }
}

#[test]
fn nothing_is_handed_out_before_completion() {
    let stored = deflate(b"abc");
    let mut decoder =
        Decoder::new(Expected::sized(name_of(&stored, Algorithm::Sha1), Compression::Zlib, 3), Vec::new());
    decoder.receive(&stored).unwrap();
    assert!(decoder.into_output().is_err());
}

#[test]
fn a_refused_object_stays_refused_until_restarted() {
    for size in [100, 3 << 20] {
        let plain = noise(size);
        let stored = deflate(&plain);
        let expected = Expected::sized(name_of(&stored, Algorithm::Sha1), Compression::Zlib, size as u64);
        let mut broken = stored.clone();
        broken[20] ^= 1;
        std::thread::scope(|scope| {
            let mut decoder = Decoder::threaded(scope, expected, Vec::new());
            assert!(send_to(&mut decoder, &broken, &[100_000]).is_err());
            assert!(decoder.complete().is_err());
            decoder.restart().unwrap();
            assert!(send_to(&mut decoder, &stored[..stored.len() / 2], &[100_000]).is_err());
            decoder.restart().unwrap();
            send_to(&mut decoder, &stored, &[100_000]).unwrap();
            assert!(decoder.into_output().unwrap() == plain);
        });
    }
}

#[test]
fn the_thread_forgets_a_refusal_on_restart() {
    let plain = noise(3 << 20);
    let stored = deflate(&plain);
    let mut expected = Expected::sized(name_of(&stored, Algorithm::Sha1), Compression::Zlib, 3 << 20);
    expected.stored_limit = u64::MAX;
    std::thread::scope(|scope| {
        let mut decoder = Decoder::threaded(scope, expected, Vec::new());
        let longer = send_to(&mut decoder, &deflate(&noise(8 << 20)), &[100_000]);
        assert!(refusal(longer.map(|()| Vec::new())).contains("more than the 3145728 plain bytes"));
        assert!(matches!(decoder.stage, Stage::Threaded(_)));
        decoder.restart().unwrap();
        send_to(&mut decoder, &stored, &[100_000]).unwrap();
        assert!(decoder.into_output().unwrap() == plain);
    });
}

#[test]
fn a_failing_output_is_a_local_error_in_either_thread() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    impl Output for Full {
        fn reset(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    for size in [100, 3 << 20] {
        let stored = deflate(&noise(size));
        let expected = Expected::sized(name_of(&stored, Algorithm::Sha1), Compression::Zlib, size as u64);
        let result = std::thread::scope(|scope| {
            let mut decoder = Decoder::threaded(scope, expected, Full);
            stored.chunks(50_000).try_for_each(|piece| decoder.receive(piece)).and_then(|()| decoder.complete())
        });
        assert!(matches!(result, Err(ReceiveError::Local(e)) if e.kind() == std::io::ErrorKind::StorageFull));
    }
}

#[test]
fn what_follows_a_failed_write_is_whole() {
    struct OnceFull(Vec<u8>, bool);
    impl std::io::Write for OnceFull {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if std::mem::take(&mut self.1) {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            self.0.write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    impl Output for OnceFull {
        fn reset(&mut self) -> std::io::Result<()> {
            self.0.reset()
        }
    }
    for size in [300 << 10, 12 << 20] {
        let plain = noise(size);
        let stored = deflate(&plain);
        let expected = Expected::sized(name_of(&stored, Algorithm::Sha1), Compression::Zlib, size as u64);
        std::thread::scope(|scope| {
            let mut decoder = Decoder::threaded(scope, expected, OnceFull(Vec::new(), true));
            send_to(&mut decoder, &stored, &[50_000]).unwrap_err();
            decoder.restart().unwrap();
            send_to(&mut decoder, &stored, &[50_000]).unwrap();
            assert!(decoder.into_output().unwrap().0 == plain);
        });
    }
}

#[test]
fn a_file_restarts_empty() {
    let (long, short) = (deflate(&noise(2 << 20)), deflate(b"abc"));
    let expected = Expected::bounded(name_of(&short, Algorithm::Sha1), Compression::Zlib, 4 << 20);
    std::thread::scope(|scope| {
        let mut decoder = Decoder::threaded(scope, expected, tempfile::tempfile().unwrap());
        decoder.receive(&long).unwrap();
        decoder.restart().unwrap();
        decoder.receive(&short).unwrap();
        decoder.complete().unwrap();
        assert_eq!(decoder.into_output().unwrap().metadata().unwrap().len(), 3);
    });
}

#[test]
fn a_small_body_stops_at_its_limit() {
    let mut body = SmallBody::new("manifest of a.b", 10);
    body.receive(&[0; 10]).unwrap();
    assert!(body.receive(&[0]).is_err());
    body.restart().unwrap();
    body.receive(b"abc").unwrap();
    body.complete().unwrap();
    assert_eq!(body.into_bytes(), b"abc");
}

#[test]
fn any_flipped_bit_is_refused() {
    let plain = noise(200);
    for compression in COMPRESSIONS {
        let stored = store(&plain, compression);
        let expected = Expected::sized(name_of(&stored, Algorithm::Sha1), compression, 200);
        for bit in 0..stored.len() * 8 {
            let mut broken = stored.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            refusal(send(expected, &broken, &[64]));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pieces_do_not_matter(
        plain in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..2000),
            (0usize..3_000_000).prop_map(noise),
            (0usize..3_000_000).prop_map(|len| vec![b'x'; len]),
        ],
        pieces in prop::collection::vec(prop_oneof![1usize..100, 1000usize..700_000], 1..20),
        compression in prop::sample::select(COMPRESSIONS.to_vec()),
        damage in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut stored = store(&plain, compression);
        let expected = Expected::sized(name_of(&stored, Algorithm::Sha1), compression, plain.len() as u64);
        if let Some(at) = damage.filter(|_| !stored.is_empty()) {
            let at = at.index(stored.len());
            stored[at] ^= 0x10;
            prop_assert!(send(expected, &stored, &pieces).is_err());
        } else {
            prop_assert!(send(expected, &stored, &pieces).unwrap() == plain);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000), pieces in 1usize..500) {
        let name = ObjectName::new(ContentHash::new(Algorithm::Sha1, [1; 20]), ObjectKind::Partial);
        prop_assert!(send(Expected::bounded(name, Compression::Zlib, 100_000), &bytes, &[pieces]).is_err());
    }
}
