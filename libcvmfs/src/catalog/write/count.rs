//! What a catalog says about its rows is taken from the rows.

use super::{CatalogWriter, Flags, WriteError};
use crate::catalog::statistics::Counters;
use crate::hash::PathHash;
use rusqlite::params;

/// In the order of the counters' names.
const COUNT: &str = "SELECT
    ifnull(sum(mode >> 12 = 8), 0), ifnull(sum(mode >> 12 = 10), 0),
    ifnull(sum(mode >> 12 NOT IN (4, 8, 10)), 0), ifnull(sum(mode >> 12 = 4), 0),
    (SELECT count(*) FROM nested_catalogs),
    ifnull(sum(flags & ?1 <> 0), 0), (SELECT count(*) FROM chunks),
    ifnull(sum(CASE mode >> 12 WHEN 8 THEN size ELSE 0 END), 0),
    ifnull(sum(CASE flags & ?1 WHEN 0 THEN 0 ELSE size END), 0),
    count(xattr),
    ifnull(sum(flags & ?2 <> 0), 0),
    ifnull(sum(CASE flags & ?2 WHEN 0 THEN 0 ELSE size END), 0)
    FROM catalog";

impl CatalogWriter {
    /// Counts the rows: what the catalog contributes by itself.
    pub fn count(&self) -> Result<Counters, WriteError> {
        let read = |row: &rusqlite::Row<'_>| {
            let mut values = [0_i64; 12];
            for (column, value) in values.iter_mut().enumerate() {
                *value = row.get(column)?;
            }
            Ok(Counters::new(values))
        };
        let counted = self.query(COUNT, params![Flags::CHUNKED, Flags::EXTERNAL], read)?;
        Ok(counted.into_iter().next().unwrap_or_default())
    }

    /// Number of rows.
    pub fn row_count(&self) -> Result<u64, WriteError> {
        let count = self.query("SELECT count(*) FROM catalog", [], |row| row.get::<_, i64>(0))?;
        Ok(count.into_iter().next().unwrap_or(0) as u64)
    }

    /// Gives every directory its number of links: 2, and one for each directory in it. Mount points are left alone,
    /// for what is in them is in another catalog.
    pub fn count_links(&self) -> Result<(), WriteError> {
        let statement = "UPDATE catalog AS d SET hardlinks = 2 + ifnull((SELECT sum(c.mode >> 12 = 4) FROM catalog AS c
                WHERE c.parent_1 = d.md5path_1 AND c.parent_2 = d.md5path_2), 0)
            WHERE d.mode >> 12 = 4 AND d.flags & ?1 = 0";
        self.execute(statement, params![Flags::MOUNT_POINT | Flags::BIND])?;
        Ok(())
    }

    /// Gives all names of one file their number. A file that is left with one name is no group any more.
    pub fn count_groups(&self) -> Result<(), WriteError> {
        let statement = "SELECT hardlinks >> 32, count(*) FROM catalog WHERE mode >> 12 <> 4 AND hardlinks >> 32 > 0
            GROUP BY hardlinks >> 32 HAVING count(*) <> max(hardlinks & 4294967295)
                OR count(*) = 1 OR max(hardlinks) <> min(hardlinks)";
        let wrong = self.query(statement, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        for (group, names) in wrong {
            let value = if names == 1 { 1 } else { group << 32 | names };
            let statement = "UPDATE catalog SET hardlinks = ?2 WHERE mode >> 12 <> 4 AND hardlinks >> 32 = ?1";
            self.execute(statement, params![group, value])?;
        }
        Ok(())
    }

    /// A number that no group of names has yet.
    pub fn next_group(&self) -> Result<u32, WriteError> {
        let last = self.query("SELECT max(hardlinks >> 32) FROM catalog WHERE mode >> 12 <> 4", [], |row| {
            row.get::<_, Option<i64>>(0)
        })?;
        Ok(last.into_iter().flatten().next().and_then(|last| u32::try_from(last + 1).ok()).unwrap_or(1))
    }

    /// The paths of all directories that have a child of this name, as pairs of the directory's hash and the child's.
    pub fn named(&self, name: &[u8]) -> Result<Vec<(PathHash, PathHash)>, WriteError> {
        let statement = "SELECT parent_1, parent_2, md5path_1, md5path_2 FROM catalog WHERE name = ?1";
        self.query(statement, params![super::row::Text(name)], |row| {
            let parent = PathHash::from_columns(row.get(0)?, row.get(1)?);
            Ok((parent, PathHash::from_columns(row.get(2)?, row.get(3)?)))
        })
    }
}
