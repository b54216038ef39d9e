//! A reply over HTTP: head and body end, stay within the limits, and come to the same however they are cut up.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| libcvmfs::transport::http_reply_fuzz(bytes));
