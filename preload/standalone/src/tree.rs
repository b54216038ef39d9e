//! Functions that read whole directories or trees. The C library's own would not meet our hooks, so a virtual start
//! gets a walk of ours, over the hooked functions, and `glob` gets them as its alternative set.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::dir::{self, Listed};
use crate::errno::{Answer as _, Errno};
use crate::route::{self, C3, C4, C5, Step};
use crate::{errno, inside, place, session};
use cvmfs_hooks::c::{Compare, GlobError, Select, Stat, Visit, VisitMore};
use libc::{AT_FDCWD, c_char, c_int, c_void, dirent, glob_t};
use std::collections::BTreeSet;
use std::ffi::{CStr, CString};

type List = *mut *mut *mut dirent;

pub(crate) unsafe fn scandir(
    real: C4<*const c_char, List, Select, Compare, c_int>,
    path: *const c_char,
    list: List,
    select: Select,
    compare: Compare,
) -> c_int {
    scan(AT_FDCWD, path, list, select, compare, |_, path| real(path, list, select, compare))
}

pub(crate) unsafe fn scandirat(
    real: C5<c_int, *const c_char, List, Select, Compare, c_int>,
    dir: c_int,
    path: *const c_char,
    list: List,
    select: Select,
    compare: Compare,
) -> c_int {
    scan(dir, path, list, select, compare, |dir, path| real(dir, path, list, select, compare))
}

unsafe fn scan(
    dir: c_int,
    path: *const c_char,
    list: List,
    select: Select,
    compare: Compare,
    native: impl Fn(c_int, *const c_char) -> c_int,
) -> c_int {
    let spelled = match route::virtual_or(dir, path, &native) {
        Ok(spelled) => spelled,
        Err(result) => return result,
    };
    let step = inside::answer(|| match dir::entries(&spelled)? {
        Listed::Entries(entries) => Ok(Step::Done(entries)),
        Listed::Outside(path) => Ok(Step::Outside(path)),
    });
    // The caller's functions run outside, where they meet the hooks again.
    match step {
        Ok(Step::Done(entries)) => hand_out(entries, list, select, compare),
        Ok(Step::Outside(path)) => native(AT_FDCWD, path.as_ptr()),
        Err(error) => c_int::fail(error),
    }
}

unsafe fn hand_out(mut entries: Vec<dirent>, list: List, select: Select, compare: Compare) -> c_int {
    if let Some(select) = select {
        entries.retain(|entry| select(entry) != 0);
    }
    let all = libc::malloc(entries.len().max(1) * size_of::<*mut dirent>()).cast::<*mut dirent>();
    if all.is_null() {
        return c_int::fail(Errno(libc::ENOMEM));
    }
    for (at, entry) in entries.iter().enumerate() {
        let size = usize::from(entry.d_reclen).min(size_of::<dirent>());
        let copy = libc::malloc(size);
        if copy.is_null() {
            for made in 0..at {
                libc::free((*all.add(made)).cast());
            }
            libc::free(all.cast());
            return c_int::fail(Errno(libc::ENOMEM));
        }
        std::ptr::copy_nonoverlapping(std::ptr::from_ref(entry).cast::<u8>(), copy.cast(), size);
        *all.add(at) = copy.cast();
    }
    if let Some(compare) = compare {
        type Order = unsafe extern "C" fn(*const c_void, *const c_void) -> c_int;
        // Both take pointers to two elements of the array.
        let compare = std::mem::transmute::<unsafe extern "C" fn(*mut *const dirent, *mut *const dirent) -> c_int, Order>(
            compare,
        );
        libc::qsort(all.cast(), entries.len(), size_of::<*mut dirent>(), Some(compare));
    }
    *list = all;
    entries.len() as c_int
}

const FTW_F: c_int = 0;
const FTW_D: c_int = 1;
const FTW_DNR: c_int = 2;
const FTW_NS: c_int = 3;
const FTW_SL: c_int = 4;
const FTW_DP: c_int = 5;
const FTW_SLN: c_int = 6;
const FTW_PHYS: c_int = 1;
const FTW_MOUNT: c_int = 2;
const FTW_CHDIR: c_int = 4;
const FTW_DEPTH: c_int = 8;
const FTW_ACTIONRETVAL: c_int = 16;
const FTW_SKIP_SUBTREE: c_int = 2;
const FTW_SKIP_SIBLINGS: c_int = 3;

