//! A loader on the scratch. The image's own loader starts it by `kexec`, and counts first; the operating system says that it is up.
//! What never comes up is tried [`TRIES`] times, and then left alone.
//!
//! The descriptor is renamed into place after the files that it names, and taken away before them, so at every moment a complete
//! loader is there, or none.

use crate::contract::{self, OF_SCRATCH, Verdict, Version};
use crate::loader::{self, DESCRIPTOR, INITRD, KERNEL, LONGEST, Loader, Part};
use crate::pack::{self, Pack};
use crate::state::{remove, replace, sync_parent};
use crate::{At as _, Before, Error};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Where it is on the scratch.
pub const DIRECTORY: &str = "kexec";
/// How often a loader is started that does not come up.
pub const TRIES: u32 = 3;
/// Added to the names of files that are not complete.
const ARRIVING: &str = ".arriving";

/// A loader on the scratch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Which one.
    pub loader: Loader,
    /// How often it may be started before the operating system says again that it is up.
    pub tries: u32,
    /// The operating system has said so at least once.
    pub proven: bool,
    /// The image that started it first. Another image may be newer.
    pub image: Option<String>,
}

/// What the image's own loader is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Go on: there is no other.
    Own,
    /// Start this one. The try is counted.
    Start(Staged),
    /// Go on: this one was tried often enough.
    Exhausted(Staged),
    /// Go on: this one was started by another image.
    OtherImage(Staged),
}

impl Staged {
    /// The loader that is there; `None` if there is none.
    ///
    /// # Errors
    /// Where the descriptor cannot be read, or says something else.
    pub fn read(scratch: &Path) -> Result<Option<Staged>, Error> {
        let file = descriptor(scratch);
        let mut text = String::new();
        match File::open(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            open => open.and_then(|open| open.take(LONGEST).read_to_string(&mut text)).at(&file)?,
        };
        Staged::parse(&text).map(Some).map_err(|reason| Error::Loader { path: file, reason })
    }

    fn parse(text: &str) -> Result<Staged, String> {
        let loader = Loader::parse(text)?;
        let lines = loader::lines(text)?;
        let tries = loader::value(&lines, "tries")?.parse().map_err(|_| "tries: no number".to_owned())?;
        let image = loader::value(&lines, "image").ok().map(str::to_owned);
        Ok(Staged { loader, tries, proven: loader::value(&lines, "proven") == Ok("yes"), image })
    }

    fn to_text(&self) -> String {
        let mut more = vec![("tries", self.tries.to_string())];
        more.extend(self.proven.then(|| ("proven", "yes".to_owned())));
        more.extend(self.image.clone().map(|image| ("image", image)));
        self.loader.to_text_with(&more)
    }

    fn write(&self, scratch: &Path) -> Result<(), Error> {
        replace(&descriptor(scratch), self.to_text().as_bytes())
    }

    /// The two files, after every byte of them was found to be what the descriptor says.
    ///
    /// # Errors
    /// Where they cannot be read, or are something else.
    pub fn open(&self, scratch: &Path) -> Result<(File, File), Error> {
        let open = |name, part: &Part| {
            let path = place(scratch, name, &self.loader);
            let mut file = File::open(&path).at(&path)?;
            match pack::sum(&mut file, part, &mut std::io::sink()).at(&path)? {
                true => Ok(file),
                false => Err(Error::Loader { path, reason: "not what the descriptor says".to_owned() }),
            }
        };
        Ok((open(KERNEL, &self.loader.kernel)?, open(INITRD, &self.loader.initrd)?))
    }
}

/// Puts the loader of a pack onto the scratch, for the next boot; `tree` is what the operating system says about its contract. Tells
/// what may be missing.
///
/// # Errors
/// Where it does not fit, is damaged, or cannot be written. What was there before is still there then.
pub fn stage(scratch: &Path, pack: Pack, tree: Option<&str>) -> Result<Vec<String>, Error> {
    stage_with(scratch, pack, tree, &mut || Ok(()))
}

/// Takes the loader away. `false` if there was none.
///
/// # Errors
/// Of the file system. The next boot may start it then, or not.
pub fn forget(scratch: &Path) -> Result<bool, Error> {
    forget_with(scratch, &mut || Ok(()))
}

/// Decides which loader boots, and counts the try. `image` is the image that has booted.
///
/// # Errors
/// Where that cannot be read or made durable: nothing may be started then.
pub fn next(scratch: &Path, image: &str) -> Result<Next, Error> {
    let Some(staged) = Staged::read(scratch)? else { return Ok(Next::Own) };
    if staged.image.as_ref().is_some_and(|first| first != image) {
        return Ok(Next::OtherImage(staged));
    }
    let Some(tries) = staged.tries.min(TRIES).checked_sub(1) else { return Ok(Next::Exhausted(staged)) };
    let staged = Staged { tries, image: Some(image.to_owned()), ..staged };
    staged.write(scratch)?;
    Ok(Next::Start(staged))
}

