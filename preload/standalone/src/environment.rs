//! The environment of programs that are started: also in an emptied one they stay in the session.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::exec::Strings;
use crate::session;
use libc::c_char;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt as _;

const PRELOAD: &[u8] = b"LD_PRELOAD=";

/// An environment in which the library is preloaded and finds its session.
pub(crate) enum Environment {
    /// The caller's is good as it is.
    Given(Strings),
    /// The caller's with additions; the strings are kept as long as the pointers.
    Completed(Vec<*const c_char>, #[allow(dead_code, reason = "keeps what the pointers point to")] Vec<CString>),
}

impl Environment {
    /// Looks through the caller's environment and adds what it lacks. Allocates only then.
    pub(crate) unsafe fn complete(given: Strings) -> Environment {
        let library = session::library().as_os_str().as_bytes();
        if library.is_empty() {
            return Environment::Given(given);
        }
        let mut preload = None;
        let mut session = false;
        let mut count = 0;
        while !given.is_null() && !(*given.add(count)).is_null() {
            let entry = CStr::from_ptr(*given.add(count)).to_bytes();
            if let Some(list) = entry.strip_prefix(PRELOAD) {
                preload = Some(count);
                if lists(list, library) && session {
                    return Environment::Given(given);
                }
            }
            session |= entry.starts_with(cvmfs_helper::SOCKET_VARIABLE.as_bytes());
            count += 1;
        }
        let entries: Vec<*const c_char> = (0..count).map(|at| *given.add(at)).collect();
        Environment::add(entries, preload, library)
    }

    unsafe fn add(mut entries: Vec<*const c_char>, preload: Option<usize>, library: &[u8]) -> Environment {
        let mut kept = Vec::new();
        let missing = |entries: &[*const c_char], name: &[u8]| {
            !entries.iter().any(|entry| CStr::from_ptr(*entry).to_bytes().starts_with(name))
        };
        for variable in session::variables() {
            let text = variable.to_bytes();
            let name = text.get(..text.iter().position(|&b| b == b'=').map_or(0, |at| at + 1)).unwrap_or_default();
            if missing(&entries, name) {
                entries.push(variable.as_ptr());
                kept.push(variable);
            }
        }
        let list = preload
            .and_then(|at| entries.get(at))
            .and_then(|entry| CStr::from_ptr(*entry).to_bytes().strip_prefix(PRELOAD))
            .unwrap_or_default();
        if !lists(list, library) {
            let separator: &[u8] = if list.is_empty() { b"" } else { b":" };
            if let Ok(entry) = CString::new([PRELOAD, library, separator, list].concat()) {
                match preload.and_then(|at| entries.get_mut(at)) {
                    Some(place) => *place = entry.as_ptr(),
                    None => entries.push(entry.as_ptr()),
                }
                kept.push(entry);
            }
        }
        entries.push(std::ptr::null());
        Environment::Completed(entries, kept)
    }

    pub(crate) fn as_ptr(&self) -> Strings {
        match self {
            Environment::Given(given) => *given,
            Environment::Completed(entries, _) => entries.as_ptr(),
        }
    }
}

/// Whether a preload list has the library in it, under whatever directory.
fn lists(list: &[u8], library: &[u8]) -> bool {
    let name = |path: &[u8]| path.rsplit(|&b| b == b'/').next().unwrap_or_default().to_vec();
    list.split(|b| matches!(b, b':' | b' ')).any(|entry| name(entry) == name(library))
}