pub(crate) unsafe fn ftw(
    real: C3<*const c_char, Visit, c_int, c_int>,
    path: *const c_char,
    visit: Visit,
    descriptors: c_int,
) -> c_int {
    let (false, Some(visit), Some(_)) = (inside::is_inside(), visit, place::spelled(AT_FDCWD, path)) else {
        return real(path, visit, descriptors);
    };
    let mut walk =
        Walk::new(path, 0, |name, stat, kind, _| visit(name, stat, if kind == FTW_SLN { FTW_NS } else { kind }));
    walk.run(path)
}

pub(crate) unsafe fn nftw(
    real: C4<*const c_char, VisitMore, c_int, c_int, c_int>,
    path: *const c_char,
    visit: VisitMore,
    descriptors: c_int,
    flags: c_int,
) -> c_int {
    let (false, Some(visit), Some(_)) = (inside::is_inside(), visit, place::spelled(AT_FDCWD, path)) else {
        return real(path, visit, descriptors, flags);
    };
    let mut walk =
        Walk::new(path, flags, |name, stat, kind, place: &mut [c_int; 2]| visit(name, stat, kind, place.as_mut_ptr()));
    walk.run(path)
}

/// A walk over a tree with the hooked functions, for `ftw` and `nftw`.
struct Walk<V> {
    visit: V,
    flags: c_int,
    /// Where a relative start begins, for `FTW_CHDIR`.
    base: Vec<u8>,
    device: u64,
    /// Directories seen, where links are followed: none is entered twice.
    seen: BTreeSet<(u64, u64)>,
}

impl<V: FnMut(*const c_char, *const Stat, c_int, &mut [c_int; 2]) -> c_int> Walk<V> {
    fn new(_start: *const c_char, flags: c_int, visit: V) -> Walk<V> {
        let base = std::env::current_dir().map(|dir| dir.into_os_string().into_encoded_bytes()).unwrap_or_default();
        Walk { visit, flags, base, device: 0, seen: BTreeSet::new() }
    }

    unsafe fn run(&mut self, start: *const c_char) -> c_int {
        let mut path = CStr::from_ptr(start).to_bytes().to_vec();
        while path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        let here = if self.flags & FTW_CHDIR != 0 {
            libc::open(c".".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC)
        } else {
            -1
        };
        let result = self.node(&path, 0);
        if here >= 0 {
            let saved = errno::get();
            libc::fchdir(here);
            libc::close(here);
            errno::set(saved);
        }
        // What an action says about siblings means nothing to the caller.
        if self.flags & FTW_ACTIONRETVAL != 0 && result != 1 && result != -1 { 0 } else { result }
    }

    unsafe fn node(&mut self, path: &[u8], level: c_int) -> c_int {
        let Ok(name) = CString::new(path) else { return c_int::fail(Errno(libc::EINVAL)) };
        let mut stat: Stat = std::mem::zeroed();
        let links = if self.flags & FTW_PHYS != 0 { libc::AT_SYMLINK_NOFOLLOW } else { 0 };
        let mut kind = if libc::fstatat(AT_FDCWD, name.as_ptr(), &mut stat, links) == 0 {
            match stat.st_mode & libc::S_IFMT {
                libc::S_IFDIR => FTW_D,
                libc::S_IFLNK => FTW_SL,
                _ => FTW_F,
            }
        } else if errno::get() == libc::ENOENT
            && links == 0
            && libc::fstatat(AT_FDCWD, name.as_ptr(), &mut stat, libc::AT_SYMLINK_NOFOLLOW) == 0
        {
            FTW_SLN
        } else if level == 0 {
            return -1;
        } else {
            FTW_NS
        };
        if level == 0 {
            self.device = stat.st_dev;
        }
        if kind != FTW_NS && self.flags & FTW_MOUNT != 0 && stat.st_dev != self.device {
            return 0;
        }
        if kind != FTW_D {
            return self.call(&name, &stat, kind, level);
        }
        if links == 0 && !self.seen.insert((stat.st_dev, stat.st_ino)) {
            return 0;
        }
        let dir = libc::opendir(name.as_ptr());
        if dir.is_null() {
            kind = FTW_DNR;
            return self.call(&name, &stat, kind, level);
        }
        let mut names = Vec::new();
        loop {
            let entry = libc::readdir(dir);
            if entry.is_null() {
                break;
            }
            let name = CStr::from_ptr((*entry).d_name.as_ptr()).to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        libc::closedir(dir);
        if self.flags & FTW_DEPTH == 0 {
            let result = self.call(&name, &stat, FTW_D, level);
            if self.flags & FTW_ACTIONRETVAL != 0 && result == FTW_SKIP_SUBTREE {
                return 0;
            }
            if result != 0 {
                return result;
            }
        }
        for child in names {
            let path = if path == b"/" { [b"/", child.as_slice()].concat() } else { place::join(path, &child) };
            let result = self.node(&path, level + 1);
            if self.flags & FTW_ACTIONRETVAL != 0 && result == FTW_SKIP_SIBLINGS {
                break;
            }
            if result != 0 {
                return result;
            }
        }
        if self.flags & FTW_DEPTH != 0 { self.call(&name, &stat, FTW_DP, level) } else { 0 }
    }

    unsafe fn call(&mut self, name: &CStr, stat: &Stat, kind: c_int, level: c_int) -> c_int {
        let path = name.to_bytes();
        let base = path.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1);
        if self.flags & FTW_CHDIR != 0 {
            let parent = path.get(..base).unwrap_or_default();
            let full = if parent.starts_with(b"/") { parent.to_vec() } else { place::join(&self.base, parent) };
            match CString::new(full) {
                Ok(full) if libc::chdir(full.as_ptr()) == 0 => {}
                _ => return -1,
            }
        }
        let mut place = [base as c_int, level];
        (self.visit)(name.as_ptr(), stat, kind, &mut place)
    }
}

