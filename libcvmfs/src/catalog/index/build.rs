use super::report::{BuildReport, Repairs};
use super::scan::{ChunkList, ChunkTable, Scan};
use crate::catalog::error::CatalogError;
use crate::catalog::sqlite::SqliteCatalog;
use crate::hash::{ContentHash, PathHash};
use cvmfs_index::format::{
    EntryRecord, HEADER_LEN, HEADER_VOLATILE, Header, MAGIC, NestedRecord, ROOT, Slot, VERSION, encode_header, flag,
};
use cvmfs_index::{Damage, EntryKind, PathHasher, checksum, fill_slots};
use md5::{Digest as _, Md5};
use rusqlite::types::ValueRef;
use std::collections::{HashMap, VecDeque};

const MOUNTS: u32 = flag::NESTED_MOUNT_POINT | flag::BIND_MOUNT_POINT;

/// Builds the index of a catalog whose file was checked to be `hash`.
///
/// Rows that no program may ever see (impossible names, path hashes that do not belong to the path, rows that hang
/// nowhere) are left out; entries whose content cannot be used stay visible and are marked as damaged. Both are told in
/// the report, which the caller should log if it is not clean.
pub fn build_index(catalog: &SqliteCatalog, hash: &ContentHash) -> Result<(Vec<u8>, BuildReport), CatalogError> {
    Builder::new(catalog, hash)?.build()
}

/// A directory whose children are still to be put into the image.
struct OpenDirectory {
    entry: u32,
    /// Number of its path hash among those that rows name as their parents.
    group: u32,
    /// MD5 of the path so far, without the slash that comes next.
    path: Md5,
    hasher: PathHasher,
}

/// The first member of a hard-link group.
struct Group {
    ino: u64,
    content: (u32, u64, [u8; 20]),
}

struct Builder<'c> {
    catalog: &'c SqliteCatalog,
    hash: ContentHash,
    seed: u64,
    scan: Scan,
    chunk_table: ChunkTable,
    /// Header and entries; the other sections are appended in the end.
    image: Vec<u8>,
    path_hashes: Vec<PathHasher>,
    chunks: Vec<u8>,
    strings: Vec<u8>,
    groups: HashMap<u32, Group>,
    xattrs: HashMap<Vec<u8>, u32>,
    mount_points: HashMap<Vec<u8>, u32>,
    dropped: Repairs,
    damaged: Repairs,
    repaired: Repairs,
}

