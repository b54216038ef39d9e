//! What an instance changed, as a tar archive in the form of a container image's layer: `.wh.NAME` says that `NAME` is
//! gone, `.wh..wh..opq` that nothing is left of what was in the directory.

use crate::child;
use crate::name::Name;
use crate::say::say;
use crate::store::Store;
use anyhow::{Context as _, Result, bail};
use rustix::fs::{lgetxattr, llistxattr};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

const GONE: &str = ".wh.";
const NOTHING_LEFT: &str = ".wh..wh..opq";
/// What overlayfs writes for itself.
const OVERLAY: &[u8] = b"user.overlay.";

/// Writes what `name` changed, over all its layers, into `archive`; `-` is the standard output.
pub(crate) fn run(name: &Name, archive: &Path) -> Result<u8> {
    let store = Store::open()?;
    let locked = store.lock()?;
    let description = locked.read(name)?;
    let _still = locked.claim(name)?;
    drop(locked);
    let layers: Vec<PathBuf> = description.layers.iter().map(|layer| layer.files(&store.layers())).collect();
    // Only root among their owners can read all files, and sees owners as programs inside do.
    let write = |out: File| -> Result<()> {
        let child = child::start(&description.ids, 0, || {
            let mut out = BufWriter::with_capacity(1 << 18, out);
            write(&layers, &mut out)?;
            out.flush().context("writing the archive")?;
            Ok(0)
        })?;
        if child::end_of(child)? == 0 { Ok(()) } else { bail!("the archive is not complete") }
    };
    if archive == Path::new("-") {
        if io::stdout().is_terminal() {
            bail!("an archive is not for a terminal: name a file");
        }
        let out = rustix::io::dup(io::stdout()).context("writing to the standard output")?;
        write(out.into())?;
        return Ok(0);
    }
    let context = || format!("writing {}", archive.display());
    let mut unfinished = archive.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let file = File::options().write(true).create(true).truncate(true).open(&unfinished).with_context(context)?;
    let written = write(file).and_then(|()| fs::rename(&unfinished, archive).with_context(context));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written.map(|()| 0)
}

/// Writes these layers, the topmost first, as one.
fn write(layers: &[PathBuf], out: &mut impl Write) -> Result<()> {
    let mut archive = Archive { tar: Builder::new(out), links: HashMap::new() };
    let mut directories = vec![(PathBuf::new(), layers.to_vec())];
    // Not by recursion: a tree may be deep.
    while let Some((path, sources)) = directories.pop() {
        archive.directory(&path, &sources, &mut directories)?;
    }
    archive.tar.finish().context("writing the archive")
}

struct Archive<W: Write> {
    tar: Builder<W>,
    /// Where files with several names were written first.
    links: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Archive<W> {
    /// Writes what is in the directory `path`, which these directories make up, the topmost first.
    fn directory(&mut self, path: &Path, sources: &[PathBuf], later: &mut Vec<(PathBuf, Vec<PathBuf>)>) -> Result<()> {
        let mut names: BTreeMap<OsString, Vec<(PathBuf, Metadata)>> = BTreeMap::new();
        for source in sources {
            for entry in fs::read_dir(source).with_context(|| format!("reading {}", source.display()))? {
                let found = entry?.path();
                let metadata = fs::symlink_metadata(&found).with_context(|| format!("reading {}", found.display()))?;
                let name = found.file_name().unwrap_or_default().to_owned();
                names.entry(name).or_default().push((found, metadata));
            }
        }
        for (name, found) in names {
            let inner = path.join(&name);
            let Some((top, metadata)) = found.first() else { continue };
            if is_whiteout(top, metadata)? {
                self.empty(&path.join(with_prefix(&name)))?;
            } else if metadata.is_dir() {
                self.entry(&inner, top, metadata)?;
                let (sources, hides) = merged(&found)?;
                if hides {
                    self.empty(&inner.join(NOTHING_LEFT))?;
                }
                later.push((inner, sources));
            } else {
                self.entry(&inner, top, metadata)?;
            }
        }
        Ok(())
    }

    /// A file that is only a name.
    fn empty(&mut self, path: &Path) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_size(0);
        self.tar.append_data(&mut header, path, io::empty()).with_context(|| format!("writing {}", path.display()))
    }

