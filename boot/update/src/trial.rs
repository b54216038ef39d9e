//! A snapshot that a machine went to has to prove that the system comes up with it.
//!
//! After `diverge` the overlay is what it was, so the way back is the snapshot before. After `rebase` it was made to fit to the new
//! one: accounts and packages are merged, and what was in the way is gone. The old snapshot below that is a state that never was,
//! so nothing goes back by itself then.

use crate::Error;
use crate::state::{Action, Pin, remove, replace};
use std::fs;
use std::path::Path;

/// On the scratch: which snapshot is on trial.
pub const TRIAL: &str = "aux/trial";
/// How often a snapshot is booted with which the system does not come up.
pub const TRIES: u32 = 3;

/// A snapshot on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Hash of its root catalog.
    pub root_hash: String,
    /// What became of the overlay.
    pub action: Action,
    /// How often it may still be booted.
    pub tries: u32,
}

/// What is to be done about the snapshot that is pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may be booted.
    Go,
    /// The system did not come up with it: this one is to be booted, and pinned.
    Return(Pin),
    /// The system did not come up with it, and there is no safe way back.
    Tell,
}

impl Trial {
    fn parse(text: &str) -> Option<Trial> {
        let value = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            lines.find(|(name, value)| *name == key && !value.is_empty()).map(|(_, value)| value)
        };
        let action = Action::parse(value("action")?)?;
        Some(Trial { root_hash: value("root_hash")?.to_owned(), action, tries: value("tries")?.parse().ok()? })
    }

    fn to_text(&self) -> String {
        format!("root_hash={}\naction={}\ntries={}\n", self.root_hash, self.action.name(), self.tries)
    }

    /// The trial on `scratch`, if there is one.
    pub fn read(scratch: &Path) -> Option<Trial> {
        Trial::parse(&fs::read_to_string(scratch.join(TRIAL)).ok()?)
    }

    fn write(&self, scratch: &Path) -> Result<(), Error> {
        replace(&scratch.join(TRIAL), self.to_text().as_bytes())
    }
}

/// The snapshot `root_hash` is about to be pinned for the first time, and to be booted. Before the pin is written: what is on trial
/// and not pinned means nothing.
///
/// # Errors
/// Of the file system.
pub fn begin(scratch: &Path, root_hash: &str, action: Action) -> Result<(), Error> {
    Trial { root_hash: root_hash.to_owned(), action, tries: TRIES - 1 }.write(scratch)
}

/// The snapshot `root_hash` is about to be booted.
///
/// # Errors
/// Of the file system.
pub fn count(scratch: &Path, root_hash: &str) -> Result<(), Error> {
    let trial = Trial::read(scratch).filter(|trial| trial.root_hash == root_hash);
    let counted = trial.and_then(|trial| Some(Trial { tries: trial.tries.checked_sub(1)?, ..trial }));
    counted.map_or(Ok(()), |trial| trial.write(scratch))
}

/// What becomes of the snapshot that is pinned.
pub fn judge(trial: Option<&Trial>, pin: &Pin, previous: Option<&Pin>) -> Verdict {
    match trial.filter(|trial| trial.root_hash == pin.root_hash && trial.tries == 0) {
        None => Verdict::Go,
        Some(Trial { action: Action::Diverge, .. }) => previous.cloned().map_or(Verdict::Tell, Verdict::Return),
        Some(_) => Verdict::Tell,
    }
}

