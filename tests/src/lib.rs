//! Support for end-to-end tests across the crates of the workspace.
//!
//! | module | gives |
//! |---|---|
//! | [`fixtures`] | repositories written by the official tools, and what the official client says about them |
//! | [`server`] | HTTP servers on the loop-back interface: well-behaved, hostile, and a real Squid |
//! | [`mount`] | clients with a cache of their own, to look at all this |
//! | [`measure`] | what measurements share |
//! | [`forge`] | signed repositories made from a description, with hooks to make them wrong |
//! | [`tools`] | programs of the system a test cannot do without |
//!
//! This is code for tests: what cannot be done panics with a message, there are no error types.

pub mod fixtures;
pub mod forge;
pub mod measure;
pub mod mount;
pub mod server;
pub mod tools;
