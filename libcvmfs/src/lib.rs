//! CernVM-FS in user space: path in, verified bytes out.
//!
//! The way of a path goes through the modules from top to bottom, and each knows only those below it:
//!
//! | module | job |
//! |---|---|
//! | [`client`] | the facade: the tree of `/cvmfs`, no lifetimes, no global state |
//! | [`repository`] | the facade: one mounted repository |
//! | [`namespace`] | path to entry with POSIX rules, listings, owners, extended attributes |
//! | [`snapshot`] | one revision: its tree of catalogs |
//! | [`fetch`] | objects by name: from the cache, else over the transport |
//! | [`catalog`] | entries: the published SQLite file and the flat index made from it |
//! | [`trust`] | bytes to a verified manifest, as types |
//! | [`transport`] | objects over HTTP: hosts, proxies, fail-over |
//! | [`cache`] | the content-addressed store on disk |
//! | [`object`], [`hash`] | names, suffixes, compression; content and path hashes |
//! | [`prefetch`] | trees and lists into the cache, in parallel |
//! | [`history`], [`reflog`] | named snapshots; what was ever published |
//! | [`diff`] | what changed between two snapshots |
//! | [`demo`] | an embedded repository to try things with |
//! | [`config`] | the official parameters, their files and their types |

pub mod cache;
pub mod catalog;
pub mod client;
pub mod config;
mod database;
pub mod demo;
pub mod diff;
mod errno;
pub mod error;
pub mod fetch;
pub mod fqrn;
pub mod hash;
pub mod history;
pub mod identity;
pub mod namespace;
pub mod object;
pub mod patience;
pub mod prefetch;
pub mod reflog;
pub mod repository;
pub mod snapshot;
pub mod transport;
pub mod trust;
pub mod workers;

pub use error::Error;
