//! Where a path leads in a root of its own, as the kernel would follow it.

use super::{Inside, Mounted, Rooted, real_path};
use crate::supervisor::Supervisor;
use crate::supervisor::locate::Place;
use crate::supervisor::task::Task;
use cvmfs_union::lookup::Source;
use cvmfs_union::{Entry, below, child_path};
use cvmfs_view::{Errno, Refusal, stat};
use libc::{AT_FDCWD, c_int};
use libcvmfs::namespace::{FileKind, LastLink, Node};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// Links followed before giving up, as in the kernel.
const MOST_LINKS: u32 = 40;

/// Something inside.
#[derive(Clone)]
pub(super) struct Found {
    /// Its path, without links and dots.
    pub(super) path: Vec<u8>,
    pub(super) spot: Spot,
}

/// What it is.
#[derive(Clone)]
pub(super) enum Spot {
    /// In the operating system's tree or in a layer.
    Union(Entry),
    /// Below `/cvmfs`.
    Ours(Node),
    /// A file of the host, by its real path.
    Host { real: Vec<u8>, stat: libc::stat, read_only: bool },
}

/// Where a path leads.
pub(super) enum Walked {
    Found(Found),
    /// To a name that could be made in this directory.
    Missing {
        directory: Found,
        name: Vec<u8>,
        /// There is a slash at its end.
        slash: bool,
    },
    /// Where the kernel says: it begins at a descriptor that is nowhere inside.
    Native,
}

impl Found {
    pub(super) fn is_directory(&self) -> bool {
        match &self.spot {
            Spot::Union(entry) => entry.is_directory(),
            Spot::Ours(node) => node.kind() == FileKind::Directory,
            Spot::Host { stat, .. } => stat.st_mode & libc::S_IFMT == libc::S_IFDIR,
        }
    }

    fn is_link(&self) -> bool {
        match &self.spot {
            Spot::Union(entry) => entry.is(libc::S_IFLNK),
            Spot::Ours(node) => node.kind() == FileKind::Symlink,
            Spot::Host { stat, .. } => stat.st_mode & libc::S_IFMT == libc::S_IFLNK,
        }
    }
}

/// Where a link leads.
enum Target {
    /// A path inside, from the directory of the link.
    Path(Vec<u8>),
    /// What the kernel finds behind it.
    Behind,
}

impl Rooted {
    fn root(&self) -> Result<Found, Refusal> {
        Ok(Found { path: b"/".to_vec(), spot: Spot::Union(self.union.root()?) })
    }

    fn mounted_at(&self, path: &[u8]) -> Option<&Mounted> {
        self.places.iter().find(|mounted| mounted.place == path)
    }

    /// Whether something of the host, or all repositories, are at this path or below it.
    pub(super) fn is_busy(&self, path: &[u8]) -> bool {
        let holds = |place: &[u8]| below(path, place).is_some();
        self.places.iter().any(|mounted| holds(&mounted.place)) || holds(&self.mount_dir)
    }
}

