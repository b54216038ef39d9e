//! The shim as a finished shared object: `cvmfs-run` carries it, writes it out, and preloads it into programs.
#![forbid(unsafe_code)]

/// The bytes of `libcvmfs_shim.so`.
pub static LIBRARY: &[u8] = include_bytes!(env!("CVMFS_SHIM_LIBRARY"));
