use crate::format::{ChunkRecord, EntryRecord, NestedRecord, ROOT, flag};
use crate::hash::PathHasher;
use crate::index::Index;
use crate::xattr::{self, Xattrs};

/// The type of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl EntryKind {
    /// The type that the file type bits of `mode` tell; `None` if they tell none.
    pub const fn from_mode(mode: u32) -> Option<EntryKind> {
        Some(match mode & 0o170000 {
            0o100000 => EntryKind::Regular,
            0o040000 => EntryKind::Directory,
            0o120000 => EntryKind::Symlink,
            0o020000 => EntryKind::CharacterDevice,
            0o060000 => EntryKind::BlockDevice,
            0o010000 => EntryKind::Fifo,
            0o140000 => EntryKind::Socket,
            _ => return None,
        })
    }

    /// The file type bits of a mode: the inverse of [`EntryKind::from_mode`].
    pub const fn mode_bits(self) -> u32 {
        (self.dirent_type() as u32) << 12
    }

    /// The `d_type` of a directory entry.
    pub const fn dirent_type(self) -> u8 {
        match self {
            EntryKind::Regular => 8,
            EntryKind::Directory => 4,
            EntryKind::Symlink => 10,
            EntryKind::CharacterDevice => 2,
            EntryKind::BlockDevice => 6,
            EntryKind::Fifo => 1,
            EntryKind::Socket => 12,
        }
    }
}

/// The name of an object: algorithm (1 SHA-1, 2 RIPEMD-160, 3 SHAKE-128) and digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest {
    /// How the digest was computed.
    pub algorithm: u8,
    /// The digest; never all zero.
    pub bytes: [u8; 20],
}

impl Digest {
    /// A digest, unless it is the null one or the algorithm does not exist.
    pub fn new(algorithm: u8, bytes: [u8; 20]) -> Option<Digest> {
        ((1..=3).contains(&algorithm) && bytes != [0; 20]).then_some(Digest { algorithm, bytes })
    }
}

macro_rules! damages {
    ($($(#[$doc:meta])* $name:ident = $code:literal $reason:literal,)*) => {
        /// What is wrong with an entry whose name and place are sound: using its content is an input/output error.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Damage { $($(#[$doc])* $name = $code,)* }

        impl Damage {
            /// What an image's damage byte means; `None` for 0.
            pub const fn from_code(code: u8) -> Option<Damage> {
                match code {
                    0 => None,
                    $($code => Some(Damage::$name),)*
                    _ => Some(Damage::Unknown),
                }
            }

            /// The reason in words.
            pub const fn reason(self) -> &'static str {
                match self { $(Damage::$name => $reason,)* }
            }
        }
    };
}

damages! {
    /// The content hash does not have the length of a digest.
    BadHash = 1 "the content hash does not have 20 bytes",
    /// A regular file has neither content hash nor chunks.
    MissingHash = 2 "the file has neither a content hash nor chunks",
    /// The hash algorithm is not known.
    UnknownAlgorithm = 3 "the content hash algorithm is unknown",
    /// The compression is not known.
    UnknownCompression = 4 "the compression algorithm is unknown",
    /// The size is negative.
    BadSize = 5 "the size is not a number of bytes",
    /// The chunks leave holes, overlap, or do not add up to the size.
    BadChunks = 6 "the chunks are malformed or do not cover the file exactly once",
    /// A chunked file has no chunks.
    MissingChunks = 7 "the file is stored in chunks but none are listed",
    /// A symbolic link has no usable target.
    BadTarget = 8 "the link target is empty, too long or contains a zero byte",
    /// A mount point has no nested catalog.
    MissingNested = 9 "the mount point has no nested catalog",
    /// The entry is both a nested catalog's and a bind mount point.
    AmbiguousMountPoint = 10 "the directory claims to be two kinds of mount point at once",
    /// A code of a later version.
    Unknown = 255 "the entry is damaged in a way this version cannot name",
}

/// One entry of a catalog.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    index: Index<'a>,
    number: u32,
    bytes: &'a [u8; EntryRecord::LEN],
}

