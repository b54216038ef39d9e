//! Parts of `doc/COMPATIBILITY.md` that are made of tables in the code.

use std::sync::Mutex;

/// Two tests that write the page anew do so one after the other.
static PAGE: Mutex<()> = Mutex::new(());

/// Fails if between the lines `begin` and `end` of the page there is something else than `table`. `UPDATE_DOC=1 cargo test` writes it
/// there.
pub(crate) fn says(begin: &str, end: &str, table: &str) {
    let alone = PAGE.lock().expect("nobody failed while writing");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../doc/COMPATIBILITY.md");
    let document = std::fs::read_to_string(path).expect("a document");
    let (before, rest) = document.split_once(begin).expect("a beginning");
    let (written, after) = rest.split_once(end).expect("an end");
    if std::env::var_os("UPDATE_DOC").is_some() {
        std::fs::write(path, format!("{before}{begin}{table}{end}{after}")).expect("a document");
        return;
    }
    let is_the_same = written == table;
    drop(alone);
    assert!(is_the_same, "doc/COMPATIBILITY.md is old: run with UPDATE_DOC=1");
}
