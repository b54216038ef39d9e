//! The sink of all sources: entries go into the draft, contents through the pipeline.

use super::entry::{Attributes, Kind};
use super::pipeline::{Piece, Pipeline, Stored};
use crate::draft::{self, Draft, Weights};
use crate::repository::Repository;
use crate::source::Graft;
use crate::storage::{Body, Put};
use anyhow::{Context as _, Result, bail};
use libcvmfs::catalog::write::{ChunkRow, Flags, PathSet, Row};
use libcvmfs::hash::PathHash;
use libcvmfs::object::chunk::{ChunkSizes, Cutter};
use libcvmfs::object::encode::{Encoder, Encoding};
use libcvmfs::object::{Compression, ObjectKind, ObjectName};
use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;
use tempfile::TempDir;

/// Bytes read at a time.
const BUFFER: usize = 256 << 10;
/// Most bytes of a file that is to stay whole and goes through the workers.
const WHOLE_LIMIT: usize = 16 << 20;

/// How contents are published.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Hash and compression.
    pub encoding: Encoding,
    /// Sizes of chunks; `None`: files stay whole.
    pub chunks: Option<ChunkSizes>,
    /// Files get names, but their bytes lie elsewhere.
    pub external: bool,
    /// Nanoseconds of times are kept.
    pub nanoseconds: bool,
    /// Threads that compress.
    pub threads: usize,
    /// Files of the same size and time as in the revision before are not read.
    pub trust_times: bool,
    /// Set by publishing: seconds since 1970 before which a file must have been modified to count as unchanged by size and time; `None`:
    /// every file is read.
    pub trust_times_before: Option<i64>,
    /// When this revision is made, in seconds since 1970.
    pub now: u64,
}

/// What was done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Entries that the sources have.
    pub entries: u64,
    /// Regular files whose content was read.
    pub files_read: u64,
    /// Bytes of them.
    pub bytes_read: u64,
    /// Regular files that were taken over unread.
    pub files_unchanged: u64,
    /// Bytes that were added to the storage by them.
    pub bytes_stored: u64,
    /// Objects that were added to the storage by them.
    pub objects_stored: u64,
    /// Entries that went; a directory with all in it counts once.
    pub removed: u64,
    /// Entries that could not be read and were left out.
    pub skipped: u64,
}

/// Tells somebody how far things are.
pub type Watch<'w> = dyn FnMut(&Summary) + 'w;

/// A revision being put together.
pub struct Publication<'r, 'w> {
    repository: &'r Repository,
    pub(super) draft: Draft<'r>,
    pipeline: Pipeline,
    settings: Settings,
    seen: PathSet,
    /// Files whose pieces are on their way, by number.
    pending: HashMap<u64, Pending>,
    /// The numbers of files on their way, by the hash of each of their paths.
    pending_paths: HashMap<PathHash, u64>,
    next_file: u64,
    /// A directory that is known to be there, with those above it.
    last_parent: Option<Vec<u8>>,
    /// The content of the file with the patterns of nested catalogs, if it was read.
    pub(super) dirtab: Option<Vec<u8>>,
    pub(super) summary: Summary,
    watch: &'w mut Watch<'w>,
    _scratch: TempDir,
}

struct Pending {
    paths: Vec<Vec<u8>>,
    row: Row,
    whole: Option<[u8; 20]>,
    chunks: Vec<ChunkRow>,
    /// Pieces that are not stored yet, once all were sent.
    sent: usize,
    stored: usize,
    complete: bool,
}

impl<'r, 'w> Publication<'r, 'w> {
    /// Begins on top of `draft`.
    pub fn new(
        repository: &'r Repository,
        draft: Draft<'r>,
        settings: Settings,
        watch: &'w mut Watch<'w>,
    ) -> Result<Publication<'r, 'w>> {
        let scratch = repository.scratch()?;
        let seen = PathSet::create(&scratch.path().join("seen"))?;
        let storage = (!settings.external).then(|| Arc::clone(&repository.storage));
        let pipeline = Pipeline::start(storage, settings.encoding, settings.threads)?;
        Ok(Publication {
            repository,
            draft,
            pipeline,
            settings,
            seen,
            pending: HashMap::new(),
            pending_paths: HashMap::new(),
            next_file: 0,
            last_parent: None,
            dirtab: None,
            summary: Summary::default(),
            watch,
            _scratch: scratch,
        })
    }