impl<'a> Entry<'a> {
    pub(crate) fn new(index: Index<'a>, number: u32, bytes: &'a [u8; EntryRecord::LEN]) -> Entry<'a> {
        Entry { index, number, bytes }
    }

    #[inline(always)]
    fn record(&self) -> EntryRecord {
        EntryRecord::decode(self.bytes)
    }

    /// The image the entry lies in.
    pub fn index(&self) -> Index<'a> {
        self.index
    }

    /// The number of the entry in its image: stable, 0 is the root.
    #[inline]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The last component of the path; empty for the catalog's root.
    #[inline]
    pub fn name(&self) -> &'a [u8] {
        let record = self.record();
        self.index.string(record.name_at, u32::from(record.name_len))
    }

    /// What the entry is.
    #[inline]
    pub fn kind(&self) -> EntryKind {
        // The builder lets no other type pass; a tampered image must still not make anything executable or linked.
        EntryKind::from_mode(self.record().mode).unwrap_or(EntryKind::Socket)
    }

    /// Whether this is a directory.
    #[inline]
    pub fn is_directory(&self) -> bool {
        self.kind() == EntryKind::Directory
    }

    /// File type and permission bits.
    #[inline]
    pub fn mode(&self) -> u32 {
        self.record().mode
    }

    /// Owner in the catalog; [`crate::format::OWNER_IS_CALLER`] if it does not know.
    #[inline]
    pub fn uid(&self) -> u32 {
        self.record().uid
    }

    /// Group in the catalog; [`crate::format::OWNER_IS_CALLER`] if it does not know.
    #[inline]
    pub fn gid(&self) -> u32 {
        self.record().gid
    }

    /// Link count.
    #[inline]
    pub fn nlink(&self) -> u32 {
        self.record().nlink
    }

    /// Bytes of content: as stored for regular files and directories, the unexpanded target's length for symbolic
    /// links, 0 for everything else.
    #[inline]
    pub fn size(&self) -> u64 {
        let record = self.record();
        match self.kind() {
            EntryKind::Regular | EntryKind::Directory => record.size,
            EntryKind::Symlink => u64::from(record.count),
            _ => 0,
        }
    }

    /// The device number of a device, 0 for everything else.
    #[inline]
    pub fn rdev(&self) -> u64 {
        match self.kind() {
            EntryKind::CharacterDevice | EntryKind::BlockDevice => self.record().size,
            _ => 0,
        }
    }

    /// Time of modification: seconds since 1970.
    #[inline]
    pub fn mtime(&self) -> i64 {
        self.record().mtime
    }

    /// Nanoseconds of the time of modification, below 1 000 000 000.
    #[inline]
    pub fn mtime_nanos(&self) -> u32 {
        self.record().nanos.min(999_999_999)
    }

    /// The inode number: made from the path, shared by the members of a hard-link group, never 0.
    #[inline]
    pub fn ino(&self) -> u64 {
        self.record().ino.max(1)
    }

    /// The hard-link group, unique within the catalog; 0 for none.
    #[inline]
    pub fn hardlink_group(&self) -> u32 {
        self.record().group
    }

    /// The flags, see [`flag`].
    #[inline]
    pub fn flags(&self) -> u32 {
        self.record().flags
    }

    #[inline]
    fn has(&self, bit: u32) -> bool {
        self.flags() & bit != 0
    }

    /// Whether a nested catalog is mounted on this directory.
    #[inline]
    pub fn is_nested_mount_point(&self) -> bool {
        self.has(flag::NESTED_MOUNT_POINT)
    }

    /// Whether this is the root of a nested catalog.
    #[inline]
    pub fn is_nested_root(&self) -> bool {
        self.has(flag::NESTED_ROOT)
    }

    /// Whether an independent root catalog is mounted on this directory.
    #[inline]
    pub fn is_bind_mount_point(&self) -> bool {
        self.has(flag::BIND_MOUNT_POINT)
    }

    /// Whether the entry's content is in another catalog.
    #[inline]
    pub fn is_mount_point(&self) -> bool {
        self.has(flag::NESTED_MOUNT_POINT | flag::BIND_MOUNT_POINT)
    }

    /// Whether the entry is left out of listings.
    #[inline]
    pub fn is_hidden(&self) -> bool {
        self.has(flag::HIDDEN)
    }

    /// Whether the content lies outside of the repository.
    #[inline]
    pub fn is_external(&self) -> bool {
        self.has(flag::EXTERNAL)
    }

    /// Whether reading should bypass the kernel's page cache.
    #[inline]
    pub fn is_direct_io(&self) -> bool {
        self.has(flag::DIRECT_IO)
    }

    /// Whether the content is stored in chunks.
    #[inline]
    pub fn is_chunked(&self) -> bool {
        self.has(flag::CHUNKED)
    }

    /// Whether opening the file should fetch a bundle.
    #[inline]
    pub fn is_bundle_trigger(&self) -> bool {
        self.has(flag::BUNDLE_TRIGGER)
    }

    /// What is wrong with the entry, if anything: then its content (of a link: its target, of a mount point: what is
    /// below) must not be used.
    #[inline]
    pub fn damage(&self) -> Option<Damage> {
        Damage::from_code(self.record().damage)
    }

    /// The compression of content and chunks: 0 zlib, 1 none.
    #[inline]
    pub fn compression(&self) -> u8 {
        (self.flags() >> flag::COMPRESSION_SHIFT & 7) as u8
    }

    /// The algorithm of the content hash and of the chunks' hashes: 1 SHA-1, 2 RIPEMD-160, 3 SHAKE-128.
    #[inline]
    pub fn algorithm(&self) -> u8 {
        (self.flags() >> flag::ALGORITHM_SHIFT & 7) as u8 + 1
    }

    /// The hash of the content as one object; chunked files often have none.
    #[inline]
    pub fn content(&self) -> Option<Digest> {
        Digest::new(self.algorithm(), self.record().digest)
    }

    /// The target of a symbolic link as stored: variables are not expanded. Empty for everything else.
    #[inline]
    pub fn symlink_target(&self) -> &'a [u8] {
        let record = self.record();
        match self.kind() {
            EntryKind::Symlink => self.index.string(record.first, record.count),
            _ => &[],
        }
    }

    /// The packed extended attributes, well-formed when the image was built; empty if there are none.
    #[inline]
    pub fn xattr_blob(&self) -> &'a [u8] {
        self.index.prefixed_string(self.record().xattr)
    }

    /// The extended attributes stored in the catalog.
    pub fn xattrs(&self) -> Xattrs<'a> {
        xattr::unpack(self.xattr_blob()).unwrap_or_default()
    }

    /// The directory that holds the entry; `None` for the catalog's root.
    #[inline]
    pub fn parent(&self) -> Option<Entry<'a>> {
        let parent = self.record().parent;
        // Directories come before what they hold, so climbing always ends.
        if parent < self.number { self.index.entry(parent) } else { None }
    }

    /// What the directory holds in this catalog, sorted by name; empty for everything else and for mount points.
    #[inline]
    pub fn children(&self) -> Children<'a> {
        let record = self.record();
        let (first, count) =
            if self.is_directory() && !self.is_mount_point() { (record.first, record.count) } else { (0, 0) };
        let count = count.min(self.index.entry_count().saturating_sub(first));
        Children { index: self.index, directory: self.number, first, count }
    }

    /// The child called `name`, hidden or not. Takes logarithmic time; [`Entry::child_hashed`] is faster.
    #[inline]
    pub fn child(&self, name: &[u8]) -> Option<Entry<'a>> {
        self.children().find(name)
    }

    /// The child called `name` of the directory whose path has the hash `hash`, and the hash of the child's path.
    #[inline]
    pub fn child_hashed(&self, hash: PathHasher, name: &[u8]) -> Option<(Entry<'a>, PathHasher)> {
        let hash = hash.child(name);
        let directory = self.number;
        let found = self
            .index
            .candidates(hash)
            .find(|entry| entry.number != ROOT && entry.record().parent == directory && entry.name() == name)?;
        Some((found, hash))
    }

    /// The chunks of a chunked file in the order of their offsets; empty for everything else.
    pub fn chunks(&self) -> Chunks<'a> {
        let record = self.record();
        let (first, count) = match self.kind() {
            EntryKind::Regular if self.is_chunked() => (record.first, record.count),
            _ => (0, 0),
        };
        let count = count.min(self.index.chunk_count().saturating_sub(first));
        Chunks { index: self.index, algorithm: self.algorithm(), first, count }
    }

    /// The number of the catalog mounted on this entry, see [`Index::nested`].
    pub fn nested_number(&self) -> Option<u32> {
        self.nested().map(|_| self.record().first)
    }

    /// The catalog mounted on this entry; `None` if it is no mount point or the catalog is not listed.
    pub fn nested(&self) -> Option<Nested<'a>> {
        let record = self.record();
        if !self.is_mount_point() || record.count == 0 {
            return None;
        }
        self.index.nested(record.first).filter(|nested| nested.record.entry == self.number)
    }

    /// Writes the path, relative to the catalog's root, to the end of `buffer`; `None` if it does not fit. The root's
    /// is empty, every other path starts with a slash.
    pub fn path<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let mut start = buffer.len();
        let mut entry = *self;
        while let Some(parent) = entry.parent() {
            let name = entry.name();
            let end = start;
            start = start.checked_sub(name.len())?.checked_sub(1)?;
            let (slash, place) = buffer.get_mut(start..end)?.split_first_mut()?;
            *slash = b'/';
            place.copy_from_slice(name);
            entry = parent;
        }
        buffer.get(start..)
    }

    /// Whether the entry lies at `path`, relative to the catalog's root.
    #[inline]
    pub(crate) fn lies_at(&self, path: &[u8]) -> bool {
        let mut path = path;
        let mut number = self.number;
        let mut record = self.record();
        loop {
            if path.is_empty() {
                return number == ROOT;
            }
            if number == ROOT {
                return false;
            }
            let name = self.index.string(record.name_at, u32::from(record.name_len));
            // Each turn takes at least the slash away, so this ends.
            let Some(rest) = path.strip_suffix(name).and_then(|p| p.strip_suffix(b"/")) else { return false };
            path = rest;
            number = record.parent;
            let Some(bytes) = self.index.entry_bytes(number) else { return false };
            record = EntryRecord::decode(bytes);
        }
    }
}

