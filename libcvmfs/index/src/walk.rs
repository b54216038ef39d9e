//! Path walking: from a spelled path to the node it names, by POSIX rules, without allocation.
//!
//! This is the only walk there is. What differs between its users (a library with reference counts, a shim that may
//! not allocate) lies behind [`World`]; dots, slashes, symbolic links and their limits are settled here.

/// Longest path, in bytes without the final NUL, as in the kernel.
pub const PATH_MAX: usize = 4095;
/// Longest path component in bytes.
pub const NAME_MAX: usize = 255;
/// Symbolic links followed in one walk before it ends with [`Failure::TooManyLinks`], as in the kernel.
pub const LINK_MAX: u32 = 40;

/// The tree of names that a walk goes through: the mount directory, repositories below it, entries below those.
pub trait World {
    /// A place in the tree.
    type Node: Clone;
    /// Why the tree cannot be read here (a catalog that is not at hand, a repository that cannot be mounted).
    type Fault;

    /// The absolute path of [`World::top`], such as `/cvmfs`: no trailing slash, no dots.
    fn mount_dir(&self) -> &[u8];

    /// The node of the mount directory.
    fn top(&self) -> Self::Node;

    /// The directory that holds `node`; `None` for the top, whose parent is outside.
    fn parent(&self, node: &Self::Node) -> Result<Option<Self::Node>, Self::Fault>;

    /// The entry called `name` in directory `node`; `None` if there is none. `name` is never empty, `.` or `..`.
    fn child(&self, node: &Self::Node, name: &[u8]) -> Result<Option<Self::Node>, Self::Fault>;

    /// What `node` is.
    fn kind(&self, node: &Self::Node) -> Kind;

    /// Writes the expanded target of the symbolic link `node` to the front of `buffer` and tells its length in bytes,
    /// also when it is longer than the buffer (whose content then does not matter).
    fn target(&self, node: &Self::Node, buffer: &mut [u8]) -> Result<usize, Self::Fault>;

    /// Whether the caller may search directory `node` (its `x` permission).
    fn may_search(&self, _node: &Self::Node) -> bool {
        true
    }
}

/// What the walk has to know of a node's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Anything else.
    Other,
}

/// What happens to a symbolic link that is the last component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastLink {
    /// It is followed (`stat`, `open`).
    Follow,
    /// It is the result (`lstat`, `readlink`), unless a slash comes after it.
    Keep,
}

/// Where a walk ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<N> {
    /// At this node.
    Node(N),
    /// Outside of the tree: the scratch buffer starts with this many bytes of an absolute path that goes on elsewhere.
    Outside(usize),
}

/// Why a walk fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure<F> {
    /// A component does not exist, or the path is empty.
    NotFound,
    /// A component in the middle, or one before a slash, is no directory.
    NotDirectory,
    /// More than [`LINK_MAX`] symbolic links.
    TooManyLinks,
    /// A component or the whole path is too long, also after expanding a link.
    NameTooLong,
    /// A directory on the way may not be searched.
    AccessDenied,
    /// The tree could not be read.
    Fault(F),
}

/// Splits the tree's part off `path`: what follows `mount_dir`, empty or starting with a slash; `None` if `path` does
/// not lead there by its spelling alone. Repeated slashes and `.` components before the prefix are understood.
pub fn strip_mount_dir<'p>(mount_dir: &[u8], path: &'p [u8]) -> Option<&'p [u8]> {
    let mut rest = path;
    for wanted in mount_dir.split(|&b| b == b'/').filter(|c| !c.is_empty()) {
        loop {
            rest = rest.strip_prefix(b"/")?;
            let end = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
            let (component, after) = rest.split_at(end);
            rest = after;
            match component {
                b"" | b"." => {}
                c if c == wanted => break,
                _ => return None,
            }
        }
    }
    Some(rest)
}

/// The not yet walked rest of a path, kept at the end of a caller's buffer so that a link's target fits before it.
struct Pending<'b> {
    buffer: &'b mut [u8],
    start: usize,
}

