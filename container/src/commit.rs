//! What an instance changed, as a tar archive in the form of a container image's layer: `.wh.NAME` says that `NAME` is
//! gone, `.wh..wh..opq` that nothing is left of what was in the directory.

use crate::child;
use crate::description::Form;
use crate::name::Name;
use crate::say::say;
use crate::store::Store;
use anyhow::{Context as _, Result, bail};
use cvmfs_union::lookup::{Listed, Source};
use cvmfs_union::ownership::{ATTRIBUTE, Ownership};
use cvmfs_union::{Base, Layer, Union};
use cvmfs_view::{Errno, Refusal};
use rustix::fs::{lgetxattr, llistxattr};
use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    if description.form == Form::Laid {
        bail!("'{name}' is laid out by rules: it has no layer, and its changes are not known apart from copies");
    }
    let _still = locked.claim(name)?;
    drop(locked);
    let places = store.layers();
    if description.form == Form::Interposed {
        let layers: Vec<Layer> = description.layers.iter().map(|layer| Layer::at(layer.directory(&places))).collect();
        return into(archive, |out| {
            let mut out = BufWriter::with_capacity(1 << 18, out);
            write_interposed(layers, &mut out)?;
            out.flush().context("writing the archive")
        });
    }
    let layers: Vec<PathBuf> = description.layers.iter().map(|layer| layer.files(&places)).collect();
    // Only root among their owners can read all files, and sees owners as programs inside do.
    into(archive, |out: File| -> Result<()> {
        let child = child::start(&description.ids, 0, || {
            let mut out = BufWriter::with_capacity(1 << 18, out);
            write(&layers, &mut out)?;
            out.flush().context("writing the archive")?;
            Ok(0)
        })?;
        if child::end_of(child)? == 0 { Ok(()) } else { bail!("the archive is not complete") }
    })
}

/// Lets `write` write the archive, which is there when it is complete.
fn into(archive: &Path, write: impl FnOnce(File) -> Result<()>) -> Result<u8> {
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

/// Writes layers that the interposer keeps, the topmost first, as one.
fn write_interposed(layers: Vec<Layer>, out: &mut impl Write) -> Result<()> {
    let mut archive = Archive { tar: Builder::new(out), links: HashMap::new() };
    let (mut gone, mut places) = (BTreeSet::new(), BTreeSet::new());
    for layer in &layers {
        places.extend(layer.places().context("reading which names were made for something else")?);
        gone.extend(layer.gone_paths().context("reading which names are gone")?);
    }
    // Before what is there: a name that is gone may have been made again.
    for path in gone {
        let name = with_prefix(path.file_name().unwrap_or_default());
        archive.empty(&path.with_file_name(name))?;
    }
    // With nothing below, stubs stand for nothing.
    let union = Union::new(layers, Base::Nothing).context("reading the layers")?;
    let refused = |path: &[u8], refusal: Refusal| match refusal {
        Refusal::Error(Errno(errno)) => {
            anyhow::Error::from(io::Error::from_raw_os_error(errno)).context(format!("reading {}", shown(path)))
        }
        Refusal::WouldWait => anyhow::anyhow!("reading {}: nobody is asked here", shown(path)),
    };
    let mut directories = Vec::new();
    match union.root() {
        Ok(root) => directories.push((b"/".to_vec(), root)),
        // Nothing was ever changed.
        Err(Refusal::Error(Errno(libc::ENOENT))) => {}
        Err(refusal) => return Err(refused(b"/", refusal)),
    }
    while let Some((path, directory)) = directories.pop() {
        let mut listed = union.list(&directory, &path).map_err(|refusal| refused(&path, refusal))?;
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        for Listed { name, .. } in listed {
            let inner = cvmfs_union::child_path(&path, &name);
            let found = union.child(&directory, &path, &name).map_err(|refusal| refused(&inner, refusal))?;
            let Some(entry) = found else { continue };
            let Source::File(real) = union.source(&entry, &inner) else { continue };
            let metadata = fs::symlink_metadata(&real).with_context(|| format!("reading {}", real.display()))?;
            let inside = Path::new(OsStr::from_bytes(inner.strip_prefix(b"/").unwrap_or(&inner)));
            if places.contains(inside) && is_unused(&real, &metadata)? {
                continue;
            }
            archive.entry(inside, &real, &metadata, Ownership::told(entry.stat()))?;
            if entry.is_directory() {
                directories.push((inner, entry));
            }
        }
    }
    archive.tar.finish().context("writing the archive")
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// Whether nobody has put anything there.
fn is_unused(place: &Path, metadata: &Metadata) -> Result<bool> {
    if !metadata.is_dir() {
        return Ok(metadata.len() == 0);
    }
    Ok(fs::read_dir(place).with_context(|| format!("reading {}", place.display()))?.next().is_none())
}

/// Owner, group and bits as the kernel tells them.
fn real_ownership(metadata: &Metadata) -> Ownership {
    Ownership { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & 0o7777 }
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
                self.entry(&inner, top, metadata, real_ownership(metadata))?;
                let (sources, hides) = merged(&found)?;
                if hides {
                    self.empty(&inner.join(NOTHING_LEFT))?;
                }
                later.push((inner, sources));
            } else {
                self.entry(&inner, top, metadata, real_ownership(metadata))?;
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

    fn entry(&mut self, path: &Path, file: &Path, metadata: &Metadata, ownership: Ownership) -> Result<()> {
        let context = || format!("writing /{}", path.display());
        if path.iter().any(|name| name.as_bytes().starts_with(GONE.as_bytes())) {
            say!("/{}: such a name says in an archive that another one is gone; it is left out", path.display());
            return Ok(());
        }
        let mut header = Header::new_gnu();
        header.set_mode(ownership.mode);
        header.set_uid(ownership.uid.into());
        header.set_gid(ownership.gid.into());
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
            let own = name.starts_with(OVERLAY) || name == ATTRIBUTE.to_bytes();
            let kept = name.starts_with(b"user.") && !own || name == b"security.capability";
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
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        length => length.context("listing extended attributes")?,
    };
    let names = room.get(..length).unwrap_or_default().split(|byte| *byte == 0);
    Ok(names.filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
}

fn attribute(file: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let mut room = vec![0; 1 << 16];
    match lgetxattr(file, OsStr::from_bytes(name.as_bytes()), &mut room[..]) {
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::PERM) => Ok(None),
        length => {
            room.truncate(length.with_context(|| format!("reading the attribute {name}"))?);
            Ok(Some(room))
        }
    }
}