impl<'c> Builder<'c> {
    fn new(catalog: &'c SqliteCatalog, hash: &ContentHash) -> Result<Builder<'c>, CatalogError> {
        let (mut dropped, mut repaired) = (Repairs::default(), Repairs::default());
        let root = PathHash::of(catalog.root_prefix());
        let scan = Scan::read(catalog, root, &mut dropped, &mut repaired)?;
        let chunk_table = ChunkTable::read(catalog, &mut dropped)?;
        Ok(Builder {
            catalog,
            hash: *hash,
            seed: checksum(&hash.digest),
            image: Vec::with_capacity(HEADER_LEN + scan.rows.len() * (EntryRecord::LEN + 2 * Slot::LEN + 32)),
            path_hashes: Vec::with_capacity(scan.rows.len()),
            scan,
            chunk_table,
            chunks: Vec::new(),
            // Place 0 stands for "none".
            strings: vec![0],
            groups: HashMap::new(),
            xattrs: HashMap::new(),
            mount_points: HashMap::new(),
            dropped,
            damaged: Repairs::default(),
            repaired,
        })
    }

    fn build(mut self) -> Result<(Vec<u8>, BuildReport), CatalogError> {
        self.image.resize(HEADER_LEN, 0);
        self.entries()?;
        let mut header = self.properties()?;
        header.entry_count = self.path_hashes.len() as u32;
        header.chunk_count = (self.chunks.len() / cvmfs_index::format::ChunkRecord::LEN) as u32;

        let nested = self.nested()?;
        header.nested_count = (nested.len() / NestedRecord::LEN) as u32;
        // Two thirds full at most: short searches, 12 bytes an entry.
        let slot_count = header.entry_count.checked_add(header.entry_count / 2 + 2).ok_or(self.too_large("entries"))?;
        let slots_at = self.image.len();
        self.image.resize(slots_at + slot_count as usize * Slot::LEN, 0);
        let paths = self.path_hashes.iter().copied().zip(0..);
        header.probe_limit = fill_slots(&mut self.image[slots_at..], paths).expect("there are more slots than entries");
        header.slot_count = slot_count;
        self.image.extend_from_slice(&self.chunks);
        self.image.extend_from_slice(&nested);
        self.image.extend_from_slice(&self.strings);

        let report = BuildReport {
            entries: header.entry_count,
            dropped: self.dropped.into_findings(),
            damaged: self.damaged.into_findings(),
            repaired: self.repaired.into_findings(),
        };
        header.dropped = u32::try_from(report.dropped_count()).unwrap_or(u32::MAX);
        header.damaged = u32::try_from(report.damaged_count()).unwrap_or(u32::MAX);
        header.strings_len = self.strings.len() as u64;
        header.file_len = self.image.len() as u64;
        header.body_checksum = checksum(&self.image[HEADER_LEN..]);
        let counters = self.catalog.statistics().to_array();
        self.image[..HEADER_LEN].copy_from_slice(&encode_header(&header, &counters));
        Ok((self.image, report))
    }

    fn too_large(&self, what: &'static str) -> CatalogError {
        CatalogError::TooLarge { path: self.catalog.path().to_owned(), what }
    }

    /// Appends to the strings and tells where.
    fn add_string(&mut self, bytes: &[u8]) -> Result<u32, CatalogError> {
        let at = u32::try_from(self.strings.len()).ok();
        let end = self.strings.len() + bytes.len();
        match at {
            Some(at) if end <= u32::MAX as usize => {
                self.strings.extend_from_slice(bytes);
                Ok(at)
            }
            _ => Err(self.too_large("names")),
        }
    }

    fn properties(&mut self) -> Result<Header, CatalogError> {
        let catalog = self.catalog;
        let (schema, schema_revision) = catalog.schema();
        let (prefix, membership, branch) = (catalog.root_prefix(), catalog.membership(), catalog.branch());
        Ok(Header {
            magic: MAGIC,
            version: VERSION,
            header_len: HEADER_LEN as u32,
            digest: self.hash.digest,
            algorithm: self.hash.algorithm as u32,
            file_len: 0,
            body_checksum: 0,
            seed: self.seed,
            entry_count: 0,
            slot_count: 0,
            probe_limit: 0,
            chunk_count: 0,
            nested_count: 0,
            flags: if catalog.is_volatile() { HEADER_VOLATILE } else { 0 },
            strings_len: 0,
            // The limit on the length of SQL values keeps all of them far below 4 GiB.
            root_prefix_at: self.add_string(prefix)?,
            root_prefix_len: prefix.len() as u32,
            membership_at: self.add_string(membership.as_bytes())?,
            membership_len: membership.len() as u32,
            branch_at: self.add_string(branch.as_bytes())?,
            branch_len: branch.len() as u32,
            revision: catalog.revision(),
            last_modified: catalog.last_modified(),
            ttl: catalog.ttl(),
            schema,
            schema_revision,
            dropped: 0,
            damaged: 0,
        })
    }

    /// Puts the tree into the image, directory by directory from the root: what hangs below nothing is never met.
    fn entries(&mut self) -> Result<(), CatalogError> {
        let prefix = self.catalog.root_prefix();
        let root_hash = PathHash::of(prefix);
        let (by_parent, starts) = self.rows_by_parent();
        let root = self.scan.rows.iter().position(|row| {
            row.path == root_hash && EntryKind::from_mode(row.record.mode) == Some(EntryKind::Directory)
        });
        let root = root.ok_or_else(|| CatalogError::NoRoot { path: self.catalog.path().to_owned() })?;

        let hasher = PathHasher::new(self.seed);
        self.add_entry(root, ROOT, hasher)?;
        let mut queue = VecDeque::new();
        if let Some(&group) = self.scan.directories.get(&root_hash) {
            queue.push_back(OpenDirectory { entry: ROOT, group, path: Md5::new_with_prefix(prefix), hasher });
        }
        let mut met = 1u64;
        let mut children: Vec<u32> = Vec::new();
        while let Some(directory) = queue.pop_front() {
            let group = directory.group as usize;
            children.clear();
            children.extend(&by_parent[starts[group] as usize..starts[group + 1] as usize]);
            let scan = &self.scan;
            let name = |row: u32| scan.string(scan.rows[row as usize].name);
            children.sort_by(|&a, &b| name(a).cmp(name(b)));
            let first = self.path_hashes.len() as u32;
            let mut before = None;
            for &child in &children {
                let row = &self.scan.rows[child as usize];
                if row.path == root_hash {
                    // The root's own row, hung below somewhere else: it is in the image already.
                    continue;
                }
                met += 1;
                let name = self.scan.string(row.name);
                if before.is_some_and(|other: u32| self.scan.string(self.scan.rows[other as usize].name) == name) {
                    self.dropped.note("the name is there twice in the directory", name);
                    continue;
                }
                let path = directory.path.clone().chain_update(b"/").chain_update(name);
                if PathHash(path.clone().finalize().into()) != row.path {
                    self.dropped.note("the path hash does not belong to the path", name);
                    continue;
                }
                before = Some(child);
                let hasher = directory.hasher.child(name);
                let group = self.scan.directories.get(&row.path).copied();
                let entry = self.add_entry(child as usize, directory.entry, hasher)?;
                if let (Some(group), true) = (group, self.is_open_directory(entry)) {
                    queue.push_back(OpenDirectory { entry, group, path, hasher });
                }
            }
            let count = self.path_hashes.len() as u32 - first;
            self.edit(directory.entry, |record| (record.first, record.count) = (first, count));
        }
        let lost = (self.scan.rows.len() as u64).saturating_sub(met);
        for _ in 0..lost {
            self.dropped.note("the row hangs below nothing", b"");
        }
        Ok(())
    }

    /// Rows by the number of their parent: rows of number n are those from the n-th start to the next.
    fn rows_by_parent(&self) -> (Vec<u32>, Vec<u32>) {
        let mut starts = vec![0u32; self.scan.directories.len() + 2];
        for row in &self.scan.rows {
            starts[row.parent as usize + 2] += 1;
        }
        for at in 2..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut by_parent = vec![0u32; self.scan.rows.len()];
        for (number, row) in (0u32..).zip(&self.scan.rows) {
            let place = &mut starts[row.parent as usize + 1];
            by_parent[*place as usize] = number;
            *place += 1;
        }
        starts.pop();
        (by_parent, starts)
    }

    fn record(&self, entry: u32) -> EntryRecord {
        let at = HEADER_LEN + entry as usize * EntryRecord::LEN;
        EntryRecord::decode(self.image[at..].first_chunk().expect("the entry was added before"))
    }

    fn edit(&mut self, entry: u32, change: impl FnOnce(&mut EntryRecord)) {
        let mut record = self.record(entry);
        change(&mut record);
        let at = HEADER_LEN + entry as usize * EntryRecord::LEN;
        self.image[at..at + EntryRecord::LEN].copy_from_slice(&record.encode());
    }

    fn is_open_directory(&self, entry: u32) -> bool {
        let record = self.record(entry);
        EntryKind::from_mode(record.mode) == Some(EntryKind::Directory) && record.flags & MOUNTS == 0
    }

    /// Puts a row into the image as the next entry.
    fn add_entry(&mut self, row: usize, parent: u32, hasher: PathHasher) -> Result<u32, CatalogError> {
        let entry = self.path_hashes.len() as u32;
        let scanned = &self.scan.rows[row];
        let path = scanned.path;
        let mut record = scanned.record;
        let mut name = self.scan.string(scanned.name).to_vec();
        let kind = EntryKind::from_mode(record.mode);
        if entry == ROOT {
            name.clear();
            if record.flags & MOUNTS != 0 {
                self.repaired.note("the root was a mount point", b"/");
                record.flags &= !MOUNTS;
                record.damage = 0;
            }
        } else if record.flags & flag::NESTED_ROOT != 0 {
            self.repaired.note("an entry below the root was marked as root", &name);
            record.flags &= !flag::NESTED_ROOT;
        }
        record.parent = parent;
        record.name_at = self.add_string(&name)?;
        record.name_len = name.len() as u8;
        record.xattr = self.add_xattr(row)?;
        record.ino = self.inode(path, &record, &name);
        match kind {
            Some(EntryKind::Symlink) => {
                let target = self.scan.string(self.scan.rows[row].target).to_vec();
                (record.first, record.count) = (self.add_string(&target)?, target.len() as u32);
            }
            Some(EntryKind::Regular) if record.flags & flag::CHUNKED != 0 && record.damage == 0 => {
                self.add_chunks(path, &mut record)?;
            }
            Some(EntryKind::Directory) if record.flags & MOUNTS != 0 && record.damage == 0 => {
                // Until the list of nested catalogs says otherwise.
                record.damage = Damage::MissingNested as u8;
            }
            _ => {}
        }
        self.image.extend_from_slice(&record.encode());
        self.path_hashes.push(hasher);
        if record.damage == Damage::MissingNested as u8 {
            let path = self.path_of(entry);
            self.mount_points.insert(path, entry);
        } else if let Some(damage) = Damage::from_code(record.damage) {
            self.damaged.note(damage.reason(), &name);
        }
        Ok(entry)
    }

    fn add_xattr(&mut self, row: usize) -> Result<u32, CatalogError> {
        let blob = self.scan.string(self.scan.rows[row].xattr);
        if blob.is_empty() {
            return Ok(0);
        }
        if let Some(&at) = self.xattrs.get(blob) {
            return Ok(at);
        }
        let blob = blob.to_vec();
        let at = self.add_string(&(blob.len() as u32).to_le_bytes())?;
        self.add_string(&blob)?;
        self.xattrs.insert(blob, at);
        Ok(at)
    }

    fn add_chunks(&mut self, path: PathHash, record: &mut EntryRecord) -> Result<(), CatalogError> {
        match self.chunk_table.of(path, record.size) {
            ChunkList::Missing => record.damage = Damage::MissingChunks as u8,
            ChunkList::Bad => record.damage = Damage::BadChunks as u8,
            ChunkList::Good(rows) => {
                let first = u32::try_from(self.chunks.len() / cvmfs_index::format::ChunkRecord::LEN).ok();
                let count = u32::try_from(rows.len()).ok();
                let (Some(first), Some(count)) = (first, count) else { return Err(self.too_large("chunks")) };
                for record in rows.iter().filter_map(|(_, record)| *record) {
                    self.chunks.extend_from_slice(&record.encode());
                }
                (record.first, record.count) = (first, count);
            }
        }
        Ok(())
    }

    /// The inode number: that of the path, or that of the first member of a hard-link group.
    fn inode(&mut self, path: PathHash, record: &EntryRecord, name: &[u8]) -> u64 {
        let own = path.columns().0 as u64;
        let own = own.max(1);
        if record.group == 0 || EntryKind::from_mode(record.mode) == Some(EntryKind::Directory) {
            return own;
        }
        let content = (record.mode, record.size, record.digest);
        let first = self.groups.entry(record.group).or_insert(Group { ino: own, content });
        if first.content == content {
            return first.ino;
        }
        // Otherwise copying with links kept would put one file's content under the other's name.
        self.repaired.note("members of a hard-link group differed", name);
        own
    }

    /// The path of an entry inside the repository.
    fn path_of(&self, entry: u32) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = entry;
        while at != ROOT {
            let record = self.record(at);
            let start = record.name_at as usize;
            names.push(&self.strings[start..start + usize::from(record.name_len)]);
            at = record.parent;
        }
        let mut path = self.catalog.root_prefix().to_vec();
        for name in names.into_iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        path
    }