    /// When this revision is made, in seconds since 1970.
    pub fn now(&self) -> u64 {
        self.settings.now
    }

    /// Says that a path is to stay, whatever it is.
    pub fn keep(&mut self, path: &[u8]) -> Result<()> {
        Ok(self.seen.insert(PathHash::of(path))?)
    }

    /// Leaves an entry out because it cannot be read; what was published of it stays.
    pub fn skip(&mut self, path: &[u8]) -> Result<()> {
        self.summary.skipped += 1;
        self.keep(path)
    }

    fn note(&mut self, path: &[u8]) -> Result<()> {
        self.summary.entries += 1;
        if self.summary.entries.is_multiple_of(64) {
            (self.watch)(&self.summary);
        }
        self.keep(path)
    }

    /// Adds a directory, a symbolic link or a special file.
    pub fn entry(&mut self, path: &[u8], attributes: &Attributes, kind: &Kind) -> Result<()> {
        if draft::is_reserved(path) {
            return Ok(());
        }
        self.settle(path)?;
        self.note(path)?;
        if !matches!(kind, Kind::Directory(_)) {
            // It may take the place of a directory.
            self.last_parent = None;
        }
        let row = attributes.row(kind, path, self.settings.nanoseconds);
        self.ensure_parents(path)?;
        self.draft.put(path, row, &[]).map(drop)
    }

    /// Makes directories above `path` where the sources have none.
    fn ensure_parents(&mut self, path: &[u8]) -> Result<()> {
        let above = draft::parent(path);
        if !path.is_empty() && self.last_parent.as_deref() == Some(above) {
            return Ok(());
        }
        self.ensure_other_parents(path, above)?;
        self.last_parent = Some(above.to_vec()).filter(|_| !path.is_empty());
        Ok(())
    }

    fn ensure_other_parents(&mut self, path: &[u8], above: &[u8]) -> Result<()> {
        self.settle(above)?;
        if path.is_empty() || self.draft.row(above)?.is_some_and(|row| row.is_directory()) {
            return if path.is_empty() { Ok(()) } else { self.keep_parents(above) };
        }
        self.ensure_parents(above)?;
        let attributes = Attributes::plain(0o755, self.settings.now);
        let row = attributes.row(&Kind::Directory(0), above, false);
        self.keep(above)?;
        self.draft.put(above, row, &[]).map(drop)
    }

    fn keep_parents(&mut self, directory: &[u8]) -> Result<()> {
        // Whoever has an entry has the directories above it.
        if self.seen.contains(PathHash::of(directory))? || directory.is_empty() {
            return Ok(());
        }
        self.keep(directory)?;
        self.keep_parents(draft::parent(directory))
    }

    /// Adds the directory at `path` and those above it, if there is none.
    pub fn directory(&mut self, path: &[u8]) -> Result<()> {
        self.ensure_parents(&[path, b"/x"].concat())
    }

    /// The same, but refuses to put a directory in the place of something else.
    pub(super) fn way(&mut self, path: &[u8]) -> Result<()> {
        let mut above = path;
        while !above.is_empty() {
            if self.draft.row(above)?.is_some_and(|row| !row.is_directory()) {
                bail!(super::Refused(format!("{} is no directory", above.escape_ascii())));
            }
            above = draft::parent(above);
        }
        self.directory(path)
    }

    /// Takes the content of a file over from the revision before, if size and times say that it is the same; false if it
    /// has to be read. All `paths` are names of this file.
    pub fn unchanged(&mut self, paths: &[Vec<u8>], attributes: &Attributes, size: u64) -> Result<bool> {
        let Some(before) = self.settings.trust_times_before else { return Ok(false) };
        let Some(first) = paths.first() else { return Ok(true) };
        if attributes.mtime >= before {
            return Ok(false);
        }
        let mut row = attributes.row(&Kind::File(size), first, self.settings.nanoseconds);
        let mut known = Vec::new();
        for path in paths {
            // An archive may have the path twice: then the one before counts, which may be on its way.
            self.settle(path)?;
            match self.draft.row(path)? {
                Some(known_row)
                    if known_row.is_regular()
                        && (known_row.size, known_row.mtime, known_row.mtime_ns) == (size, row.mtime, row.mtime_ns)
                        && (known_row.flags & Flags::EXTERNAL != 0) == self.settings.external =>
                {
                    known.push(known_row);
                }
                _ => return Ok(false),
            }
        }
        let Some(same) = known.first().cloned() else { return Ok(false) };
        let group = known.iter().all(|known| known.group == same.group && known.digest == same.digest);
        if !group || (paths.len() > 1) != (same.group != 0) {
            return Ok(false);
        }
        (row.digest, row.flags, row.group, row.links) = (same.digest, same.flags, same.group, same.links);
        if paths.len() == 1 {
            (row.group, row.links) = (0, 1);
        }
        let chunks = self.draft.chunks(first)?;
        for path in paths {
            self.note(path)?;
            self.ensure_parents(path)?;
            self.draft.put(path, row.clone(), &chunks)?;
        }
        self.summary.files_unchanged += 1;
        Ok(true)
    }