/// The system is up with the snapshot `root_hash`. Whether that one was on trial.
///
/// # Errors
/// Of the file system.
pub fn approve(scratch: &Path, root_hash: &str) -> Result<bool, Error> {
    let was = Trial::read(scratch).is_some_and(|trial| trial.root_hash == root_hash);
    if was {
        remove(&scratch.join(TRIAL))?;
    }
    Ok(was)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{PIN, PREVIOUS};
    use proptest::prelude::*;

    /// A machine that goes from snapshot to snapshot.
    struct Machine {
        directory: tempfile::TempDir,
    }

    impl Machine {
        fn new() -> Machine {
            let machine = Machine { directory: tempfile::tempdir().expect("a directory") };
            fs::create_dir(machine.directory.path().join("aux")).expect("a directory");
            machine.pin("old").write(machine.directory.path()).expect("a pin");
            machine
        }

        fn pin(&self, hash: &str) -> Pin {
            Pin { root_hash: hash.to_owned(), tag: None }
        }

        /// As a boot does it; which snapshot it is, and whether somebody has to look at it.
        fn boot(&self, wish: Option<(&str, Action)>) -> (String, bool) {
            let scratch = self.directory.path();
            let pin = Pin::read(scratch, PIN).expect("a pin");
            let verdict = judge(Trial::read(scratch).as_ref(), &pin, Pin::read(scratch, PREVIOUS).as_ref());
            let told = verdict == Verdict::Tell;
            let next = match (wish, verdict) {
                (Some((hash, action)), _) => {
                    begin(scratch, hash, action).expect("a trial");
                    self.pin(hash)
                }
                (None, Verdict::Return(previous)) => previous,
                (None, _) => pin,
            };
            if wish.is_none() {
                count(scratch, &next.root_hash).expect("a count");
            }
            next.write(scratch).expect("a pin");
            (next.root_hash, told)
        }

        fn boots(&self, number: usize) -> Vec<String> {
            (0..number).map(|_| self.boot(None).0).collect()
        }

        fn approve(&self, hash: &str) -> bool {
            approve(self.directory.path(), hash).expect("an answer")
        }
    }

    #[test]
    fn a_snapshot_that_does_not_come_up_is_left_after_its_tries() {
        let machine = Machine::new();
        assert_eq!(machine.boot(Some(("new", Action::Diverge))).0, "new");
        assert_eq!(machine.boots(5), ["new", "new", "old", "old", "old"], "and nothing swings to and fro");
        assert_eq!(machine.boot(Some(("new", Action::Diverge))).0, "new", "who wants it may try again");
        assert!(!machine.approve("old"));
        assert!(machine.approve("new"));
        assert!(!machine.approve("new"));
        assert_eq!(machine.boots(5), ["new"; 5]);
    }

    #[test]
    fn after_a_rebase_it_is_said_and_nothing_goes_back() {
        let machine = Machine::new();
        machine.boot(Some(("new", Action::Rebase)));
        machine.boots(2);
        assert_eq!(machine.boot(None), ("new".to_owned(), true));
        assert!(machine.approve("new"));
        assert_eq!(machine.boot(None), ("new".to_owned(), false));
    }

    #[test]
    fn a_trial_that_was_begun_and_not_pinned_means_nothing() {
        let machine = Machine::new();
        begin(machine.directory.path(), "new", Action::Diverge).expect("a trial");
        assert_eq!(machine.boots(5), ["old"; 5]);
        // Cut short after the pin: it counts from then on.
        machine.pin("new").write(machine.directory.path()).expect("a pin");
        assert_eq!(machine.boots(3), ["new", "new", "old"]);
    }

    #[test]
    fn without_a_snapshot_before_there_is_no_way_back() {
        let trial = Trial { root_hash: "new".to_owned(), action: Action::Diverge, tries: 0 };
        let pin = Pin { root_hash: "new".to_owned(), tag: None };
        assert_eq!(judge(Some(&trial), &pin, None), Verdict::Tell);
        assert_eq!(judge(Some(&Trial { tries: 1, ..trial }), &pin, None), Verdict::Go);
    }

    proptest! {
        #[test]
        fn trials_read_back_and_any_text_is_survived(hash in "[0-9a-f]{1,40}", tries in any::<u32>(), text in any::<String>()) {
            let trial = Trial { root_hash: hash, action: Action::Rebase, tries };
            prop_assert_eq!(Trial::parse(&trial.to_text()), Some(trial));
            let _ = Trial::parse(&text);
        }
    }
}
