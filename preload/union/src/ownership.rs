//! Owners and bits that an ordinary user cannot give to files.
//!
//! Inside, the caller is root and gives files to whom he likes. What a real file cannot have is kept in the attribute
//! that other programs without privileges use, too: `user.containers.override_stat`, with the text `UID:GID:0MODE`. A
//! file that has it is marked by the sticky bit, so that nobody has to ask for an attribute that hardly any file has.

use cvmfs_view::Errno;
use rustix::fs::{Mode, XattrFlags};
use std::ffi::CStr;
use std::path::Path;

/// The attribute.
pub const ATTRIBUTE: &CStr = c"user.containers.override_stat";

const MARK: u32 = libc::S_ISVTX;

/// Bits that the real file always has: the owner, who is root inside, may do everything.
fn needed(is_directory: bool) -> u32 {
    if is_directory { 0o700 } else { 0o600 }
}

/// Owner, group and bits, as `stat` tells them inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Permission bits, with those of set-uid, set-gid and sticky.
    pub mode: u32,
}

impl Ownership {
    /// That of what root makes with these bits.
    pub fn of_root(mode: u32) -> Ownership {
        Ownership { uid: 0, gid: 0, mode: mode & 0o7777 }
    }

    /// That which `stat` tells inside.
    pub fn told(stat: &libc::stat) -> Ownership {
        Ownership { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777 }
    }

    fn parse(text: &str) -> Option<Ownership> {
        let mut parts = text.split(':');
        let (uid, gid) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let mode = u32::from_str_radix(parts.next()?, 8).ok()? & 0o7777;
        Some(Ownership { uid, gid, mode })
    }

    /// Gives a real file, which is no symbolic link, as much of this as it can have, and keeps the rest beside.
    ///
    /// # Errors
    /// If the file is not the caller's.
    pub fn give(self, file: &Path, is_directory: bool) -> Result<(), Errno> {
        let needed = needed(is_directory);
        let plain = self.uid == 0 && self.gid == 0 && self.mode & 0o7000 == 0 && self.mode & needed == needed;
        let mut bits = self.mode & 0o777 | needed;
        if plain {
            // Not there, as a rule.
            let _ = rustix::fs::removexattr(file, ATTRIBUTE);
        } else {
            let text = format!("{}:{}:0{:o}", self.uid, self.gid, self.mode);
            match rustix::fs::setxattr(file, ATTRIBUTE, text.as_bytes(), XattrFlags::empty()) {
                Ok(()) => bits |= MARK,
                // A file system without such attributes forgets owners.
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(rustix::fs::chmod(file, Mode::from_raw_mode(bits))?)
    }
}

/// Makes what the kernel tells of a file what is told inside: for one of a layer, what is kept beside it; the caller is
/// root.
pub(crate) fn present(file: &Path, follow: bool, in_layer: bool, stat: &mut libc::stat) {
    let kept = if in_layer { kept(file, follow, stat) } else { None };
    if let Some(Ownership { uid, gid, mode }) = kept {
        (stat.st_uid, stat.st_gid, stat.st_mode) = (uid, gid, stat.st_mode & libc::S_IFMT | mode);
        return;
    }
    if stat.st_uid == rustix::process::geteuid().as_raw() {
        stat.st_uid = 0;
    }
    if stat.st_gid == rustix::process::getegid().as_raw() {
        stat.st_gid = 0;
    }
}

fn kept(file: &Path, follow: bool, stat: &libc::stat) -> Option<Ownership> {
    if stat.st_mode & MARK == 0 || stat.st_mode & libc::S_IFMT == libc::S_IFLNK {
        return None;
    }
    let mut text = [0; 64];
    let read = if follow {
        rustix::fs::getxattr(file, ATTRIBUTE, &mut text)
    } else {
        rustix::fs::lgetxattr(file, ATTRIBUTE, &mut text)
    };
    Ownership::parse(std::str::from_utf8(text.get(..read.ok()?)?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_understood() {
        let parsed = Ownership::parse("0:42:04755");
        assert_eq!(parsed, Some(Ownership { uid: 0, gid: 42, mode: 0o4755 }));
        assert_eq!(Ownership::parse("1:2:0644:block-1-2").map(|kept| kept.gid), Some(2));
        assert_eq!(Ownership::parse("1:2"), None);
    }
}
