//! Tests that cannot run everywhere.

use std::io::Write as _;

/// Says loudly that a test cannot run here, or fails it where everything must be there.
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("CVMFS_TESTS_REQUIRE_TOOLS").is_none(), "{reason}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // What macros print is kept from who runs the tests, unless they fail; what is written in parts is mixed with what others say.
    let _ = std::io::stderr().write_all(format!("SKIPPED: {test}: {reason}\n").as_bytes());
}
