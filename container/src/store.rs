//! The directory in which all instances of a user live.
//!
//! | in it | what |
//! |---|---|
//! | `NAME/` | an instance: its description, a lock, a place to mount upon |
//! | `.layers/` | what instances wrote |
//! | `.lock` | held by who changes any of this, for milliseconds |
//! | `.gone/` | what is being deleted |
//!
//! The description of an instance says which layers it consists of. Whatever no description names is garbage, so an
//! interrupted command leaves nothing half made: each change is one rename.

use crate::description::{Description, Form};
use crate::kept::Kept;
use crate::layer::{self, LayerId};
use crate::name::Name;
use crate::remove;
use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};
use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const LOCK: &str = ".lock";
const LAYERS: &str = ".layers";
const GONE: &str = ".gone";
/// What instances that are being made are called.
const UNFINISHED: &str = ".new-";

/// All instances of a user.
#[derive(Debug)]
pub(crate) struct Store {
    base: PathBuf,
}

/// The same, while nobody else changes anything.
pub(crate) struct Locked<'s> {
    store: &'s Store,
    _lock: File,
}

/// An instance that runs as long as somebody has this.
#[derive(Debug)]
pub(crate) struct Running {
    /// Keeps the lock; processes that inherit it keep it, too.
    _lock: File,
}

/// What `list` tells about an instance.
pub(crate) struct Known {
    pub(crate) name: Name,
    /// None if it cannot be read.
    pub(crate) description: Option<Description>,
    /// The process that started it, if it runs.
    pub(crate) running: Option<u32>,
}

impl Store {
    /// `$XDG_STATE_HOME/cernvm-fork`, made where missing.
    ///
    /// # Errors
    /// If there is no such place, or others can change something in it.
    pub(crate) fn open() -> Result<Store> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        let state = state.context("neither XDG_STATE_HOME nor HOME is set: there is no place for instances")?;
        Store::at(state.join("cernvm-fork"))
    }

    fn at(base: PathBuf) -> Result<Store> {
        let context = || format!("making {}; XDG_STATE_HOME can name another place", base.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&base).with_context(context)?;
        let base = fs::canonicalize(&base).with_context(context)?;
        let found = fs::metadata(&base).with_context(context)?;
        if found.uid() != rustix::process::getuid().as_raw() || found.mode() & 0o022 != 0 {
            bail!("{} must belong to you, and nobody else may write to it", base.display());
        }
        for inner in [LAYERS, GONE] {
            match DirBuilder::new().mode(0o700).create(base.join(inner)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error).with_context(context),
                _ => {}
            }
        }
        Ok(Store { base })
    }

    /// Where it is.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// The directory of layers.
    pub(crate) fn layers(&self) -> PathBuf {
        self.base.join(LAYERS)
    }

    /// The directory of an instance.
    pub(crate) fn instance(&self, name: &Name) -> PathBuf {
        self.base.join(name.as_str())
    }

    /// Waits until nobody else changes anything.
    pub(crate) fn lock(&self) -> Result<Locked<'_>> {
        let path = self.base.join(LOCK);
        let file = lock_file(&path)?;
        flock(&file, FlockOperation::LockExclusive).with_context(|| format!("locking {}", path.display()))?;
        Ok(Locked { store: self, _lock: file })
    }

    /// Deletes what was given up. This takes its time and needs no lock.
    pub(crate) fn delete_gone(&self) -> Result<()> {
        remove::everything_in(&self.base.join(GONE))
    }
}

fn lock_file(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options.open(path).with_context(|| format!("opening {}", path.display()))
}

