//! The kernel's calls, each answered by one question to the library.
//!
//! What is at hand is answered by the thread that received the call; what a server has to be asked for, by another one.

use crate::control::{self, Control};
use crate::passthrough::Passthrough;
use crate::present;
use crate::tree::{Handles, Told, Tree};
use fuser::{
    AccessFlags, BackingId, Errno, FileAttr, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    IoctlFlags, KernelConfig, LockOwner, OpenAccMode, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use libcvmfs::Error;
use libcvmfs::namespace::{Listing, Node};
use libcvmfs::patience;
use libcvmfs::prefetch::RecordFile;
use libcvmfs::workers::Workers;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Numbers are never used for something else while the kernel knows them.
const GENERATION: Generation = Generation(0);
/// Places of `.` and `..` in a listing.
const DOTS: u64 = 2;

/// Bytes from which on a file is worth two more calls at each open, for the kernel to read it by itself.
const LEAST_FOR_PASSTHROUGH: u64 = 256 << 10;

/// A repository as a file system.
pub(crate) struct Adapter {
    shared: Arc<Shared>,
    workers: Workers,
}

/// What threads share.
pub(crate) struct Shared {
    pub(crate) tree: Arc<Tree>,
    /// None: nobody may ask.
    pub(crate) control: Option<Arc<Control>>,
    pub(crate) passthrough: Passthrough,
    /// Whether the kernel is asked to read cache files by itself.
    pub(crate) wants_passthrough: bool,
    record: Option<Arc<RecordFile>>,
    files: Handles<OpenFile>,
    directories: Handles<OpenDirectory>,
}

struct OpenFile {
    file: File,
    /// The kernel reads it by this.
    _backing: Option<Arc<BackingId>>,
}

struct OpenDirectory {
    node: Node,
    listing: Listing,
}

impl Adapter {
    pub(crate) fn new(
        tree: Arc<Tree>,
        control: Option<Arc<Control>>,
        wants_passthrough: bool,
        record: Option<Arc<RecordFile>>,
    ) -> Adapter {
        let shared = Shared {
            tree,
            control,
            passthrough: Passthrough::default(),
            wants_passthrough,
            record,
            files: Handles::default(),
            directories: Handles::default(),
        };
        Adapter { shared: Arc::new(shared), workers: Workers::default() }
    }

    /// Asks the library, here if the answer is at hand and in another thread if not; then gives the answer.
    fn answer<T: 'static, R: Send + 'static>(
        &self,
        reply: R,
        ask: impl Fn(&Shared) -> Result<T, Error> + Send + 'static,
        give: impl FnOnce(&Shared, R, Result<T, Errno>) + Send + 'static,
    ) {
        match patience::without_waiting(|| ask_safely(&self.shared, &ask)) {
            Err(Error::WouldWait) => {
                let shared = self.shared.clone();
                self.workers.run(move || {
                    let outcome = ask_safely(&shared, &ask);
                    give(&shared, reply, outcome.map_err(|error| errno(&error)));
                });
            }
            outcome => give(&self.shared, reply, outcome.map_err(|error| errno(&error))),
        }
    }
}

/// A mistake of ours is an input/output error of the program, not the end of everything.
fn ask_safely<T>(shared: &Shared, ask: impl Fn(&Shared) -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(|| ask(shared))).unwrap_or_else(|_| {
        let message = "a mistake in this program".to_owned();
        Err(Error::Remote { message, errno: libc::EIO })
    })
}

/// The number of an error; what is not a fact about the tree is told in the log.
fn errno(error: &Error) -> Errno {
    let number = error.errno();
    if matches!(number, libc::EIO | libc::ENOSPC) {
        log::error!("{error}");
    }
    Errno::from_i32(number)
}

impl Shared {
    fn entry(&self, reply: ReplyEntry, node: Option<Node>) {
        let valid = self.tree.valid();
        let Some(node) = node else { return reply.entry(&valid, &present::absent(), GENERATION) };
        let told = self.tree.tell(node);
        let (kept, shown) = shown(&told, valid);
        reply.entry_with_ttls(&kept, &valid, &shown, GENERATION);
    }

