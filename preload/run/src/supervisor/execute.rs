//! Running programs: what the kernel does with a file, done by us as far as it leads into the tree.

use super::calls::At;
use super::elf::{self, Image};
use super::listener::Notification;
use super::locate::{Place, last_link};
use super::rerun::{Item, Rerun};
use super::task::Task;
use super::{Answer, Outcome, Supervisor, report};
use cvmfs_view::{Errno, Refusal, name, verdict};
use libc::c_int;
use libcvmfs::namespace::{FileKind, LastLink, Node};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// Interpreters of interpreters, as in the kernel.
const DEPTH: usize = 5;

/// A file to run.
enum Program {
    Ours(Node),
    Host(PathBuf),
}

/// A script on the way to the program that is run.
struct Script {
    program: Program,
    file: File,
    argument: Option<Vec<u8>>,
    /// Its interpreter is where the kernel looks for it.
    kernel_finds_it: bool,
}

/// What leads to the program that is run.
struct Chain {
    /// Arguments before those that are given.
    front: Vec<Vec<u8>>,
    scripts: Vec<Script>,
    /// Where the arguments that are given lie.
    arguments: u64,
}

impl Program {
    fn open(&self) -> Result<File, Refusal> {
        match self {
            Program::Ours(node) => Ok(node.open()?),
            Program::Host(path) => Ok(File::open(path)?),
        }
    }
}

impl Supervisor {
    pub(super) fn execute(
        &self,
        task: &Task,
        at: At,
        arguments: u64,
        flags: c_int,
        notification: &Notification,
    ) -> Outcome {
        let mut path = task.memory.path(at.path)?;
        let by_descriptor = path.is_empty() && flags & libc::AT_EMPTY_PATH != 0;
        let place = if by_descriptor {
            self.locate_descriptor(task, at.dir)?
        } else {
            self.locate_path(task, at.dir, &path, last_link(flags))?
        };
        let native = matches!(place, Place::Native);
        let mut program = match place {
            Place::Ours(node) => {
                // What a script sees as its name is what was given, as far as that means something to it.
                let relative = at.dir != libc::AT_FDCWD && !path.starts_with(b"/");
                if relative || name::split(self.view.prefix(), &path).is_some() {
                    path = node.path();
                }
                Program::Ours(node)
            }
            Place::Elsewhere(path) => Program::Host(path),
            Place::Native if path.is_empty() && !by_descriptor => return Ok(Answer::Resume),
            Place::Native => Program::Host(host_path(task, at.dir, &path)),
        };
        // Only what leads to us at some point is not the kernel's alone; in a root of its own that is everything, for
        // loaders are looked for there.
        let mut concerned = !native || self.rooted.is_some();
        let mut front: Vec<Vec<u8>> = Vec::new();
        let mut scripts = Vec::new();
        for _ in 0..DEPTH {
            if let Program::Ours(node) = &program {
                self.may_run(node)?;
            }
            let file = match program.open() {
                Ok(file) => file,
                // The kernel says why.
                Err(Refusal::Error(_)) if !concerned => return Ok(Answer::Resume),
                Err(refusal) => return Err(refusal),
            };
            if let Program::Host(path) = &program
                && (!file.metadata()?.is_file() || concerned && !may_be_run(path))
            {
                return if concerned { Err(Errno(libc::EACCES).into()) } else { Ok(Answer::Resume) };
            }
            if let Program::Ours(node) = &program {
                self.note(node)?;
            }
            match elf::inspect(&file)? {
                Image::Script(interpreter, argument) => {
                    if front.is_empty() {
                        front.push(path.clone());
                    }
                    front.splice(0..0, std::iter::once(interpreter.clone()).chain(argument.clone()));
                    let place = self.locate_path(task, libc::AT_FDCWD, &interpreter, LastLink::Follow);
                    let kernel_finds_it = matches!(place, Ok(Place::Native));
                    let next = match place {
                        Ok(Place::Ours(node)) => {
                            concerned = true;
                            Program::Ours(node)
                        }
                        Ok(Place::Elsewhere(path)) => {
                            concerned = true;
                            Program::Host(path)
                        }
                        Ok(Place::Native) => Program::Host(host_path(task, libc::AT_FDCWD, &interpreter)),
                        Err(Refusal::Error(_)) if !concerned => return Ok(Answer::Resume),
                        Err(refusal) => return Err(refusal),
                    };
                    let this = std::mem::replace(&mut program, next);
                    // One whose interpreter is a script again needs more than another name.
                    scripts.push(Script { program: this, file, argument, kernel_finds_it });
                    path = interpreter;
                }
                image => {
                    let chain = Chain { front, scripts, arguments };
                    return self.run(task, &program, file, image, concerned, at, chain, notification);
                }
            }
        }
        if concerned { Err(Errno(libc::ELOOP).into()) } else { Ok(Answer::Resume) }
    }

    fn may_run(&self, node: &Node) -> Result<(), Refusal> {
        if node.kind() == FileKind::Symlink {
            // Only with AT_SYMLINK_NOFOLLOW.
            return Err(Errno(libc::ELOOP).into());
        }
        let runnable = node.kind() == FileKind::Regular
            && node.attributes().mode & 0o111 != 0
            && verdict::permits(node, &self.caller, libc::X_OK);
        if runnable { Ok(()) } else { Err(Errno(libc::EACCES).into()) }
    }

