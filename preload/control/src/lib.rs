//! The control page: what the supervisor tells the shims in its programs, without a message.
//!
//! One file, mapped shared by everybody, written by the supervisor alone. It says which snapshots are mounted, how their
//! entries look to programs, and which mapped index answers for which part of their trees. Slots are only ever
//! appended, filled before the count that makes them visible, and never change afterwards but for a few atomic marks: a
//! reader needs no lock and no retry, and what it has found stays true.
//!
//! | module | job |
//! |---|---|
//! | [`page`] | the layout: fixed places, versioned |
//! | [`read`] | the reading side: no standard library, no allocation, no system call |
//! | [`mod@write`] | the writing side (feature `std`) |
//! | [`session`] | the environment variable that leads to the page |
#![cfg_attr(not(any(test, feature = "std")), no_std)]

pub mod page;
pub mod read;
pub mod session;
#[cfg(feature = "std")]
pub mod write;

pub use page::{Flags, Page};
pub use read::{Catalog, Control, Snapshot};
