//! The view: real directories, links and hard links to cache objects under their virtual names.
//!
//! `<prefix>/<root hash>/cvmfs/<repository>/...`, made name by name as programs open them. Stripping the first two
//! parts off the name of a descriptor, a working directory or a running program gives the virtual path.

use crate::errno::Errno;
use crate::namespace::{self, FileKind, Node};
use crate::{inside, session, sys};
use cvmfs_index::walk::PATH_MAX;
use libc::c_int;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The virtual path that a name in the view stands for; `None` for other names.
pub(crate) fn strip(name: &[u8]) -> Option<&[u8]> {
    let view = session::view()?;
    let below = name.strip_prefix(view.prefix.as_slice())?.strip_prefix(b"/")?;
    let path = below.get(below.iter().position(|&b| b == b'/')?..)?;
    // The kernel's mark of a name that was cleaned up while something still uses what it named.
    Some(path.strip_suffix(b" (deleted)").unwrap_or(path))
}

/// The name behind `/proc/self/fd/N`.
pub(crate) fn descriptor_name(fd: c_int, buf: &mut [u8]) -> Result<&[u8], Errno> {
    let link = CString::new(format!("/proc/self/fd/{fd}"))?;
    sys::readlink(&link, buf)
}

/// Makes sure that `node` is in the view as what it is, with its content, and tells its real name.
///
/// A regular file that cannot be linked (another user's cache, another file system) is named where it lies, and
/// remembered under that identity as long as this process lives.
pub(crate) fn materialise(node: &Node) -> Result<CString, Errno> {
    let view = session::view().ok_or(Errno(libc::EIO))?;
    let name = view_name(view, node);
    match node.kind() {
        FileKind::Directory => private_directories(&name)?,
        FileKind::Regular => {
            let object = node.open()?;
            if let Err(error) = place_link(&object, &name) {
                return remember(&object, node.path(), error);
            }
        }
        FileKind::Symlink => {
            let target = node.read_link()?;
            place(&name, |name| std::os::unix::fs::symlink(OsStr::from_bytes(&target), name))?;
        }
        FileKind::Fifo => place(&name, |name| {
            let name = CString::new(name.as_os_str().as_bytes())?;
            // SAFETY: a C string.
            if unsafe { libc::mkfifo(name.as_ptr(), 0o600) } == 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        })?,
        FileKind::Socket => return Err(Errno(libc::ENXIO)),
        FileKind::CharacterDevice | FileKind::BlockDevice => return Err(Errno(libc::EACCES)),
    }
    Ok(CString::new(name.into_os_string().into_encoded_bytes())?)
}

/// As [`materialise`], for a file that is going to be run or loaded: objects that the official client wrote may not
/// be executed, so of these the view has copies.
pub(crate) fn materialise_program(node: &Node) -> Result<CString, Errno> {
    let name = materialise(node)?;
    let found = std::fs::metadata(OsStr::from_bytes(name.to_bytes()))?;
    if found.mode() & 0o100 != 0 || node.attributes().mode & 0o111 == 0 {
        return Ok(name);
    }
    let view = session::view().ok_or(Errno(libc::EIO))?;
    let name = view_name(view, node);
    if let Some(parent) = name.parent() {
        private_directories(parent)?;
    }
    let temporary = temporary_name(&view.prefix);
    let mut copy = File::options().write(true).create_new(true).mode(0o500).open(&temporary)?;
    std::io::copy(&mut node.open()?, &mut copy)?;
    // Closed first: a file that is open for writing cannot be run.
    drop(copy);
    std::fs::rename(&temporary, &name)?;
    Ok(CString::new(name.into_os_string().into_encoded_bytes())?)
}

fn view_name(view: &session::View, node: &Node) -> PathBuf {
    let mut name = PathBuf::from(OsStr::from_bytes(&view.prefix));
    name.push(namespace::view_key(node));
    let path = node.path();
    name.push(Path::new(OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(&path))));
    name
}

fn temporary_name(prefix: &[u8]) -> PathBuf {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    Path::new(OsStr::from_bytes(prefix)).join(format!(".new-{}-{serial}", sys::getpid()))
}

fn private_directories(name: &Path) -> std::io::Result<()> {
    if name.is_dir() { Ok(()) } else { DirBuilder::new().recursive(true).mode(0o700).create(name) }
}

/// Makes `name` by `make`, unless it is there, and its directories if they are missing.
fn place(name: &Path, make: impl Fn(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    let made = match make(name) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            if let Some(parent) = name.parent() {
                private_directories(parent)?;
            }
            make(name)
        }
        made => made,
    };
    match made {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Makes `name` a hard link to the open file `object`, also where it is one to an older copy.
fn place_link(object: &File, name: &Path) -> std::io::Result<()> {
    let wanted = object.metadata()?;
    let same = |found: &std::fs::Metadata| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino());
    match std::fs::symlink_metadata(name) {
        Ok(found) if same(&found) => return Ok(()),
        // A copy made to be run.
        Ok(found) if found.mode() & 0o100 != 0 && wanted.mode() & 0o100 == 0 && found.len() == wanted.len() => {
            return Ok(());
        }
        Ok(_) => {
            // The cache has dropped and fetched it again: let the new one take the name in one step.
            let temporary = temporary_name(session::view().map(|view| view.prefix.as_slice()).unwrap_or_default());
            link_open_file(object, &temporary)?;
            let renamed = std::fs::rename(&temporary, name);
            // Still there if both are the same file by now: then renaming does nothing.
            let _ = std::fs::remove_file(&temporary);
            return renamed;
        }
        Err(_) => {}
    }
    place(name, |name| link_open_file(object, name))
}

fn link_open_file(object: &File, name: &Path) -> std::io::Result<()> {
    let from = CString::new(format!("/proc/self/fd/{}", object.as_raw_fd()))?;
    let to = CString::new(name.as_os_str().as_bytes())?;
    // SAFETY: two C strings.
    let done =
        unsafe { libc::linkat(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), libc::AT_SYMLINK_FOLLOW) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Virtual paths of files that could not be linked, by device and inode.
static REMEMBERED: Mutex<BTreeMap<(u64, u64), Vec<u8>>> = Mutex::new(BTreeMap::new());

fn remember(object: &File, path: Vec<u8>, error: std::io::Error) -> Result<CString, Errno> {
    use libc::{EACCES, EMLINK, EPERM, EROFS, EXDEV};
    if !matches!(error.raw_os_error(), Some(EPERM | EXDEV | EMLINK | EROFS | EACCES)) {
        return Err(error.into());
    }
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

/// An empty directory of ours for watches.
pub(crate) fn quiet_directory() -> Result<CString, Errno> {
    let view = session::view().ok_or(Errno(libc::EIO))?;
    let name = Path::new(OsStr::from_bytes(&view.prefix)).join(".quiet");
    private_directories(&name)?;
    Ok(CString::new(name.into_os_string().into_encoded_bytes())?)
}
