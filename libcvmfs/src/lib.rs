//! CernVM-FS in user space: path in, verified bytes out.
//!
//! The way of a path goes through the modules from top to bottom, and each knows only those below it:
//!
//! | module | job |
//! |---|---|
//! | `repository` | the facade: one mounted repository, no lifetimes, no global state |
//! | `namespace` | path to entry with POSIX rules, listings, owners, extended attributes |
//! | `snapshot` | which root catalog is mounted, and when to look for a newer one |
//! | [`catalog`] | entries: the published SQLite file and the flat index made from it |
//! | [`trust`] | bytes to a verified manifest, as types |
//! | [`transport`] | objects over HTTP: hosts, proxies, fail-over |
//! | [`cache`] | the content-addressed store on disk |
//! | [`object`], [`hash`] | names, suffixes, compression; content and path hashes |
//! | [`demo`] | an embedded repository to try things with |
//! | [`config`] | the official parameters, their files and their types |

pub mod cache;
pub mod catalog;
pub mod config;
mod database;
pub mod demo;
pub mod error;
pub mod fqrn;
pub mod hash;
pub mod history;
pub mod object;
pub mod transport;
pub mod trust;