impl core::fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Entry").field("number", &self.number).field("record", &self.record()).finish()
    }
}

impl PartialEq for Entry<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number && self.bytes == other.bytes
    }
}

/// The entries of a directory, sorted by name.
///
/// A position is stable for the life of the image: listings can be resumed by it.
#[derive(Clone, Copy)]
pub struct Children<'a> {
    index: Index<'a>,
    directory: u32,
    first: u32,
    count: u32,
}

impl<'a> Children<'a> {
    /// Number of children, hidden ones included.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The child at `position`, counted from 0, hidden or not.
    #[inline]
    pub fn get(&self, position: u32) -> Option<Entry<'a>> {
        if position >= self.count {
            return None;
        }
        let entry = self.index.entry(self.first.checked_add(position)?)?;
        // Also keeps a tampered image from showing the root or an ancestor as a child, which would never end.
        (entry.number > self.directory && entry.record().parent == self.directory).then_some(entry)
    }

    /// The child called `name`, by binary search.
    pub fn find(&self, name: &[u8]) -> Option<Entry<'a>> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.get(middle)?;
            match entry.name().cmp(name) {
                core::cmp::Ordering::Equal => return Some(entry),
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// All children in order, hidden ones included.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let children = *self;
        (0..self.count).filter_map(move |position| children.get(position))
    }
}

