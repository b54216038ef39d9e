//! The history of a repository: its named snapshots (tags) and branches.

pub use crate::database::DatabaseError;

use crate::database::{self, Database, text};
use crate::error::{Origin, Retry};
use crate::fqrn::Fqrn;
use crate::hash::ContentHash;
use rusqlite::{Row, params};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A named snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Its name.
    pub name: String,
    /// The root catalog.
    pub root: ContentHash,
    /// The repository revision.
    pub revision: u64,
    /// When it was made, in seconds since 1970.
    pub timestamp: i64,
    /// What it is for.
    pub description: String,
    /// Bytes of the inflated root catalog; `None` if not announced.
    pub size: Option<u64>,
    /// The branch; empty for the trunk.
    pub branch: String,
}

/// A line of development.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Its name; empty for the trunk.
    pub name: String,
    /// The branch it left; `None` for the trunk.
    pub parent: Option<String>,
    /// The revision at which it left.
    pub initial_revision: u64,
}

/// Why a history cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The file is no readable SQLite database.
    #[error("history {0}")]
    Database(#[from] DatabaseError),
    /// The schema is not 1.0.
    #[error("history {} has schema {found}, supported is 1.0", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// The property as stored.
        found: String,
    },
    /// The history is that of another repository.
    #[error("history {} is that of '{found}', expected {expected}", path.display())]
    OtherRepository {
        /// The file.
        path: PathBuf,
        /// The repository it names.
        found: String,
        /// The repository it was read for.
        expected: String,
    },
}

impl HistoryError {
    /// Who failed.
    pub fn origin(&self) -> Origin {
        match self {
            HistoryError::Database(error) => error.origin(),
            _ => Origin::Content,
        }
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match self {
            HistoryError::Database(error) => error.retry(),
            _ => Retry::Never,
        }
    }
}

/// All tags and branches of a repository, read once.
#[derive(Debug, Clone)]
pub struct History {
    tags: Vec<Tag>,
    branches: Vec<Branch>,
    previous: Option<ContentHash>,
}

impl History {
    /// Reads the inflated history file of the repository `fqrn`; its hash was checked by whoever put it there.
    ///
    /// Tags whose root hash, revision or time is malformed name nothing that could be mounted: they are left out.
    pub fn open(path: &Path, fqrn: &Fqrn) -> Result<History, HistoryError> {
        let database = Database::open(path)?;
        let properties = database.properties()?;
        let property = |key: &str| properties.get(key).map_or("", String::as_str);
        let shown = |text: &str| text.escape_debug().take(200).collect::<String>();
        let schema = property("schema");
        if !schema.trim().parse().is_ok_and(|version: f64| (version - 1.0).abs() < 0.0005) {
            return Err(HistoryError::Schema { path: path.to_owned(), found: shown(schema) });
        }
        if property("fqrn") != fqrn.as_str() {
            return Err(HistoryError::OtherRepository {
                path: path.to_owned(),
                found: shown(property("fqrn")),
                expected: fqrn.to_string(),
            });
        }
        let revision: u32 = property("schema_revision").trim().parse().unwrap_or(0);
        let mut history =
            History { tags: Vec::new(), branches: Vec::new(), previous: property("previous_revision").parse().ok() };
        history.read_tags(&database, revision)?;
        history.read_branches(&database, revision)?;
        Ok(history)
    }

    fn read_tags(&mut self, database: &Database, schema_revision: u32) -> Result<(), HistoryError> {
        database.require_table("tags")?;
        let size = if schema_revision >= 1 { "size" } else { "0" };
        let branch = if schema_revision >= 3 { "branch" } else { "''" };
        let query = format!("SELECT name, hash, revision, timestamp, description, {size}, {branch} FROM tags");
        database.rows(&query, |row| {
            let name = text(row, 0);
            match (ContentHash::parse(&text(row, 1)), number(row, 2).map(u64::try_from), number(row, 3)) {
                (Ok(root), Some(Ok(revision)), Some(timestamp)) if !name.is_empty() => self.tags.push(Tag {
                    name,
                    root,
                    revision,
                    timestamp,
                    description: text(row, 4),
                    size: number(row, 5).and_then(|size| u64::try_from(size).ok()).filter(|&size| size > 0),
                    branch: text(row, 6),
                }),
                _ => log::warn!("history {}: malformed tag '{}'", database.path().display(), name.escape_debug()),
            }
            Ok(())
        })?;
        self.tags.sort_by(|a, b| {
            (b.timestamp, b.revision).cmp(&(a.timestamp, a.revision)).then_with(|| a.name.cmp(&b.name))
        });
        Ok(())
    }

    fn read_branches(&mut self, database: &Database, schema_revision: u32) -> Result<(), HistoryError> {
        let trunk = Branch { name: String::new(), parent: None, initial_revision: 0 };
        if schema_revision >= 3 {
            database.require_table("branches")?;
            database.rows("SELECT branch, parent, initial_revision FROM branches", |row| {
                let name = text(row, 0);
                self.branches.push(Branch {
                    parent: (!name.is_empty()).then(|| text(row, 1)),
                    name,
                    initial_revision: number(row, 2).and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
                });
                Ok(())
            })?;
        }
        if !self.branches.iter().any(|branch| branch.name.is_empty()) {
            self.branches.push(trunk);
        }
        self.branches.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }

