//! Chunked files: fetched chunk by chunk in parallel, handed out as one file.

use super::{Fetcher, Wanted, fetch_error, not_stored};
use crate::Error;
use crate::cache::{self, CachedFile, Key, Transaction};
use crate::object::decode::{Decoder, Expected};
use crate::object::{ObjectKind, ObjectName};
use crate::patience;
use crate::snapshot::{Chunk, Content};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

/// Chunks of one file that are fetched at the same time.
const PARALLEL: usize = 4;
/// Plain bytes of fetched chunks that may wait in memory for those before them.
const AHEAD: u64 = 64 << 20;

/// The name of a chunked file in the cache: a digest of what it is made of.
pub(super) fn key(content: &Content, chunks: &[Chunk]) -> Key {
    let mut hasher = blake3::Hasher::new();
    hasher.update(content.compression.name().as_bytes());
    hasher.update(&content.size.to_le_bytes());
    for chunk in chunks {
        hasher.update(&chunk.offset.to_le_bytes());
        hasher.update(&chunk.size.to_le_bytes());
        hasher.update(&[chunk.hash.algorithm as u8]);
        hasher.update(&chunk.hash.digest);
    }
    Key::Assembled(*hasher.finalize().as_bytes())
}

impl Fetcher {
    pub(super) fn assembled(&self, content: &Content, chunks: &[Chunk], label: &str) -> Result<CachedFile, Error> {
        let key = key(content, chunks);
        if let Some(found) = self.cache.find(&key, Some(content.size))? {
            self.counters.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(found);
        }
        patience::wait()?;
        check_order(content, chunks)?;
        let path = |chunk: &Chunk| ObjectName::new(chunk.hash, ObjectKind::Partial).path();
        let paths: Vec<String> = chunks.iter().filter(|_| !content.external).map(path).collect();
        let wanted = |number: usize| {
            let chunk = &chunks[number];
            let name = ObjectName::new(chunk.hash, ObjectKind::Partial);
            Wanted {
                expected: Expected::sized(name, content.compression, chunk.size),
                path: paths.get(number).map_or(&content.path, String::as_bytes),
                label,
                range: content.external.then(|| (chunk.offset, chunk.offset + chunk.size - 1)),
                external: content.external,
            }
        };
        let expected = cache::Expected { size: Some(content.size), volatile: content.volatile, pin: false };
        let filled = self.cache.fetch(&key, expected, |transaction| match chunks.len() {
            1 => self.download_into(&wanted(0), transaction),
            _ => self.join(chunks, &wanted, transaction),
        });
        filled.map_err(fetch_error)
    }

    /// Fetches chunks in parallel and writes them in order. Workers take the next chunk only while not too much waits.
    fn join<'w>(
        &self,
        chunks: &[Chunk],
        wanted: &(dyn Fn(usize) -> Wanted<'w> + Sync),
        transaction: &mut Transaction<'_>,
    ) -> Result<(), Error> {
        let runs = runs(chunks);
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let largest = chunks.iter().map(|chunk| chunk.size).max().unwrap_or(1).max(1);
        let ahead = usize::try_from(AHEAD / largest).unwrap_or(1).clamp(1, PARALLEL);
        // A worker that is done hands its chunk over before it takes another, so no more than these wait.
        let (done, chunks_done) = mpsc::sync_channel(ahead);
        std::thread::scope(|scope| {
            for _ in 0..ahead.min(runs.len()) {
                let done = done.clone();
                let (next, stop, runs) = (&next, &stop, &runs);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(run) = runs.get(number) else { return };
                        if done.send((number, self.chunk(&wanted(run.start)))).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(done);
            let outcome = write_in_order(chunks_done, &runs, transaction);
            stop.store(true, Ordering::Relaxed);
            outcome
        })
    }

    /// The plain bytes of a chunk: a preloaded or official cache has chunks as objects of their own.
    fn chunk(&self, wanted: &Wanted<'_>) -> Result<Vec<u8>, Error> {
        let size = wanted.expected.plain_size;
        if let Ok(Some(mut found)) = self.cache.find(&Key::Object(wanted.expected.name.hash), size) {
            let mut bytes = Vec::with_capacity(usize::try_from(found.size).unwrap_or(0));
            if found.file.read_to_end(&mut bytes).is_ok() && Some(bytes.len() as u64) == size {
                return Ok(bytes);
            }
        }
        self.counters.misses.fetch_add(1, Ordering::Relaxed);
        let mut decoder = Decoder::new(wanted.expected, Vec::new());
        self.download(wanted, &mut decoder)?;
        decoder.into_output().map_err(|error| not_stored(wanted.label, std::io::Error::other(error)))
    }
}

/// Chunks that follow each other and are the same, as where a file is full of zeros: they are asked for once.
fn runs(chunks: &[Chunk]) -> Vec<Range<usize>> {
    let mut start = 0;
    let same = chunks.chunk_by(|one, other| one.hash == other.hash && one.size == other.size);
    let run = |run: &[Chunk]| {
        let range = start..start + run.len();
        start = range.end;
        range
    };
    same.map(run).collect()
}

type Arrived = (usize, Result<Vec<u8>, Error>);

fn write_in_order(
    arrived: mpsc::Receiver<Arrived>,
    runs: &[Range<usize>],
    transaction: &mut Transaction<'_>,
) -> Result<(), Error> {
    let mut waiting = BTreeMap::new();
    let mut turn = 0;
    for (number, bytes) in arrived {
        waiting.insert(number, bytes?);
        while let Some(bytes) = waiting.remove(&turn) {
            for _ in runs.get(turn).into_iter().flat_map(Clone::clone) {
                transaction.write_all(&bytes).map_err(|error| not_stored("a chunk", error))?;
            }
            turn += 1;
        }
    }
    Ok(())
}

/// Chunks must follow each other from the first byte to the last; the index was built from such, but may be damaged.
fn check_order(content: &Content, chunks: &[Chunk]) -> Result<(), Error> {
    let mut end = 0;
    for chunk in chunks {
        if chunk.offset != end || chunk.size == 0 {
            break;
        }
        end += chunk.size;
    }
    let whole = !chunks.is_empty() && end == content.size;
    whole.then_some(()).ok_or_else(|| Error::Damaged {
        path: content.path.clone(),
        reason: "its chunks do not cover it exactly once".to_owned(),
    })
}
