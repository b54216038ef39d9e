//! Files on the scratch that say which snapshot is booted, and which is wanted. Each is complete or not there.

use crate::{At as _, Error};
use std::fs;
use std::io::Write as _;
use std::path::Path;

/// The pin: root hash and tag.
pub const PIN: &str = "aux/cvmfs_snapshot";
/// The pin before that.
pub const PREVIOUS: &str = "aux/cvmfs_snapshot.previous";
/// A tag to rebase to at the next boot.
pub const FORCED: &str = "aux/cvmfs_force_tag";
/// What is to be done at the next boot.
pub const WISH: &str = "aux/update";
/// The snapshot that users do not want to hear of any more.
pub const STAY: &str = "aux/stay";

/// A snapshot that a machine stays at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Hash of the root catalog.
    pub root_hash: String,
    /// The tag that was asked for, if one was.
    pub tag: Option<String>,
}

impl Pin {
    /// Reads the two lines of a pin; `None` if it was cut short.
    pub fn parse(text: &str) -> Option<Pin> {
        let mut lines = text.lines().map(str::trim);
        let root_hash = lines.next().filter(|hash| !hash.is_empty())?.to_owned();
        Some(Pin { root_hash, tag: lines.next().filter(|tag| !tag.is_empty()).map(str::to_owned) })
    }

    /// As it is written.
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n", self.root_hash, self.tag.as_deref().unwrap_or_default())
    }

    /// The pin in the file `name` of `scratch`.
    pub fn read(scratch: &Path, name: &str) -> Option<Pin> {
        Pin::parse(&fs::read_to_string(scratch.join(name)).ok()?)
    }

    /// Pins. The pin that was there is kept as the one before; all wishes are fulfilled.
    ///
    /// # Errors
    /// Of the file system. The old pin is still there then.
    pub fn write(&self, scratch: &Path) -> Result<(), Error> {
        if let Some(old) = Pin::read(scratch, PIN).filter(|old| old.root_hash != self.root_hash) {
            replace(&scratch.join(PREVIOUS), old.to_text().as_bytes())?;
        }
        replace(&scratch.join(PIN), self.to_text().as_bytes())?;
        for name in [FORCED, WISH, STAY] {
            remove(&scratch.join(name))?;
        }
        // A wish that comes back after a power cut would be fulfilled again, and keep a machine at a snapshot that does not come up.
        sync_parent(&scratch.join(WISH))
    }
}

/// What becomes of the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It stays as it is, and hides what the new snapshot has in the same places.
    Diverge,
    /// What belongs to the operating system comes from the new snapshot; what belongs to the user stays.
    Rebase,
}

impl Action {
    const ALL: [Action; 2] = [Action::Diverge, Action::Rebase];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Action::Diverge => "diverge",
            Action::Rebase => "rebase",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.name() == word)
    }
}

/// What is to be done at the next boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// With the overlay.
    pub action: Action,
    /// Hash of the root catalog to go to.
    pub root_hash: Option<String>,
    /// The tag to go to; without either the newest snapshot.
    pub tag: Option<String>,
}