impl Locked<'_> {
    fn names(&self) -> Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.store.base).with_context(|| self.store.base.display().to_string())? {
            names.extend(entry?.file_name().to_str().and_then(|name| name.parse::<Name>().ok()));
        }
        names.sort();
        Ok(names)
    }

    /// All instances.
    pub(crate) fn all(&self) -> Result<Vec<Known>> {
        let known = |name: Name| Known { description: self.read(&name).ok(), running: self.running(&name), name };
        Ok(self.names()?.into_iter().map(known).collect())
    }

    /// Whether there is such an instance.
    pub(crate) fn has(&self, name: &Name) -> bool {
        fs::symlink_metadata(self.store.instance(name)).is_ok()
    }

    /// The description of an instance.
    pub(crate) fn read(&self, name: &Name) -> Result<Description> {
        if !self.has(name) {
            bail!("there is no instance '{name}' in {}; see 'cernvm-fork list'", self.store.base.display());
        }
        Description::read(&self.store.instance(name))
    }

    /// The process that started an instance, if it runs.
    pub(crate) fn running(&self, name: &Name) -> Option<u32> {
        let mut lock = File::open(self.store.instance(name).join("lock")).ok()?;
        flock(&lock, FlockOperation::NonBlockingLockShared).is_err().then(|| {
            let mut text = String::new();
            let _ = lock.read_to_string(&mut text);
            text.trim().parse().unwrap_or(0)
        })
    }

    /// Begins to run an instance.
    ///
    /// # Errors
    /// If it runs already.
    pub(crate) fn claim(&self, name: &Name) -> Result<Running> {
        let mut lock = lock_file(&self.store.instance(name).join("lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let by = self.running(name).unwrap_or(0);
                bail!("'{name}' is running (process {by}): end what runs in it, or kill that process, and try again");
            }
            taken => taken.with_context(|| format!("locking '{name}'"))?,
        }
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).context("writing who runs it")?;
        Ok(Running { _lock: lock })
    }

    /// Makes a new instance over nothing but its operating system.
    pub(crate) fn make(&self, name: &Name, mut description: Description) -> Result<Running> {
        let layers = self.store.layers();
        description.layers.insert(0, layer::make(&layers, description.form, &description.ids)?);
        let unfinished = self.store.base.join(format!("{UNFINISHED}{name}"));
        let made = DirBuilder::new().mode(0o700).create(&unfinished);
        made.with_context(|| format!("making {}", unfinished.display()))?;
        description.write(&unfinished)?;
        fs::create_dir(unfinished.join("root")).with_context(|| format!("writing into {}", unfinished.display()))?;
        let place = self.store.instance(name);
        fs::rename(&unfinished, &place).with_context(|| format!("making {}", place.display()))?;
        self.claim(name)
    }

    /// Makes a new instance that begins where `parent` is. Both go on in new layers over what `parent` wrote until now.
    ///
    /// # Errors
    /// If the parent runs: what it writes would show through.
    pub(crate) fn fork(&self, name: &Name, parent: &Name, kept: Kept, ephemeral: bool) -> Result<Running> {
        let mut below = self.read(parent)?;
        if below.form == Form::Laid {
            bail!("'{parent}' is laid out by rules, and has no layers that could be shared: --new makes another one");
        }
        let _still = self.claim(parent).context("only what is not being written to can be shared")?;
        let layers = self.store.layers();
        let written = below.layers.first().is_some_and(|top| !layer::is_empty(&layers, below.form, top));
        let most = below.form.most_layers();
        if written && below.layers.len() >= most {
            bail!(
                "'{parent}' consists of {most} layers, and more cannot be laid upon each other: publish what 'cernvm-fork commit \
                 {parent}' writes, and begin anew over that"
            );
        }
        if written {
            below.layers.insert(0, layer::make(&layers, below.form, &below.ids)?);
            below.write(&self.store.instance(parent))?;
        }
        let mut description = Description::new(below.root, below.form, below.ids, ephemeral);
        (description.os, description.root_hash, description.kept) = (below.os, below.root_hash, kept);
        description.layers = below.layers.get(1..).unwrap_or_default().to_vec();
        self.make(name, description)
    }

    /// Takes an instance away, at once; what it consisted of is garbage then.
    ///
    /// # Errors
    /// If it runs.
    pub(crate) fn destroy(&self, name: &Name) -> Result<()> {
        if !self.has(name) {
            bail!("there is no instance '{name}' in {}; see 'cernvm-fork list'", self.store.base.display());
        }
        let _still = self.claim(name)?;
        self.give_up(&self.store.instance(name))
    }

    fn give_up(&self, path: &Path) -> Result<()> {
        let gone = self.store.base.join(GONE).join(format!("{:016x}", fastrand::u64(..)));
        fs::rename(path, &gone).with_context(|| format!("moving {} away", path.display()))
    }

    /// Gives up what nobody needs: layers that no instance consists of, what an interrupted command left, and
    /// ephemeral instances that were killed.
    pub(crate) fn sweep(&self) -> Result<()> {
        let base = &self.store.base;
        for entry in fs::read_dir(base).with_context(|| base.display().to_string())? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
                self.give_up(&entry.path())?;
            }
        }
        let mut used = HashSet::new();
        for known in self.all()? {
            // Nobody knows what that one needs.
            let Some(description) = known.description else { return Ok(()) };
            if description.ephemeral && known.running.is_none() {
                self.give_up(&base.join(known.name.as_str()))?;
                continue;
            }
            used.extend(description.layers.iter().map(LayerId::file_name));
        }
        for entry in fs::read_dir(self.store.layers()).context("reading the layers")? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| used.contains(name)) {
                self.give_up(&entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