/// The operating system is up, started by the loader that is called `running`: that one has all its tries again. `None` if it is not
/// the one on the scratch.
///
/// # Errors
/// Of the file system.
pub fn approve(scratch: &Path, running: Option<&str>) -> Result<Option<Staged>, Error> {
    let _alone = alone(scratch)?;
    let Some(staged) = Staged::read(scratch)?.filter(|staged| running == Some(staged.loader.id().as_str())) else {
        return Ok(None);
    };
    let approved = Staged { tries: TRIES, proven: true, ..staged.clone() };
    if approved != staged {
        approved.write(scratch)?;
    }
    Ok(Some(approved))
}

fn stage_with(scratch: &Path, pack: Pack, tree: Option<&str>, before: Before<'_>) -> Result<Vec<String>, Error> {
    let loader = pack.loader.clone();
    let remarks = fits(scratch, tree, loader.contract)?;
    let _alone = alone(scratch)?;
    before()?;
    // Of one that was cut short, too: there is not room for many.
    let present = Staged::read(scratch).ok().flatten().map(|staged| staged.loader);
    sweep(scratch, present.as_ref())?;
    let arriving = |name| {
        let mut path = place(scratch, name, &loader).into_os_string();
        path.push(ARRIVING);
        PathBuf::from(path)
    };
    let copied = pack.copy(|name| {
        before()?;
        let path = arriving(name);
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).at(path)
    });
    if let Err(error) = copied {
        sweep(scratch, present.as_ref())?;
        return Err(error);
    }
    for name in [KERNEL, INITRD] {
        before()?;
        let path = arriving(name);
        fs::rename(&path, place(scratch, name, &loader)).at(path)?;
    }
    sync_parent(&descriptor(scratch))?;
    before()?;
    Staged { loader: loader.clone(), tries: TRIES, proven: false, image: None }.write(scratch)?;
    before()?;
    sweep(scratch, Some(&loader))?;
    Ok(remarks)
}

fn forget_with(scratch: &Path, before: Before<'_>) -> Result<bool, Error> {
    let _alone = alone(scratch)?;
    let was_there = descriptor(scratch).exists();
    before()?;
    remove(&descriptor(scratch))?;
    sync_parent(&descriptor(scratch))?;
    before()?;
    sweep(scratch, None)?;
    Ok(was_there)
}

/// Whether a loader of this contract can use scratch and tree; what it may miss.
fn fits(scratch: &Path, tree: Option<&str>, theirs: Version) -> Result<Vec<String>, Error> {
    let mut remarks = Vec::new();
    let of_scratch = fs::read_to_string(scratch.join(OF_SCRATCH)).ok();
    for (what, text) in [("scratch", of_scratch.as_deref()), ("operating system", tree)] {
        match contract::judge(text, theirs) {
            Verdict::Fits => {}
            Verdict::Lacks(needed) => {
                remarks.push(format!(
                    "the {what} is of contract {needed}, the loader of {theirs}: something may be missing"
                ));
            }
            Verdict::Foreign(needed) => {
                let reason = format!("the {what} is of contract {needed}, the loader of {theirs}");
                return Err(Error::Loader { path: descriptor(scratch), reason });
            }
        }
    }
    Ok(remarks)
}

/// Removes what does not belong to `kept`.
fn sweep(scratch: &Path, kept: Option<&Loader>) -> Result<(), Error> {
    let directory = scratch.join(DIRECTORY);
    let keep: Vec<PathBuf> = kept
        .map(|loader| vec![descriptor(scratch), place(scratch, KERNEL, loader), place(scratch, INITRD, loader)])
        .unwrap_or_default();
    for entry in fs::read_dir(&directory).at(&directory)? {
        let path = entry.at(&directory)?.path();
        if !keep.contains(&path) && !path.is_dir() {
            remove(&path)?;
        }
    }
    Ok(())
}

/// As long as this lives nobody else changes the loader.
fn alone(scratch: &Path) -> Result<File, Error> {
    let path = scratch.join(DIRECTORY);
    let directory = File::open(&path).at(&path)?;
    rustix::fs::flock(&directory, rustix::fs::FlockOperation::LockExclusive).at(&path)?;
    Ok(directory)
}

fn descriptor(scratch: &Path) -> PathBuf {
    scratch.join(DIRECTORY).join(DESCRIPTOR)
}

/// Where a file of `loader` is. Another loader has other names, so that both can be there.
fn place(scratch: &Path, name: &str, loader: &Loader) -> PathBuf {
    scratch.join(DIRECTORY).join(format!("{name}-{}", loader.id()))
}

#[cfg(test)]
mod tests;
