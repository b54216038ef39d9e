use crate::hash::{Algorithm, ContentHash, DIGEST_LEN, PathHash};
use crate::object::Compression;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Row as SqlRow, ToSql};

/// Bits of a row's flags. The numbers are those of the format; see `cvmfs_index::format::flag` for the ones a reader
/// looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags;

impl Flags {
    /// A directory.
    pub const DIRECTORY: u32 = 0x1;
    /// The mount point of a nested catalog, in the catalog above.
    pub const MOUNT_POINT: u32 = cvmfs_index::format::flag::NESTED_MOUNT_POINT;
    /// Anything but a directory.
    pub const FILE: u32 = 0x4;
    /// A symbolic link.
    pub const LINK: u32 = 0x8;
    /// A FIFO, socket or device.
    pub const SPECIAL: u32 = 0x10;
    /// The root of a nested catalog, in that catalog.
    pub const NESTED_ROOT: u32 = cvmfs_index::format::flag::NESTED_ROOT;
    /// A regular file in chunks.
    pub const CHUNKED: u32 = cvmfs_index::format::flag::CHUNKED;
    /// A regular file whose bytes lie outside of the repository.
    pub const EXTERNAL: u32 = cvmfs_index::format::flag::EXTERNAL;
    /// A regular file stored as it is: the first of three bits for the compression.
    pub const UNCOMPRESSED: u32 = 1 << cvmfs_index::format::flag::COMPRESSION_SHIFT;
    /// The mount point of an independent root catalog.
    pub const BIND: u32 = cvmfs_index::format::flag::BIND_MOUNT_POINT;
    /// Not listed, but found by name.
    pub const HIDDEN: u32 = cvmfs_index::format::flag::HIDDEN;

    /// The bits that say how the content of a regular file is named and stored.
    pub fn of_content(algorithm: Algorithm, compression: Compression) -> u32 {
        let compression = match compression {
            Compression::Zlib => 0,
            Compression::None => Flags::UNCOMPRESSED,
        };
        ((algorithm as u32 - 1) << cvmfs_index::format::flag::ALGORITHM_SHIFT) | compression
    }
}

/// A row of table `catalog`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Hash of the path.
    pub path: PathHash,
    /// Hash of the directory's path; all zero for the root of the repository.
    pub parent: PathHash,
    /// Group of names of the same file, 0 for none; only in this catalog.
    pub group: u32,
    /// Number of names, or 2 and the number of sub-directories.
    pub links: u32,
    /// The object of a regular file in one piece.
    pub digest: Option<[u8; DIGEST_LEN]>,
    /// Bytes; for devices their number.
    pub size: u64,
    /// File type and permissions.
    pub mode: u32,
    /// Time of modification, seconds since 1970.
    pub mtime: i64,
    /// And nanoseconds.
    pub mtime_ns: Option<u32>,
    /// See [`Flags`].
    pub flags: u32,
    /// The last component, empty for the root of the repository.
    pub name: Vec<u8>,
    /// Target of a symbolic link, with its variables.
    pub target: Vec<u8>,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Packed extended attributes; empty for none.
    pub xattr: Vec<u8>,
}

impl Row {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & 0o170000 == 0o040000
    }

    /// Whether it is a regular file.
    pub fn is_regular(&self) -> bool {
        self.mode & 0o170000 == 0o100000
    }

    /// The algorithm that its flags name.
    pub fn algorithm(&self) -> Algorithm {
        Algorithm::from_flag_bits(self.flags >> cvmfs_index::format::flag::ALGORITHM_SHIFT & 7)
            .unwrap_or(Algorithm::Sha1)
    }

    /// The object of a regular file in one piece.
    pub fn content(&self) -> Option<ContentHash> {
        self.digest.map(|digest| ContentHash::new(self.algorithm(), digest))
    }
}

/// A row of table `chunks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRow {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub size: u64,
    /// The object; its algorithm is in the flags of the file.
    pub digest: [u8; DIGEST_LEN],
}

/// The two kinds of catalogs that are mounted in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkTable {
    /// Parts of the same tree.
    Nested,
    /// Independent root catalogs.
    Bind,
}

impl LinkTable {
    pub(super) fn name(self) -> &'static str {
        match self {
            LinkTable::Nested => "nested_catalogs",
            LinkTable::Bind => "bind_mountpoints",
        }
    }
}

