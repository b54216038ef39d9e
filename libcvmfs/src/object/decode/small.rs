use crate::object::{ReceiveError, Receiver};

/// Receives a short body that has no hash of its own (manifest, whitelist) into memory.
#[derive(Debug)]
pub struct SmallBody {
    what: String,
    limit: usize,
    bytes: Vec<u8>,
}

impl SmallBody {
    /// Takes at most `limit` bytes of `what`, a name for messages such as `manifest of sft.cern.ch`.
    pub fn new(what: impl Into<String>, limit: usize) -> SmallBody {
        SmallBody { what: what.into(), limit, bytes: Vec::new() }
    }

    /// The bytes received so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives the bytes away.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Receiver for SmallBody {
    fn restart(&mut self) -> Result<(), ReceiveError> {
        self.bytes.clear();
        Ok(())
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), ReceiveError> {
        if bytes.len() > self.limit - self.bytes.len() {
            return Err(ReceiveError::Corrupt(format!("{} has more than the {} bytes allowed", self.what, self.limit)));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn complete(&mut self) -> Result<(), ReceiveError> {
        Ok(())
    }
}
