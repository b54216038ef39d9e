//! The reflog: which objects were ever named by a manifest. Only the publishing side uses it, to tell garbage from what
//! an older revision needs.

pub use crate::database::DatabaseError;

use crate::database::{self, Database, PAGE_SIZE, text};
use crate::error::{Origin, Retry};
use crate::fqrn::Fqrn;
use crate::hash::ContentHash;
use crate::object::{ObjectKind, ObjectName};
use rusqlite::params;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a reflog cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReflogError {
    /// The file cannot be read or written.
    #[error("reflog {0}")]
    Database(#[from] DatabaseError),
    /// The reflog is that of another repository.
    #[error("reflog {} is that of '{found}', expected {expected}", path.display())]
    OtherRepository {
        /// The file.
        path: PathBuf,
        /// The repository it names.
        found: String,
        /// The repository it was read for.
        expected: Fqrn,
    },
}

impl ReflogError {
    /// Who failed.
    pub fn origin(&self) -> Origin {
        match self {
            ReflogError::Database(error) => error.origin(),
            ReflogError::OtherRepository { .. } => Origin::Content,
        }
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match self {
            ReflogError::Database(error) => error.retry(),
            ReflogError::OtherRepository { .. } => Retry::Never,
        }
    }
}

/// The objects with the times (seconds since 1970) at which they came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reflog {
    fqrn: Fqrn,
    objects: BTreeMap<ObjectName, u64>,
}

/// Kinds by the number that stands for them.
const KINDS: [ObjectKind; 4] =
    [ObjectKind::Catalog, ObjectKind::Certificate, ObjectKind::History, ObjectKind::MetaInfo];

impl Reflog {
    /// Nothing yet.
    pub fn empty(fqrn: &Fqrn) -> Reflog {
        Reflog { fqrn: fqrn.clone(), objects: BTreeMap::new() }
    }

    /// Reads the file `path`. Rows that name nothing are left out.
    pub fn open(path: &Path, fqrn: &Fqrn) -> Result<Reflog, ReflogError> {
        let database = Database::open(path)?;
        let found = database.properties()?.remove("fqrn").unwrap_or_default();
        if found != fqrn.as_str() {
            let (path, found) = (path.to_owned(), found.escape_debug().take(200).collect());
            return Err(ReflogError::OtherRepository { path, found, expected: fqrn.clone() });
        }
        database.require_table("refs")?;
        let mut reflog = Reflog::empty(fqrn);
        database.rows("SELECT hash, type, timestamp FROM refs", |row| {
            let number = |column: usize| row.get_ref(column).ok().and_then(|value| value.as_i64().ok()).unwrap_or(-1);
            let kind = usize::try_from(number(1)).ok().and_then(|number| KINDS.get(number));
            if let (Ok(hash), Some(kind)) = (text(row, 0).parse::<ContentHash>(), kind) {
                let when = u64::try_from(number(2)).unwrap_or(0);
                reflog.objects.insert(ObjectName::new(hash, *kind), when);
            }
            Ok(())
        })?;
        Ok(reflog)
    }

    /// Notes an object; one that is known keeps its time. Only catalogs, certificates, histories and meta information
    /// are noted.
    pub fn add(&mut self, object: ObjectName, when: u64) {
        if KINDS.contains(&object.kind) {
            self.objects.entry(object).or_insert(when);
        }
    }

    /// Forgets an object; false if it is not known.
    pub fn remove(&mut self, object: &ObjectName) -> bool {
        self.objects.remove(object).is_some()
    }

    /// Whether an object is known.
    pub fn contains(&self, object: &ObjectName) -> bool {
        self.objects.contains_key(object)
    }

    /// All objects with their times in seconds since 1970.
    pub fn objects(&self) -> impl Iterator<Item = (ObjectName, u64)> + '_ {
        self.objects.iter().map(|(name, when)| (*name, *when))
    }

    /// Writes the database to the new file `path`.
    pub fn write(&self, path: &Path) -> Result<(), ReflogError> {
        let db = database::scratch(path, true, PAGE_SIZE)?;
        let run = || {
            db.execute_batch(SCHEMA)?;
            db.execute("INSERT INTO properties VALUES ('fqrn', ?1)", [self.fqrn.as_str()])?;
            for (name, when) in &self.objects {
                let number = KINDS.iter().position(|kind| *kind == name.kind).unwrap_or(0) as i64;
                let values = params![name.hash.to_string(), number, *when as i64];
                db.execute("INSERT OR IGNORE INTO refs VALUES (?1, ?2, ?3)", values)?;
            }
            db.execute_batch("COMMIT")
        };
        Ok(run().map_err(|source| DatabaseError::Write { path: path.to_owned(), source })?)
    }
}

const SCHEMA: &str = "
    CREATE TABLE properties (key TEXT, value TEXT, CONSTRAINT pk_properties PRIMARY KEY (key));
    CREATE TABLE refs (hash TEXT, type INTEGER, timestamp INTEGER, CONSTRAINT pk_refs PRIMARY KEY (hash));
    INSERT INTO properties VALUES ('schema', '1.0'), ('schema_revision', '0');
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Algorithm;

    #[test]
    fn what_is_noted_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let fqrn = Fqrn::new("reflog.test.example").unwrap();
        let mut reflog = Reflog::empty(&fqrn);
        for (number, kind) in KINDS.into_iter().enumerate() {
            reflog.add(ObjectName::new(ContentHash::new(Algorithm::Rmd160, [number as u8 + 1; 20]), kind), 7);
        }
        let file = ObjectName::new(ContentHash::new(Algorithm::Sha1, [9; 20]), ObjectKind::File);
        reflog.add(file, 1);
        assert!(!reflog.contains(&file), "files are not noted");
        let first = reflog.objects().next().unwrap().0;
        reflog.add(first, 8);
        let path = dir.path().join("reflog");
        reflog.write(&path).unwrap();
        assert_eq!(Reflog::open(&path, &fqrn).unwrap(), reflog);
        assert!(reflog.objects().all(|(_, when)| when == 7));
        assert!(reflog.remove(&first) && !reflog.contains(&first));
        let other = Fqrn::new("other.test.example").unwrap();
        assert!(matches!(Reflog::open(&path, &other), Err(ReflogError::OtherRepository { .. })));
    }
}
