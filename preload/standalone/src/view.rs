//! The view, in which everything that programs open has its real name, and what could not get one.

use crate::errno::Errno;
use crate::namespace::{FileKind, Node};
use crate::{inside, session, sys};
use cvmfs_index::walk::PATH_MAX;
use cvmfs_view::{NameOrObject, Refusal, View, name};
use libc::c_int;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

impl From<Refusal> for Errno {
    fn from(refusal: Refusal) -> Errno {
        match refusal {
            Refusal::Error(cvmfs_view::Errno(number)) => Errno(number),
            // Nobody here asks without waiting.
            Refusal::WouldWait => Errno(libc::EIO),
        }
    }
}

/// The virtual path that a name in the view stands for; `None` for other names.
pub(crate) fn strip(name: &[u8]) -> Option<&[u8]> {
    name::split(session::view()?.prefix(), name).map(|(_, path)| path)
}

/// The name behind `/proc/self/fd/N`.
pub(crate) fn descriptor_name(fd: c_int, buf: &mut [u8]) -> Result<&[u8], Errno> {
    let link = CString::new(format!("/proc/self/fd/{fd}"))?;
    sys::readlink(&link, buf)
}

fn view() -> Result<&'static View, Errno> {
    session::view().ok_or(Errno(libc::EIO))
}

fn c_string(name: PathBuf) -> Result<CString, Errno> {
    Ok(CString::new(name.into_os_string().into_encoded_bytes())?)
}

/// Makes sure that `node` is in the view as what it is, with its content, and tells its real name.
///
/// A regular file that cannot be linked (another user's cache, another file system) is named where it lies, and
/// remembered under that identity as long as this process lives.
pub(crate) fn materialise(node: &Node) -> Result<CString, Errno> {
    if node.kind() != FileKind::Regular {
        return c_string(view()?.materialise(node)?);
    }
    match view()?.name_or_object(node)? {
        NameOrObject::Name(name) => c_string(name),
        NameOrObject::Object(object) => remember(&object, node.path()),
    }
}

/// As [`materialise`], for a file that is going to be run or loaded.
pub(crate) fn materialise_program(node: &Node) -> Result<CString, Errno> {
    c_string(view()?.materialise_program(node)?)
}

/// An empty directory of ours for watches.
pub(crate) fn quiet_directory() -> Result<CString, Errno> {
    c_string(view()?.quiet_directory()?)
}

/// Virtual paths of files that could not be linked, by device and inode.
static REMEMBERED: Mutex<BTreeMap<(u64, u64), Vec<u8>>> = Mutex::new(BTreeMap::new());

fn remember(object: &File, path: Vec<u8>) -> Result<CString, Errno> {
    let stat = sys::fstat(object.as_raw_fd())?;
    REMEMBERED.lock().insert((stat.st_dev, stat.st_ino), path);
    ANY_REMEMBERED.store(true, Ordering::Release);
    let mut buf = [0; PATH_MAX + 1];
    Ok(CString::new(descriptor_name(object.as_raw_fd(), &mut buf)?)?)
}

/// Whether there is anything to remember: asked for every native descriptor.
static ANY_REMEMBERED: AtomicBool = AtomicBool::new(false);

/// The virtual path under which a file was remembered.
pub(crate) fn remembered(stat: &libc::stat) -> Option<Vec<u8>> {
    if !ANY_REMEMBERED.load(Ordering::Acquire) {
        return None;
    }
    let look = || REMEMBERED.lock().get(&(stat.st_dev, stat.st_ino)).cloned();
    if inside::is_inside() { look() } else { inside::answer(|| Ok(look())).ok().flatten() }
}

/// The virtual path of what a link of the kernel's such as `/proc/self/fd/N` leads to, by the name that it tells.
pub(crate) fn behind(link: &CStr, name: &[u8]) -> Option<Vec<u8>> {
    match strip(name) {
        Some(path) => Some(path.to_vec()),
        None if !ANY_REMEMBERED.load(Ordering::Acquire) => None,
        None => remembered(&sys::stat(link, 0).ok()?),
    }
}