    /// Adds a regular file with all its names, which are in one directory.
    pub fn file(&mut self, paths: Vec<Vec<u8>>, attributes: &Attributes, content: &mut dyn Read) -> Result<()> {
        let Some(first) = paths.first().filter(|path| !draft::is_reserved(path)).cloned() else { return Ok(()) };
        let mut row = attributes.row(&Kind::File(0), &first, self.settings.nanoseconds);
        row.flags |= Flags::of_content(self.settings.encoding.algorithm, self.settings.encoding.compression);
        row.flags |= if self.settings.external { Flags::EXTERNAL } else { 0 };
        for path in &paths {
            self.settle(path)?;
            self.note(path)?;
        }
        if draft::name(&first) == draft::MARKER {
            // Rows will move to another catalog; numbers of groups must not be on their way then.
            while self.pending.values().any(|pending| pending.row.group != 0) {
                self.collect(true)?;
            }
        }
        self.ensure_parents(&first)?;
        if paths.len() > 1 {
            row.group = self.group_of(&paths)?;
            row.links = u32::try_from(paths.len()).context("too many hard links")?;
        }
        self.next_file += 1;
        let number = self.next_file;
        for path in &paths {
            self.pending_paths.insert(PathHash::of(path), number);
        }
        let pending = Pending { paths, row, whole: None, chunks: Vec::new(), sent: 0, stored: 0, complete: false };
        self.pending.insert(number, pending);
        let mut patterns = Vec::new();
        let content: &mut dyn Read = match first == super::dirtab::DIRTAB {
            true => {
                content.take(super::dirtab::LIMIT).read_to_end(&mut patterns)?;
                &mut &patterns[..]
            }
            false => content,
        };
        let size = self.cut(number, content).with_context(|| first.escape_ascii().to_string())?;
        if first == super::dirtab::DIRTAB {
            self.dirtab = Some(patterns);
        }
        self.summary.files_read += 1;
        if let Some(pending) = self.pending.get_mut(&number) {
            (pending.row.size, pending.complete) = (size, true);
        }
        self.register(number)?;
        self.collect(false).map(drop)
    }

    /// The group that exactly these names have already, or a new one.
    fn group_of(&mut self, paths: &[Vec<u8>]) -> Result<u32> {
        let Some(first) = paths.first() else { return Ok(0) };
        let mut groups = Vec::new();
        for path in paths {
            groups.push(self.draft.row(path)?.map_or(0, |row| row.group));
        }
        match groups.first() {
            Some(&group) if group != 0 && groups.iter().all(|other| *other == group) => Ok(group),
            _ => self.draft.next_group(draft::parent(first)),
        }
    }

    /// Reads a file, cuts it and sends the pieces; returns its size in bytes.
    fn cut(&mut self, number: u64, content: &mut dyn Read) -> Result<u64> {
        let mut cutter = self.settings.chunks.map(Cutter::new);
        let mut buffer = vec![0; BUFFER];
        let mut piece = Vec::new();
        let (mut offset, mut total) = (0_u64, 0_u64);
        loop {
            let read = match content.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if read == 0 {
                break;
            }
            total += read as u64;
            self.summary.bytes_read += read as u64;
            let mut rest = buffer.get(..read).unwrap_or_default();
            while let Some(at) = cutter.as_mut().and_then(|cutter| cutter.next_cut(rest)) {
                let (before, behind) = rest.split_at(at);
                piece.extend_from_slice(before);
                rest = behind;
                let size = piece.len() as u64;
                self.send(Piece {
                    file: number,
                    offset,
                    kind: ObjectKind::Partial,
                    bytes: std::mem::take(&mut piece),
                })?;
                offset += size;
            }
            piece.extend_from_slice(rest);
            if cutter.is_none() && piece.len() > WHOLE_LIMIT {
                return self.store_whole(number, piece, content);
            }
        }
        let kind = if offset == 0 { ObjectKind::File } else { ObjectKind::Partial };
        self.send(Piece { file: number, offset, kind, bytes: piece })?;
        Ok(total)
    }

