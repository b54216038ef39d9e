//! The records of an image, in one place for those who write and those who read them.
//!
//! All numbers are little-endian and lie where the tables below say; nothing is aligned by the language. The sections
//! follow each other without gaps: header, entries, slots, chunks, nested catalogs, strings. Prose: `INDEX-FORMAT.md`.

/// The first bytes of an image.
pub const MAGIC: [u8; 8] = *b"CVMFSIDX";
/// The version of the format that this crate reads and describes.
pub const VERSION: u32 = 1;
/// The entry that is its catalog's root directory.
pub const ROOT: u32 = 0;
/// Counters of a catalog in the header, in the order of [`COUNTERS`], first all of the catalog, then all below it.
pub const COUNTER_COUNT: usize = 24;
/// Names of the statistics counters, without `self_` or `subtree_`.
pub const COUNTERS: [&str; 12] = [
    "regular",
    "symlink",
    "special",
    "dir",
    "nested",
    "chunked",
    "chunks",
    "file_size",
    "chunked_size",
    "xattr",
    "external",
    "external_file_size",
];
/// Owner and group of entries of catalogs older than schema 2.1, which do not know them: show those of the caller.
pub const OWNER_IS_CALLER: u32 = u32::MAX;
/// Header bit: objects of this repository are volatile.
pub const HEADER_VOLATILE: u32 = 1;

/// Bits of an entry's flags, as in the published catalog.
pub mod flag {
    /// Mount point of a nested catalog.
    pub const NESTED_MOUNT_POINT: u32 = 0x2;
    /// Root of a nested catalog.
    pub const NESTED_ROOT: u32 = 0x20;
    /// Regular file stored in chunks.
    pub const CHUNKED: u32 = 0x40;
    /// Regular file stored outside of the repository.
    pub const EXTERNAL: u32 = 0x80;
    /// First of the three bits that hold the hash algorithm minus one.
    pub const ALGORITHM_SHIFT: u32 = 8;
    /// First of the three bits that hold the compression.
    pub const COMPRESSION_SHIFT: u32 = 11;
    /// Mount point of an independent root catalog.
    pub const BIND_MOUNT_POINT: u32 = 0x4000;
    /// Found by name, but not listed.
    pub const HIDDEN: u32 = 0x8000;
    /// Reading should bypass the kernel's page cache.
    pub const DIRECT_IO: u32 = 0x1_0000;
    /// Opening the file should fetch the bundle it belongs to.
    pub const BUNDLE_TRIGGER: u32 = 0x2_0000;
}

trait Field: Copy {
    fn read(bytes: &[u8], at: usize) -> Self;
    fn write(self, bytes: &mut [u8], at: usize);
}

macro_rules! number_fields {
    ($($type:ty),*) => {$(
        impl Field for $type {
            #[inline(always)]
            fn read(bytes: &[u8], at: usize) -> Self {
                bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| <$type>::from_le_bytes(*b))
            }
            #[inline(always)]
            fn write(self, bytes: &mut [u8], at: usize) {
                if let Some(place) = bytes.get_mut(at..).and_then(|b| b.first_chunk_mut()) {
                    *place = self.to_le_bytes();
                }
            }
        }
    )*};
}
number_fields!(u8, u16, u32, u64, i64);

impl<const N: usize> Field for [u8; N] {
    #[inline(always)]
    fn read(bytes: &[u8], at: usize) -> Self {
        bytes.get(at..).and_then(|b| b.first_chunk()).copied().unwrap_or([0; N])
    }
    #[inline(always)]
    fn write(self, bytes: &mut [u8], at: usize) {
        if let Some(place) = bytes.get_mut(at..).and_then(|b| b.first_chunk_mut()) {
            *place = self;
        }
    }
}

macro_rules! record {
    ($(#[$doc:meta])* $name:ident, $len:literal: $($(#[$field_doc:meta])* $at:literal $field:ident: $type:ty,)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl $name {
            /// Bytes of the record in the image.
            pub const LEN: usize = $len;

            /// Where each field lies: name, offset and length in bytes.
            pub const FIELDS: &[(&str, usize, usize)] =
                &[$((stringify!($field), $at, core::mem::size_of::<$type>()),)*];

            /// The record as it lies in the image.
            #[inline]
            pub fn encode(&self) -> [u8; $len] {
                let mut bytes = [0; $len];
                $(Field::write(self.$field, &mut bytes, $at);)*
                bytes
            }

            /// The record that lies in `bytes`.
            #[inline(always)]
            pub fn decode(bytes: &[u8; $len]) -> $name {
                $name { $($field: Field::read(bytes, $at),)* }
            }

            $(
                #[doc = concat!("The field `", stringify!($field), "` of the record that lies at the start of `bytes`; 0 if they are too short.")]
                #[inline(always)]
                pub fn $field(bytes: &[u8]) -> $type {
                    Field::read(bytes, $at)
                }
            )*
        }
    };
}

