//! Proxy auto-configuration: asks the JavaScript of a PAC file which proxies to use for a URL.
//!
//! A crate of its own, because only programs need a JavaScript engine. The engine is QuickJS: it takes limits on time,
//! memory and stack, and compiles in seconds where the engines written in Rust take minutes.

mod engine;

pub use engine::{PacEngine, PacError};
