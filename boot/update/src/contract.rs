//! Loader, operating system and scratch are made at different times. Each says which version of their agreement it was made for:
//! the same first number fits together, whatever the second.
//!
//! The agreement is files at well-known places: in the tree `.ucernvm_contract`, `.ucernvm_pinfiles`, `.ucernvm_prefetch` and
//! `sbin/init`; on the scratch the directories `persistent`, `work`, `cache`, `cvmfs`, `aux`, `context`, `ulogs` and `kexec`.

use std::fmt::{self, Display};

/// In the tree of the operating system: the version that it needs. Without that file it is the first.
pub const OF_TREE: &str = ".ucernvm_contract";
/// On the scratch: the version of the loader that used it last.
pub const OF_SCRATCH: &str = "aux/contract";

/// A version of the agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// What was made for another one cannot be used.
    pub major: u32,
    /// What was made for another one can be used; something may be missing.
    pub minor: u32,
}

/// What this loader fulfils. The second number counts what was added.
pub const OURS: Version = Version { major: 1, minor: 1 };

impl Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// Reads the line `version=MAJOR.MINOR`; other lines are for later versions.
    pub fn parse(text: &str) -> Option<Version> {
        let value = text.lines().find_map(|line| line.trim().strip_prefix("version="))?;
        let (major, minor) = value.trim().split_once('.').unwrap_or((value.trim(), "0"));
        Some(Version { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    /// As it is written into a file.
    pub fn to_text(self) -> String {
        format!("version={self}\n")
    }
}

/// Whether something fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Fits,
    /// It may miss something that came later: worth a line.
    Lacks(Version),
    /// It does not, and what it says is this.
    Foreign(String),
}

/// Judges what a file says; `None` if there is no such file.
pub fn judge(text: Option<&str>, ours: Version) -> Verdict {
    let Some(text) = text else { return Verdict::Fits };
    match Version::parse(text) {
        Some(theirs) if theirs.major != ours.major => Verdict::Foreign(theirs.to_string()),
        Some(theirs) if theirs > ours => Verdict::Lacks(theirs),
        Some(_) => Verdict::Fits,
        // Whoever wrote it wanted to say something.
        None => Verdict::Foreign("a file without version=MAJOR.MINOR".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_and_scratches_older_and_newer_than_the_loader() {
        let ours = Version { major: 2, minor: 3 };
        assert_eq!(judge(None, ours), Verdict::Fits, "made before there was a version");
        assert_eq!(judge(Some("version=2.0\n"), ours), Verdict::Fits);
        assert_eq!(judge(Some("# a remark\nversion=2.3\nmore=x\n"), ours), Verdict::Fits);
        assert_eq!(judge(Some("version=2.4"), ours), Verdict::Lacks(Version { major: 2, minor: 4 }));
        assert_eq!(judge(Some("version=2"), ours), Verdict::Fits);
        assert_eq!(judge(Some("version=3.0"), ours), Verdict::Foreign("3.0".to_owned()));
        assert_eq!(judge(Some("version=1.9"), ours), Verdict::Foreign("1.9".to_owned()));
        for nonsense in ["", "version=x", "version=1.", "2.3"] {
            assert!(matches!(judge(Some(nonsense), ours), Verdict::Foreign(_)), "{nonsense}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        assert_eq!(Version::parse(&OURS.to_text()), Some(OURS));
        assert_eq!(judge(Some(&OURS.to_text()), OURS), Verdict::Fits);
    }
}