/// `glob_t` with the members that are only there for its alternative functions.
#[repr(C)]
struct Glob {
    count: usize,
    paths: *mut *mut c_char,
    reserved: usize,
    flags: c_int,
    closedir: Option<unsafe extern "C" fn(*mut c_void)>,
    readdir: Option<unsafe extern "C" fn(*mut c_void) -> *mut dirent>,
    opendir: Option<unsafe extern "C" fn(*const c_char) -> *mut c_void>,
    lstat: Option<unsafe extern "C" fn(*const c_char, *mut Stat) -> c_int>,
    stat: Option<unsafe extern "C" fn(*const c_char, *mut Stat) -> c_int>,
}

const _: () = assert!(size_of::<Glob>() == size_of::<glob_t>());

unsafe extern "C" fn glob_closedir(dir: *mut c_void) {
    libc::closedir(dir.cast());
}

unsafe extern "C" fn glob_readdir(dir: *mut c_void) -> *mut dirent {
    libc::readdir(dir.cast())
}

unsafe extern "C" fn glob_opendir(path: *const c_char) -> *mut c_void {
    libc::opendir(path).cast()
}

unsafe extern "C" fn glob_lstat(path: *const c_char, buf: *mut Stat) -> c_int {
    libc::lstat(path, buf)
}

unsafe extern "C" fn glob_stat(path: *const c_char, buf: *mut Stat) -> c_int {
    libc::stat(path, buf)
}

pub(crate) unsafe fn glob(
    real: C4<*const c_char, c_int, GlobError, *mut glob_t, c_int>,
    pattern: *const c_char,
    flags: c_int,
    failed: GlobError,
    found: *mut glob_t,
) -> c_int {
    if inside::is_inside() || flags & libc::GLOB_ALTDIRFUNC != 0 || !concerns_us(pattern) {
        return real(pattern, flags, failed, found);
    }
    let glob = found.cast::<Glob>();
    let saved = ((*glob).closedir, (*glob).readdir, (*glob).opendir, (*glob).lstat, (*glob).stat);
    (*glob).closedir = Some(glob_closedir);
    (*glob).readdir = Some(glob_readdir);
    (*glob).opendir = Some(glob_opendir);
    (*glob).lstat = Some(glob_lstat);
    (*glob).stat = Some(glob_stat);
    let result = real(pattern, flags | libc::GLOB_ALTDIRFUNC, failed, found);
    (*glob).flags &= !libc::GLOB_ALTDIRFUNC;
    ((*glob).closedir, (*glob).readdir, (*glob).opendir, (*glob).lstat, (*glob).stat) = saved;
    result
}

/// A pattern with our prefix in it anywhere (it may begin with braces), or relative to a virtual directory.
unsafe fn concerns_us(pattern: *const c_char) -> bool {
    if pattern.is_null() {
        return false;
    }
    let text = CStr::from_ptr(pattern).to_bytes();
    let prefix = session::mount_dir();
    text.windows(prefix.len()).any(|window| window == prefix)
        || (!text.starts_with(b"/") && place::working_directory().is_some())
}
