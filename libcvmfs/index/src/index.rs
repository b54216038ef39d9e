use crate::entry::{Digest, Entry, Nested};
use crate::format::{
    self, COUNTER_COUNT, ChunkRecord, EntryRecord, HEADER_LEN, HEADER_VOLATILE, Header, MAGIC, NestedRecord, ROOT,
    Slot, VERSION,
};
use crate::hash::{PathHasher, checksum};
use core::fmt;

/// Why bytes are no usable image; the remedy is always to build it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexError {
    /// They are not an image at all, or too short for its header.
    NotAnIndex,
    /// An image of another format version.
    Version(u32),
    /// The header does not match its checksum.
    HeaderChecksum,
    /// The image is of another catalog.
    OtherCatalog,
    /// There are fewer or more bytes than the header says, or its numbers do not add up.
    Length,
    /// The bytes behind the header do not match their checksum.
    BodyChecksum,
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IndexError::NotAnIndex => f.write_str("not a catalog index"),
            IndexError::Version(found) => write!(f, "catalog index of format version {found}, expected {VERSION}"),
            IndexError::HeaderChecksum => f.write_str("catalog index with a damaged header"),
            IndexError::OtherCatalog => f.write_str("index of another catalog"),
            IndexError::Length => f.write_str("catalog index of the wrong length"),
            IndexError::BodyChecksum => f.write_str("catalog index does not match its checksum"),
        }
    }
}

impl core::error::Error for IndexError {}

/// Bytes of an image whose header is this; `None` if its numbers do not add up.
fn image_len(header: &Header) -> Option<usize> {
    let section =
        |start: usize, count: u32, len: usize| start.checked_add(usize::try_from(count).ok()?.checked_mul(len)?);
    let slots = section(HEADER_LEN, header.entry_count, EntryRecord::LEN)?;
    let chunks = section(slots, header.slot_count, Slot::LEN)?;
    let nested = section(chunks, header.chunk_count, ChunkRecord::LEN)?;
    let strings = section(nested, header.nested_count, NestedRecord::LEN)?;
    let len = strings.checked_add(usize::try_from(header.strings_len).ok()?)?;
    (header.file_len == len as u64 && header.entry_count > 0).then_some(len)
}

/// A flat catalog index over borrowed bytes, usually a mapping shared by all processes of the node.
///
/// Whatever the bytes are, every method returns; a damaged image gives wrong or missing answers, never a panic and
/// never an endless loop.
///
/// It is no more than a reference to the bytes, so that entries are small, too: where the sections lie follows from the
/// header each time.
#[derive(Clone, Copy)]
pub struct Index<'a> {
    bytes: &'a [u8],
}

impl<'a> Index<'a> {
    /// Checks the header of `bytes`, the image of the catalog `expected`. Takes the same short time for any image.
    pub fn open(bytes: &'a [u8], expected: &Digest) -> Result<Index<'a>, IndexError> {
        let index = Index::open_any(bytes)?;
        if index.catalog() == Some(*expected) { Ok(index) } else { Err(IndexError::OtherCatalog) }
    }

    /// Like [`Index::open`], for whichever catalog it is.
    pub fn open_any(bytes: &'a [u8]) -> Result<Index<'a>, IndexError> {
        let head = bytes.get(..HEADER_LEN).ok_or(IndexError::NotAnIndex)?;
        let header = head.first_chunk().map(Header::decode).ok_or(IndexError::NotAnIndex)?;
        if header.magic != MAGIC {
            return Err(IndexError::NotAnIndex);
        }
        if header.version != VERSION || header.header_len as usize != HEADER_LEN {
            return Err(IndexError::Version(header.version));
        }
        if head.get(..HEADER_LEN - 8).map(checksum) != Some(format::header_checksum(head)) {
            return Err(IndexError::HeaderChecksum);
        }
        if image_len(&header) == Some(bytes.len()) { Ok(Index { bytes }) } else { Err(IndexError::Length) }
    }

    /// The index over bytes that were opened before, which is not checked again.
    #[inline]
    pub fn of_checked(bytes: &'a [u8]) -> Index<'a> {
        Index { bytes }
    }

    /// Reads the whole image and compares it with its checksum.
    pub fn verify_checksum(&self) -> Result<(), IndexError> {
        let body = self.bytes.get(HEADER_LEN..).ok_or(IndexError::Length)?;
        if checksum(body) == self.header().body_checksum { Ok(()) } else { Err(IndexError::BodyChecksum) }
    }

    fn header(&self) -> Header {
        Header::decode(self.bytes.first_chunk().unwrap_or(&[0; Header::LEN]))
    }

    /// Bytes of the image.
    pub fn image_len(&self) -> usize {
        self.bytes.len()
    }

    #[inline(always)]
    fn slots(&self) -> usize {
        HEADER_LEN + Header::entry_count(self.bytes) as usize * EntryRecord::LEN
    }

    #[inline(always)]
    fn chunks(&self) -> usize {
        self.slots() + Header::slot_count(self.bytes) as usize * Slot::LEN
    }

    #[inline(always)]
    fn nested_at(&self) -> usize {
        self.chunks() + Header::chunk_count(self.bytes) as usize * ChunkRecord::LEN
    }

    #[inline(always)]
    fn strings(&self) -> usize {
        self.nested_at() + Header::nested_count(self.bytes) as usize * NestedRecord::LEN
    }

    /// The catalog the image was made from.
    pub fn catalog(&self) -> Option<Digest> {
        let header = self.header();
        Digest::new(u8::try_from(header.algorithm).ok()?, header.digest)
    }

    /// The path of the catalog's root inside the repository: empty for a root catalog, else starting with a slash.
    pub fn root_prefix(&self) -> &'a [u8] {
        let header = self.header();
        self.string(header.root_prefix_at, header.root_prefix_len)
    }

    /// The membership a user must have; empty if anybody may read.
    pub fn membership(&self) -> &'a [u8] {
        let header = self.header();
        self.string(header.membership_at, header.membership_len)
    }

    /// The branch; empty for the trunk.
    pub fn branch(&self) -> &'a [u8] {
        let header = self.header();
        self.string(header.branch_at, header.branch_len)
    }