    /// All tags, the newest first.
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// The tag with exactly this name.
    pub fn tag(&self, name: &str) -> Option<&Tag> {
        self.tags.iter().find(|tag| tag.name == name)
    }

    /// What the trunk was at `timestamp` (seconds since 1970): of its tags that are not younger, the one with the
    /// highest revision.
    pub fn tag_at(&self, timestamp: i64) -> Option<&Tag> {
        self.newest(|tag| tag.branch.is_empty() && tag.timestamp <= timestamp)
    }

    /// The tag with the highest revision of a branch; the trunk's name is empty.
    pub fn head(&self, branch: &str) -> Option<&Tag> {
        self.newest(|tag| tag.branch == branch)
    }

    fn newest(&self, wanted: impl Fn(&&Tag) -> bool) -> Option<&Tag> {
        // Of equal revisions the first counts: the youngest.
        self.tags.iter().filter(wanted).rev().max_by_key(|tag| tag.revision)
    }

    /// All branches by name, the trunk (empty name) first.
    pub fn branches(&self) -> &[Branch] {
        &self.branches
    }

    /// The history object that this one replaced.
    pub fn previous_revision(&self) -> Option<ContentHash> {
        self.previous
    }
}

/// Making histories.
impl History {
    /// No tags, and the trunk alone.
    pub fn empty() -> History {
        let trunk = Branch { name: String::new(), parent: None, initial_revision: 0 };
        History { tags: Vec::new(), branches: vec![trunk], previous: None }
    }

    /// Notes the history object that this one will replace.
    pub fn set_previous_revision(&mut self, previous: ContentHash) {
        self.previous = Some(previous);
    }

    /// Adds a tag, in the place of one with the same name. A branch that is not known yet leaves the trunk here.
    pub fn put_tag(&mut self, tag: Tag) {
        if !self.branches.iter().any(|branch| branch.name == tag.branch) {
            let parent = Some(String::new());
            self.put_branch(Branch { name: tag.branch.clone(), parent, initial_revision: tag.revision });
        }
        self.tags.retain(|other| other.name != tag.name);
        self.tags.push(tag);
    }

    /// Removes a tag; false if there is none of this name.
    pub fn remove_tag(&mut self, name: &str) -> bool {
        let before = self.tags.len();
        self.tags.retain(|tag| tag.name != name);
        self.tags.len() < before
    }

    /// Adds a branch, in the place of one with the same name.
    pub fn put_branch(&mut self, branch: Branch) {
        self.branches.retain(|other| other.name != branch.name);
        self.branches.push(branch);
    }

    /// Writes the database to the new file `path`. `page_size` is in bytes.
    pub fn write(&self, path: &Path, fqrn: &Fqrn, page_size: u32) -> Result<(), HistoryError> {
        let db = database::scratch(path, true, page_size)?;
        let run = || {
            db.execute_batch(SCHEMA)?;
            db.execute("INSERT INTO properties VALUES ('fqrn', ?1)", [fqrn.as_str()])?;
            if let Some(previous) = self.previous {
                db.execute("INSERT INTO properties VALUES ('previous_revision', ?1)", [previous.to_string()])?;
            }
            for Branch { name, parent, initial_revision } in
                self.branches.iter().filter(|branch| !branch.name.is_empty())
            {
                let values = params![name, parent.as_deref().unwrap_or(""), *initial_revision as i64];
                db.execute("INSERT INTO branches VALUES (?1, ?2, ?3)", values)?;
            }
            for Tag { name, root, revision, timestamp, description, size, branch } in &self.tags {
                let size = size.unwrap_or(0) as i64;
                let values = params![name, root.to_string(), *revision as i64, timestamp, description, size, branch];
                db.execute("INSERT INTO tags VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, ?7)", values)?;
            }
            db.execute_batch("COMMIT")
        };
        Ok(run().map_err(|source| DatabaseError::Write { path: path.to_owned(), source })?)
    }
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

fn number(row: &Row<'_>, column: usize) -> Option<i64> {
    row.get_ref(column).ok()?.as_i64().ok()
}

/// Reads a point in time as `CVMFS_REPOSITORY_DATE` has it, `YYYY-MM-DDThh:mm:ssZ` in UTC: seconds since 1970.
pub fn parse_date(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let shape = b"0000-00-00T00:00:00Z";
    let fits = |(&byte, &pattern): (&u8, &u8)| if pattern == b'0' { byte.is_ascii_digit() } else { byte == pattern };
    if bytes.len() != shape.len() || !bytes.iter().zip(shape).all(fits) {
        return None;
    }
    let field = |at: usize, len: usize| text.get(at..at + len)?.parse::<i64>().ok();
    let (year, month, day) = (field(0, 4)?, field(5, 2)?, field(8, 2)?);
    let (hour, minute, second) = (field(11, 2)?, field(14, 2)?, field(17, 2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last_day = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=last_day).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970 of a calendar whose years start in March, so that leap days come last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests;