    /// Stores a large file that is to stay whole: here and now, for it does not fit into memory.
    fn store_whole(&mut self, number: u64, start: Vec<u8>, content: &mut dyn Read) -> Result<u64> {
        let mut staged = self.repository.storage.staging()?;
        let bytes = start.as_slice().chain(content);
        let encoded = Encoder::new(self.settings.encoding).reader(bytes, &mut staged)?;
        self.summary.bytes_read += encoded.plain.saturating_sub(WHOLE_LIMIT as u64);
        let name = ObjectName::new(encoded.hash, ObjectKind::File);
        if !self.settings.external && self.repository.storage.put_object(&name, Body::File(staged))? == Put::New {
            self.summary.bytes_stored += encoded.stored;
            self.summary.objects_stored += 1;
        }
        if let Some(pending) = self.pending.get_mut(&number) {
            pending.whole = Some(encoded.hash.digest);
        }
        Ok(encoded.plain)
    }

    fn send(&mut self, piece: Piece) -> Result<()> {
        if let Some(pending) = self.pending.get_mut(&piece.file) {
            pending.sent += 1;
        }
        self.pipeline.send(piece)?;
        (self.watch)(&self.summary);
        self.collect(false).map(drop)
    }

    /// Takes in what the workers have stored; with `wait`, at least one object.
    fn collect(&mut self, mut wait: bool) -> Result<()> {
        while let Some(stored) = self.pipeline.next(wait)? {
            wait = false;
            let Stored { file, offset, size, kind, hash, new_bytes } = stored;
            self.summary.bytes_stored += new_bytes;
            self.summary.objects_stored += u64::from(new_bytes > 0);
            let Some(pending) = self.pending.get_mut(&file) else { bail!("an object of no file was stored") };
            pending.stored += 1;
            match kind {
                ObjectKind::Partial => pending.chunks.push(ChunkRow { offset, size, digest: hash.digest }),
                _ => pending.whole = Some(hash.digest),
            }
            self.register(file)?;
        }
        Ok(())
    }

    /// Puts the rows of a file whose pieces are all stored.
    fn register(&mut self, number: u64) -> Result<()> {
        if !self.pending.get(&number).is_some_and(|pending| pending.complete && pending.stored == pending.sent) {
            return Ok(());
        }
        let Some(mut pending) = self.pending.remove(&number) else { return Ok(()) };
        pending.chunks.sort_by_key(|chunk| chunk.offset);
        pending.row.digest = pending.whole;
        if !pending.chunks.is_empty() {
            pending.row.flags |= Flags::CHUNKED;
        }
        for path in &pending.paths {
            self.pending_paths.remove(&PathHash::of(path));
            self.draft.put(path, pending.row.clone(), &pending.chunks)?;
        }
        Ok(())
    }

    /// Waits until nothing that concerns `path` is on its way.
    fn settle(&mut self, path: &[u8]) -> Result<()> {
        let hash = PathHash::of(path);
        while self.pending_paths.contains_key(&hash) {
            self.collect(true)?;
        }
        Ok(())
    }

    /// Waits until nothing is on its way.
    pub fn settle_all(&mut self) -> Result<()> {
        while !self.pending.is_empty() {
            self.collect(true)?;
        }
        (self.watch)(&self.summary);
        Ok(())
    }

    /// Adds a regular file whose content is described and not read.
    pub fn graft(&mut self, path: &[u8], attributes: &Attributes, graft: &Graft) -> Result<()> {
        if draft::is_reserved(path) {
            return Ok(());
        }
        self.settle(path)?;
        self.note(path)?;
        self.ensure_parents(path)?;
        let mut row = attributes.row(&Kind::File(graft.size), path, self.settings.nanoseconds);
        let hash = graft.whole.or(graft.chunks.first().map(|(_, hash)| *hash));
        let Some(hash) = hash else { bail!("a graft without content") };
        row.flags |= Flags::of_content(hash.algorithm, graft.compression);
        row.flags |= if self.settings.external { Flags::EXTERNAL } else { 0 };
        row.digest = graft.whole.map(|hash| hash.digest);
        let ends = graft.chunks.iter().skip(1).map(|(offset, _)| *offset).chain([graft.size]);
        let chunks: Vec<ChunkRow> = graft
            .chunks
            .iter()
            .zip(ends)
            .map(|((offset, hash), end)| ChunkRow { offset: *offset, size: end - offset, digest: hash.digest })
            .collect();
        row.flags |= if chunks.is_empty() { 0 } else { Flags::CHUNKED };
        self.draft.put(path, row, &chunks).map(drop)
    }

