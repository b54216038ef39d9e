//! Checks everything and throws away what cannot be right, so that it is fetched again.

use super::digest_log::Record;
use super::directory::Dir;
use super::find::{AtOffset, digest_of};
use super::open::{LOCKS, TRANSACTIONS};
use super::{Cache, CacheError, Key, Mode, Namespace};
use crate::hash::Hasher;
use rustix::fs::{FileType, FlockOperation, Stat};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What to check and what to do about it.
#[derive(Clone, Copy)]
pub struct FsckOptions<'a> {
    /// Which contents to read.
    pub read_data: ReadData,
    /// Remove what is damaged or left behind.
    pub repair: bool,
    /// With `repair`: also remove what nothing vouches for.
    pub remove_unverified: bool,
    /// Compress objects without a recorded digest again and compare with their names. Slow; settles almost all that
    /// official clients and preloaders wrote.
    pub recompress: bool,
    /// A leftover of a dead process is left alone until it is this old, where locks cannot tell that it is dead.
    pub grace: Duration,
    /// Judges an index by its own check sums.
    pub check_index: Option<&'a dyn Fn(&File) -> bool>,
}

impl Default for FsckOptions<'_> {
    fn default() -> Self {
        FsckOptions {
            read_data: ReadData::All,
            repair: false,
            remove_unverified: false,
            recompress: true,
            grace: Duration::from_secs(60),
            check_index: None,
        }
    }
}

/// Which contents to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadData {
    /// None: names, kinds, sizes and permissions only.
    None,
    /// Part `part` (from 1) of `parts` equal parts, divided by name: `parts` runs read everything.
    Part {
        /// Which part.
        part: u32,
        /// How many there are.
        parts: u32,
    },
    /// All.
    All,
}

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Damage {
    /// A symbolic link, directory or device where an object belongs.
    NotRegular,
    /// A name that no object has.
    BadName,
    /// It belongs to somebody else.
    ForeignOwner,
    /// Others can write it.
    WritableByOthers,
    /// Not as long as it was when it came in.
    WrongSize,
    /// Not the bytes that came in, or not those its name stands for.
    WrongContent,
    /// Nothing in it, and nothing to show that this is right.
    Empty,
    /// An index that its own check sum denies.
    BrokenIndex,
    /// It cannot be read.
    Unreadable,
    /// Left behind by a process that died.
    StaleTemporary,
    /// Left behind by a process that died.
    StaleLock,
}

/// One damaged file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Where it is (or was).
    pub path: PathBuf,
    /// What is wrong.
    pub damage: Damage,
    /// Whether it was removed.
    pub removed: bool,
}

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Files looked at.
    pub checked: u64,
    /// Bytes read from them.
    pub bytes_read: u64,
    /// Files whose content was found right.
    pub verified: u64,
    /// Files whose content was not read, as asked for.
    pub not_read: u64,
    /// Files read for which nothing vouches.
    pub unverified: u64,
    /// Unverified files removed, as asked for.
    pub unverified_removed: u64,
    /// What was wrong.
    pub damaged: Vec<Damaged>,
}

impl Report {
    /// Damage that could still be served or get in the way.
    pub fn left(&self) -> usize {
        self.damaged.iter().filter(|d| !d.removed).count()
    }

    /// Damage removed.
    pub fn repaired(&self) -> usize {
        self.damaged.iter().filter(|d| d.removed).count()
    }
}

/// How far a check has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FsckProgress {
    /// Of the 768 folders, how many are done.
    pub folders_done: u32,
    /// Number of folders.
    pub folders: u32,
    /// Files looked at.
    pub checked: u64,
    /// Bytes read.
    pub bytes_read: u64,
}

enum Judgement {
    Verified,
    NotRead,
    Unverified,
    Gone,
    Damaged(Damage),
}

