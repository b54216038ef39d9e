//! A root of its own for the program: an operating system's tree with a layer that is written to, a few places of the
//! host, and `/cvmfs`.
//!
//! Nothing is mounted. Every path is walked here as the kernel would walk it after `chroot`, and what is at its end is
//! a real file: of the layer, of the tree, of the host, or of the view. The names of real files tell where they are
//! inside, so descriptors and working directories need no table here, either.
//!
//! | module | job |
//! |---|---|
//! | [`walk`] | where a path leads |
//! | [`tell`] | telling what is there |
//! | [`open`] | opening for writing, and making files |
//! | [`change`] | making, removing, renaming, linking, altering |

mod change;
mod open;
mod tell;
mod walk;

use super::calls::{Call, Object};
use super::listener::Notification;
use super::task::Task;
use super::{Outcome, Supervisor};
use anyhow::{Context as _, bail};
use cvmfs_union::{Base, Layer, Union, below, child_path};
use cvmfs_view::{Errno, Refusal, View, name};
use libcvmfs::client::Client;
use libcvmfs::config::table::{AUTO_UPDATE, ROOT_HASH};
use libcvmfs::namespace::{FileKind, LastLink, Node, Resolved};
use rustix::fs::OFlags;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// What the program's root is made of.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The operating system's tree: a directory of the host, or of a repository.
    pub(crate) tree: PathBuf,
    /// The directories of layers, the topmost first; only that is written to.
    pub(crate) layers: Vec<PathBuf>,
    /// Places of the host that are seen inside.
    pub(crate) places: Vec<Place>,
    /// Directories of which nothing in the tree is seen.
    pub(crate) emptied: Vec<PathBuf>,
}

/// A file or directory of the host that is seen inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where it is outside.
    pub(crate) source: PathBuf,
    /// Where it is seen, an absolute path without links and dots.
    pub(crate) target: PathBuf,
    pub(crate) read_only: bool,
}

/// What the kernel and its devices show is the same inside.
const KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// The root of the program.
#[derive(Debug)]
pub(super) struct Rooted {
    union: Union,
    /// By the place inside, the longest first.
    places: Vec<Mounted>,
    /// Where the tree is below the mount directory, if it is in a repository.
    tree: Option<Vec<u8>>,
    /// Names in the view begin with it.
    view: Vec<u8>,
    /// Where repositories are, inside and outside.
    mount_dir: Vec<u8>,
}

/// Something of the host at a place inside.
#[derive(Debug)]
struct Mounted {
    place: Vec<u8>,
    real: Vec<u8>,
    read_only: bool,
}

impl Rooted {
    /// Makes the root ready to be used.
    pub(super) fn new(plan: &Plan, client: &Client, view: &View) -> anyhow::Result<Rooted> {
        let namespace = client.namespace();
        let mut layers = Vec::new();
        for layer in &plan.layers {
            let directory = std::fs::canonicalize(layer).with_context(|| layer.display().to_string())?;
            layers.push(Layer::at(directory));
        }
        if let Some(first) = layers.first() {
            first.make().context("making a layer")?;
        }
        let (base, tree) = if namespace.strip(plan.tree.as_os_str().as_bytes()).is_some() {
            let node = tree_in_repository(&plan.tree, &layers, client)?;
            let path = node.path();
            (Base::Tree(node), Some(path))
        } else {
            let tree = std::fs::canonicalize(&plan.tree).with_context(|| plan.tree.display().to_string())?;
            (Base::Directory(tree), None)
        };
        let union = Union::new(layers, base).context("laying layers over the tree")?;
        let kernel = KERNEL.map(|path| Place { source: path.into(), target: path.into(), read_only: false });
        let mut places = Vec::new();
        for place in kernel.iter().chain(&plan.places) {
            let real = std::fs::canonicalize(&place.source).with_context(|| place.source.display().to_string())?;
            places.push(Mounted {
                place: place.target.as_os_str().as_bytes().to_vec(),
                real: real.into_os_string().into_encoded_bytes(),
                read_only: place.read_only,
            });
        }
        places.sort_by_key(|mounted| std::cmp::Reverse(mounted.place.len()));
        let mount_dir = namespace.mount_dir().to_vec();
        let rooted = Rooted { union, places, tree, view: view.prefix().to_vec(), mount_dir };
        rooted.make_places().context("making places for what the host shows")?;
        for directory in &plan.emptied {
            let covered = rooted.union.cover(directory.as_os_str().as_bytes()).map_err(refused);
            covered.with_context(|| format!("making {} an empty directory", directory.display()))?;
        }
        Ok(rooted)
    }