impl Inside<'_> {
    /// Where `path`, which begins at the descriptor `dir` if it is relative, leads.
    pub(super) fn walk(&self, dir: c_int, path: &[u8], last: LastLink) -> Result<Walked, Refusal> {
        if path.is_empty() {
            return Err(Errno(libc::ENOENT).into());
        }
        let mut left: VecDeque<Vec<u8>> = names(path);
        if !path.starts_with(b"/") {
            let name = if dir == AT_FDCWD { self.task.working_directory() } else { self.task.descriptor(dir) };
            let Some(base) = name.and_then(|name| self.rooted.inside(&name)) else { return Ok(Walked::Native) };
            for name in names(&base).into_iter().rev() {
                left.push_front(name);
            }
        }
        let slash = path.ends_with(b"/") || path.ends_with(b"/.") || path == b".";
        self.follow(left, last == LastLink::Follow || slash, slash)
    }

    fn follow(&self, names_left: VecDeque<Vec<u8>>, follow_last: bool, slash: bool) -> Result<Walked, Refusal> {
        let mut left = names_left;
        let mut way = vec![self.rooted.root()?];
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            let Some(here) = way.last() else { return Err(Errno(libc::EIO).into()) };
            if !here.is_directory() {
                return Err(Errno(libc::ENOTDIR).into());
            }
            match name.as_slice() {
                b"." => continue,
                b".." => {
                    if way.len() > 1 {
                        way.pop();
                    }
                    continue;
                }
                _ if name.len() > 255 => return Err(Errno(libc::ENAMETOOLONG).into()),
                _ => {}
            }
            let Some(found) = self.child(here, &name)? else {
                if !left.is_empty() {
                    return Err(Errno(libc::ENOENT).into());
                }
                return Ok(Walked::Missing { directory: here.clone(), name, slash });
            };
            if !found.is_link() || left.is_empty() && !follow_last {
                way.push(found);
                continue;
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(Errno(libc::ELOOP).into());
            }
            match self.target(&found)? {
                Target::Behind => {
                    let Spot::Host { real, read_only, .. } = found.spot else { return Err(Errno(libc::EIO).into()) };
                    let stat = stat::of_path(real_path(&real), true)?;
                    way.push(Found { path: found.path, spot: Spot::Host { real, stat, read_only } });
                }
                Target::Path(target) => {
                    if target.starts_with(b"/") {
                        way.truncate(1);
                    }
                    for name in names(&target).into_iter().rev() {
                        left.push_front(name);
                    }
                }
            }
        }
        let Some(found) = way.pop() else { return Err(Errno(libc::EIO).into()) };
        if slash && !found.is_directory() {
            return Err(Errno(libc::ENOTDIR).into());
        }
        Ok(Walked::Found(found))
    }

    fn child(&self, directory: &Found, name: &[u8]) -> Result<Option<Found>, Refusal> {
        let path = child_path(&directory.path, name);
        if let Some(mounted) = self.rooted.mounted_at(&path) {
            let stat = stat::of_path(real_path(&mounted.real), false)?;
            let spot = Spot::Host { real: mounted.real.clone(), stat, read_only: mounted.read_only };
            return Ok(Some(Found { path, spot }));
        }
        if path == self.rooted.mount_dir {
            let top = self.supervisor.client.namespace().top();
            return Ok(Some(Found { path, spot: Spot::Ours(top) }));
        }
        let spot = match &directory.spot {
            Spot::Union(entry) => self.rooted.union.child(entry, &directory.path, name)?.map(Spot::Union),
            Spot::Ours(node) => node.child(name)?.map(Spot::Ours),
            Spot::Host { real, read_only, .. } => {
                let real = child_path(real, name);
                match stat::of_path(real_path(&real), false) {
                    Ok(stat) => Some(Spot::Host { real, stat, read_only: *read_only }),
                    Err(Errno(libc::ENOENT)) => None,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        Ok(spot.map(|spot| Found { path, spot }))
    }

    fn target(&self, link: &Found) -> Result<Target, Refusal> {
        let real = match &link.spot {
            Spot::Union(entry) => return Ok(Target::Path(self.rooted.union.read_link(entry, &link.path)?)),
            Spot::Ours(node) => return Ok(Target::Path(node.read_link()?)),
            Spot::Host { real, .. } => real,
        };
        let target = self.link_of_host(real)?;
        if !is_kernel_link(real) {
            return Ok(Target::Path(target));
        }
        if target == b"/" && real.ends_with(b"/root") {
            return Ok(Target::Path(target));
        }
        // What is open may have lost its name, or be written to: the kernel knows it without.
        let by_name = !target.ends_with(b" (deleted)") && !self.rooted.union.is_written(&target);
        match self.rooted.inside(&target).filter(|_| by_name || is_directory(real)) {
            Some(path) => Ok(Target::Path(path)),
            None => Ok(Target::Behind),
        }
    }
}

impl Inside<'_> {
    /// The text of a link of the host; the kernel's links to who asks lead to who asks, and not to us.
    pub(super) fn link_of_host(&self, real: &[u8]) -> Result<Vec<u8>, Refusal> {
        Ok(match real {
            b"/proc/self" => self.task.process().to_string().into_bytes(),
            b"/proc/thread-self" => format!("{}/task/{}", self.task.process(), self.task.tid).into_bytes(),
            real => std::fs::read_link(real_path(real))?.into_os_string().into_vec(),
        })
    }
}

fn is_directory(real: &[u8]) -> bool {
    stat::of_path(real_path(real), true).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

/// Whether this is a link that the kernel follows without its text.
pub(super) fn is_kernel_link(real: &[u8]) -> bool {
    let Some(rest) = real.strip_prefix(b"/proc/") else { return false };
    let mut parts = rest.split(|&byte| byte == b'/');
    let is_process = parts.next().is_some_and(|first| first.iter().all(u8::is_ascii_digit));
    let last: Vec<&[u8]> = parts.collect();
    let last = match last.as_slice() {
        [b"task", _, rest @ ..] => rest,
        all => all,
    };
    is_process && matches!(last, [b"cwd" | b"root" | b"exe"] | [b"fd" | b"map_files", _])
}

fn names(path: &[u8]) -> VecDeque<Vec<u8>> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()
}

impl Supervisor {
    /// As [`Supervisor::locate_path`], in a root of its own.
    pub(in crate::supervisor) fn locate_inside(
        &self,
        rooted: &Rooted,
        task: &Task,
        dir: c_int,
        path: &[u8],
        last: LastLink,
    ) -> Result<Place, Refusal> {
        let notification = Default::default();
        let inside = Inside { supervisor: self, rooted, task, notification: &notification };
        match inside.walk(dir, path, last)? {
            Walked::Native => Ok(Place::Native),
            Walked::Missing { .. } => Err(Errno(libc::ENOENT).into()),
            Walked::Found(found) => Ok(match found.spot {
                Spot::Ours(node) => Place::Ours(node),
                Spot::Host { real, .. } => {
                    if real == path {
                        Place::Native
                    } else {
                        Place::Elsewhere(PathBuf::from(OsString::from_vec(real)))
                    }
                }
                Spot::Union(entry) => match rooted.union.source(&entry, &found.path) {
                    Source::Node(node) => Place::Ours(node),
                    Source::File(real) => Place::Elsewhere(real),
                },
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_only_the_kernel_can_follow_are_known() {
        for link in ["/proc/7/exe", "/proc/7/fd/3", "/proc/7/task/8/cwd", "/proc/12/root"] {
            assert!(is_kernel_link(link.as_bytes()), "{link}");
        }
        for other in ["/proc/self", "/proc/mounts", "/proc/7/fd", "/dev/fd", "/proc/sys/fd/3", "/etc/proc/7/exe"] {
            assert!(!is_kernel_link(other.as_bytes()), "{other}");
        }
    }
}
