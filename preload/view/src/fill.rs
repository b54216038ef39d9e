//! Making a whole directory listable by the kernel.

use crate::place::{PLACEHOLDER_MODE, make, private_directories};
use crate::placeholder::{Placeholder, link_open_file};
use crate::{Refusal, View};
use libcvmfs::namespace::{FileKind, Node};
use rustix::fs::{CWD, FileType, Mode};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Mode of a directory whose entries all have their names.
pub const FILLED: u32 = 0o1700;

/// The file that stands for contents not fetched yet, under all their names.
static PLACEHOLDER: Placeholder = Placeholder::new();

impl View {
    /// Gives every entry of the directory `node` a name of the right type, so that the kernel can list it. What has
    /// not been fetched is a name of an empty file that nobody may read.
    ///
    /// A directory that was filled is marked by its sticky bit, for what it holds never changes; only the top does.
    pub fn fill(&self, node: &Node) -> Result<(), Refusal> {
        let name = self.name(node);
        private_directories(&name)?;
        if std::fs::metadata(&name)?.mode() & 0o7777 == FILLED {
            return Ok(());
        }
        let there: HashSet<Box<OsStr>> =
            std::fs::read_dir(&name)?.flatten().map(|entry| entry.file_name().into_boxed_os_str()).collect();
        for item in node.list()?.iter() {
            if there.contains(OsStr::from_bytes(&item.name)) {
                continue;
            }
            let real = name.join(OsStr::from_bytes(&item.name));
            match item.kind {
                FileKind::Directory => match std::fs::create_dir(&real) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
                    _ => std::fs::set_permissions(&real, Permissions::from_mode(0o700)).unwrap_or(()),
                },
                FileKind::Symlink => {
                    let child = node.child(&item.name)?;
                    let made = child.as_ref().map(|child| self.materialise(child));
                    if !matches!(made, Some(Ok(_))) {
                        // A target that no file system can hold; the kernel does not follow it here.
                        make(&real, |name| std::os::unix::fs::symlink(".", name))?;
                    }
                }
                FileKind::Regular => self.place_holder(&real)?,
                kind => make(&real, |name| special(name, kind))?,
            }
        }
        if node.snapshot().is_some() {
            std::fs::set_permissions(&name, Permissions::from_mode(FILLED))?;
        }
        Ok(())
    }

    pub(crate) fn place_holder(&self, name: &Path) -> io::Result<()> {
        PLACEHOLDER.name(|file| make(name, |name| link_open_file(file, name)), || self.new_placeholder())
    }

    fn new_placeholder(&self) -> io::Result<File> {
        let name = self.temporary();
        let file = File::options().write(true).create_new(true).mode(0o600).open(&name)?;
        let reading = File::open(&name)?;
        file.set_permissions(Permissions::from_mode(PLACEHOLDER_MODE))?;
        Ok(reading)
    }
}

/// A file of a type that is neither read nor followed.
fn special(name: &Path, kind: FileKind) -> io::Result<()> {
    let (kind, device) = match kind {
        FileKind::Fifo => (FileType::Fifo, 0),
        FileKind::Socket => (FileType::Socket, 0),
        // The one device that anybody may make: it leads nowhere.
        _ => (FileType::CharacterDevice, 0),
    };
    match rustix::fs::mknodat(CWD, name, kind, Mode::from_raw_mode(0o600), device) {
        Err(rustix::io::Errno::PERM) => Ok(rustix::fs::mknodat(CWD, name, FileType::Socket, Mode::empty(), 0)?),
        made => Ok(made?),
    }
}