impl Cache {
    /// Checks the cache's own directory (not the caches behind it). May run while the cache is in use.
    ///
    /// Objects without a recorded digest that prove right by recompression get one, so that the next check is quick.
    pub fn fsck(
        &self,
        options: &FsckOptions<'_>,
        progress: &mut dyn FnMut(&FsckProgress),
    ) -> Result<Report, CacheError> {
        let repair = options.repair && (self.mode != Mode::ReadOnly || self.top.own_local);
        let options = FsckOptions { repair, ..*options };
        let mut report = Report::default();
        let digests = match self.local() {
            Some(local) => self.digests.all(local).map_err(|e| CacheError::from_io(local.path(), "reading", e))?,
            None => HashMap::new(),
        };
        let folders = Namespace::ALL.len() as u32 * 256;
        let mut at = FsckProgress { folders, ..FsckProgress::default() };
        for namespace in Namespace::ALL {
            let Some(dir) = self.top.dir(namespace) else { continue };
            for prefix in 0..=255u8 {
                self.check_folder(dir, namespace, prefix, &digests, &options, &mut report)?;
                at.folders_done += 1;
                (at.checked, at.bytes_read) = (report.checked, report.bytes_read);
                progress(&at);
            }
        }
        self.check_leftovers(&options, &mut report)?;
        if options.repair {
            self.forget_digests();
            // Counts again what is there.
            if self.mode == Mode::Private {
                self.trim(u64::MAX)?;
            }
        }
        Ok(report)
    }

    fn check_folder(
        &self,
        dir: &Dir,
        namespace: Namespace,
        prefix: u8,
        digests: &HashMap<Key, Record>,
        options: &FsckOptions<'_>,
        report: &mut Report,
    ) -> Result<(), CacheError> {
        let prefix = format!("{prefix:02x}");
        let folder = format!("{}{prefix}", namespace.folder());
        if let Ok(Some(stat)) = dir.stat(&folder)
            && FileType::from_raw_mode(stat.st_mode) != FileType::Directory
        {
            let removed = options.repair && dir.unlink(&folder).is_ok();
            report.damaged.push(Damaged { path: dir.path().join(&folder), damage: Damage::NotRegular, removed });
            return Ok(());
        }
        let names = dir.list(&folder).map_err(|e| CacheError::from_io(&dir.path().join(&folder), "listing", e))?;
        for (name, _) in names {
            report.checked += 1;
            let relative = std::path::Path::new(&folder).join(&name);
            let key = name.to_str().and_then(|name| Key::parse(namespace, &prefix, name));
            let judgement = match &key {
                Some(key) => self.judge(dir, key, digests.get(key), options, report),
                None => Judgement::Damaged(Damage::BadName),
            };
            match judgement {
                Judgement::Verified => report.verified += 1,
                Judgement::NotRead => report.not_read += 1,
                Judgement::Gone => report.checked -= 1,
                Judgement::Unverified => {
                    report.unverified += 1;
                    if options.repair && options.remove_unverified && dir.unlink(&relative).is_ok() {
                        report.unverified_removed += 1;
                    }
                }
                Judgement::Damaged(damage) => {
                    let removed =
                        options.repair && (dir.unlink(&relative).is_ok() || dir.remove_directory(&relative).is_ok());
                    report.damaged.push(Damaged { path: dir.path().join(&relative), damage, removed });
                }
            }
        }
        Ok(())
    }

    fn judge(
        &self,
        dir: &Dir,
        key: &Key,
        record: Option<&Record>,
        options: &FsckOptions<'_>,
        report: &mut Report,
    ) -> Judgement {
        let stat = match dir.stat(key.relative()) {
            Ok(Some(stat)) => stat,
            Ok(None) => return Judgement::Gone,
            Err(_) => return Judgement::Damaged(Damage::Unreadable),
        };
        if let Some(damage) = self.outer_damage(dir, key, &stat) {
            return Judgement::Damaged(damage);
        }
        let size = stat.st_size as u64;
        if record.is_some_and(|r| r.size != size) {
            return Judgement::Damaged(Damage::WrongSize);
        }
        if !options.read_data.includes(key) {
            return Judgement::NotRead;
        }
        let file = match dir.read(key.relative()) {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Judgement::Gone,
            Err(_) => return Judgement::Damaged(Damage::Unreadable),
        };
        report.bytes_read += size;
        self.judge_content(key, record, &file, size, options).unwrap_or(Judgement::Damaged(Damage::Unreadable))
    }