/// The chunks of a file.
#[derive(Clone, Copy)]
pub struct Chunks<'a> {
    index: Index<'a>,
    algorithm: u8,
    first: u32,
    count: u32,
}

/// One chunk of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub size: u64,
    /// Name of the chunk's object.
    pub digest: Digest,
}

impl<'a> Chunks<'a> {
    /// Number of chunks.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The chunk at `position`, counted from 0.
    pub fn get(&self, position: u32) -> Option<Chunk> {
        if position >= self.count {
            return None;
        }
        let record = ChunkRecord::decode(self.index.chunk_bytes(self.first.checked_add(position)?)?);
        let digest = Digest::new(self.algorithm, record.digest)?;
        Some(Chunk { offset: record.offset, size: record.size, digest })
    }

    /// All chunks in the order of their offsets.
    pub fn iter(&self) -> impl Iterator<Item = Chunk> + use<'a> {
        let chunks = *self;
        (0..self.count).filter_map(move |position| chunks.get(position))
    }
}

/// How a catalog hangs below another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NestedKind {
    /// A part of the same tree: its root prefix is its mount path.
    Nested,
    /// An independent root catalog.
    Bind,
}

/// A catalog mounted in this one.
#[derive(Clone, Copy)]
pub struct Nested<'a> {
    index: Index<'a>,
    record: NestedRecord,
}

impl<'a> Nested<'a> {
    pub(crate) fn new(index: Index<'a>, record: NestedRecord) -> Nested<'a> {
        Nested { index, record }
    }

    /// Where it is mounted: the path inside the repository, with this catalog's root prefix.
    pub fn path(&self) -> &'a [u8] {
        self.index.string(self.record.path_at, self.record.path_len)
    }

    /// Its hash; `None` if the publisher did not know it, then it cannot be mounted.
    pub fn catalog(&self) -> Option<Digest> {
        Digest::new(self.record.algorithm, self.record.digest)
    }

    /// Bytes of the inflated catalog; `None` if not announced.
    pub fn size(&self) -> Option<u64> {
        (self.record.size != 0).then_some(self.record.size)
    }

    /// How it hangs here.
    pub fn kind(&self) -> NestedKind {
        if self.record.kind == 0 { NestedKind::Nested } else { NestedKind::Bind }
    }

    /// The directory it is mounted on.
    pub fn mount_point(&self) -> Option<Entry<'a>> {
        self.index.entry(self.record.entry)
    }
}