    /// Opens a file of the cache for the kernel.
    fn opened(&self, reply: ReplyOpen, id: u64, file: File, keeps_pages: bool, is_large: bool) {
        let backing = if is_large { self.passthrough.open(id, || reply.open_backing(&file)) } else { None };
        let mut flags = FopenFlags::FOPEN_NOFLUSH;
        if keeps_pages {
            flags |= FopenFlags::FOPEN_KEEP_CACHE;
        } else {
            self.tree.dropped_pages(id);
        }
        let handle = FileHandle(self.files.add(OpenFile { file, _backing: backing.clone() }));
        match backing {
            Some(backing) => reply.opened_passthrough(handle, FopenFlags::FOPEN_NOFLUSH, &backing),
            None => reply.opened(handle, flags),
        }
    }
}

/// What is told of an entry, and how long the kernel keeps it. Under a number that stands in for a taken one the kernel
/// has to ask for the attributes, because only so it can be told the true inode number.
fn shown(told: &Told, valid: Duration) -> (Duration, FileAttr) {
    let kept = if told.is_spare() { Duration::ZERO } else { valid };
    (kept, present::attributes(&told.attributes, told.id))
}

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for wanted in [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_NO_EXPORT_SUPPORT,
        ] {
            // What an old kernel lacks costs time only.
            let _ = config.add_capabilities(wanted);
        }
        // A file system over others of depth 1 leaves room for one overlay upon it.
        if self.shared.wants_passthrough
            && config.capabilities().contains(InitFlags::FUSE_PASSTHROUGH)
            && config.set_max_stack_depth(1).is_ok()
            && config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
        {
            self.shared.passthrough.allow();
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.as_bytes().to_vec();
        self.answer(
            reply,
            move |shared| shared.tree.child(parent.0, &name),
            |shared, reply, found| match found {
                Ok(node) => shared.entry(reply, node),
                Err(errno) => reply.error(errno),
            },
        );
    }

    fn forget(&self, _: &Request, ino: INodeNo, nlookup: u64) {
        self.shared.tree.forget(ino.0, nlookup);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.answer(
            reply,
            move |shared| shared.tree.node(ino.0).map(|node| node.attributes()),
            |shared, reply, found| match found {
                Ok(attributes) => {
                    reply.attr(&shared.tree.valid(), &present::attributes(&attributes, attributes.ino));
                }
                Err(errno) => reply.error(errno),
            },
        );
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        self.answer(
            reply,
            move |shared| shared.tree.node(ino.0)?.read_link(),
            |_, reply, target| match target {
                Ok(target) => reply.data(&target),
                Err(errno) => reply.error(errno),
            },
        );
    }

    fn access(&self, request: &Request, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        let (user, group, wanted) = (request.uid(), request.gid(), mask.bits().unsigned_abs());
        self.answer(
            reply,
            move |shared| {
                let permits = shared.tree.node(ino.0)?.permits_to(user, &[group], wanted);
                if permits { Ok(()) } else { Err(Error::AccessDenied) }
            },
            |_, reply, outcome| match outcome {
                Ok(()) => reply.ok(),
                Err(errno) => reply.error(errno),
            },
        );
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            return reply.error(Errno::EROFS);
        }
        // From now on the number stands for this content, also while it is fetched.
        let opening = match self.shared.tree.open(ino.0) {
            Ok(opening) => opening,
            Err(error) => return reply.error(errno(&error)),
        };
        let (node, keeps_pages) = (opening.thing, opening.keeps_pages);
        let is_large = node.attributes().size >= LEAST_FOR_PASSTHROUGH;
        self.answer(
            reply,
            move |shared| {
                if let Some(record) = &shared.record {
                    record.note(&node)?;
                }
                node.open()
            },
            move |shared, reply, outcome| match outcome {
                Ok(file) => shared.opened(reply, ino.0, file, keeps_pages, is_large),
                Err(errno) => {
                    shared.tree.closed(ino.0);
                    reply.error(errno);
                }
            },
        );
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(open) = self.shared.files.get(fh.0) else { return reply.error(Errno::EBADF) };
        let mut bytes = vec![0; size as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match open.file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    log::error!("reading a file of the cache: {error}");
                    return reply.error(Errno::EIO);
                }
            }
        }
        reply.data(&bytes[..filled]);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Never again.
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        if self.shared.files.remove(fh.0).is_some() {
            self.shared.passthrough.close(ino.0);
            self.shared.tree.closed(ino.0);
        }
        reply.ok();
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.answer(
            reply,
            move |shared| shared.tree.list(ino.0),
            move |shared, reply, listed| match listed {
                Ok((node, listing)) => {
                    let mut flags = FopenFlags::FOPEN_CACHE_DIR;
                    if shared.tree.keeps_listing(ino.0, &node) {
                        flags |= FopenFlags::FOPEN_KEEP_CACHE;
                    }
                    let handle = shared.directories.add(OpenDirectory { node, listing });
                    reply.opened(FileHandle(handle), flags);
                }
                Err(errno) => reply.error(errno),
            },
        );
    }

    fn readdir(&self, _: &Request, _: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let Some(open) = self.shared.directories.get(fh.0) else { return reply.error(Errno::EBADF) };
        for place in offset.. {
            let Some((number, kind, name)) = open.item(place) else { break };
            if reply.add(INodeNo(number), place + 1, kind, OsStr::from_bytes(name)) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(&self, _: &Request, _: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let Some(open) = self.shared.directories.get(fh.0) else { return reply.error(Errno::EBADF) };
        let valid = self.shared.tree.valid();
        for place in offset.. {
            let Some((number, _, name)) = open.item(place) else { break };
            let shown_name = OsStr::from_bytes(name);
            if place < DOTS {
                // The kernel takes only the number and the type of these.
                let attributes = present::attributes(&open.node.attributes(), number);
                if reply.add(INodeNo(number), place + 1, shown_name, &valid, &attributes, GENERATION) {
                    break;
                }
                continue;
            }
            // A name of the listing is in the catalog that was listed, so nobody has to be asked.
            let Ok(Some(node)) = patience::without_waiting(|| open.node.child(name)) else { break };
            let told = self.shared.tree.tell(node);
            let (kept, attributes) = shown(&told, valid);
            if reply.add(INodeNo(told.id), place + 1, shown_name, &kept, &attributes, GENERATION) {
                self.shared.tree.forget(told.id, 1);
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.shared.directories.remove(fh.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        // Programs take a file system of no blocks for a pseudo one.
        reply.statfs(1 << 30, 0, 0, 0, 0, 4096, 255, 4096);
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let name = name.as_bytes().to_vec();
        self.answer(
            reply,
            move |shared| shared.tree.node(ino.0)?.get_xattr(&name),
            move |_, reply, value| give_sized(reply, size, value),
        );
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.answer(
            reply,
            move |shared| {
                let names = shared.tree.node(ino.0)?.list_xattrs()?;
                Ok(names.into_iter().flat_map(|name| [name, vec![0]].concat()).collect())
            },
            move |_, reply, names| give_sized(reply, size, names),
        );
    }

    fn lseek(&self, _: &Request, _: INodeNo, _: FileHandle, _: i64, _: i32, reply: fuser::ReplyLseek) {
        // The kernel finds no holes then, and asks no more.
        reply.error(Errno::ENOSYS);
    }

    fn ioctl(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        command: u32,
        message: &[u8],
        room: u32,
        reply: ReplyIoctl,
    ) {
        let Some(question) = control::Question::parse(command, message).filter(|_| ino == INodeNo::ROOT) else {
            return reply.error(Errno::ENOTTY);
        };
        let Some(control) = self.shared.control.clone() else { return reply.error(Errno::ENOTTY) };
        if request.uid() != 0 && request.uid() != libcvmfs::identity::user() {
            return reply.error(Errno::EPERM);
        }
        let shared = self.shared.clone();
        self.workers.run(move || {
            let answer = control.answer(&shared.tree, &question);
            let message = control::message(&answer);
            reply.ioctl(0, message.get(..room as usize).unwrap_or(&message));
        });
    }
}

impl OpenDirectory {
    /// Number, type and name at a place in the listing.
    fn item(&self, place: u64) -> Option<(u64, fuser::FileType, &[u8])> {
        match place {
            0 => Some((self.node.attributes().ino, fuser::FileType::Directory, b".")),
            1 => {
                let parent = self.node.parent().filter(|parent| parent.snapshot().is_some());
                Some((parent.as_ref().unwrap_or(&self.node).attributes().ino, fuser::FileType::Directory, b".."))
            }
            _ => {
                let item = self.listing.get(usize::try_from(place - DOTS).ok()?)?;
                Some((item.ino, present::kind(item.kind), &item.name))
            }
        }
    }
}

/// Gives a value to who has this much room for it; without any, its length.
fn give_sized(reply: ReplyXattr, room: u32, value: Result<Vec<u8>, Errno>) {
    match value {
        Err(errno) => reply.error(errno),
        Ok(value) if room == 0 => reply.size(u32::try_from(value.len()).unwrap_or(u32::MAX)),
        Ok(value) if value.len() > room as usize => reply.error(Errno::ERANGE),
        Ok(value) => reply.data(&value),
    }
}