    fn entry(&mut self, path: &Path, file: &Path, metadata: &Metadata) -> Result<()> {
        let context = || format!("writing /{}", path.display());
        let mut header = Header::new_gnu();
        header.set_mode(metadata.mode() & 0o7777);
        header.set_uid(metadata.uid().into());
        header.set_gid(metadata.gid().into());
        header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
        header.set_size(0);
        let kind = metadata.file_type();
        if !metadata.is_dir() && metadata.nlink() > 1 {
            let identity = (metadata.dev(), metadata.ino());
            if let Some(first) = self.links.get(&identity) {
                header.set_entry_type(EntryType::Link);
                return self.tar.append_link(&mut header, path, first).with_context(context);
            }
            self.links.insert(identity, path.to_owned());
        }
        if kind.is_socket() {
            say!("/{} is a socket, which no archive can hold", path.display());
            return Ok(());
        }
        self.extensions(file, metadata).with_context(context)?;
        if kind.is_file() {
            header.set_entry_type(EntryType::Regular);
            header.set_size(metadata.len());
            let content = File::open(file).with_context(context)?;
            return self.tar.append_data(&mut header, path, content).with_context(context);
        }
        if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            let target = fs::read_link(file).with_context(context)?;
            return self.tar.append_link(&mut header, path, target).with_context(context);
        }
        header.set_entry_type(match () {
            () if kind.is_dir() => EntryType::Directory,
            () if kind.is_fifo() => EntryType::Fifo,
            () if kind.is_char_device() => EntryType::Char,
            () => EntryType::Block,
        });
        if kind.is_char_device() || kind.is_block_device() {
            let device = metadata.rdev();
            header.set_device_major(rustix::fs::major(device))?;
            header.set_device_minor(rustix::fs::minor(device))?;
        }
        self.tar.append_data(&mut header, path, io::empty()).with_context(context)
    }

    /// What a plain header has no room for: fractions of seconds and extended attributes.
    fn extensions(&mut self, file: &Path, metadata: &Metadata) -> Result<()> {
        let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
        if metadata.mtime_nsec() != 0 || metadata.mtime() < 0 {
            pairs.push(("mtime".to_owned(), decimal(metadata.mtime(), metadata.mtime_nsec()).into_bytes()));
        }
        for name in attributes(file)? {
            let kept = name.starts_with(b"user.") && !name.starts_with(OVERLAY) || name == b"security.capability";
            if let (true, Ok(text)) = (kept, std::str::from_utf8(&name))
                && let Some(value) = attribute(file, text)?
            {
                pairs.push((format!("SCHILY.xattr.{text}"), value));
            }
        }
        let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        Ok(self.tar.append_pax_extensions(pairs)?)
    }
}

/// Of one name, in layers from the top down: the directories that make it up, and whether they hide what lies below.
fn merged(found: &[(PathBuf, Metadata)]) -> Result<(Vec<PathBuf>, bool)> {
    let mut sources = Vec::new();
    for (path, metadata) in found {
        if !metadata.is_dir() {
            return Ok((sources, true));
        }
        sources.push(path.clone());
        if attribute(path, "user.overlay.opaque")?.is_some_and(|value| value == b"y") {
            return Ok((sources, true));
        }
    }
    Ok((sources, false))
}

/// Whether overlayfs says by this that a name is gone.
fn is_whiteout(path: &Path, metadata: &Metadata) -> Result<bool> {
    if metadata.file_type().is_char_device() {
        return Ok(metadata.rdev() == 0);
    }
    let marked = metadata.is_file() && metadata.len() == 0;
    Ok(marked && attribute(path, "user.overlay.whiteout")?.is_some())
}

fn with_prefix(name: &OsStr) -> OsString {
    let mut whole = OsString::from(GONE);
    whole.push(name);
    whole
}

fn decimal(seconds: i64, nanoseconds: i64) -> String {
    match seconds < 0 && nanoseconds > 0 {
        // The fraction counts from zero away.
        true => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds),
        false => format!("{seconds}.{nanoseconds:09}"),
    }
}

fn attributes(file: &Path) -> Result<Vec<Vec<u8>>> {
    let mut room = vec![0; 1 << 16];
    let length = match llistxattr(file, &mut room[..]) {
        Err(Errno::OPNOTSUPP) => 0,
        length => length.context("listing extended attributes")?,
    };
    let names = room.get(..length).unwrap_or_default().split(|byte| *byte == 0);
    Ok(names.filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
}

fn attribute(file: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let mut room = vec![0; 1 << 16];
    match lgetxattr(file, OsStr::from_bytes(name.as_bytes()), &mut room[..]) {
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => Ok(None),
        length => {
            room.truncate(length.with_context(|| format!("reading the attribute {name}"))?);
            Ok(Some(room))
        }
    }
}
