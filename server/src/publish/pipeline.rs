//! Pieces of files become objects: compressed, hashed and put by workers, as many at a time as memory allows.

use crate::storage::{Body, Storage};
use anyhow::{Context as _, Result, anyhow};
use libcvmfs::hash::ContentHash;
use libcvmfs::object::encode::{Encoder, Encoding};
use libcvmfs::object::{ObjectKind, ObjectName};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

/// Plain bytes that are on their way at most, and what a piece counts at least.
const BUDGET: usize = 64 << 20;
const LEAST: usize = 16 << 10;

/// A piece of a file.
pub(super) struct Piece {
    /// Which file; a number of the caller's.
    pub(super) file: u64,
    /// First byte in the file.
    pub(super) offset: u64,
    /// What it becomes.
    pub(super) kind: ObjectKind,
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
}

/// A piece that has become an object.
pub(super) struct Stored {
    pub(super) file: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) kind: ObjectKind,
    pub(super) hash: ContentHash,
    /// Stored bytes, 0 if the object was there before.
    pub(super) new_bytes: u64,
}

/// The workers.
pub(super) struct Pipeline {
    pieces: Option<Sender<Piece>>,
    stored: Receiver<Result<Stored>>,
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    in_flight: Mutex<usize>,
    room: Condvar,
    stop: AtomicBool,
}

impl Pipeline {
    /// Starts `threads` workers. External files get names, but no objects: `storage` is `None` for them.
    pub(super) fn start(storage: Option<Arc<dyn Storage>>, encoding: Encoding, threads: usize) -> Result<Pipeline> {
        let (pieces, receiver) = mpsc::channel();
        let (sender, stored) = mpsc::channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let shared = Arc::new(Shared { in_flight: Mutex::new(0), room: Condvar::new(), stop: AtomicBool::new(false) });
        let mut workers = Vec::new();
        for number in 0..threads.max(1) {
            let worker = Worker {
                pieces: Arc::clone(&receiver),
                stored: sender.clone(),
                shared: Arc::clone(&shared),
                storage: storage.clone(),
                encoder: Encoder::new(encoding),
            };
            let thread = std::thread::Builder::new().name(format!("compress {number}"));
            workers.push(thread.spawn(move || worker.run()).context("starting a thread")?);
        }
        Ok(Pipeline { pieces: Some(pieces), stored, shared, workers })
    }

    /// Hands a piece to the workers; waits while too much is on its way.
    pub(super) fn send(&self, piece: Piece) -> Result<()> {
        let weight = piece.bytes.len().max(LEAST);
        let mut in_flight = self.shared.in_flight.lock();
        while *in_flight > 0 && *in_flight + weight > BUDGET {
            self.shared.room.wait(&mut in_flight);
        }
        *in_flight += weight;
        drop(in_flight);
        let lost = || anyhow!("the compressing threads are gone");
        self.pieces.as_ref().ok_or_else(lost)?.send(piece).map_err(|_| lost())
    }

    /// The next object; `None` if none is ready and `wait` is false.
    pub(super) fn next(&self, wait: bool) -> Result<Option<Stored>> {
        let lost = || anyhow!("the compressing threads are gone");
        if wait {
            return self.stored.recv().map_err(|_| lost())?.map(Some);
        }
        match self.stored.try_recv() {
            Ok(stored) => stored.map(Some),
            Err(mpsc::TryRecvError::Empty) => Ok(None),
            Err(mpsc::TryRecvError::Disconnected) => Err(lost()),
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.pieces = None;
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

struct Worker {
    pieces: Arc<Mutex<Receiver<Piece>>>,
    stored: Sender<Result<Stored>>,
    shared: Arc<Shared>,
    storage: Option<Arc<dyn Storage>>,
    encoder: Encoder,
}

impl Worker {
    fn run(mut self) {
        loop {
            let piece = self.pieces.lock().recv();
            let Ok(piece) = piece else { return };
            if self.shared.stop.load(Ordering::Relaxed) {
                return;
            }
            let weight = piece.bytes.len().max(LEAST);
            let stored = self.store(piece);
            *self.shared.in_flight.lock() -= weight;
            self.shared.room.notify_one();
            if self.stored.send(stored).is_err() {
                return;
            }
        }
    }

    fn store(&mut self, piece: Piece) -> Result<Stored> {
        let Piece { file, offset, kind, bytes } = piece;
        let mut body = Vec::with_capacity(bytes.len() / 2 + 64);
        let encoded = self.encoder.bytes(&bytes, &mut body).context("compressing")?;
        let mut new_bytes = 0;
        if let Some(storage) = &self.storage {
            let put = storage.put_object(&ObjectName::new(encoded.hash, kind), Body::Bytes(body))?;
            new_bytes = if put == crate::storage::Put::New { encoded.stored } else { 0 };
        }
        Ok(Stored { file, offset, size: encoded.plain, kind, hash: encoded.hash, new_bytes })
    }
}
