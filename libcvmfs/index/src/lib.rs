//! What every reader of CernVM-FS metadata shares: no standard library, no allocation, no system call.
//!
//! [`walk`] settles what a path means.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod walk;
