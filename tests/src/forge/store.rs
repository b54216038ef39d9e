use super::hooks::{Hooks, ObjectInfo, Stage};
use libcvmfs::hash::{Algorithm, ContentHash, Hasher};
use libcvmfs::object::{Compression, ObjectName};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Writes objects below a web root.
pub(super) struct Store<'a> {
    pub(super) web_root: &'a Path,
    pub(super) algorithm: Algorithm,
    pub(super) hooks: &'a Hooks,
}

/// A stored object: its name, and the size of its plain bytes.
pub(super) struct Stored {
    pub(super) hash: ContentHash,
    pub(super) plain_size: u64,
}

impl Store<'_> {
    pub(super) fn put(&self, info: &ObjectInfo, plain: Vec<u8>, compression: Compression) -> Stored {
        let plain = self.hooks.pass(Stage::Plain, info, plain).expect("plain bytes cannot be withheld");
        let plain_size = plain.len() as u64;
        let stored = match compression {
            Compression::Zlib => deflate(&plain),
            Compression::None => plain,
        };
        let stored = self.hooks.pass(Stage::Stored, info, stored).expect("stored bytes cannot be withheld");
        let hash = Hasher::hash(self.algorithm, &stored);
        let file = self.web_root.join(&ObjectName::new(hash, info.kind).path()[1..]);
        if let Some(written) = self.hooks.pass(Stage::Written, info, stored) {
            replace(&file, &written);
        }
        Stored { hash, plain_size }
    }
}

/// A classic zlib stream of the default level, as the official publishers make it.
pub fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

/// Writes a file in one step for whoever is reading the directory.
pub(super) fn replace(file: &Path, bytes: &[u8]) {
    let directory = file.parent().expect("a file in a directory");
    let name = file.file_name().expect("a file has a name").to_string_lossy();
    let temporary: PathBuf = directory.join(format!("{name}.{}.new", std::process::id()));
    let written = fs::write(&temporary, bytes).or_else(|_| {
        fs::create_dir_all(directory)?;
        fs::write(&temporary, bytes)
    });
    written.and_then(|()| fs::rename(&temporary, file)).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
}
