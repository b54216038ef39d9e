//! Functions that cannot be written in Rust: those with arguments without number, and `dlopen`, which searches by the
//! object that its return address lies in and so must be entered by a jump.
//!
//! x86-64 only; on other architectures these go unhooked.
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::exec::{self, Strings};
use crate::namespace::{self, LastLink, Resolved};
use crate::{inside, link_map, place, view};
use libc::{AT_FDCWD, c_char, c_int, c_void};
use parking_lot::Mutex;
use std::arch::naked_asm;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicPtr, Ordering};

/// Lays the arguments from the second one on out in a row, those in registers in front of those on the stack, and
/// calls `function(first, row)`.
macro_rules! gathered {
    ($name:ident, $function:path) => {
        #[allow(missing_docs)]
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name() {
            naked_asm!(
                "pop r10",
                "push r9",
                "push r8",
                "push rcx",
                "push rdx",
                "push rsi",
                "mov rsi, rsp",
                "push r10",
                "call {function}",
                "pop r10",
                "add rsp, 40",
                "push r10",
                "ret",
                function = sym $function,
            )
        }
    };
}

gathered!(execl, list);
gathered!(execlp, list_in_path);
gathered!(execle, list_with_environment);

unsafe extern "C" fn list(path: *const c_char, argv: Strings) -> c_int {
    libc::execve(path, argv, exec::own_environment())
}

unsafe extern "C" fn list_in_path(file: *const c_char, argv: Strings) -> c_int {
    libc::execvp(file, argv)
}

unsafe extern "C" fn list_with_environment(path: *const c_char, argv: Strings) -> c_int {
    let mut end = argv;
    while !(*end).is_null() {
        end = end.add(1);
    }
    // After the null pointer comes one argument more.
    libc::execve(path, argv, (*end.add(1)).cast())
}

/// `dlopen`.
///
/// # Safety
/// As for the C function.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void {
    naked_asm!(
        "push rsi",
        "call {translate}",
        "pop rsi",
        "push rax",
        "push rsi",
        "sub rsp, 8",
        "call {real}",
        "add rsp, 8",
        "pop rsi",
        "pop rdi",
        "jmp rax",
        translate = sym library_name,
        real = sym real_dlopen,
    )
}

/// The name that the real function is to open.
unsafe extern "C" fn library_name(path: *const c_char) -> *const c_char {
    if inside::is_inside() || path.is_null() || !CStr::from_ptr(path).to_bytes().contains(&b'/') {
        return path;
    }
    let spelled = match place::spelled(AT_FDCWD, path) {
        Some(spelled) => Some(spelled.into_owned()),
        None => {
            let mut stat = std::mem::zeroed();
            let absent = crate::sys::fstatat(AT_FDCWD, path, &mut stat, 0).is_err();
            if absent { place::host_link(AT_FDCWD, path) } else { None }
        }
    };
    let Some(spelled) = spelled else { return path };
    let name = inside::answer(|| match namespace::resolve(&spelled, LastLink::Follow)? {
        Resolved::Outside(path) => Ok(CString::new(path)?),
        Resolved::Node(node) => {
            link_map::bring_libraries(&node);
            view::materialise(&node)
        }
    });
    // A path that cannot be had stays as it is: the message should have the name that the program knows.
    name.map_or(path, keep)
}

/// Keeps a name for ever, each only once: the real function runs after us.
fn keep(name: CString) -> *const c_char {
    static NAMES: Mutex<BTreeSet<CString>> = Mutex::new(BTreeSet::new());
    let kept = inside::answer(|| {
        let mut names = NAMES.lock();
        if let Some(kept) = names.get(&name) {
            return Ok(kept.as_ptr());
        }
        // The bytes stay where they are when the set moves the string.
        let pointer = name.as_ptr();
        names.insert(name.clone());
        Ok(names.get(&name).map_or(pointer, |kept| kept.as_ptr()))
    });
    kept.unwrap_or(std::ptr::null())
}

extern "C" fn real_dlopen() -> *const c_void {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    let real = REAL.load(Ordering::Acquire);
    if !real.is_null() {
        return real;
    }
    // SAFETY: a C string; the handle is the one for the next object in order.
    let real = unsafe { libc::dlsym(libc::RTLD_NEXT, c"dlopen".as_ptr()) };
    REAL.store(real, Ordering::Release);
    real
}