    fn outer_damage(&self, dir: &Dir, key: &Key, stat: &Stat) -> Option<Damage> {
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Some(Damage::NotRegular);
        }
        if self.top.own(key.namespace()) {
            let owner = rustix::fs::fstat(dir.fd()).map_or(stat.st_uid, |s| s.st_uid);
            if stat.st_uid != owner {
                return Some(Damage::ForeignOwner);
            }
            if stat.st_mode & 0o022 != 0 {
                return Some(Damage::WritableByOthers);
            }
        }
        None
    }

    fn judge_content(
        &self,
        key: &Key,
        record: Option<&Record>,
        file: &File,
        size: u64,
        options: &FsckOptions<'_>,
    ) -> io::Result<Judgement> {
        if let (Key::Index(_), Some(check)) = (key, options.check_index)
            && !check(file)
        {
            return Ok(Judgement::Damaged(Damage::BrokenIndex));
        }
        if let Some(record) = record {
            let same = digest_of(file)? == record.blake3;
            return Ok(if same { Judgement::Verified } else { Judgement::Damaged(Damage::WrongContent) });
        }
        match key {
            Key::Object(hash) if options.recompress && is_named(file, hash)? => {
                if let Some(local) = self.local().filter(|_| options.repair && self.top.own_local) {
                    let record = Record { size, blake3: digest_of(file)?, volatile: false };
                    let _ = self.digests.append(local, key, &record);
                }
                return Ok(Judgement::Verified);
            }
            Key::Index(_) if options.check_index.is_some() => return Ok(Judgement::Verified),
            _ => {}
        }
        Ok(if size == 0 { Judgement::Damaged(Damage::Empty) } else { Judgement::Unverified })
    }

    fn check_leftovers(&self, options: &FsckOptions<'_>, report: &mut Report) -> Result<(), CacheError> {
        let objects = std::iter::once((&self.top.objects, TRANSACTIONS, Damage::StaleTemporary));
        let local = self.local().into_iter();
        let local = local.flat_map(|d| [(d, TRANSACTIONS, Damage::StaleTemporary), (d, LOCKS, Damage::StaleLock)]);
        for (dir, folder, damage) in objects.chain(local) {
            let names = dir.list(folder).map_err(|e| CacheError::from_io(&dir.path().join(folder), "listing", e))?;
            for (name, _) in names {
                let relative = std::path::Path::new(folder).join(name);
                let Some(_held) = self.abandoned(dir, &relative, options.grace) else { continue };
                let removed = options.repair && dir.unlink(&relative).is_ok();
                report.damaged.push(Damaged { path: dir.path().join(&relative), damage, removed });
            }
        }
        Ok(())
    }

    /// The file, locked, if no living process uses it.
    fn abandoned(&self, dir: &Dir, name: &std::path::Path, grace: Duration) -> Option<Option<File>> {
        let stat = dir.stat(name).ok()??;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = now.saturating_sub(Duration::from_secs(stat.st_ctime.max(0) as u64));
        // Between its creation and its lock a file looks abandoned.
        if age < grace {
            return None;
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Some(None);
        }
        let Ok(file) = dir.read(name) else { return (age > NO_LOCK_GRACE).then_some(None) };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if self.top.own_local || age > NO_LOCK_GRACE => Some(Some(file)),
            Err(e) if e != rustix::io::Errno::WOULDBLOCK && age > NO_LOCK_GRACE => Some(None),
            _ => None,
        }
    }
}

/// Where locks of other hosts cannot be seen, a file untouched this long is abandoned.
const NO_LOCK_GRACE: Duration = Duration::from_secs(24 * 3600);

impl ReadData {
    fn includes(self, key: &Key) -> bool {
        match self {
            ReadData::None => false,
            ReadData::All => true,
            ReadData::Part { part, parts } => {
                let packed = key.packed();
                let number = u32::from_le_bytes([packed[4], packed[5], packed[6], packed[7]]);
                parts == 0 || number % parts == part.wrapping_sub(1) % parts
            }
        }
    }
}

/// Whether a file's bytes have this name, compressed as official publishers do or as they are.
fn is_named(file: &File, hash: &crate::hash::ContentHash) -> io::Result<bool> {
    struct Hashing(Hasher);
    impl Write for Hashing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut plain = Hasher::new(hash.algorithm);
    let sink = Hashing(Hasher::new(hash.algorithm));
    let mut compressed = flate2::write::ZlibEncoder::new(sink, flate2::Compression::new(6));
    let mut reader = AtOffset { file, at: 0 };
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer)? {
            0 => break,
            n => {
                plain.update(&buffer[..n]);
                compressed.write_all(&buffer[..n])?;
            }
        }
    }
    Ok(compressed.finish()?.0.finish() == *hash || plain.finish() == *hash)
}
