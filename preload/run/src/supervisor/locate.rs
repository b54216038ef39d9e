//! Where a path of the program leads.

use super::Supervisor;
use super::calls::At;
use super::task::Task;
use cvmfs_view::{Errno, Refusal, host, name};
use libc::{AT_FDCWD, AT_SYMLINK_NOFOLLOW, c_int};
use libcvmfs::namespace::{LastLink, Node, Resolved};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// Where a path leads.
#[derive(Debug)]
pub(super) enum Place {
    /// To an entry of the tree.
    Ours(Node),
    /// To a file of the host by another path than the one spelled.
    Elsewhere(PathBuf),
    /// Where the kernel says.
    Native,
}

/// Links out of the tree that lead back in, before giving up.
const WAYS_BACK: u32 = 40;

pub(super) fn last_link(flags: c_int) -> LastLink {
    if flags & AT_SYMLINK_NOFOLLOW != 0 { LastLink::Keep } else { LastLink::Follow }
}

/// What is in front of a path.
enum Base {
    /// A directory of the tree.
    Ours(Node),
    /// An absolute native path.
    Native(Vec<u8>),
}

impl Supervisor {
    /// Where the path `at` leads. An empty one is left to the kernel.
    pub(super) fn locate(&self, task: &Task, at: At, last: LastLink) -> Result<Place, Refusal> {
        let path = task.memory.path(at.path)?;
        self.locate_path(task, at.dir, &path, last)
    }

    /// As [`Supervisor::locate`], for a path already read.
    pub(super) fn locate_path(&self, task: &Task, dir: c_int, path: &[u8], last: LastLink) -> Result<Place, Refusal> {
        if path.is_empty() {
            return Ok(Place::Native);
        }
        if let Some(rooted) = &self.rooted {
            return self.locate_inside(rooted, task, dir, path, last);
        }
        if path.starts_with(b"/") {
            return self.locate_absolute(task, path, last);
        }
        let base = match self.base(task, dir)? {
            Some(base) => base,
            // No such descriptor, or nothing with a name: the kernel knows what to say.
            None => return Ok(Place::Native),
        };
        match base {
            Base::Ours(node) => {
                let found = self.client.namespace().resolve_at(&node, path, last);
                self.settle(task, found?, last)
            }
            Base::Native(base) => {
                let whole = join(&base, path);
                if self.leads_here_by_dots(&whole) {
                    return self.locate_ours(task, &normal(&whole), last);
                }
                self.locate_native(task, &whole, last)
            }
        }
    }

    fn locate_absolute(&self, task: &Task, path: &[u8], last: LastLink) -> Result<Place, Refusal> {
        if self.is_ours(path) {
            return self.locate_ours(task, path, last);
        }
        if path.starts_with(b"/proc/") || path.starts_with(b"/dev/") {
            return self.locate_kernel_link(task, path, last);
        }
        if self.leads_here_by_dots(path) {
            return self.locate_ours(task, &normal(path), last);
        }
        self.locate_native(task, path, last)
    }

    /// Whether `path` is spelled below the mount directory or below the view.
    pub(super) fn is_ours(&self, path: &[u8]) -> bool {
        self.client.namespace().strip(path).is_some() || name::split(self.view.prefix(), path).is_some()
    }

    /// Whether a native path goes through `..` into the tree. The kernel decides about all that may hold links before
    /// the dots; a path that begins with native directories only is all right.
    fn leads_here_by_dots(&self, path: &[u8]) -> bool {
        path.windows(3).any(|w| w == b"/..") && self.is_ours(&normal(path))
            || path.windows(2).any(|w| matches!(w, b"//" | b"/.")) && self.is_ours(&normal(path))
            || self.is_ours(path)
    }

    fn locate_ours(&self, task: &Task, path: &[u8], last: LastLink) -> Result<Place, Refusal> {
        let namespace = self.client.namespace();
        let found = match name::split(self.view.prefix(), path) {
            None => namespace.resolve(path, last)?,
            Some((key, path)) => match self.root_of(key) {
                Some(root) => {
                    let inside = inner(namespace.strip(path).unwrap_or_default());
                    // A slash at the end means something, so the rest is kept as it is.
                    let inside = if inside.is_empty() { b"." } else { inside };
                    namespace.resolve_at(&root, inside, last)?
                }
                None => namespace.resolve(path, last)?,
            },
        };
        self.settle(task, found, last)
    }

    /// The root of the snapshot to which names with this key belong, if it has been in use here.
    fn root_of(&self, key: &[u8]) -> Option<Node> {
        let key = std::str::from_utf8(key).ok()?;
        let snapshots = self.snapshots.read();
        let snapshot = snapshots.get(key.strip_suffix(name::COPIES).unwrap_or(key))?;
        Some(self.client.namespace().root_of(snapshot))
    }

    fn settle(&self, task: &Task, found: Resolved, last: LastLink) -> Result<Place, Refusal> {
        let mut found = found;
        for _ in 0..WAYS_BACK {
            match found {
                Resolved::Node(node) => return Ok(Place::Ours(node)),
                Resolved::Outside(path) => {
                    let path = task.own(&path);
                    match self.host_link(&path, last) {
                        Some(back) => found = self.client.namespace().resolve(&back, last)?,
                        None => return Ok(Place::Elsewhere(PathBuf::from(OsString::from_vec(path)))),
                    }
                }
            }
        }
        Err(Refusal::Error(Errno(libc::ELOOP)))
    }

