//! What measurements share.

use std::process::Command;
use std::time::Duration;

/// The middle one of some times, which are put in order.
pub fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The kernel forgets files and names of all file systems; what a disk has in a memory of its own may still be there. It takes root.
pub fn forget() {
    assert!(Command::new("sync").status().is_ok_and(|status| status.success()), "sync");
    std::fs::write("/proc/sys/vm/drop_caches", "3").expect("root");
}
