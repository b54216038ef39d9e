//! Virtual path to real name and back.

use libcvmfs::namespace::Node;

/// Stands for the root hash where there is none: above all repositories.
pub const TOP: &str = "top";

/// Ends a key under which there are changed copies of programs instead of their objects.
pub const COPIES: &str = ".x";

/// The name of the directory in the view for what `node` belongs to.
pub fn key(node: &Node) -> String {
    node.snapshot().map_or_else(|| TOP.to_owned(), |snapshot| snapshot.identity().root_hash.to_string())
}

/// The part of the view's name that comes before the virtual path: `/<key>`, and then the virtual path of `node`.
pub fn below_prefix(node: &Node) -> Vec<u8> {
    let (key, path) = (key(node), node.path());
    let mut name = Vec::with_capacity(1 + key.len() + path.len());
    name.push(b'/');
    name.extend_from_slice(key.as_bytes());
    name.extend_from_slice(&path);
    name
}

/// What a name in the view with this prefix stands for: the key, and the virtual path.
pub fn split<'n>(prefix: &[u8], name: &'n [u8]) -> Option<(&'n [u8], &'n [u8])> {
    let below = name.strip_prefix(prefix)?.strip_prefix(b"/")?;
    let slash = below.iter().position(|&b| b == b'/')?;
    let (key, path) = below.split_at(slash);
    // The kernel's mark of a name that was cleaned up while something still uses what it named.
    Some((key, path.strip_suffix(b" (deleted)").unwrap_or(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_key_and_path() {
        let split = |name: &'static str| split(b"/v", name.as_bytes());
        assert_eq!(split("/v/12ab/cvmfs/a.b/x"), Some((&b"12ab"[..], &b"/cvmfs/a.b/x"[..])));
        assert_eq!(split("/v/12ab/cvmfs/a.b/x (deleted)"), Some((&b"12ab"[..], &b"/cvmfs/a.b/x"[..])));
        assert_eq!(split("/v/12ab"), None);
        assert_eq!(split("/view/12ab/cvmfs"), None);
    }
}