    /// A path that the kernel would follow. Only where it finds nothing can a link of the host lead to us.
    fn locate_native(&self, task: &Task, path: &[u8], last: LastLink) -> Result<Place, Refusal> {
        match self.host_link(path, last) {
            Some(back) => {
                let found = self.client.namespace().resolve(&back, last)?;
                self.settle(task, found, last)
            }
            None => Ok(Place::Native),
        }
    }

    fn host_link(&self, path: &[u8], last: LastLink) -> Option<Vec<u8>> {
        let real = Path::new(OsStr::from_bytes(path));
        let found = match last {
            LastLink::Follow => std::fs::metadata(real),
            LastLink::Keep => std::fs::symlink_metadata(real),
        };
        match found {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {}
            _ => return None,
        }
        host::leads_here(path, last == LastLink::Follow, |path| self.is_ours(path))
    }

    /// Links of the kernel's, such as `/proc/self/fd/3` and `/dev/stdin`, may lead into the view.
    fn locate_kernel_link(&self, task: &Task, path: &[u8], last: LastLink) -> Result<Place, Refusal> {
        let path = task.own(path);
        if last == LastLink::Follow && !path.ends_with(b"/") {
            if let Some(name) = task.kernel_link(&path)
                && name::split(self.view.prefix(), &name).is_some()
            {
                // It leads to what is open, also if that is a link.
                return self.locate_ours(task, &name, LastLink::Keep);
            }
        } else if let Some(slash) = path.iter().rposition(|&b| b == b'/')
            && let Some(name) = task.kernel_link(path.get(..slash).unwrap_or_default())
            && name::split(self.view.prefix(), &name).is_some()
        {
            let whole = [name.as_slice(), path.get(slash..).unwrap_or_default()].concat();
            return self.locate_ours(task, &whole, last);
        }
        // `/proc/self/cwd/file`, `/proc/self/root/cvmfs/...`: the first part decides.
        if let Some((link, rest)) = task.split_kernel_link(&path)
            && let Some(name) = task.kernel_link(link)
        {
            let whole = if name == b"/" { rest.to_vec() } else { [name.as_slice(), rest].concat() };
            if self.is_ours(&whole) {
                return self.locate_ours(task, &whole, last);
            }
        }
        Ok(Place::Native)
    }

    fn base(&self, task: &Task, dir: c_int) -> Result<Option<Base>, Refusal> {
        let name = if dir == AT_FDCWD { task.working_directory() } else { task.descriptor(dir) };
        let Some(name) = name else { return Ok(None) };
        if name::split(self.view.prefix(), &name).is_none() {
            return Ok(name.starts_with(b"/").then_some(Base::Native(name)));
        }
        match self.locate_ours(task, &name, LastLink::Keep)? {
            Place::Ours(node) => Ok(Some(Base::Ours(node))),
            _ => Ok(None),
        }
    }

    /// The entry that a descriptor stands for.
    pub(super) fn locate_descriptor(&self, task: &Task, fd: c_int) -> Result<Place, Refusal> {
        match task.descriptor(fd) {
            Some(name) if name::split(self.view.prefix(), &name).is_some() => {
                self.locate_ours(task, &name, LastLink::Keep)
            }
            _ => Ok(Place::Native),
        }
    }
}

/// What follows the name of the repository, without slashes before it.
fn inner(path: &[u8]) -> &[u8] {
    let start = |path: &[u8]| path.iter().position(|&b| b != b'/').unwrap_or(path.len());
    let path = path.get(start(path)..).unwrap_or_default();
    let path = path.get(path.iter().position(|&b| b == b'/').unwrap_or(path.len())..).unwrap_or_default();
    path.get(start(path)..).unwrap_or_default()
}

fn join(base: &[u8], path: &[u8]) -> Vec<u8> {
    if base == b"/" { [b"/", path].concat() } else { [base, b"/", path].concat() }
}

/// `path` without double slashes and dots, by its spelling; a slash at the end stays.
fn normal(path: &[u8]) -> Vec<u8> {
    let mut names: Vec<&[u8]> = Vec::new();
    for name in path.split(|&b| b == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    let mut normal = Vec::with_capacity(path.len());
    for name in &names {
        normal.push(b'/');
        normal.extend_from_slice(name);
    }
    if normal.is_empty() || path.ends_with(b"/") || path.ends_with(b"/.") {
        normal.push(b'/');
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_is_made_plain() {
        assert_eq!(normal(b"/a//b/./c/../d"), b"/a/b/d");
        assert_eq!(normal(b"/../.."), b"/");
        assert_eq!(normal(b"/a/b/"), b"/a/b/");
        assert_eq!(normal(b"/a/."), b"/a/");
    }

    #[test]
    fn the_inside_of_a_repository_comes_after_its_name() {
        assert_eq!(inner(b"/a.b/c/d/"), b"c/d/");
        assert_eq!(inner(b"//a.b"), b"");
        assert_eq!(inner(b""), b"");
    }
}