record! {
    /// The header without its counters ([`COUNTER_COUNT`] numbers of 8 bytes) and its own checksum, which follow.
    Header, 160:
    /// [`MAGIC`].
    0 magic: [u8; 8],
    /// [`VERSION`].
    8 version: u32,
    /// [`HEADER_LEN`].
    12 header_len: u32,
    /// Digest of the catalog's hash.
    16 digest: [u8; 20],
    /// Algorithm of the catalog's hash: 1 SHA-1, 2 RIPEMD-160, 3 SHAKE-128.
    36 algorithm: u32,
    /// Bytes of the image.
    40 file_len: u64,
    /// Checksum of everything behind the header.
    48 body_checksum: u64,
    /// Seed of the path hashes.
    56 seed: u64,
    /// Number of entries.
    64 entry_count: u32,
    /// Number of slots of the path table.
    68 slot_count: u32,
    /// Slots to look at before a path is known to be absent.
    72 probe_limit: u32,
    /// Number of chunks.
    76 chunk_count: u32,
    /// Number of nested catalogs and bind mount points.
    80 nested_count: u32,
    /// Header bits, see [`HEADER_VOLATILE`].
    84 flags: u32,
    /// Bytes of strings.
    88 strings_len: u64,
    /// Where the root prefix lies in the strings.
    96 root_prefix_at: u32,
    /// Bytes of the root prefix.
    100 root_prefix_len: u32,
    /// Where the membership requirement lies in the strings.
    104 membership_at: u32,
    /// Bytes of the membership requirement.
    108 membership_len: u32,
    /// Where the branch name lies in the strings.
    112 branch_at: u32,
    /// Bytes of the branch name.
    116 branch_len: u32,
    /// Repository revision at which the catalog was written.
    120 revision: u64,
    /// When it was written, in seconds since 1970.
    128 last_modified: i64,
    /// Time to live in seconds.
    136 ttl: u32,
    /// Schema version of the published catalog in thousandths.
    140 schema: u32,
    /// Schema revision of the published catalog.
    144 schema_revision: u32,
    /// Rows of the published catalog that were left out.
    148 dropped: u32,
    /// Entries that are damaged.
    152 damaged: u32,
}

/// Bytes of the header with counters and checksum.
pub const HEADER_LEN: usize = Header::LEN + 8 * COUNTER_COUNT + 8;

record! {
    /// One entry: a name and what it names.
    EntryRecord, 96:
    /// Where the name lies in the strings.
    0 name_at: u32,
    /// Number of the directory that holds it; [`ROOT`] for the root itself.
    4 parent: u32,
    /// Bytes of the name.
    8 name_len: u8,
    /// Code of the damage, 0 if there is none.
    9 damage: u8,
    /// File type and permissions.
    12 mode: u32,
    /// Bits, see [`flag`].
    16 flags: u32,
    /// Owner; [`OWNER_IS_CALLER`] if the catalog does not know.
    20 uid: u32,
    /// Group.
    24 gid: u32,
    /// Link count.
    28 nlink: u32,
    /// Hard-link group within the catalog, 0 for none.
    32 group: u32,
    /// Directories: number of the first child. Mount points: number of the nested catalog. Symbolic links: where the
    /// target lies in the strings. Regular files: number of the first chunk.
    36 first: u32,
    /// Directories: number of children. Mount points: 1, or 0 if the nested catalog is not known. Symbolic links:
    /// bytes of the target. Regular files: number of chunks.
    40 count: u32,
    /// Where the packed extended attributes lie in the strings (four bytes of length, then the blob), 0 for none.
    44 xattr: u32,
    /// Bytes of content; the device number of a device.
    48 size: u64,
    /// Time of modification, in seconds since 1970.
    56 mtime: i64,
    /// Inode number.
    64 ino: u64,
    /// Nanoseconds of the time of modification.
    72 nanos: u32,
    /// Digest of the content, all zero if there is none.
    76 digest: [u8; 20],
}

record! {
    /// One slot of the path table.
    Slot, 8:
    /// Lower half of the path's hash.
    0 tag: u32,
    /// Number of the entry plus one; 0 if the slot is empty.
    4 entry: u32,
}

record! {
    /// One chunk of a file.
    ChunkRecord, 36:
    /// First byte in the file.
    0 offset: u64,
    /// Bytes in the file.
    8 size: u64,
    /// Digest of the chunk's object.
    16 digest: [u8; 20],
}

record! {
    /// One nested catalog or bind mount point.
    NestedRecord, 48:
    /// Where the path lies in the strings: inside the repository, with the root prefix.
    0 path_at: u32,
    /// Bytes of the path.
    4 path_len: u32,
    /// Number of the mount point's entry.
    8 entry: u32,
    /// Algorithm of the catalog's hash, 0 if the hash is not known.
    12 algorithm: u8,
    /// 0 nested catalog, 1 bind mount point.
    13 kind: u8,
    /// Bytes of the inflated catalog, 0 if not known.
    16 size: u64,
    /// Digest of the catalog's hash.
    24 digest: [u8; 20],
}

/// Puts a header together, counters and checksum included.
pub fn encode_header(header: &Header, counters: &[i64; COUNTER_COUNT]) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    header.encode().write(&mut bytes, 0);
    for (number, value) in counters.iter().enumerate() {
        value.write(&mut bytes, Header::LEN + 8 * number);
    }
    let sum = bytes.get(..HEADER_LEN - 8).map_or(0, crate::hash::checksum);
    sum.write(&mut bytes, HEADER_LEN - 8);
    bytes
}

/// The number `which` of the counters in a header.
pub(crate) fn counter(header: &[u8], which: usize) -> i64 {
    Field::read(header, Header::LEN + 8 * which)
}

/// The checksum a header carries of itself.
pub(crate) fn header_checksum(header: &[u8]) -> u64 {
    Field::read(header, HEADER_LEN - 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_neither_overlap_nor_leave_the_record() {
        for (fields, len) in [
            (Header::FIELDS, Header::LEN),
            (EntryRecord::FIELDS, EntryRecord::LEN),
            (Slot::FIELDS, Slot::LEN),
            (ChunkRecord::FIELDS, ChunkRecord::LEN),
            (NestedRecord::FIELDS, NestedRecord::LEN),
        ] {
            let mut used = vec![false; len];
            for &(name, at, size) in fields {
                for taken in &mut used[at..at + size] {
                    assert!(!std::mem::replace(taken, true), "{name} overlaps");
                }
            }
        }
    }
}