    /// The section of nested catalogs, and the links to it from their mount points.
    fn nested(&mut self) -> Result<Vec<u8>, CatalogError> {
        let mut rows = Vec::new();
        self.catalog.mounts(|bind, sql| {
            let bytes = |column| match sql.get_ref(column) {
                Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => bytes.to_vec(),
                _ => Vec::new(),
            };
            let size = sql.get_ref(2)?.as_i64().ok().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
            rows.push((bytes(0), bind, bytes(1), size));
            Ok(())
        })?;
        rows.sort();
        let mut section = Vec::with_capacity(rows.len() * NestedRecord::LEN);
        for (path, bind, hash, size) in rows {
            let wanted = if bind { flag::BIND_MOUNT_POINT } else { flag::NESTED_MOUNT_POINT };
            let entry = self.mount_points.get(&path).copied().filter(|&entry| self.record(entry).flags & wanted != 0);
            let Some(entry) = entry else {
                self.dropped.note("a nested catalog has no mount point", &path);
                continue;
            };
            self.mount_points.remove(&path);
            let catalog = std::str::from_utf8(&hash).ok().and_then(|text| ContentHash::parse(text).ok());
            if catalog.is_none() {
                self.repaired.note("the hash of a nested catalog is not known", &path);
            }
            let number = (section.len() / NestedRecord::LEN) as u32;
            let record = NestedRecord {
                path_at: self.add_string(&path)?,
                path_len: path.len() as u32,
                entry,
                algorithm: catalog.map_or(0, |hash| hash.algorithm as u8),
                kind: u8::from(bind),
                size,
                digest: catalog.map_or([0; 20], |hash| hash.digest),
            };
            section.extend_from_slice(&record.encode());
            self.edit(entry, |record| (record.first, record.count, record.damage) = (number, 1, 0));
        }
        for path in std::mem::take(&mut self.mount_points).into_keys() {
            self.damaged.note(Damage::MissingNested.reason(), &path);
        }
        Ok(section)
    }
}
