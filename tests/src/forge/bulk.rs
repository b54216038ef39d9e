use super::Forge;
use libcvmfs::catalog::write::{CatalogWriter, Flags, Row};
use libcvmfs::hash::PathHash;

/// Rows without objects, written straight into the root catalog.
#[derive(Debug, Clone)]
pub(super) struct Phantoms {
    files: usize,
    per_directory: usize,
}

/// Large trees.
impl Forge {
    /// Adds `count` small regular files, all different, below `directory`, spread over sub-directories of
    /// `per_directory` files each, which are nested catalogs of their own on request.
    pub fn many_files(mut self, directory: &str, count: usize, per_directory: usize, nested: bool) -> Forge {
        for number in 0..count {
            let sub = format!("{directory}/d{:05}", number / per_directory);
            if nested && number % per_directory == 0 {
                self = self.nested(&sub);
            }
            self = self.file(format!("{sub}/f{number:07}.txt"), format!("file number {number}\n"));
        }
        self
    }

    /// Adds `files` regular files without objects below `/phantoms`, spread over sub-directories, to the root
    /// catalog: a million of them take a few seconds and no memory. For what reads catalogs only.
    pub fn phantoms(mut self, files: usize, per_directory: usize) -> Forge {
        self.phantoms = Some(Phantoms { files, per_directory });
        self
    }
}

impl Phantoms {
    pub(super) fn write(&self, writer: &CatalogWriter) {
        let top = "/phantoms";
        let directories = self.files.div_ceil(self.per_directory);
        let put = |row: Row| writer.put(&row).expect("a new row");
        put(row(top, "", 2 + directories as u32, None));
        for number in 0..self.files {
            let directory = format!("{top}/d{:06}", number / self.per_directory);
            if number % self.per_directory == 0 {
                put(row(&directory, top, 2, None));
            }
            let path = format!("{directory}/f{number:08}");
            let mut digest = [0xfe; 20];
            digest[..16].copy_from_slice(&PathHash::of(path.as_bytes()).0);
            put(row(&path, &directory, 1, Some(digest)));
        }
    }
}

fn row(path: &str, parent: &str, links: u32, digest: Option<[u8; 20]>) -> Row {
    let is_file = digest.is_some();
    Row {
        path: PathHash::of(path.as_bytes()),
        parent: PathHash::of(parent.as_bytes()),
        group: 0,
        links,
        digest,
        size: if is_file { 1000 } else { 4096 },
        mode: if is_file { 0o100644 } else { 0o040755 },
        mtime: super::DEFAULT_TIME,
        mtime_ns: None,
        flags: if is_file { Flags::FILE } else { Flags::DIRECTORY },
        name: super::tree::name(path.as_bytes()).to_vec(),
        target: Vec::new(),
        uid: 0,
        gid: 0,
        xattr: Vec::new(),
    }
}
