//! What a read-only file system answers, in the kernel's order of looking.

use crate::Errno;
use libc::c_int;
use libcvmfs::namespace::{FileKind, Node};
use std::borrow::Borrow;

/// Whether opening with these flags asks for more than reading.
pub fn writes(flags: c_int) -> bool {
    flags & libc::O_PATH == 0 && (flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0)
}

/// Whether these flags make a name that does not exist.
pub fn creates(flags: c_int) -> bool {
    flags & libc::O_CREAT != 0 && flags & libc::O_PATH == 0
}

/// Who asks: the user and all groups, as [`libcvmfs::identity::of_process`] gives them.
pub type Who = (u32, Vec<u32>);

/// Judges an open of something that exists: the flags, the bits, and whose it is.
pub fn open(node: &Node, flags: c_int, who: &Who) -> Result<(), Errno> {
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
    if let Some(error) = refused {
        return Err(Errno(error));
    }
    // Only pipes and the like get here when they are to be written to.
    let wanted = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => libc::R_OK,
        libc::O_WRONLY => libc::W_OK,
        _ => libc::R_OK | libc::W_OK,
    };
    permitted(node, who, wanted)?;
    let (user, _) = *who;
    let others = has(libc::O_NOATIME) && user != 0 && user != node.attributes().uid;
    if others { Err(Errno(libc::EPERM)) } else { Ok(()) }
}

/// Judges `access`.
pub fn access(node: &Node, mode: c_int, who: &Who) -> Result<(), Errno> {
    use FileKind::{Directory, Regular, Symlink};
    if mode & !(libc::R_OK | libc::W_OK | libc::X_OK) != 0 {
        return Err(Errno(libc::EINVAL));
    }
    if mode & libc::W_OK != 0 && matches!(node.kind(), Regular | Directory | Symlink) {
        return Err(Errno(libc::EROFS));
    }
    permitted(node, who, mode)
}

/// Whether somebody may do to `node` what the bits of `wanted` say (`R_OK`, `X_OK`).
pub fn permits(node: &Node, (uid, groups): &Who, wanted: c_int) -> bool {
    let wanted = wanted as u32 & 7;
    wanted == 0 || node.permits_to(*uid, groups, wanted)
}

/// As [`permits`], with `EACCES` for no.
pub fn permitted(node: &Node, who: &Who, wanted: c_int) -> Result<(), Errno> {
    if permits(node, who, wanted) { Ok(()) } else { Err(Errno(libc::EACCES)) }
}

/// Whether somebody may search the directories above `node`. Nearly all of them are open to everybody, so that it is
/// rarely asked who that is.
pub fn reaches<W: Borrow<Who>>(node: &Node, who: impl Fn() -> W) -> Result<(), Errno> {
    let mut above = node.parent();
    while let Some(directory) = above {
        if directory.attributes().mode & 0o111 != 0o111 {
            permitted(&directory, who().borrow(), libc::X_OK)?;
        }
        above = directory.parent();
    }
    Ok(())
}
