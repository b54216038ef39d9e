//! Running programs.
//!
//! What lies in the tree is run under its name in the view, so that `/proc/self/exe`, `$ORIGIN` and the process's name
//! come out right. A script's interpreter line is read here, since the kernel cannot follow it into the tree.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::environment::Environment;
use crate::errno::{Answer as _, Errno};
use crate::namespace::{self, FileKind, LastLink, Resolved};
use crate::route::{C2, C3, C5};
use crate::{errno, inside, link_map, place, sys, view};
use libc::{AT_FDCWD, c_char, c_int};
use std::ffi::{CStr, CString};
use std::io::Read as _;

pub(crate) type Strings = *const *const c_char;

unsafe extern "C" {
    static environ: Strings;
}

/// The program's own environment.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn own_environment() -> Strings {
    environ
}

/// As many interpreters of interpreters as the kernel follows.
const MAX_DEPTH: u32 = 5;
/// How much of a file the kernel looks at for an interpreter line.
const LINE_MAX: usize = 256;

/// What to run in place of what the caller asked for.
struct Program {
    file: CString,
    /// Replaces the caller's first argument, for a script.
    leading: Option<Vec<CString>>,
    /// Whether anything of it lies in the tree.
    ours: bool,
}

/// Finds out how to run `path`, a virtual or a native path as it is written in an interpreter line or a call.
fn settle(path: &[u8], given: &[u8], depth: u32) -> Result<Program, Errno> {
    if depth > MAX_DEPTH {
        return Err(Errno(libc::ELOOP));
    }
    let mut ours = false;
    let file = match place::spelled_absolute(path) {
        None => CString::new(path)?,
        Some(spelled) => match namespace::resolve(&spelled, LastLink::Follow)? {
            Resolved::Outside(path) => {
                ours = true;
                CString::new(path)?
            }
            Resolved::Node(node) => {
                ours = true;
                if node.kind() != FileKind::Regular {
                    return Err(Errno(libc::EACCES));
                }
                namespace::check_access(&node, libc::X_OK)?;
                link_map::bring_libraries(&node);
                view::materialise_program(&node)?
            }
        },
    };
    let Some((interpreter, argument)) = interpreter_line(&file)? else {
        return Ok(Program { file, leading: None, ours });
    };
    let below = settle_from_host(&interpreter, depth + 1)?;
    let mut leading = match below.leading {
        Some(leading) => leading,
        None => vec![CString::new(interpreter)?],
    };
    if let Some(argument) = argument {
        leading.push(CString::new(argument)?);
    }
    leading.push(CString::new(given)?);
    Ok(Program { file: below.file, leading: Some(leading), ours: ours || below.ours })
}

/// As [`settle`], for a path that may be a link of the host into the tree.
fn settle_from_host(path: &[u8], depth: u32) -> Result<Program, Errno> {
    let native = place::spelled_absolute(path).is_none();
    let name = CString::new(path)?;
    if native && sys::stat(&name, 0).is_err() {
        // SAFETY: a C string.
        if let Some(found) = unsafe { place::host_link(AT_FDCWD, name.as_ptr()) } {
            return settle(&found, path, depth);
        }
    }
    settle(path, path, depth)
}

type Line = (Vec<u8>, Option<Vec<u8>>);

/// The interpreter and its one argument, if the native `file` begins with `#!`.
fn interpreter_line(file: &CStr) -> Result<Option<Line>, Errno> {
    use std::os::unix::ffi::OsStrExt as _;
    let Ok(mut file) = std::fs::File::open(std::ffi::OsStr::from_bytes(file.to_bytes())) else {
        // Not there or not readable: running it says why, or needs no reading.
        return Ok(None);
    };
    let mut head = [0; LINE_MAX];
    let mut len = 0;
    while let Some(room) = head.get_mut(len..).filter(|room| !room.is_empty()) {
        match file.read(room)? {
            0 => break,
            n => len += n,
        }
    }
    let Some(line) = head.get(..len).and_then(|head| head.strip_prefix(b"#!")) else { return Ok(None) };
    let line = line.split(|&b| b == b'\n' || b == 0).next().unwrap_or_default();
    let line = line.trim_ascii();
    if line.is_empty() {
        return Err(Errno(libc::ENOEXEC));
    }
    let end = line.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(line.len());
    let (interpreter, argument) = line.split_at(end);
    let argument = argument.trim_ascii();
    Ok(Some((interpreter.to_vec(), (!argument.is_empty()).then(|| argument.to_vec()))))
}

impl Program {
    unsafe fn run(&self, argv: Strings, go: impl Fn(*const c_char, Strings) -> c_int) -> c_int {
        let Some(leading) = &self.leading else { return go(self.file.as_ptr(), argv) };
        let mut arguments: Vec<*const c_char> = leading.iter().map(|argument| argument.as_ptr()).collect();
        if !argv.is_null() && !(*argv).is_null() {
            let mut at = argv.add(1);
            while !(*at).is_null() {
                arguments.push(*at);
                at = at.add(1);
            }
        }
        arguments.push(std::ptr::null());
        go(self.file.as_ptr(), arguments.as_ptr())
    }
}

/// Runs `path` by `go`, the real function, which reports failure by -1 and `errno`.
pub(crate) unsafe fn launch(
    dir: c_int,
    path: *const c_char,
    argv: Strings,
    native: impl Fn() -> c_int,
    go: impl Fn(*const c_char, Strings) -> c_int,
) -> c_int {
    if let Some(spelled) = place::spelled(dir, path) {
        return launch_virtual(&spelled, CStr::from_ptr(path).to_bytes(), argv, go);
    }
    let result = native();
    let error = errno::get();
    if result != -1 || path.is_null() || !place::may_lead_here(error) {
        return result;
    }
    if let Some(found) = place::host_link(dir, path) {
        return launch_virtual(&found, CStr::from_ptr(path).to_bytes(), argv, go);
    }
    // The kernel says the same of a script whose interpreter it cannot find.
    let given = CStr::from_ptr(path).to_bytes();
    if dir == AT_FDCWD
        && let Ok(program) = inside::answer(|| settle(given, given, 0))
        && program.ours
    {
        return program.run(argv, go);
    }
    errno::set(error);
    result
}

