//! The packed form of extended attributes, as catalogs store it.
//!
//! A version byte (1), the number of attributes, then for each one byte with the length of its key, one with the
//! length of its value, the key and the value.

/// Splits a blob into its attributes, in stored order; `None` if the blob is not well-formed throughout. What follows
/// the last attribute is ignored.
pub fn unpack(blob: &[u8]) -> Option<Xattrs<'_>> {
    let (&version, rest) = blob.split_first()?;
    let (&count, rest) = rest.split_first()?;
    if version != 1 {
        return None;
    }
    let all = Xattrs { rest, left: count };
    let mut check = all;
    while check.left > 0 {
        check.next()?;
    }
    Some(all)
}

/// Iterates over extended attributes: key and value.
#[derive(Debug, Clone, Copy, Default)]
pub struct Xattrs<'a> {
    rest: &'a [u8],
    left: u8,
}

impl<'a> Xattrs<'a> {
    /// The value of the attribute `key`.
    pub fn get(mut self, key: &[u8]) -> Option<&'a [u8]> {
        self.find(|(candidate, _)| *candidate == key).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Xattrs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (&key_len, rest) = self.rest.split_first()?;
        let (&value_len, rest) = rest.split_first()?;
        if key_len == 0 {
            return None;
        }
        let (key, rest) = rest.split_at_checked(usize::from(key_len))?;
        let (value, rest) = rest.split_at_checked(usize::from(value_len))?;
        self.rest = rest;
        Some((key, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(usize::from(self.left)))
    }
}