    /// The chain of interpreters ends here.
    #[expect(clippy::too_many_arguments, reason = "all that was found out on the way")]
    fn run(
        &self,
        task: &Task,
        program: &Program,
        file: File,
        image: Image,
        concerned: bool,
        at: At,
        chain: Chain,
        notification: &Notification,
    ) -> Outcome {
        let Chain { front, scripts, arguments } = chain;
        let loader = match &image {
            Image::Elf(Some(loader)) => match self.locate_path(task, libc::AT_FDCWD, &loader.path, LastLink::Follow) {
                Ok(Place::Ours(node)) => {
                    self.may_run(&node)?;
                    Some((loader, Program::Ours(node)))
                }
                // In a root of its own no loader is where the kernel would look for it.
                Ok(Place::Elsewhere(path)) if self.rooted.is_some() => Some((loader, Program::Host(path))),
                Ok(_) => None,
                Err(Refusal::Error(_)) if !concerned => return Ok(Answer::Resume),
                Err(refusal) => return Err(refusal),
            },
            Image::Elf32 if concerned => {
                report::say("32-bit programs cannot be run out of /cvmfs: their system calls are not seen".to_owned());
                return Err(Errno(libc::ENOEXEC).into());
            }
            Image::Other if concerned => return Err(Errno(libc::ENOEXEC).into()),
            _ => None,
        };
        let has_loader_of_ours = loader.is_some();
        let name = match (program, loader) {
            (Program::Host(_), None) if !concerned => return Ok(Answer::Resume),
            (Program::Host(path), None) => path.clone(),
            (Program::Ours(node), None) => {
                self.keep(node);
                self.view.materialise_program(node)?
            }
            (program, Some((loader, Program::Host(real)))) => self.with_loader(program, file, loader, &real)?,
            (program, Some((loader, Program::Ours(node)))) => {
                self.keep(&node);
                let real = self.view.materialise_program(&node)?;
                self.note(&node)?;
                self.with_loader(program, file, loader, &real)?
            }
        };
        let [_, _, environment, from_at, ..] = notification.arguments;
        let environment =
            if libc::c_long::from(notification.number) == libc::SYS_execveat { from_at } else { environment };
        let rerun = Rerun::brief(libc::SYS_execve, [0, arguments, environment, 0, 0, 0])
            .with_string(0, name.as_os_str().as_bytes());
        if front.is_empty() {
            return Ok(Answer::Rerun(rerun.or_in_place(at, name.as_os_str().as_bytes(), LastLink::Follow)));
        }
        let rerun = match self.script_in_place(scripts, &name, has_loader_of_ours)? {
            Some(script) => rerun.or_in_place(at, script.as_os_str().as_bytes(), LastLink::Follow),
            None => rerun,
        };
        let given = task.memory.addresses(arguments)?;
        let list = front.into_iter().map(Item::New).chain(given.into_iter().skip(1).map(Item::There)).collect();
        Ok(Answer::Rerun(rerun.with_list(1, list)))
    }

    /// A name with which the kernel runs a script by itself, where that is needed.
    fn script_in_place(
        &self,
        scripts: Vec<Script>,
        interpreter: &Path,
        has_loader_of_ours: bool,
    ) -> Result<Option<PathBuf>, Refusal> {
        let mut scripts = scripts.into_iter();
        let (Some(mut script), None) = (scripts.next(), scripts.next()) else { return Ok(None) };
        if !self.untraceable.load(Ordering::Relaxed) {
            return Ok(None);
        }
        if script.kernel_finds_it && !has_loader_of_ours {
            return match &script.program {
                Program::Ours(node) => Ok(Some(self.view.materialise_program(node)?)),
                Program::Host(_) => Ok(None),
            };
        }
        let line = elf::script_line(interpreter.as_os_str().as_bytes(), script.argument.as_deref());
        let Some(line) = line else { return Ok(None) };
        let copy = self.copy_name(&script.program)?;
        self.view.write_program(&copy, |to| elf::copy_with_line(&mut script.file, &line, to))?;
        Ok(Some(copy))
    }

    /// A copy of a program that asks for a loader in the view, under a name that tells where the program is.
    fn with_loader(
        &self,
        program: &Program,
        file: File,
        loader: &elf::Loader,
        real: &Path,
    ) -> Result<PathBuf, Refusal> {
        let copy = self.copy_name(program)?;
        let loader_path = real.as_os_str().as_bytes();
        if !elf::is_copy_with_loader(&copy, &file, loader_path)? {
            let mut file = file;
            self.view.write_program(&copy, |to| elf::copy_with_loader(&mut file, loader, loader_path, to))?;
        }
        Ok(copy)
    }

    /// The name of a copy of a program, which tells where the program is.
    fn copy_name(&self, program: &Program) -> Result<PathBuf, Refusal> {
        let mut below = match program {
            Program::Ours(node) => {
                self.keep(node);
                let (key, path) = (name::key(node), node.path());
                [b"/", key.as_bytes(), name::COPIES.as_bytes(), path.as_slice()].concat()
            }
            Program::Host(path) => {
                let path = std::fs::canonicalize(path)?;
                [b"/host", name::COPIES.as_bytes(), path.as_os_str().as_bytes()].concat()
            }
        };
        below.splice(0..0, self.view.prefix().iter().copied());
        Ok(PathBuf::from(OsString::from_vec(below)))
    }
}

/// Whether the bits of a file of the host let this process run it.
fn may_be_run(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// A path of the program's, as we have to spell it.
fn host_path(task: &Task, dir: c_int, path: &[u8]) -> PathBuf {
    let path = if path.starts_with(b"/") {
        task.own(path)
    } else {
        let base = if dir == libc::AT_FDCWD {
            format!("/proc/{}/cwd", task.tid)
        } else {
            format!("/proc/{}/fd/{dir}", task.tid)
        };
        if path.is_empty() { base.into_bytes() } else { [base.as_bytes(), b"/", path].concat() }
    };
    PathBuf::from(OsStr::from_bytes(&path))
}
