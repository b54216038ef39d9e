use super::Forge;
use super::catalog;
use libcvmfs::hash::ContentHash;
use rusqlite::params;
use std::path::Path;

/// A named snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Its name.
    pub name: String,
    /// The root catalog; `None`: that of the revision being published.
    pub root: Option<(ContentHash, u64)>,
    /// Its revision.
    pub revision: u64,
    /// Its time, seconds since 1970.
    pub timestamp: u64,
    /// What it is.
    pub description: String,
    /// Its branch, empty: trunk.
    pub branch: String,
}

const SCHEMA: &str = "
    CREATE TABLE properties (key TEXT, value TEXT, CONSTRAINT pk_properties PRIMARY KEY (key));
    CREATE TABLE branches (branch TEXT, parent TEXT, initial_revision INTEGER, CONSTRAINT pk_branch PRIMARY KEY (branch),
        FOREIGN KEY (parent) REFERENCES branches (branch), CHECK ((branch <> '') OR (parent IS NULL)),
        CHECK ((branch = '') OR (parent IS NOT NULL)));
    CREATE TABLE tags (name TEXT, hash TEXT, revision INTEGER, timestamp INTEGER, channel INTEGER, description TEXT,
        size INTEGER, branch TEXT, CONSTRAINT pk_tags PRIMARY KEY (name),
        FOREIGN KEY (branch) REFERENCES branches (branch));
    CREATE TABLE recycle_bin (hash TEXT, flags INTEGER, CONSTRAINT pk_hash PRIMARY KEY (hash));
    INSERT INTO properties VALUES ('schema', '1.0'), ('schema_revision', '3');
    INSERT INTO branches VALUES ('', NULL, 0);
";

/// Writes the history database and returns its bytes.
pub(super) fn write(forge: &Forge, scratch: &Path, head: (ContentHash, u64)) -> Vec<u8> {
    let file = scratch.join("history");
    let db = catalog::create(&file, forge.page_size);
    db.execute_batch("BEGIN").and_then(|()| db.execute_batch(SCHEMA)).expect("the schema is valid");
    db.execute("INSERT INTO properties VALUES ('fqrn', ?1)", [&forge.fqrn]).expect("a property");
    for tag in &forge.tags {
        let (hash, size) = tag.root.unwrap_or(head);
        if !tag.branch.is_empty() {
            let branch = params![tag.branch, tag.revision as i64];
            db.execute("INSERT OR IGNORE INTO branches VALUES (?1, '', ?2)", branch).expect("a branch");
        }
        let values = params![
            tag.name,
            hash.to_string(),
            tag.revision as i64,
            tag.timestamp as i64,
            tag.description,
            size as i64,
            tag.branch
        ];
        db.execute("INSERT OR REPLACE INTO tags VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, ?7)", values).expect("a tag");
    }
    db.execute_batch("COMMIT").expect("the end of the transaction");
    for change in &forge.hooks.history {
        change(&db);
    }
    drop(db);
    std::fs::read(&file).expect("the database just written")
}