/// Runs what a virtual path names; `given` is what its interpreter, if it is a script, is told.
pub(crate) unsafe fn launch_virtual(
    spelled: &[u8],
    given: &[u8],
    argv: Strings,
    go: impl Fn(*const c_char, Strings) -> c_int,
) -> c_int {
    match inside::answer(|| settle(spelled, given, 0)) {
        Ok(program) => program.run(argv, go),
        Err(error) => c_int::fail(error),
    }
}

pub(crate) unsafe fn execve(
    real: C3<*const c_char, Strings, Strings, c_int>,
    path: *const c_char,
    argv: Strings,
    envp: Strings,
) -> c_int {
    if inside::is_inside() {
        return real(path, argv, envp);
    }
    let environment = Environment::complete(envp);
    let envp = environment.as_ptr();
    launch(AT_FDCWD, path, argv, || real(path, argv, envp), |file, argv| real(file, argv, envp))
}

pub(crate) unsafe fn execv(real: C2<*const c_char, Strings, c_int>, path: *const c_char, argv: Strings) -> c_int {
    if inside::is_inside() {
        return real(path, argv);
    }
    execve(execute, path, argv, environ)
}

/// The system call, as a function of the C library.
unsafe extern "C" fn execute(path: *const c_char, argv: Strings, envp: Strings) -> c_int {
    let arguments = [path as usize, argv as usize, envp as usize, 0, 0, 0];
    sys::call(libc::SYS_execve, arguments).map_or_else(c_int::fail, |_| 0)
}

pub(crate) unsafe fn execvp(real: C2<*const c_char, Strings, c_int>, file: *const c_char, argv: Strings) -> c_int {
    if inside::is_inside() {
        return real(file, argv);
    }
    search(file, argv, environ)
}

pub(crate) unsafe fn execvpe(
    real: C3<*const c_char, Strings, Strings, c_int>,
    file: *const c_char,
    argv: Strings,
    envp: Strings,
) -> c_int {
    if inside::is_inside() {
        return real(file, argv, envp);
    }
    search(file, argv, envp)
}

/// The candidates for a program's name along `PATH`.
pub(crate) unsafe fn candidates(file: &CStr) -> Vec<CString> {
    let file = file.to_bytes();
    if file.contains(&b'/') {
        return CString::new(file).into_iter().collect();
    }
    let path = libc::getenv(c"PATH".as_ptr());
    let path = if path.is_null() { c"/bin:/usr/bin" } else { CStr::from_ptr(path) };
    let candidate = |dir: &[u8]| CString::new(if dir.is_empty() { file.to_vec() } else { place::join(dir, file) }).ok();
    path.to_bytes().split(|&b| b == b':').filter_map(candidate).collect()
}

/// `execvpe`, by the C library's rules.
unsafe fn search(file: *const c_char, argv: Strings, envp: Strings) -> c_int {
    if file.is_null() || *file == 0 {
        return c_int::fail(Errno(libc::ENOENT));
    }
    let mut denied = false;
    for candidate in candidates(CStr::from_ptr(file)) {
        execve(execute, candidate.as_ptr(), argv, envp);
        match errno::get() {
            libc::EACCES => denied = true,
            libc::ENOENT | libc::ESTALE | libc::ENOTDIR | libc::ENODEV | libc::ETIMEDOUT => {}
            libc::ENOEXEC => {
                let shell = c"/bin/sh";
                let leading = vec![shell.to_owned(), candidate];
                let program = Program { file: shell.to_owned(), leading: Some(leading), ours: false };
                return program.run(argv, |file, argv| execve(execute, file, argv, envp));
            }
            _ => return -1,
        }
    }
    c_int::fail(Errno(if denied { libc::EACCES } else { libc::ENOENT }))
}

pub(crate) unsafe fn execveat(
    real: C5<c_int, *const c_char, Strings, Strings, c_int, c_int>,
    dir: c_int,
    path: *const c_char,
    argv: Strings,
    envp: Strings,
    flags: c_int,
) -> c_int {
    if inside::is_inside() {
        return real(dir, path, argv, envp, flags);
    }
    let environment = Environment::complete(envp);
    let envp = environment.as_ptr();
    if flags & libc::AT_EMPTY_PATH != 0 && !path.is_null() && *path == 0 {
        return match place::of_descriptor(dir) {
            Some(name) => launch_virtual(&name, &name, argv, |file, argv| execute(file, argv, envp)),
            None => real(dir, path, argv, envp, flags),
        };
    }
    let native = || real(dir, path, argv, envp, flags);
    launch(dir, path, argv, native, |file, argv| execute(file, argv, envp))
}

pub(crate) unsafe fn fexecve(
    real: C3<c_int, Strings, Strings, c_int>,
    fd: c_int,
    argv: Strings,
    envp: Strings,
) -> c_int {
    if inside::is_inside() {
        return real(fd, argv, envp);
    }
    let environment = Environment::complete(envp);
    let envp = environment.as_ptr();
    match place::of_descriptor(fd) {
        Some(name) => launch_virtual(&name, &name, argv, |file, argv| execute(file, argv, envp)),
        None => real(fd, argv, envp),
    }
}
