//! The packed form of extended attributes, strictly read and written.
//!
//! Form: a version byte (1), the number of attributes, then for each the lengths of key and value in one byte each,
//! the key and the value.

pub use cvmfs_index::xattr::{Xattrs, unpack};

use crate::error::{Origin, Retry};
use thiserror::Error;

/// Why attributes cannot be packed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum XattrError {
    /// More than 255 attributes.
    #[error("{0} extended attributes, at most 255 can be stored")]
    TooMany(usize),
    /// A key is empty or longer than 255 bytes.
    #[error("extended attribute name of {0} bytes, allowed are 1 to 255")]
    Key(usize),
    /// A value is longer than 255 bytes.
    #[error("extended attribute value of {0} bytes, at most 255 can be stored")]
    Value(usize),
}

impl XattrError {
    /// Who failed.
    pub fn origin(&self) -> Origin {
        Origin::Content
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        Retry::Never
    }
}

/// Packs attributes in the order given; no attributes give an empty blob.
pub fn pack<'a>(attributes: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Vec<u8>, XattrError> {
    let mut body = Vec::new();
    let mut count = 0usize;
    for (key, value) in attributes {
        let key_len = u8::try_from(key.len()).ok().filter(|&len| len > 0).ok_or(XattrError::Key(key.len()))?;
        let value_len = u8::try_from(value.len()).map_err(|_| XattrError::Value(value.len()))?;
        body.extend_from_slice(&[key_len, value_len]);
        body.extend_from_slice(key);
        body.extend_from_slice(value);
        count += 1;
    }
    match u8::try_from(count) {
        Ok(0) => Ok(Vec::new()),
        Ok(number) => Ok([&[1, number], body.as_slice()].concat()),
        Err(_) => Err(XattrError::TooMany(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packing_and_unpacking_are_inverse(
            all in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 1..256), prop::collection::vec(any::<u8>(), 0..256)), 1..256),
        ) {
            let blob = pack(all.iter().map(|(k, v)| (k.as_slice(), v.as_slice()))).unwrap();
            let back: Vec<_> = unpack(&blob).unwrap().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
            prop_assert_eq!(&back, &all);
            for cut in [0, 1, blob.len() / 2, blob.len() - 1] {
                prop_assert!(unpack(&blob[..cut]).is_none(), "{} of {} bytes pass", cut, blob.len());
            }
        }

        #[test]
        fn no_blob_is_too_strange(blob in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Some(all) = unpack(&blob) {
                prop_assert_eq!(all.count(), usize::from(blob[1]));
            }
        }
    }

    #[test]
    fn malformed_blobs_are_refused_whole() {
        for bad in [
            &b""[..],
            b"\x01",
            b"\x02\x01\x01\x01kv",
            b"\x01\x01\x00\x01v",
            b"\x01\x02\x01\x01kv",
            b"\x01\x01\x02\x01kv",
        ] {
            assert!(unpack(bad).is_none(), "{bad:?}");
        }
        assert_eq!(unpack(b"\x01\x01\x01\x01kvrest").unwrap().get(b"k"), Some(&b"v"[..]));
        assert_eq!(unpack(b"\x01\x00").unwrap().count(), 0);
    }

    #[test]
    fn what_does_not_fit_one_byte_is_not_packed() {
        let long = vec![b'x'; 256];
        assert_eq!(pack([(&b""[..], &b""[..])]), Err(XattrError::Key(0)));
        assert_eq!(pack([(long.as_slice(), &b""[..])]), Err(XattrError::Key(256)));
        assert_eq!(pack([(&b"k"[..], long.as_slice())]), Err(XattrError::Value(256)));
        assert_eq!(pack(std::iter::repeat_n((&b"k"[..], &b"v"[..]), 256)), Err(XattrError::TooMany(256)));
    }
}