/// A mounted catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where, as an absolute path inside the repository.
    pub path: Vec<u8>,
    /// Which; `None` while it is not known yet.
    pub hash: Option<ContentHash>,
    /// Its plain size in bytes.
    pub size: u64,
}

/// Bytes in a column of text, UTF-8 or not.
pub(super) struct Text<'a>(pub(super) &'a [u8]);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

/// The columns that [`read`] reads.
macro_rules! columns {
    () => {
        "md5path_1, md5path_2, parent_1, parent_2, hardlinks, hash, size, mode, mtime, mtimens, flags, name, symlink, \
         uid, gid, xattr"
    };
}
pub(super) use columns;

pub(super) const UPSERT: &str = concat!(
    "INSERT INTO catalog (",
    columns!(),
    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
     ON CONFLICT (md5path_1, md5path_2) DO UPDATE SET parent_1 = excluded.parent_1, parent_2 = excluded.parent_2,
        hardlinks = excluded.hardlinks, hash = excluded.hash, size = excluded.size, mode = excluded.mode,
        mtime = excluded.mtime, mtimens = excluded.mtimens, flags = excluded.flags, name = excluded.name,
        symlink = excluded.symlink, uid = excluded.uid, gid = excluded.gid, xattr = excluded.xattr"
);

pub(super) fn values(row: &Row) -> [ToSqlOutput<'_>; 16] {
    let number = |number: i64| ToSqlOutput::Owned(number.into());
    let ((path_1, path_2), (parent_1, parent_2)) = (row.path.columns(), row.parent.columns());
    let blob = |bytes| ToSqlOutput::Borrowed(ValueRef::Blob(bytes));
    let text = |bytes| ToSqlOutput::Borrowed(ValueRef::Text(bytes));
    let null = ToSqlOutput::Borrowed(ValueRef::Null);
    [
        number(path_1),
        number(path_2),
        number(parent_1),
        number(parent_2),
        number(i64::from(row.group) << 32 | i64::from(row.links)),
        row.digest.as_ref().map_or_else(|| null.clone(), |digest| blob(digest)),
        number(row.size as i64),
        number(i64::from(row.mode)),
        number(row.mtime),
        row.mtime_ns.map_or_else(|| null.clone(), |nanoseconds| number(i64::from(nanoseconds))),
        number(i64::from(row.flags)),
        text(&row.name),
        text(&row.target),
        number(i64::from(row.uid)),
        number(i64::from(row.gid)),
        if row.xattr.is_empty() { null } else { blob(&row.xattr) },
    ]
}

pub(super) fn read(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let number = |column: usize| -> rusqlite::Result<i64> { Ok(row.get::<_, Option<i64>>(column)?.unwrap_or(0)) };
    let hardlinks = number(4)?;
    Ok(Row {
        path: PathHash::from_columns(number(0)?, number(1)?),
        parent: PathHash::from_columns(number(2)?, number(3)?),
        group: (hardlinks >> 32) as u32,
        links: hardlinks as u32,
        digest: <[u8; DIGEST_LEN]>::try_from(bytes(row, 5)?.as_slice()).ok(),
        size: number(6)? as u64,
        mode: number(7)? as u32,
        mtime: number(8)?,
        mtime_ns: row.get::<_, Option<i64>>(9)?.and_then(|nanoseconds| u32::try_from(nanoseconds).ok()),
        flags: number(10)? as u32,
        name: bytes(row, 11)?,
        target: bytes(row, 12)?,
        uid: number(13)? as u32,
        gid: number(14)? as u32,
        xattr: bytes(row, 15)?,
    })
}

pub(super) fn read_chunk(row: &SqlRow<'_>) -> rusqlite::Result<ChunkRow> {
    let digest = <[u8; DIGEST_LEN]>::try_from(bytes(row, 2)?.as_slice());
    Ok(ChunkRow {
        offset: row.get::<_, i64>(0)? as u64,
        size: row.get::<_, i64>(1)? as u64,
        digest: digest.map_err(|_| rusqlite::Error::IntegralValueOutOfRange(2, 0))?,
    })
}

pub(super) fn read_link(row: &SqlRow<'_>) -> rusqlite::Result<Link> {
    let hash = String::from_utf8_lossy(&bytes(row, 1)?).parse().ok();
    Ok(Link { path: bytes(row, 0)?, hash, size: row.get::<_, Option<i64>>(2)?.unwrap_or(0) as u64 })
}

fn bytes(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Vec<u8>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
        _ => Vec::new(),
    })
}