impl Wish {
    /// Reads lines of `key=value`; `None` where no action is told that is known.
    pub fn parse(text: &str) -> Option<Wish> {
        let value = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.trim().split_once('='));
            lines.find(|(name, value)| *name == key && !value.is_empty()).map(|(_, value)| value.to_owned())
        };
        let action = Action::parse(&value("action")?)?;
        Some(Wish { action, root_hash: value("root_hash"), tag: value("tag") })
    }

    /// As it is written.
    pub fn to_text(&self) -> String {
        let mut text = format!("action={}\n", self.action.name());
        for (key, value) in [("root_hash", &self.root_hash), ("tag", &self.tag)] {
            text.extend(value.iter().map(|value| format!("{key}={value}\n")));
        }
        text
    }

    /// What is wished on `scratch`; a forced tag is a wish, too.
    pub fn read(scratch: &Path) -> Option<Wish> {
        let read = |name: &str| fs::read_to_string(scratch.join(name)).ok();
        Wish::of(read(WISH).as_deref(), read(FORCED).as_deref())
    }

    /// The same, of the contents of the two files.
    pub fn of(wish: Option<&str>, forced: Option<&str>) -> Option<Wish> {
        let tag = forced.and_then(|text| text.lines().next()).map(str::trim).filter(|tag| !tag.is_empty());
        let forced = tag.map(|tag| Wish { action: Action::Rebase, root_hash: None, tag: Some(tag.to_owned()) });
        forced.or_else(|| Wish::parse(wish?))
    }

    /// Wishes; what was wished before is forgotten.
    ///
    /// # Errors
    /// Of the file system.
    pub fn write(&self, scratch: &Path) -> Result<(), Error> {
        Wish::forget(scratch)?;
        replace(&scratch.join(WISH), self.to_text().as_bytes())
    }

    /// Takes every wish back.
    ///
    /// # Errors
    /// Of the file system.
    pub fn forget(scratch: &Path) -> Result<(), Error> {
        remove(&scratch.join(FORCED))?;
        remove(&scratch.join(WISH))
    }
}

/// Writes a file that is complete whenever it is there.
///
/// # Errors
/// Of the file system.
pub fn replace(file: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let temporary = Path::new(&name);
    let mut open = fs::File::create(temporary).at(temporary)?;
    open.write_all(bytes).at(temporary)?;
    open.sync_all().at(temporary)?;
    fs::rename(temporary, file).at(file)?;
    sync_parent(file)
}

/// Makes durable which names there are beside `file`.
pub(crate) fn sync_parent(file: &Path) -> Result<(), Error> {
    let parent = file.parent().unwrap_or(Path::new("."));
    fs::File::open(parent).and_then(|directory| directory.sync_all()).at(parent)
}

/// Removes a file that may not be there.
pub(crate) fn remove(file: &Path) -> Result<(), Error> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at(file),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(hash: &str, tag: Option<&str>) -> Pin {
        Pin { root_hash: hash.to_owned(), tag: tag.map(str::to_owned) }
    }

    #[test]
    fn a_pin_is_written_and_wishes_are_gone() {
        let scratch = tempfile::tempdir().expect("a directory");
        let scratch = scratch.path();
        fs::create_dir(scratch.join("aux")).expect("a directory");
        fs::write(scratch.join(FORCED), "old\n").expect("a file");
        fs::write(scratch.join(WISH), "action=rebase\n").expect("a file");
        pin("abc", Some("old")).write(scratch).expect("a pin");
        assert_eq!(fs::read_to_string(scratch.join(PIN)).expect("a pin"), "abc\nold\n");
        assert!(Wish::read(scratch).is_none());
        assert_eq!(Pin::read(scratch, PREVIOUS), None);
        pin("def", None).write(scratch).expect("a pin");
        pin("def", None).write(scratch).expect("the same pin");
        assert_eq!(Pin::read(scratch, PIN), Some(pin("def", None)));
        assert_eq!(Pin::read(scratch, PREVIOUS), Some(pin("abc", Some("old"))), "not the same one twice");
    }

    #[test]
    fn a_pin_that_was_cut_short_is_none() {
        assert_eq!(Pin::parse("\n"), None);
        assert_eq!(Pin::parse("abc"), Some(pin("abc", None)));
    }

    #[test]
    fn wishes_read_back_and_a_forced_tag_comes_first() {
        for action in Action::ALL {
            let wish = Wish { action, root_hash: Some("abc".to_owned()), tag: None };
            assert_eq!(Wish::parse(&wish.to_text()), Some(wish));
        }
        let forced = Wish { action: Action::Rebase, root_hash: None, tag: Some("v1".to_owned()) };
        assert_eq!(Wish::of(Some("action=diverge\n"), Some("v1\n")), Some(forced));
        assert_eq!(Wish::of(None, Some("\n")), None);
        assert_eq!(Wish::parse("action=explode\n"), None);
    }
}
