use crate::catalog::error::CatalogError;
use std::collections::HashMap;
use std::path::Path;

/// Which columns and tables a published catalog has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schema {
    /// The version in thousandths.
    pub(crate) version: u32,
    /// The revision; later ones only add.
    pub(crate) revision: u32,
}

impl Schema {
    /// Reads the properties and refuses what this program was not written for.
    pub(crate) fn of(path: &Path, properties: &HashMap<String, String>) -> Result<Schema, CatalogError> {
        let found = properties.get("schema").map_or("1.0", String::as_str);
        let refused = || CatalogError::Schema { path: path.to_owned(), found: found.escape_debug().take(40).collect() };
        // Written as a floating point number that need not be exact: 2.5 may come as 2.4999999.
        let version: f64 = found.trim().parse().map_err(|_| refused())?;
        let version = (version * 1000.0).round() as u32;
        match version {
            1000..2000 | 2400 | 2500 => {}
            _ => return Err(refused()),
        }
        let revision = properties.get("schema_revision").and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Ok(Schema { version, revision })
    }

    fn since(self, revision: u32) -> bool {
        self.version >= 2500 && self.revision >= revision
    }

    pub(crate) fn has_owners(self) -> bool {
        self.version >= 2100
    }

    pub(crate) fn has_chunks(self) -> bool {
        self.version >= 2100
    }

    pub(crate) fn has_nested_size(self) -> bool {
        self.since(1)
    }

    pub(crate) fn has_bind_mount_points(self) -> bool {
        self.since(4)
    }

    /// The query whose columns `row::Columns` reads.
    pub(crate) fn entry_query(self) -> String {
        let column = |name: &'static str, there: bool, otherwise: &'static str| if there { name } else { otherwise };
        format!(
            "SELECT md5path_1, md5path_2, parent_1, parent_2, {hardlinks}, hash, size, mode, mtime, {mtimens}, flags, \
             name, symlink, {uid}, {gid}, {xattr} FROM catalog",
            hardlinks = column("hardlinks", self.has_owners(), "1"),
            mtimens = column("mtimens", self.since(7), "NULL"),
            uid = column("uid", self.has_owners(), "4294967295"),
            gid = column("gid", self.has_owners(), "4294967295"),
            xattr = column("xattr", self.since(2), "NULL"),
        )
    }
}
