//! Where the socket is, asking, and starting a helper where there is none.

use crate::message::{self, Failure, Reply, Request};
use std::collections::hash_map::DefaultHasher;
use std::ffi::{OsStr, OsString};
use std::hash::{Hash as _, Hasher as _};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long a helper that was just started may take until it answers.
const START_TIME: Duration = Duration::from_secs(20);

/// The socket of a helper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    socket: PathBuf,
}

/// Why no helper could be asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// There is no directory for the socket that other users cannot get at.
    #[error("no private directory for the helper's socket: {path}: {reason}; set XDG_RUNTIME_DIR to one")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no program to start as a helper.
    #[error(
        "/cvmfs needs a helper process and none is running: cvmfs-run was not found beside {library}; put it there, \
         or set {} to its path, or start the program with cvmfs-run",
        crate::PROGRAM_VARIABLE
    )]
    NoProgram {
        /// The preload library.
        library: PathBuf,
    },
    /// The helper could not be started.
    #[error("starting the helper {program}: {reason}")]
    Start {
        /// The program.
        program: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The helper runs, but the conversation with it failed.
    #[error("asking the helper at {socket}: {error}")]
    Conversation {
        /// Its socket.
        socket: PathBuf,
        /// What is wrong.
        error: io::Error,
    },
    /// The socket belongs to somebody else's process.
    #[error("the helper at {socket} runs as user {uid}")]
    Foreign {
        /// The socket.
        socket: PathBuf,
        /// Whose process it is.
        uid: u32,
    },
}

/// The user that this process acts as.
pub fn user() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() }
}

/// The user of the process at the other end.
pub fn peer(stream: &UnixStream) -> io::Result<u32> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the buffer is a `struct ucred` of the length given.
    let done = unsafe {
        let to = (&raw mut credentials).cast();
        libc::getsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, to, &mut length)
    };
    if done == 0 { Ok(credentials.uid) } else { Err(io::Error::last_os_error()) }
}

/// The directory for sockets and control pages, made when missing: `cvmfs-run` in `XDG_RUNTIME_DIR`, or one named by the
/// user in `/dev/shm`, or in `/tmp`.
///
/// Shared memory comes before `/tmp`: the first write to a mapped page of a disk's file takes milliseconds.
pub fn private_directory() -> Result<PathBuf, EndpointError> {
    let runtime =
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute() && dir.is_dir());
    if let Some(runtime) = runtime {
        return private(runtime.join("cvmfs-run"));
    }
    let named = |directory: &str| private(PathBuf::from(format!("{directory}/cvmfs-run-{}", user())));
    named("/dev/shm").or_else(|_| named("/tmp"))
}

fn private(path: PathBuf) -> Result<PathBuf, EndpointError> {
    let refused = |reason: String| EndpointError::Directory { path: path.clone(), reason };
    match std::fs::DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(refused(error.to_string())),
        _ => {}
    }
    let found = std::fs::symlink_metadata(&path).map_err(|error| refused(error.to_string()))?;
    if !found.is_dir() || found.uid() != user() || found.mode() & 0o077 != 0 {
        return Err(refused("it is not a directory of mode 0700 of this user".to_owned()));
    }
    Ok(path)
}

impl Endpoint {
    /// The helper at this socket.
    pub fn at(socket: &Path) -> Endpoint {
        Endpoint { socket: socket.to_owned() }
    }

    /// The helper for the parameters in this process's environment: programs with the same ones share it.
    pub fn of_environment() -> Result<Endpoint, EndpointError> {
        let mut parameters: Vec<(OsString, OsString)> = std::env::vars_os()
            .filter(|(name, _)| {
                let own = name.as_bytes().starts_with(b"CVMFS_RUN_") && name != crate::PIN_VARIABLE;
                name.as_bytes().starts_with(b"CVMFS_") && !own
            })
            .chain(["HOME", "XDG_CACHE_HOME"].map(|name| (name.into(), std::env::var_os(name).unwrap_or_default())))
            .collect();
        parameters.sort();
        let mut hasher = DefaultHasher::new();
        (env!("CARGO_PKG_VERSION"), parameters).hash(&mut hasher);
        Ok(Endpoint { socket: private_directory()?.join(format!("{:016x}", hasher.finish())) })
    }

    /// The path of the socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Connects, if a helper of this user listens.
    pub fn connect(&self) -> Result<Option<UnixStream>, EndpointError> {
        let failed = |error| EndpointError::Conversation { socket: self.socket.clone(), error };
        let stream = loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => break stream,
                Err(error) => match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => return Ok(None),
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(failed(error)),
                },
            }
        };
        match peer(&stream).map_err(failed)? {
            uid if uid == user() || uid == 0 => Ok(Some(stream)),
            uid => Err(EndpointError::Foreign { socket: self.socket.clone(), uid }),
        }
    }

    /// Asks the helper; `None` if there is none, or if it ended just now.
    pub fn ask(&self, request: &Request) -> Result<Option<Result<Reply, Failure>>, EndpointError> {
        let Some(stream) = self.connect()? else { return Ok(None) };
        match converse(&stream, request) {
            Ok(reply) => Ok(Some(reply)),
            Err(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Ok(None),
                _ => Err(EndpointError::Conversation { socket: self.socket.clone(), error }),
            },
        }
    }

    /// Asks the helper, starting one if there is none. `library` is the preload library, beside which the helper's
    /// program is looked for.
    pub fn ask_or_start(&self, request: &Request, library: &Path) -> Result<Result<Reply, Failure>, EndpointError> {
        let mut until = None;
        loop {
            if let Some(reply) = self.ask(request)? {
                return Ok(reply);
            }
            match until {
                None => {
                    let program = helper_program(library)?;
                    self.start(&program)?;
                    until = Some((program, Instant::now() + START_TIME));
                }
                Some((program, until)) if Instant::now() > until => {
                    let reason = format!("it does not answer; see {}", self.log_file().display());
                    return Err(EndpointError::Start { program, reason });
                }
                Some(_) => {}
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where a helper in the background writes its messages.
    pub fn log_file(&self) -> PathBuf {
        self.socket.with_extension("log")
    }

    /// Starts a helper in the background. The program puts itself there and returns at once; of several that are
    /// started together one stays.
    pub fn start(&self, program: &Path) -> Result<(), EndpointError> {
        let failed = |reason: String| EndpointError::Start { program: program.to_owned(), reason };
        let mut command = Command::new(program);
        command.arg("--serve").arg(&self.socket).env_remove("LD_PRELOAD").current_dir("/");
        let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
        let output = output.map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(failed(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()))
        }
    }
}

/// Says one request and hears one reply.
pub fn converse(stream: &UnixStream, request: &Request) -> io::Result<Result<Reply, Failure>> {
    message::send(Quiet(stream), request)?;
    message::receive(stream)
}

/// Writes without a signal when the other end has gone.
struct Quiet<'s>(&'s UnixStream);

impl io::Write for Quiet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: a buffer with its length.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn helper_program(library: &Path) -> Result<PathBuf, EndpointError> {
    if let Some(program) = std::env::var_os(crate::PROGRAM_VARIABLE).filter(|program| !program.is_empty()) {
        return Ok(program.into());
    }
    let beside = library.parent().unwrap_or(Path::new("/"));
    let name = OsStr::new("cvmfs-run");
    let places = [beside.join(name), beside.join("../bin").join(name)];
    let found = places.into_iter().find(|program| program.is_file());
    found.ok_or_else(|| EndpointError::NoProgram { library: library.to_owned() })
}
