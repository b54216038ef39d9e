//! Tables of schema 2.5 as the official publisher makes them, and the way to them from earlier revisions.

/// The revision of schema 2.5 that is written.
pub(super) const REVISION: u32 = 7;

/// An empty catalog.
pub(super) const CREATE: &str = "
    CREATE TABLE properties (key TEXT, value TEXT, CONSTRAINT pk_properties PRIMARY KEY (key));
    CREATE TABLE catalog (md5path_1 INTEGER, md5path_2 INTEGER, parent_1 INTEGER, parent_2 INTEGER,
        hardlinks INTEGER, hash BLOB, size INTEGER, mode INTEGER, mtime INTEGER, mtimens INTEGER, flags INTEGER,
        name TEXT, symlink TEXT, uid INTEGER, gid INTEGER, xattr BLOB,
        CONSTRAINT pk_catalog PRIMARY KEY (md5path_1, md5path_2));
    CREATE INDEX idx_catalog_parent ON catalog (parent_1, parent_2);
    CREATE TABLE chunks (md5path_1 INTEGER, md5path_2 INTEGER, offset INTEGER, size INTEGER, hash BLOB,
        CONSTRAINT pk_chunks PRIMARY KEY (md5path_1, md5path_2, offset, size),
        FOREIGN KEY (md5path_1, md5path_2) REFERENCES catalog(md5path_1, md5path_2));
    CREATE TABLE nested_catalogs (path TEXT, sha1 TEXT, size INTEGER, CONSTRAINT pk_nested_catalogs PRIMARY KEY (path));
    CREATE TABLE bind_mountpoints (path TEXT, sha1 TEXT, size INTEGER,
        CONSTRAINT pk_bind_mountpoints PRIMARY KEY (path));
    CREATE TABLE statistics (counter TEXT, value INTEGER, CONSTRAINT pk_statistics PRIMARY KEY (counter));
    INSERT INTO properties VALUES ('schema', '2.5'), ('schema_revision', '7');
";

/// What came with one revision.
pub(super) struct Upgrade {
    pub(super) revision: u32,
    pub(super) statements: &'static str,
}

/// What a catalog of an earlier revision lacks. New counters appear by themselves when they are next written.
pub(super) const UPGRADES: [Upgrade; 4] = [
    Upgrade { revision: 1, statements: "ALTER TABLE nested_catalogs ADD COLUMN size INTEGER" },
    Upgrade { revision: 2, statements: "ALTER TABLE catalog ADD COLUMN xattr BLOB" },
    Upgrade {
        revision: 4,
        statements: "CREATE TABLE bind_mountpoints (path TEXT, sha1 TEXT, size INTEGER,
            CONSTRAINT pk_bind_mountpoints PRIMARY KEY (path))",
    },
    Upgrade { revision: 7, statements: "ALTER TABLE catalog ADD COLUMN mtimens INTEGER" },
];