    /// Places that the tree lacks are made in the layer, and the root directory, in which the program starts, is one
    /// of the layer's.
    fn make_places(&self) -> anyhow::Result<()> {
        self.union.fill(b"/").map_err(refused)?;
        let directories = self.places.iter().map(|mounted| {
            let is_directory = std::fs::metadata(OsStr::from_bytes(&mounted.real)).is_ok_and(|found| found.is_dir());
            (mounted.place.as_slice(), is_directory)
        });
        let always = [self.mount_dir.as_slice(), b"/run", b"/tmp"].map(|place| (place, true));
        for (place, is_directory) in directories.chain(always) {
            let mut here = b"/".to_vec();
            let mut names = place.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).peekable();
            while let Some(name) = names.next() {
                let path = child_path(&here, name);
                let exists = match self.union.find(&path) {
                    Ok(_) => true,
                    Err(Refusal::Error(Errno(libc::ENOENT))) => false,
                    Err(refusal) => {
                        return Err(refused(refusal)).with_context(|| String::from_utf8_lossy(&path).into_owned());
                    }
                };
                if !exists {
                    use cvmfs_union::change::Making;
                    let what = match names.peek().is_some() || is_directory {
                        true if path == b"/tmp" => Making::Directory(0o1777),
                        true => Making::Directory(0o755),
                        false => Making::Node(libc::S_IFREG, 0o644),
                    };
                    self.union.make_place(&path, &what).map_err(refused)?;
                }
                here = path;
            }
        }
        Ok(())
    }

    /// The operating system's tree, if it is in a repository.
    pub(super) fn tree_node(&self) -> Option<&Node> {
        match self.union.base() {
            Base::Tree(node) => Some(node),
            _ => None,
        }
    }

    /// The real directory in which the program starts.
    pub(super) fn directory(&self) -> PathBuf {
        self.union.upper(b"/")
    }

    /// The path inside of the real name of something that is open; `None` if it is not inside.
    pub(super) fn inside(&self, name: &[u8]) -> Option<Vec<u8>> {
        if let Some((key, path)) = name::split(&self.view, name) {
            if key == [b"host", name::COPIES.as_bytes()].concat() {
                return self.inside(path);
            }
            return Some(self.inside_tree(path).unwrap_or_else(|| path.to_vec()));
        }
        if let Some(path) = self.union.inside_layers(name) {
            return Some(path.to_vec());
        }
        // The base last, for it may hold all the others: it can be the host's own root.
        match self.place_of(name) {
            Some((mounted, b"/")) => Some(mounted.place.clone()),
            Some((mounted, rest)) => Some([mounted.place.as_slice(), rest].concat()),
            None => self.union.inside_base(name).map(<[u8]>::to_vec),
        }
    }

    /// What of the host is seen inside and holds the real name `name` most closely, and what follows.
    fn place_of<'n>(&self, name: &'n [u8]) -> Option<(&Mounted, &'n [u8])> {
        let holding = self.places.iter().rev().filter_map(|mounted| Some((mounted, below(&mounted.real, name)?)));
        holding.max_by_key(|(mounted, _)| mounted.real.len())
    }

    /// Whether a real name is one of the tree or its layers, and not of what is seen upon them.
    pub(super) fn is_of_union(&self, name: &[u8]) -> bool {
        self.union.inside_layers(name).is_some()
            || self.union.inside_base(name).is_some() && self.place_of(name).is_none()
    }

    /// Makes what the kernel tells of an open file, reached through the kernel's link `link`, what is told inside;
    /// `name` is its real name.
    pub(super) fn present_open(&self, link: &Path, name: &[u8], stat: &mut libc::stat) {
        if self.is_of_union(name) {
            self.union.present_open(link, name, stat);
        }
    }

    /// The path inside of something in the tree, if that is in a repository.
    pub(super) fn inside_tree(&self, path: &[u8]) -> Option<Vec<u8>> {
        below(self.tree.as_deref()?, path).map(<[u8]>::to_vec)
    }
}

