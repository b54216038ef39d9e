//! What a read-only file system answers, in the kernel's order of looking.

use crate::Errno;
use libc::c_int;
use libcvmfs::namespace::{FileKind, Node};

/// Whether opening with these flags asks for more than reading.
pub fn writes(flags: c_int) -> bool {
    flags & libc::O_PATH == 0 && (flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0)
}

/// Whether these flags make a name that does not exist.
pub fn creates(flags: c_int) -> bool {
    flags & libc::O_CREAT != 0 && flags & libc::O_PATH == 0
}

/// Judges the flags of an open of something that exists.
pub fn open(node: &Node, flags: c_int) -> Result<(), Errno> {
    let has = |flag: c_int| flags & flag == flag;
    let kind = node.kind();
    if creates(flags) && has(libc::O_EXCL) {
        return Err(Errno(libc::EEXIST));
    }
    if has(libc::O_PATH) {
        let misses = has(libc::O_DIRECTORY) && kind != FileKind::Directory;
        return if misses { Err(Errno(libc::ENOTDIR)) } else { Ok(()) };
    }
    let refused = match kind {
        FileKind::Directory if has(libc::O_TMPFILE) => Some(libc::EROFS),
        FileKind::Directory => (writes(flags) || has(libc::O_CREAT)).then_some(libc::EISDIR),
        _ if has(libc::O_DIRECTORY) => Some(libc::ENOTDIR),
        FileKind::Symlink => Some(libc::ELOOP),
        FileKind::Regular => writes(flags).then_some(libc::EROFS),
        _ => None,
    };
    refused.map_or(Ok(()), |error| Err(Errno(error)))
}

/// Judges `access`: `permitted` decides about the bits for reading and running.
pub fn access(node: &Node, mode: c_int, permitted: impl FnOnce(c_int) -> bool) -> Result<(), Errno> {
    use FileKind::{Directory, Regular, Symlink};
    if mode & !(libc::R_OK | libc::W_OK | libc::X_OK) != 0 {
        return Err(Errno(libc::EINVAL));
    }
    if mode & libc::W_OK != 0 && matches!(node.kind(), Regular | Directory | Symlink) {
        return Err(Errno(libc::EROFS));
    }
    if permitted(mode) { Ok(()) } else { Err(Errno(libc::EACCES)) }
}

/// Whether somebody may do to `node` what the bits of `wanted` say (`R_OK`, `X_OK`).
pub fn permits(node: &Node, (uid, groups): &(u32, Vec<u32>), wanted: c_int) -> bool {
    let wanted = wanted as u32 & 7;
    wanted == 0 || node.attributes().permits(*uid, groups, wanted)
}

/// Whether somebody may search the directories above `node`. Nearly all of them are open to everybody.
pub fn reaches(node: &Node, who: &(u32, Vec<u32>)) -> Result<(), Errno> {
    let mut above = node.parent();
    while let Some(directory) = above {
        if directory.attributes().mode & 0o111 != 0o111 && !permits(&directory, who, libc::X_OK) {
            return Err(Errno(libc::EACCES));
        }
        above = directory.parent();
    }
    Ok(())
}
