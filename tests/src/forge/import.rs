use super::Forge;
use super::tree::Kind;
use std::collections::HashMap;
use std::ffi::CString;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// Trees of the local disk.
impl Forge {
    /// Adds what lies in `directory` below `at` (the root is empty): names, permissions, times, links, attributes
    /// named `user.*`. Everything belongs to root. Names of one file are hard links if they lie in one directory.
    pub fn tree(self, at: &str, directory: impl AsRef<Path>) -> Forge {
        let directory = directory.as_ref();
        let metadata = fs::symlink_metadata(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
        let forge = if at.is_empty() { self.at("") } else { self.dir(at) };
        forge.like(directory, &metadata).below(at.as_bytes(), directory)
    }

    fn below(mut self, at: &[u8], directory: &Path) -> Forge {
        let mut first_names: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
        let entries = fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
        let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        for name in names {
            let from = directory.join(&name);
            let to = [at, b"/", name.as_bytes()].concat();
            let metadata = fs::symlink_metadata(&from).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
            let read = |e| panic!("{}: {e}", from.display());
            self = if metadata.is_dir() {
                self.dir(&to).like(&from, &metadata).below(&to, &from)
            } else if metadata.is_symlink() {
                let target = fs::read_link(&from).unwrap_or_else(read);
                self.symlink(&to, target.as_os_str().as_bytes()).like(&from, &metadata)
            } else if !metadata.is_file() {
                assert!(metadata.file_type().is_fifo(), "{} is a device or socket", from.display());
                self.special(&to, 0o010000, 0).like(&from, &metadata)
            } else if let Some(first) = first_names.get(&(metadata.dev(), metadata.ino())) {
                self.hardlink(&to, first)
            } else {
                first_names.insert((metadata.dev(), metadata.ino()), to.clone());
                let bytes = fs::read(&from).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
                self.file(&to, bytes).like(&from, &metadata)
            };
        }
        self
    }

    /// Gives the current object the attributes of a file on disk.
    fn like(self, file: &Path, metadata: &Metadata) -> Forge {
        let nanoseconds = u32::try_from(metadata.mtime_nsec()).expect("less than a second");
        let mut forge = self.mtime(metadata.mtime()).mtime_ns(nanoseconds);
        if !metadata.is_symlink() {
            forge = forge.mode(metadata.mode() & 0o7777);
        }
        if !matches!(forge.tree[&forge.current].kind, Kind::Directory | Kind::File(_)) {
            return forge;
        }
        xattrs(file).into_iter().fold(forge, |forge, (name, value)| forge.xattr(name, value))
    }
}

fn xattrs(file: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let path = CString::new(file.as_os_str().as_bytes()).expect("a path");
    let mut names = [0_u8; 4096];
    // SAFETY: a C string, and a buffer with its size.
    let length = unsafe { libc::llistxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    // File systems without attributes have none.
    let names = &names[..usize::try_from(length).unwrap_or(0)];
    let mut found = Vec::new();
    for name in names.split(|&byte| byte == 0).filter(|name| name.starts_with(b"user.")) {
        let mut value = [0_u8; 4096];
        let c_name = CString::new(name).expect("a part without a zero");
        // SAFETY: C strings, and a buffer with its size.
        let length = unsafe { libc::lgetxattr(path.as_ptr(), c_name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        let length = usize::try_from(length).unwrap_or_else(|_| panic!("attribute of {}", file.display()));
        found.push((name.to_vec(), value[..length].to_vec()));
    }
    found
}