impl Pending<'_> {
    fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn prepend(&mut self, bytes: &[u8]) -> Option<()> {
        let start = self.start.checked_sub(bytes.len())?;
        self.buffer.get_mut(start..self.start)?.copy_from_slice(bytes);
        self.start = start;
        Some(())
    }

    /// Moves the rest to the front of the buffer and tells its length.
    fn into_front(self) -> usize {
        let len = self.buffer.len() - self.start;
        self.buffer.copy_within(self.start.., 0);
        len
    }
}

/// Walks `path` from `start` (from anywhere if `path` is absolute).
///
/// `scratch` holds the path while links are expanded: twice [`PATH_MAX`] bytes are enough for everything but contrived
/// cases, with less some long paths end in [`Failure::NameTooLong`] where the kernel would go on. An absolute `path` that does not lie below the mount directory is
/// [`Outcome::Outside`] at once.
pub fn walk<W: World>(
    world: &W,
    start: &W::Node,
    path: &[u8],
    last: LastLink,
    scratch: &mut [u8],
) -> Result<Outcome<W::Node>, Failure<W::Fault>> {
    if path.is_empty() {
        return Err(Failure::NotFound);
    }
    if path.len() > PATH_MAX {
        return Err(Failure::NameTooLong);
    }
    let end = scratch.len();
    let mut pending = Pending { buffer: scratch, start: end };
    pending.prepend(path).ok_or(Failure::NameTooLong)?;
    let mut node = start.clone();
    let mut links = 0;
    let mut absolute = path.starts_with(b"/");
    loop {
        if absolute {
            absolute = false;
            match strip_mount_dir(world.mount_dir(), pending.rest()) {
                Some(inside) => pending.start = end - inside.len(),
                None => return Ok(Outcome::Outside(pending.into_front())),
            }
            node = world.top();
        }
        let rest = pending.rest();
        let slashes = rest.iter().take_while(|&&b| b == b'/').count();
        let directory_wanted = slashes > 0;
        let rest = rest.get(slashes..).unwrap_or_default();
        if (directory_wanted || !rest.is_empty()) && world.kind(&node) != Kind::Directory {
            return Err(Failure::NotDirectory);
        }
        if rest.is_empty() {
            return Ok(Outcome::Node(node));
        }
        let len = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
        let (name, after) = rest.split_at(len);
        let is_last = after.is_empty();
        if name.len() > NAME_MAX {
            return Err(Failure::NameTooLong);
        }
        if !world.may_search(&node) {
            return Err(Failure::AccessDenied);
        }
        let next = match name {
            b"." => node.clone(),
            b".." => match world.parent(&node).map_err(Failure::Fault)? {
                Some(parent) => parent,
                None => {
                    pending.start += slashes + len;
                    return outside_of_top(world.mount_dir(), pending).ok_or(Failure::NameTooLong);
                }
            },
            _ => world.child(&node, name).map_err(Failure::Fault)?.ok_or(Failure::NotFound)?,
        };
        pending.start += slashes + len;
        if world.kind(&next) != Kind::Symlink || (is_last && last == LastLink::Keep) {
            node = next;
            continue;
        }
        links += 1;
        if links > LINK_MAX {
            return Err(Failure::TooManyLinks);
        }
        // The room before the rest takes the target: written to the front, then moved up against the rest.
        let room = pending.buffer.get_mut(..pending.start).unwrap_or_default();
        let len = world.target(&next, room).map_err(Failure::Fault)?;
        if len > pending.start || len > PATH_MAX {
            return Err(Failure::NameTooLong);
        }
        if len == 0 {
            return Err(Failure::NotFound);
        }
        let target = pending.start - len;
        pending.buffer.copy_within(..len, target);
        pending.start = target;
        absolute = pending.rest().starts_with(b"/");
    }
}

/// The walk climbed out of the mount directory: the rest goes on from the directory that holds it.
fn outside_of_top<N>(mount_dir: &[u8], mut pending: Pending<'_>) -> Option<Outcome<N>> {
    let holder_len = mount_dir.iter().rposition(|&b| b == b'/').unwrap_or(0);
    let holder = mount_dir.get(..holder_len)?;
    if pending.rest().is_empty() && holder.is_empty() {
        pending.prepend(b"/")?;
    }
    pending.prepend(holder)?;
    Some(Outcome::Outside(pending.into_front()))
}
