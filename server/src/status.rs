//! `.cvmfs_status.json`: what was done last, for those who watch over servers.

use crate::repository::STATUS;
use crate::storage::{Storage, read_small};
use anyhow::Result;
use serde_json::{Map, Value};

/// Most bytes of the file.
const LIMIT: usize = 64 << 10;

/// Sets some keys and leaves the others as they are.
pub fn note(storage: &dyn Storage, news: &[(&str, &str)]) -> Result<()> {
    let known = read_small(storage, STATUS, LIMIT)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let mut status: Map<String, Value> = known.unwrap_or_default();
    for (key, value) in news {
        status.insert((*key).to_owned(), (*value).into());
    }
    let mut text = serde_json::to_vec_pretty(&status)?;
    text.push(b'\n');
    storage.put_pointer(STATUS, &text)?;
    Ok(())
}

/// A time (seconds since 1970) as `date --utc` writes it.
pub fn date(seconds: u64) -> String {
    let time = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(i64::MAX)).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%a %b %e %H:%M:%S UTC %Y").to_string()
}
