//! Requests, replies, and their bytes: the length in four bytes, little-endian, then JSON.

use libcvmfs::fqrn::Fqrn;
use libcvmfs::namespace::Presentation;
use libcvmfs::snapshot::{CatalogRef, Content, Identity};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// No message is longer, in bytes: the chunks of a file of some terabytes.
const LONGEST: u32 = 64 << 20;

/// What the library asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Request {
    /// Who are you, and where is the view?
    Hello,
    /// As [`Request::Hello`]; and stay as long as this connection is open.
    Stay,
    /// Mount this repository. The name may be no repository's.
    Mount(String),
    /// Which repositories does the mount directory list?
    Known,
    /// Bring the index of a catalog.
    Index(Fqrn, CatalogRef),
    /// Bring the content of a file.
    Open(Fqrn, Content),
    /// Tell a computed attribute that does not depend on an entry.
    StatusAttribute(Fqrn, String),
}

/// What the helper answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Request::Hello`]: the directory of the view.
    Hello {
        /// It exists, is closed to others, and lies on the cache's file system if at all possible.
        view: PathBuf,
    },
    /// To [`Request::Mount`].
    Mounted(Box<Mounted>),
    /// To [`Request::Mount`]: there is no such repository.
    NoSuchRepository,
    /// To [`Request::Known`].
    Known(Vec<Fqrn>),
    /// To [`Request::Index`] and [`Request::Open`]: the file to open. Only for indexes: it is ours and never changes.
    File(PathBuf),
    /// To [`Request::StatusAttribute`].
    Attribute(Option<Vec<u8>>),
}

/// A mounted repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mounted {
    /// Its revision.
    pub identity: Identity,
    /// How its entries appear.
    pub presentation: Presentation,
    /// Directories with objects in the official layout, in the order to look into them.
    pub objects: Vec<PathBuf>,
    /// The directory with indexes, in the same layout.
    pub indexes: Option<PathBuf>,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The number for the program.
    pub errno: i32,
    /// The words for a person.
    pub message: String,
}

/// Writes one message.
pub fn send(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).ok().filter(|length| *length <= LONGEST);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "message too long"))?;
    let mut bytes = Vec::with_capacity(4 + body.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&body);
    to.write_all(&bytes)
}

/// Reads one message.
pub fn receive<M: DeserializeOwned>(mut from: impl Read) -> io::Result<M> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message too long"));
    }
    let mut body = vec![0; length as usize];
    from.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_out_as_it_went_in() {
        let mut bytes = Vec::new();
        send(&mut bytes, &Request::Mount("a.b".into())).unwrap();
        assert!(matches!(receive(bytes.as_slice()).unwrap(), Request::Mount(name) if name == "a.b"));
    }

    #[test]
    fn a_length_is_not_believed_before_it_is_checked() {
        assert!(receive::<Request>([0xff; 8].as_slice()).is_err());
        assert!(receive::<Request>([4, 0, 0, 0, b'1'].as_slice()).is_err());
    }
}
