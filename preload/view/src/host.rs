//! Symbolic links of the host that lead into the tree.
//!
//! The kernel, which does not know the tree, says of such a path that it does not exist. Nobody else has to walk, so
//! this is asked only after that. It calls the kernel and not the C library, whose functions may be the ones that ask.

use rustix::fs::{Mode, OFlags};
use std::ffi::{CString, OsStr};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Links followed before giving up, as in the kernel.
const LINK_MAX: u32 = 40;

/// The path, below the tree by its spelling, to which the absolute native `path` leads; `None` if it leads nowhere.
/// `ours` tells the tree's paths. Where `last` is false, a link in the last place is not followed.
pub fn leads_here(path: &[u8], last: bool, ours: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let path = trimmed(path);
    // Where the last component alone is missing, a directory of the kernel's is not worth walking through.
    let slash = path.iter().rposition(|&b| b == b'/')?;
    let (parent, name) = path.split_at(slash);
    let plain = !matches!(name, b"/." | b"/..") && !path.windows(3).any(|w| w == b"/..");
    let (mut done, mut rest) = (Vec::new(), path.to_vec());
    if plain && rustix::fs::stat(real(parent)).is_ok() {
        (done, rest) = (parent.to_vec(), name.to_vec());
    }
    let mut links = 0;
    loop {
        let start = rest.iter().position(|&b| b != b'/')?;
        let tail = rest.get(start..)?;
        let (name, after) = tail.split_at(tail.iter().position(|&b| b == b'/').unwrap_or(tail.len()));
        match name {
            b"." => rest = after.to_vec(),
            b".." => {
                // What is done holds no links unless it is the caller's own parent directory, which has no dots.
                done.truncate(done.iter().rposition(|&b| b == b'/').unwrap_or(0));
                rest = after.to_vec();
            }
            _ => {
                let here = [done.as_slice(), b"/", name].concat();
                match rustix::fs::readlink(real(&here), Vec::new()).map(CString::into_bytes) {
                    Ok(_) if !last && after.is_empty() => return None,
                    Ok(link) => {
                        links += 1;
                        if links > LINK_MAX || link.is_empty() {
                            return None;
                        }
                        if link.starts_with(b"/") {
                            done.clear();
                        } else if !after.is_empty() || link.starts_with(b"..") {
                            done = real_directory(&done)?;
                        }
                        rest = [b"/", link.as_slice(), after].concat();
                    }
                    Err(rustix::io::Errno::INVAL) => {
                        done = here;
                        rest = after.to_vec();
                    }
                    // Nothing there: unless it is ours, nothing can come.
                    Err(_) => {
                        let whole = [here.as_slice(), after].concat();
                        return ours(&whole).then_some(whole);
                    }
                }
            }
        }
        let whole = [done.as_slice(), rest.as_slice()].concat();
        if ours(&whole) {
            return Some(whole);
        }
    }
}

/// The path of a native directory without links, so that `..` can be taken off its end; empty for the root.
fn real_directory(path: &[u8]) -> Option<Vec<u8>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(real(path), flags, Mode::empty()).ok()?;
    let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let name = rustix::fs::readlink(link, Vec::new()).ok()?.into_bytes();
    Some(if name == b"/" { Vec::new() } else { name })
}

fn trimmed(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&b| b != b'/').map_or(0, |last| last + 1);
    path.get(..end).unwrap_or_default()
}

fn real(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(if path.is_empty() { b"/" } else { path }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn lead(path: &Path, last: bool) -> Option<String> {
        let ours = |path: &[u8]| path == b"/cvmfs" || path.starts_with(b"/cvmfs/");
        let found = leads_here(path.as_os_str().as_bytes(), last, ours)?;
        Some(String::from_utf8(found).unwrap())
    }

    #[test]
    fn links_of_the_host_are_followed_into_the_tree() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        std::fs::create_dir_all(dir.join("a/b")).unwrap();
        symlink("/cvmfs/x.y", dir.join("direct")).unwrap();
        symlink("../direct/bin", dir.join("a/twice")).unwrap();
        symlink("loop", dir.join("loop")).unwrap();
        symlink("nowhere", dir.join("dangling")).unwrap();
        symlink("b", dir.join("a/c")).unwrap();
        assert_eq!(lead(&dir.join("direct"), true).as_deref(), Some("/cvmfs/x.y"));
        assert_eq!(lead(&dir.join("direct"), false), None, "the link itself is native");
        assert_eq!(lead(&dir.join("direct/f/g"), true).as_deref(), Some("/cvmfs/x.y/f/g"));
        assert_eq!(lead(&dir.join("direct/f"), false).as_deref(), Some("/cvmfs/x.y/f"));
        assert_eq!(lead(&dir.join("a/twice/gcc"), true).as_deref(), Some("/cvmfs/x.y/bin/gcc"));
        assert_eq!(lead(&dir.join("a/c/../../direct/z"), true).as_deref(), Some("/cvmfs/x.y/z"));
        assert_eq!(lead(&dir.join("loop/x"), true), None);
        assert_eq!(lead(&dir.join("dangling"), true), None);
        assert_eq!(lead(&dir.join("a/b/none"), true), None);
        assert_eq!(lead(Path::new("/tmp/../cvmfs/q"), true).as_deref(), Some("/cvmfs/q"));
    }
}
