//! What the listing commands see of a file system, so that they print a repository and a local directory alike.

mod local;
mod mounted;

pub use local::LocalEntry;
pub use mounted::MountedEntry;

use anyhow::Result;

pub use libcvmfs::namespace::FileKind as Kind;

/// How the listing commands speak of a type.
pub trait KindText: Sized {
    /// From the type bits of `st_mode`; what is none of the seven is shown as a regular file.
    fn of_mode(mode: u32) -> Self;

    /// The first letter of a line of `ls -l`.
    fn letter(self) -> u8;

    /// The word used in JSON.
    fn word(self) -> &'static str;

    /// Whether `rdev` means something.
    fn is_device(&self) -> bool;
}

impl KindText for Kind {
    fn of_mode(mode: u32) -> Kind {
        Kind::from_mode(mode).unwrap_or(Kind::Regular)
    }

    fn letter(self) -> u8 {
        match self {
            Kind::Regular => b'-',
            Kind::Directory => b'd',
            Kind::Symlink => b'l',
            Kind::CharacterDevice => b'c',
            Kind::BlockDevice => b'b',
            Kind::Fifo => b'p',
            Kind::Socket => b's',
        }
    }

    fn word(self) -> &'static str {
        match self {
            Kind::Regular => "reg",
            Kind::Directory => "dir",
            Kind::Symlink => "lnk",
            Kind::CharacterDevice => "chr",
            Kind::BlockDevice => "blk",
            Kind::Fifo => "fifo",
            Kind::Socket => "sock",
        }
    }

    fn is_device(&self) -> bool {
        matches!(self, Kind::CharacterDevice | Kind::BlockDevice)
    }
}

/// A point in time: seconds since 1970 and nanoseconds after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Seconds since 1970, negative before.
    pub seconds: i64,
    /// 0 to 999 999 999, counted forward also before 1970.
    pub nanoseconds: u32,
}

impl Time {
    /// Nanoseconds since 1970.
    pub fn as_nanoseconds(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds)
    }
}

/// What `lstat` says about an entry.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Device of the file system.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// `st_mode`: type and permissions.
    pub mode: u32,
    /// Hard links.
    pub nlink: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device.
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// Blocks of 512 bytes.
    pub blocks: u64,
    /// Preferred block size, bytes.
    pub blksize: u64,
    /// Last access.
    pub atime: Time,
    /// Last modification.
    pub mtime: Time,
    /// Last change of status.
    pub ctime: Time,
    /// Creation, where it is known.
    pub birth: Option<Time>,
}

impl Facts {
    /// The type bits of the mode.
    pub fn kind(&self) -> Kind {
        Kind::of_mode(self.mode)
    }

    /// The mode as `ls -l` writes it: type, nine permissions, set-id and sticky letters.
    pub fn mode_text(&self) -> String {
        let bit = |mask: u32, letter: char| if self.mode & mask != 0 { letter } else { '-' };
        let special = |execute: u32, special: u32, lower: char| match (self.mode & execute, self.mode & special) {
            (0, 0) => '-',
            (_, 0) => 'x',
            (0, _) => lower.to_ascii_uppercase(),
            (_, _) => lower,
        };
        [
            char::from(self.kind().letter()),
            bit(0o400, 'r'),
            bit(0o200, 'w'),
            special(0o100, 0o4000, 's'),
            bit(0o040, 'r'),
            bit(0o020, 'w'),
            special(0o010, 0o2000, 's'),
            bit(0o004, 'r'),
            bit(0o002, 'w'),
            special(0o001, 0o1000, 't'),
        ]
        .iter()
        .collect()
    }

    /// Major and minor number of a device.
    pub fn rdev_numbers(&self) -> (u32, u32) {
        device_numbers(self.rdev)
    }
}

/// Major and minor part of a device number.
pub fn device_numbers(dev: u64) -> (u32, u32) {
    (rustix::fs::major(dev), rustix::fs::minor(dev))
}

/// One entry of a tree. Links are not followed unless it is said so.
pub trait Entry: Sized + Clone {
    /// What `lstat` says.
    fn facts(&self) -> Result<Facts>;
    /// The type, which costs less than all facts.
    fn kind(&self) -> Kind;
    /// Names and entries of a directory, sorted by the bytes of the names, without `.` and `..`.
    fn list(&self) -> Result<Vec<(Vec<u8>, Self)>>;
    /// The directory above; the root is its own parent.
    fn parent(&self) -> Result<Self>;
    /// The target of a symbolic link.
    fn target(&self) -> Result<Vec<u8>>;
    /// What is there after following symbolic links; `None`: nothing.
    fn followed(&self) -> Result<Option<Self>>;
    /// Whether there are access rules beyond the mode bits.
    fn has_acl(&self) -> bool;
}
