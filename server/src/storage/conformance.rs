//! What every storage must do, as a check that any implementation can be put through.

use super::{Body, Put, Storage, StorageError, read_small};
use libcvmfs::hash::{Algorithm, Hasher};
use libcvmfs::object::{ObjectKind, ObjectName};
use std::collections::BTreeSet;
use std::io::Write as _;

/// Puts an empty storage through all its duties.
///
/// # Panics
/// When it fails one of them.
pub fn check(storage: &dyn Storage) {
    if let Err(error) = objects(storage).and_then(|()| pointers(storage)).and_then(|()| locks(storage)) {
        panic!("{}: {error}", storage.describe());
    }
}

fn name(bytes: &[u8], kind: ObjectKind) -> ObjectName {
    ObjectName::new(Hasher::hash(Algorithm::Shake128, bytes), kind)
}

fn objects(storage: &dyn Storage) -> Result<(), StorageError> {
    let large = vec![7_u8; 3 << 20];
    let small = name(b"small", ObjectKind::File);
    let staged = name(&large, ObjectKind::Partial);
    assert_eq!(storage.put_object(&small, Body::Bytes(b"small".to_vec()))?, Put::New);
    assert_eq!(storage.put_object(&small, Body::Bytes(b"small".to_vec()))?, Put::Known);
    let mut file = storage.staging()?;
    file.write_all(&large).map_err(|source| StorageError::io("staging", source))?;
    assert_eq!(storage.put_object(&staged, Body::File(file))?, Put::New);
    storage.sync()?;
    let path = super::object_path(&staged);
    assert_eq!(storage.size(&path)?, Some(large.len() as u64));
    assert_eq!(read_small(storage, &path, 4 << 20)?.as_deref(), Some(&large[..]));
    assert!(matches!(read_small(storage, &path, 1 << 20), Err(StorageError::TooLarge { .. })));
    // The same hash as another kind of object is another object.
    let missing = ObjectName::new(small.hash, ObjectKind::Catalog);
    assert_eq!(storage.size(&super::object_path(&missing))?, None);
    assert_eq!(read_small(storage, &super::object_path(&missing), 1)?, None);

    let mut listed = BTreeSet::new();
    storage.list("data/", &mut |file| assert!(listed.insert((file.path, file.size))))?;
    let expected = [(super::object_path(&small), 5), (path.clone(), large.len() as u64)];
    assert_eq!(listed, BTreeSet::from(expected), "temporary files are not listed");
    let mut count = 0;
    storage.list(&path[..8], &mut |file| count += usize::from(file.path == path))?;
    assert_eq!(count, 1, "a prefix may end anywhere");
    assert!(storage.delete(&path)? && !storage.delete(&path)?);
    assert_eq!(storage.size(&path)?, None);
    Ok(())
}

fn pointers(storage: &dyn Storage) -> Result<(), StorageError> {
    for content in [&b"first"[..], b"second, longer", b""] {
        storage.put_pointer(".cvmfspublished", content)?;
        assert_eq!(read_small(storage, ".cvmfspublished", 100)?.as_deref(), Some(content));
    }
    let made = std::thread::scope(|scope| {
        let tries = (0..8_u8).map(|number| scope.spawn(move || storage.create("one", &[number])));
        tries.collect::<Vec<_>>().into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    let made: Vec<bool> = made.into_iter().map(|result| result.expect("no panic")).collect::<Result<_, _>>()?;
    let winners: Vec<usize> = (0..8).filter(|number| made[*number]).collect();
    assert_eq!(winners.len(), 1, "of several that create a file one succeeds");
    assert_eq!(read_small(storage, "one", 100)?, Some(vec![winners[0] as u8]));
    assert!(storage.delete("one")?);
    Ok(())
}

fn locks(storage: &dyn Storage) -> Result<(), StorageError> {
    let lock = storage.lock("the first")?;
    match storage.lock("the second") {
        Err(StorageError::Locked { owner, .. }) => assert!(owner.contains("the first"), "{owner}"),
        Err(error) => return Err(error),
        Ok(_) => panic!("two publishers at once"),
    }
    drop(lock);
    storage.lock("the second").map(drop)
}
