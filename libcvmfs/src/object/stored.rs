//! Taking in one object as it is stored, for mirrors.

use super::decode::Output;
use super::{ObjectName, ReceiveError, Receiver};
use crate::hash::Hasher;

/// Receives the stored bytes of one object and writes them as they are. Nothing may be believed before
/// [`Receiver::complete`] returned `Ok`.
pub struct Stored<W> {
    name: ObjectName,
    limit: u64,
    bytes: u64,
    hasher: Hasher,
    output: W,
}

impl<W: Output> Stored<W> {
    /// Starts to receive at most `limit` bytes into `output`, which must be empty.
    pub fn new(name: ObjectName, limit: u64, output: W) -> Stored<W> {
        Stored { name, limit, bytes: 0, hasher: Hasher::new(name.hash.algorithm), output }
    }
}

impl<W: Output> Receiver for Stored<W> {
    fn restart(&mut self) -> Result<(), ReceiveError> {
        self.hasher = Hasher::new(self.name.hash.algorithm);
        self.bytes = 0;
        Ok(self.output.reset()?)
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), ReceiveError> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.bytes > self.limit {
            let (name, limit) = (self.name, self.limit);
            return Err(ReceiveError::Corrupt(format!("object {name} has more than the {limit} stored bytes allowed")));
        }
        self.hasher.update(bytes);
        Ok(self.output.write_all(bytes)?)
    }

    fn complete(&mut self) -> Result<(), ReceiveError> {
        let found = self.hasher.clone().finish();
        match found == self.name.hash {
            true => Ok(self.output.flush()?),
            false => Err(ReceiveError::Corrupt(format!("object {} is corrupt: it hashes to {found}", self.name))),
        }
    }
}