fn refused(refusal: Refusal) -> std::io::Error {
    std::io::Error::from_raw_os_error(match refusal {
        Refusal::Error(Errno(errno)) => errno,
        Refusal::WouldWait => libc::EAGAIN,
    })
}

/// The directory of a repository over which the layers lie. It stays at the snapshot over which the first of them was
/// begun: what is written into a layer is meant for that.
fn tree_in_repository(tree: &Path, layers: &[Layer], client: &Client) -> anyhow::Result<Node> {
    let mut known = None;
    for layer in layers.iter().rev() {
        known = known.or(layer.snapshot().context("reading over which snapshot a layer lies")?);
    }
    let pinned = match &known {
        Some(hash) => {
            let pin = [(ROOT_HASH.name.to_owned(), hash.clone()), (AUTO_UPDATE.name.to_owned(), "no".to_owned())];
            Some(crate::session::client_with(pin.into())?)
        }
        None => None,
    };
    let namespace = pinned.as_ref().unwrap_or(client).namespace();
    let found = namespace.resolve(tree.as_os_str().as_bytes(), LastLink::Follow);
    let node = match found.with_context(|| format!("finding the tree {}", tree.display()))? {
        Resolved::Node(node) if node.kind() == FileKind::Directory => node,
        _ => bail!("the tree {} is no directory of a repository", tree.display()),
    };
    if let (None, Some(top), Some(snapshot)) = (known, layers.first(), node.snapshot()) {
        let hash = snapshot.identity().root_hash.to_string();
        top.set_snapshot(&hash).context("writing over which snapshot a layer lies")?;
    }
    Ok(node)
}

impl Supervisor {
    /// The real directory in which the program starts, if it has a root of its own.
    pub(super) fn start_directory(&self) -> Option<PathBuf> {
        self.rooted.as_ref().map(Rooted::directory)
    }

    /// The answer in a root of its own; `None` where it is that of all programs, who ask where a path leads.
    pub(super) fn dispatch_rooted(
        &self,
        rooted: &Rooted,
        task: &Task,
        call: Call,
        notification: &Notification,
    ) -> Option<Outcome> {
        let inside = Inside { supervisor: self, rooted, task, notification };
        Some(match call {
            Call::Open { at, flags, mode } => return inside.open(at, flags, mode).transpose(),
            Call::OpenHow { at, how } => return inside.open_how(at, how).transpose(),
            Call::Stat { of, buf } => inside.stat(of, |stat| self.put(task, buf, stat)),
            Call::Statx { of, buf } => inside.stat(of, |stat| self.put(task, buf, &cvmfs_view::stat::statx(stat))),
            Call::Access { at, mode, flags } => inside.access(at, mode, flags),
            Call::ReadLink { at, into } => inside.read_link(at, into),
            Call::WorkingDirectory { into } => inside.working_directory(into),
            Call::StatFs { of: Object::Path(at, _), buf } => return inside.stat_fs(at, buf).transpose(),
            Call::GetAttribute { of, name, into } => return inside.get_attribute(of, name, into).transpose(),
            Call::ListAttributes { of, into } => return inside.list_attributes(of, into).transpose(),
            Call::Make { at, what } => inside.make(at, what),
            Call::Remove { at, directory } => inside.remove(at, directory),
            Call::Rename { from, to, flags } => inside.rename(from, to, flags),
            Call::Link { from, to, flags } => inside.link(from, to, flags),
            Call::Truncate { at, length } => inside.truncate(at, length),
            Call::Alter { of, how } => inside.alter(of, how),
            _ => return None,
        })
    }
}

/// A call from inside.
#[derive(Clone, Copy)]
struct Inside<'c> {
    supervisor: &'c Supervisor,
    rooted: &'c Rooted,
    task: &'c Task<'c>,
    notification: &'c Notification,
}

/// A real path as the kernel's calls take it.
fn real_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// Bits of flags that `openat` of a real file keeps.
fn open_flags(flags: libc::c_int) -> OFlags {
    let made = libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC | libc::O_CLOEXEC;
    OFlags::from_bits_retain((flags & !made) as u32)
}
