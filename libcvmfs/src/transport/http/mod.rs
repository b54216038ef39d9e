//! HTTP/1.1 GET, and nothing else of HTTP.
//!
//! The header parser is a library's; sockets, time and memory are ours, because every byte comes from a stranger:
//! all waiting is bounded by a [`Pace`], all memory by the constants here, and each kind of breakage is told apart
//! for the fail-over rules.

mod body;
mod head;
mod pool;
mod wire;

pub(super) use body::{Body, BodyError};
pub(super) use head::{Framing, Head, HeadError, read_head};
pub(super) use pool::{Pool, PoolKey};
pub(super) use wire::{Pace, Wire, WireError};

/// Most bytes of a status line with its header fields.
pub(super) const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Most header fields in a response.
pub(super) const MAX_HEADERS: usize = 128;
/// Most bytes of the line that announces a chunk, and of all trailer lines together.
pub(super) const MAX_CHUNK_LINE: usize = 4096;
/// Bytes read from a socket at once.
pub(super) const READ_SIZE: usize = 64 * 1024;
