//! What the host has mounted.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// A mount of the host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// Where it lies.
    pub(crate) place: PathBuf,
    /// The type of its file system.
    pub(crate) kind: String,
}

/// All of them.
pub(crate) fn all() -> Vec<Mounted> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(parsed).collect()
}

/// Something that is mounted below this directory.
pub(crate) fn below(directory: &Path) -> Option<PathBuf> {
    all().into_iter().map(|mounted| mounted.place).find(|place| place != directory && place.starts_with(directory))
}

fn parsed(line: &str) -> Option<Mounted> {
    let (place, kind) = line.split_once(" - ")?;
    Some(Mounted { place: unescaped(place.split(' ').nth(4)?), kind: kind.split(' ').next()?.to_owned() })
}

/// The kernel writes blanks and the like as `\040`.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel() {
        let line = r"36 35 98:0 /mnt1 /mnt/a\040b\134c rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        assert_eq!(parsed(line), Some(Mounted { place: r"/mnt/a b\c".into(), kind: "ext3".to_owned() }));
        assert_eq!(parsed("36 35 98:0 / / rw - xfs /dev/root rw").unwrap().place, Path::new("/"));
        assert_eq!(parsed("nonsense"), None);
    }
}
