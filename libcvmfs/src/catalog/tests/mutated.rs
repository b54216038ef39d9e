//! Damaged images, and trees of random shape.

use super::*;
use cvmfs_index::format::{HEADER_LEN, Header, encode_header};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Calls everything that reads an image.
fn exercise(index: &Index<'_>) {
    let _ = (index.verify_checksum(), index.catalog(), index.root_prefix(), index.membership(), index.branch());
    let _ = (index.counters(), index.ttl(), index.revision(), index.last_modified(), index.is_volatile());
    let mut buffer = [0; 4096];
    for entry in index.entries() {
        let _ = (entry.kind(), entry.size(), entry.rdev(), entry.damage().map(Damage::reason), entry.content());
        let _ = (entry.symlink_target(), entry.xattrs().count(), entry.mtime_nanos(), compression(&entry));
        assert_ne!(entry.ino(), 0);
        if let Some(path) = entry.path(&mut buffer) {
            let path = path.to_vec();
            if let Some(found) = index.find(&path) {
                // Whatever the damage, what is found lies at the path that was looked for.
                assert_eq!(found.path(&mut buffer), Some(&path[..]));
            }
        }
        for child in entry.children().iter() {
            assert_eq!(child.parent(), Some(entry));
            let _ = entry.child(child.name());
            let _ = entry.child_hashed(index.hasher(), child.name());
        }
        assert!(entry.chunks().iter().count() <= image_room(index));
        let _ = entry.nested().map(|n| (n.path().len(), n.catalog(), n.size(), n.kind(), n.mount_point().is_some()));
    }
    assert!(index.all_nested().count() <= image_room(index));
    let _ = index.find(b"/a/b/c/d/e/f/g/h");
}

fn image_room(index: &Index<'_>) -> usize {
    index.image_len()
}

fn image() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let forge = Forge::new();
        for directory in ["/d", "/d/e", "/d/e/f"] {
            forge.directory(directory);
            for file in 0..5 {
                forge.file(&format!("{directory}/file{file}"));
            }
        }
        forge.row(b"/chunked", 0o100644, 0x44, Some(10.into()), None).chunk("/chunked", 0, 4).chunk("/chunked", 4, 6);
        forge.row(b"/n", 0o40755, 3, None, None);
        forge.file("/link").set("/link", "mode = 0xa1ff, symlink = 'target'");
        forge.set("/d", "xattr = x'010101016b76'");
        forge.sql("INSERT INTO nested_catalogs VALUES ('/n', '2a695360ba25033e8899486a62c9dc7316650b56', 1)");
        let (image, report) = forge.build();
        assert!(report.is_clean(), "{report}");
        image
    })
}

/// Makes the header's own checksum right again, so that the damage gets past the door.
fn reseal(image: &mut [u8]) {
    let header = Header::decode(image.first_chunk().unwrap());
    let counters = std::array::from_fn(|number| {
        let at = Header::LEN + 8 * number;
        i64::from_le_bytes(*image[at..].first_chunk().unwrap())
    });
    let sealed = encode_header(&header, &counters);
    image[..HEADER_LEN].copy_from_slice(&sealed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_damage_makes_the_reader_panic_or_run_forever(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
        shorten in prop::bool::weighted(0.1),
    ) {
        let mut bytes = image().to_vec();
        for (place, value) in &changes {
            let at = place.index(bytes.len());
            bytes[at] = *value;
        }
        if Index::open_any(&bytes).is_ok() {
            let sealed = bytes.clone();
            exercise(&Index::open_any(&sealed).unwrap());
        }
        reseal(&mut bytes);
        if shorten {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(index) = Index::open_any(&bytes) {
            exercise(&index);
        }
    }

    #[test]
    fn words_of_the_sections_may_hold_anything(
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![Just(0u32), Just(1), Just(u32::MAX), 0u32..64, any::<u32>()]), 1..30),
    ) {
        let mut bytes = image().to_vec();
        for (place, value) in &changes {
            let at = HEADER_LEN + 4 * place.index((bytes.len() - HEADER_LEN) / 4);
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        exercise(&Index::open_any(&bytes).unwrap());
    }

    #[test]
    fn any_bytes_may_claim_to_be_an_image(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        if let Ok(index) = Index::open_any(&bytes) {
            exercise(&index);
        }
    }
}

#[test]
fn every_single_bit_is_covered_by_a_checksum() {
    let good = image();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let sound = Index::open(&bytes, &digest(&some_hash())).and_then(|index| index.verify_checksum());
        assert!(sound.is_err(), "bit {bit} is not covered");
    }
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("not a separator", |b| *b != b'/' && *b != 0);
    prop_oneof![
        prop::collection::vec(prop::sample::select(&b"ab"[..]), 1..3),
        prop::collection::vec(byte, 1..40).prop_filter("not a dot", |n| n != b"." && n != b".."),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_tree_of_any_shape_is_found_again(
        shape in prop::collection::vec((any::<prop::sample::Index>(), name(), any::<bool>()), 0..120),
        missing in prop::collection::vec(prop::collection::vec(name(), 1..5), 0..20),
    ) {
        let mut directories = vec![Vec::new()];
        let mut model: BTreeMap<Vec<u8>, bool> = BTreeMap::from([(Vec::new(), true)]);
        for (place, name, is_directory) in shape {
            let path = [&directories[place.index(directories.len())][..], b"/", &name].concat();
            if model.contains_key(&path) {
                continue;
            }
            if is_directory {
                directories.push(path.clone());
            }
            model.insert(path, is_directory);
        }
        let forge = Forge::without_root();
        forge.sql("BEGIN");
        // Not in the order of the tree.
        for (path, is_directory) in model.iter().rev() {
            let mode = if *is_directory { 0o40755 } else { 0o100644 };
            forge.row(path, mode, 0, Some(10.into()), Some(vec![7; 20]));
        }
        forge.sql("COMMIT");
        let (image, report) = forge.build();
        prop_assert!(report.is_clean(), "{}", report);
        let index = open(&image);
        prop_assert_eq!(index.entry_count() as usize, model.len());
        for (path, is_directory) in &model {
            let entry = index.find(path).expect("it was put in");
            prop_assert_eq!(path_of(&entry), path.clone());
            prop_assert_eq!(entry.is_directory(), *is_directory);
        }
        for names in missing {
            let path = names.iter().fold(Vec::new(), |path, name| [&path[..], b"/", name].concat());
            prop_assert_eq!(index.find(&path).is_some(), model.contains_key(&path));
        }
    }
}