    /// The repository revision at which the catalog was written.
    pub fn revision(&self) -> u64 {
        self.header().revision
    }

    /// When the catalog was written, in seconds since 1970.
    pub fn last_modified(&self) -> i64 {
        self.header().last_modified
    }

    /// Time to live in seconds.
    pub fn ttl(&self) -> u32 {
        self.header().ttl
    }

    /// Whether objects should be the first to leave a cache.
    pub fn is_volatile(&self) -> bool {
        self.header().flags & HEADER_VOLATILE != 0
    }

    /// Rows of the published catalog that were left out because no program may ever see them.
    pub fn dropped(&self) -> u32 {
        self.header().dropped
    }

    /// Number of damaged entries.
    pub fn damaged(&self) -> u32 {
        self.header().damaged
    }

    /// The counters of the catalog itself (`self_`) and of all catalogs below it (`subtree_`), in the order of
    /// [`format::COUNTERS`].
    pub fn counters(&self) -> ([i64; COUNTER_COUNT / 2], [i64; COUNTER_COUNT / 2]) {
        let header = self.bytes.get(..HEADER_LEN).unwrap_or_default();
        (
            core::array::from_fn(|number| format::counter(header, number)),
            core::array::from_fn(|number| format::counter(header, COUNTER_COUNT / 2 + number)),
        )
    }

    /// Number of entries, the root included.
    pub fn entry_count(&self) -> u32 {
        Header::entry_count(self.bytes)
    }

    pub(crate) fn chunk_count(&self) -> u32 {
        Header::chunk_count(self.bytes)
    }

