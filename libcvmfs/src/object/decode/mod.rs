//! Taking in one object: its stored bytes are hashed as they arrive, inflated, counted on both sides and handed on.
//!
//! Nothing may be believed before [`Receiver::complete`] returned `Ok`: bytes reach the [`Output`] earlier than the
//! verdict, so an output is a temporary place until then, and [`Decoder::into_output`] gives it back only afterwards.

mod inflate;
mod output;
mod pipeline;
mod relay;
mod small;
#[cfg(test)]
mod tests;

pub use output::Output;
pub use small::SmallBody;

use super::{Compression, ObjectName, ReceiveError, Receiver};
use crate::hash::Hasher;
use inflate::Unpacker;
use pipeline::{Pipeline, Refusal};
use std::thread::Scope;

/// Stored bytes after which inflating and writing move to a thread of their own.
const PIPELINE_FROM: u64 = 512 << 10;

/// What the receiver of an object knows about it beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The name: hash of the stored bytes and kind.
    pub name: ObjectName,
    /// How it is stored.
    pub compression: Compression,
    /// Most stored bytes accepted.
    pub stored_limit: u64,
    /// Most plain bytes accepted.
    pub plain_limit: u64,
    /// The plain size in bytes, where a catalog or a manifest states it.
    pub plain_size: Option<u64>,
}

impl Expected {
    /// An object whose plain size is stated in bytes: not one byte more is taken, and none may be missing.
    pub fn sized(name: ObjectName, compression: Compression, plain_size: u64) -> Expected {
        Expected { plain_size: Some(plain_size), ..Expected::bounded(name, compression, plain_size) }
    }

    /// An object of unknown size, taken up to `plain_limit` plain bytes.
    pub fn bounded(name: ObjectName, compression: Compression, plain_limit: u64) -> Expected {
        let stored_limit = match compression {
            Compression::None => plain_limit,
            // Deflate grows what it cannot shrink by 5 bytes a stored block; some compressors make small blocks.
            Compression::Zlib => plain_limit.saturating_add(plain_limit / 8).saturating_add(1024),
        };
        Expected { name, compression, stored_limit, plain_limit, plain_size: None }
    }
}

/// Receives one object and writes its plain bytes to `W`.
///
/// All work is done in the caller's thread. With [`Decoder::threaded`], hashing stays there while larger objects are
/// inflated in a second and written in a third thread.
pub struct Decoder<'scope, W> {
    expected: Expected,
    hasher: Hasher,
    stored: u64,
    stage: Stage<'scope, W>,
    start: Option<Box<Start<'scope, W>>>,
    refused: bool,
    completed: bool,
}

/// Starts the second thread.
type Start<'scope, W> = dyn Fn(Unpacker<W>) -> Result<Pipeline<'scope, W>, Refusal<W>> + 'scope;

enum Stage<'scope, W> {
    Here(Unpacker<W>),
    Threaded(Pipeline<'scope, W>),
    /// Only while a stage turns into another one, or after its thread was lost.
    Gone,
}

impl<'scope, W: Output> Decoder<'scope, W> {
    /// Starts to receive into `output`, which must be empty.
    pub fn new(expected: Expected, output: W) -> Decoder<'scope, W> {
        Decoder {
            hasher: Hasher::new(expected.name.hash.algorithm),
            stored: 0,
            stage: Stage::Here(Unpacker::new(&expected, output)),
            start: None,
            refused: false,
            completed: false,
            expected,
        }
    }

    /// Lets threads of `scope` inflate and write what is larger than half a megabyte.
    pub fn threaded(scope: &'scope Scope<'scope, '_>, expected: Expected, output: W) -> Decoder<'scope, W>
    where
        W: Send + 'scope,
    {
        Decoder { start: Some(Box::new(|unpacker| Pipeline::start(scope, unpacker))), ..Decoder::new(expected, output) }
    }

    /// The object that is being received.
    pub fn name(&self) -> ObjectName {
        self.expected.name
    }

    /// Gives the output back, with all plain bytes in it; an error if the object was not received completely.
    pub fn into_output(self) -> Result<W, ReceiveError> {
        if !self.completed {
            return Err(corrupt(&self.expected.name, "was not received completely"));
        }
        match self.stage {
            Stage::Here(unpacker) => Ok(unpacker.into_output()),
            Stage::Threaded(pipeline) => pipeline.join().map(Unpacker::into_output),
            Stage::Gone => Err(lost_thread()),
        }
    }

    fn use_thread(&mut self) {
        let Some(start) = self.start.take() else { return };
        if let Stage::Here(unpacker) = std::mem::replace(&mut self.stage, Stage::Gone) {
            self.stage = match start(unpacker) {
                Ok(pipeline) => Stage::Threaded(pipeline),
                Err(refusal) => {
                    let (unpacker, error) = *refusal;
                    log::debug!("{}: inflating without a second thread: {error}", self.expected.name);
                    Stage::Here(unpacker)
                }
            };
        }
    }
}

impl<W: Output> Receiver for Decoder<'_, W> {
    fn restart(&mut self) -> Result<(), ReceiveError> {
        self.hasher = Hasher::new(self.expected.name.hash.algorithm);
        self.stored = 0;
        self.refused = false;
        self.completed = false;
        match &mut self.stage {
            Stage::Here(unpacker) => unpacker.restart(),
            Stage::Threaded(pipeline) => pipeline.restart(),
            Stage::Gone => Err(lost_thread()),
        }
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), ReceiveError> {
        self.completed = false;
        let taken = self.take(bytes);
        self.refused |= taken.is_err();
        taken
    }

    fn complete(&mut self) -> Result<(), ReceiveError> {
        let judged = self.judge();
        self.refused |= judged.is_err();
        self.completed = judged.is_ok();
        judged
    }
}

impl<W: Output> Decoder<'_, W> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), ReceiveError> {
        if self.refused {
            return Err(corrupt(&self.expected.name, "was refused already"));
        }
        self.stored += bytes.len() as u64;
        if self.stored > self.expected.stored_limit {
            let limit = self.expected.stored_limit;
            return Err(corrupt(&self.expected.name, format!("has more than the {limit} stored bytes allowed")));
        }
        self.hasher.update(bytes);
        if self.stored >= PIPELINE_FROM && self.start.is_some() {
            self.use_thread();
        }
        match &mut self.stage {
            Stage::Here(unpacker) => unpacker.take(bytes),
            Stage::Threaded(pipeline) => pipeline.take(bytes),
            Stage::Gone => Err(lost_thread()),
        }
    }

    fn judge(&mut self) -> Result<(), ReceiveError> {
        let name = self.expected.name;
        if self.refused {
            return Err(corrupt(&name, "was refused already"));
        }
        let hash = self.hasher.clone().finish();
        if hash != name.hash {
            return Err(corrupt(&name, format!("is corrupt: its {} stored bytes hash to {hash}", self.stored)));
        }
        match &mut self.stage {
            Stage::Here(unpacker) => unpacker.end(),
            Stage::Threaded(pipeline) => pipeline.end(),
            Stage::Gone => Err(lost_thread()),
        }
    }
}

fn corrupt(name: &ObjectName, reason: impl std::fmt::Display) -> ReceiveError {
    ReceiveError::Corrupt(format!("object {name} {reason}"))
}

fn lost_thread() -> ReceiveError {
    ReceiveError::Local(std::io::Error::other("the inflating thread is gone"))
}