    /// Gives the file `of` another name. In another directory it becomes a file of its own with the same content.
    pub fn hard_link(&mut self, path: &[u8], of: &[u8]) -> Result<()> {
        if path == of {
            return Ok(());
        }
        self.settle(of)?;
        self.settle(path)?;
        let Some(mut row) = self.draft.row(of)?.filter(|row| !row.is_directory()) else {
            bail!("{} is a hard link to {}, which is not there", path.escape_ascii(), of.escape_ascii());
        };
        let chunks = self.draft.chunks(of)?;
        self.note(path)?;
        self.ensure_parents(path)?;
        if draft::parent(path) == draft::parent(of) {
            if row.group == 0 {
                row.group = self.group_of(&[of.to_vec(), path.to_vec()])?;
                self.draft.put(of, row.clone(), &chunks)?;
            }
        } else {
            (row.group, row.links) = (0, 1);
        }
        self.draft.put(path, row, &chunks).map(drop)
    }

    /// Removes a path with everything below it.
    pub fn remove(&mut self, path: &[u8]) -> Result<bool> {
        self.settle_all()?;
        self.last_parent = None;
        let removed = self.draft.remove(path)?;
        self.summary.removed += u64::from(removed);
        Ok(removed)
    }

    /// Removes everything below a directory.
    pub fn clear(&mut self, directory: &[u8]) -> Result<()> {
        self.settle_all()?;
        self.last_parent = None;
        self.summary.removed += u64::from(self.draft.clear(directory)?);
        Ok(())
    }

    /// Removes what is below `directory` and was in no source.
    pub fn sweep(&mut self, directory: &[u8]) -> Result<()> {
        self.settle_all()?;
        self.summary.removed += self.draft.sweep(directory, &self.seen)?;
        Ok(())
    }

    /// Adds a file of these few bytes, made by the publisher itself.
    pub fn own_file(&mut self, path: &[u8], content: &[u8]) -> Result<()> {
        let attributes = match self.draft.row(path)? {
            // It stays as it is, and so does its time.
            Some(row) if row.is_regular() => return self.keep(path),
            _ => Attributes::plain(0o644, self.settings.now),
        };
        self.file(vec![path.to_vec()], &attributes, &mut { content })
    }

    /// Divides catalogs that have become too large.
    pub(super) fn balance(&mut self, weights: &Weights) -> Result<()> {
        self.settle_all()?;
        let mut encoding = self.settings.encoding;
        if self.settings.external {
            // The markers are nowhere else.
            encoding.compression = Compression::Zlib;
        }
        let mut marker = Attributes::plain(0o644, self.settings.now).row(&Kind::File(0), b"", false);
        marker.flags |= Flags::of_content(encoding.algorithm, encoding.compression);
        let mut empty = Vec::new();
        let encoded = Encoder::new(encoding).bytes(b"", &mut empty)?;
        self.repository.storage.put_object(&ObjectName::new(encoded.hash, ObjectKind::File), Body::Bytes(empty))?;
        self.draft.balance(weights, &marker, encoded.hash)
    }

    /// Ends the sources and gives the draft back.
    pub fn finish(mut self) -> Result<(Draft<'r>, Summary)> {
        self.settle_all()?;
        Ok((self.draft, self.summary))
    }

    /// The content of a small file of the draft.
    pub(super) fn content(&self, row: &Row, limit: u64) -> Result<Vec<u8>> {
        let Some(hash) = row.content() else { bail!("{} is too large", row.name.escape_ascii()) };
        let compression = if row.flags & Flags::UNCOMPRESSED == 0 { Compression::Zlib } else { Compression::None };
        self.repository.object_bytes(&ObjectName::new(hash, ObjectKind::File), compression, limit)
    }
}