    /// The root directory of the catalog.
    pub fn root(&self) -> Option<Entry<'a>> {
        self.entry(ROOT)
    }

    /// The entry with this number.
    #[inline]
    pub fn entry(&self, number: u32) -> Option<Entry<'a>> {
        Some(Entry::new(*self, number, self.entry_bytes(number)?))
    }

    #[inline(always)]
    pub(crate) fn entry_bytes(&self, number: u32) -> Option<&'a [u8; EntryRecord::LEN]> {
        if number >= Header::entry_count(self.bytes) {
            return None;
        }
        self.bytes.get(HEADER_LEN + number as usize * EntryRecord::LEN..)?.first_chunk()
    }

    pub(crate) fn chunk_bytes(&self, number: u32) -> Option<&'a [u8; ChunkRecord::LEN]> {
        if number >= Header::chunk_count(self.bytes) {
            return None;
        }
        self.bytes.get(self.chunks() + number as usize * ChunkRecord::LEN..)?.first_chunk()
    }

    /// The bytes `at` of the strings; empty if they do not lie there.
    #[inline(always)]
    pub(crate) fn string(&self, at: u32, len: u32) -> &'a [u8] {
        let start = self.strings().wrapping_add(at as usize);
        self.bytes.get(start..start.wrapping_add(len as usize)).unwrap_or_default()
    }

    /// The string whose length in four bytes lies at `at`; empty for 0.
    pub(crate) fn prefixed_string(&self, at: u32) -> &'a [u8] {
        if at == 0 {
            return &[];
        }
        let len = self.string(at, 4).first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
        self.string(at.saturating_add(4), len)
    }

    /// The hash of the catalog's root, to be grown by the components of a path.
    #[inline]
    pub fn hasher(&self) -> PathHasher {
        PathHasher::new(Header::seed(self.bytes))
    }

    /// The entry at `path`: relative to the catalog's root, empty for the root, else `/a/b` (no empty components, no
    /// slash at the end, no dots understood).
    pub fn find(&self, path: &[u8]) -> Option<Entry<'a>> {
        let mut hash = self.hasher();
        let mut rest = path;
        while !rest.is_empty() {
            rest = rest.strip_prefix(b"/")?;
            let len = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
            let (name, after) = rest.split_at_checked(len)?;
            if name.is_empty() {
                return None;
            }
            hash = hash.child(name);
            rest = after;
        }
        self.find_hashed(hash, path)
    }

    /// The entry at `path`, whose hash (from [`Index::hasher`] on) is known already.
    #[inline]
    pub fn find_hashed(&self, hash: PathHasher, path: &[u8]) -> Option<Entry<'a>> {
        if path.is_empty() {
            return self.root();
        }
        self.candidates(hash).find(|entry| entry.lies_at(path))
    }

    /// The entries whose tag fits `hash`.
    #[inline]
    pub(crate) fn candidates(&self, hash: PathHasher) -> Candidates<'a> {
        let slots = Header::slot_count(self.bytes);
        let left = Header::probe_limit(self.bytes).min(slots);
        Candidates { index: *self, tag: hash.tag(), slot: hash.slot(slots), left }
    }

    /// Number of nested catalogs and bind mount points.
    pub fn nested_count(&self) -> u32 {
        Header::nested_count(self.bytes)
    }

    /// A nested catalog or bind mount point by its number; they are sorted by path.
    pub fn nested(&self, number: u32) -> Option<Nested<'a>> {
        if number >= Header::nested_count(self.bytes) {
            return None;
        }
        let bytes = self.bytes.get(self.nested_at() + number as usize * NestedRecord::LEN..)?.first_chunk()?;
        Some(Nested::new(*self, NestedRecord::decode(bytes)))
    }

    /// All nested catalogs and bind mount points, sorted by path.
    pub fn all_nested(&self) -> impl Iterator<Item = Nested<'a>> + use<'a> {
        let index = *self;
        (0..self.nested_count()).filter_map(move |number| index.nested(number))
    }

    /// All entries: directories before what they hold.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let index = *self;
        (0..self.entry_count()).filter_map(move |number| index.entry(number))
    }
}

impl fmt::Debug for Index<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("catalog", &self.catalog()).field("entries", &self.entry_count()).finish()
    }
}

pub(crate) struct Candidates<'a> {
    index: Index<'a>,
    tag: u32,
    slot: u32,
    left: u32,
}

impl<'a> Iterator for Candidates<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        while self.left > 0 {
            let at = self.index.slots() + self.slot as usize * Slot::LEN;
            let slot = Slot::decode(self.index.bytes.get(at..)?.first_chunk()?);
            self.left -= 1;
            self.slot += 1;
            if self.slot >= Header::slot_count(self.index.bytes) {
                self.slot = 0;
            }
            let number = slot.entry.checked_sub(1)?;
            if slot.tag == self.tag
                && let Some(entry) = self.index.entry(number)
            {
                return Some(entry);
            }
        }
        None
    }
}

/// Fills the path table `slots` (zeroes, [`Slot::LEN`] bytes for each slot) with hashes of paths and the numbers of
/// their entries. Gives the probe limit; `None` if there are more paths than slots.
pub fn fill_slots(slots: &mut [u8], hashes: impl Iterator<Item = (PathHasher, u32)>) -> Option<u32> {
    let slot_count = u32::try_from(slots.len() / Slot::LEN).ok()?;
    let mut limit = 0;
    for (hash, entry) in hashes {
        let mut slot = hash.slot(slot_count);
        let mut probes = 1;
        loop {
            let at = slot as usize * Slot::LEN;
            let place = slots.get_mut(at..)?.first_chunk_mut()?;
            if Slot::decode(place).entry == 0 {
                *place = Slot { tag: hash.tag(), entry: entry.checked_add(1)? }.encode();
                break;
            }
            if probes == slot_count {
                return None;
            }
            probes += 1;
            slot += 1;
            if slot == slot_count {
                slot = 0;
            }
        }
        limit = limit.max(probes);
    }
    Some(limit)
}
