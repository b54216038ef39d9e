//! Configuration files: any bytes, no file system behind them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| libcvmfs::config::shell::fuzz(bytes));
