//! What a root consists of: rules applied to a tree.

use super::rules::{Layout, Rule, Verb};
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What lies at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// A directory of the root's own, with these permission bits; what is in it is other parts, or what was put there.
    Directory(u32),
    /// What the tree has there, which is shown and not changed.
    Shown,
    /// What the tree has there, as a copy.
    Copied,
    /// A link with this target.
    Link(PathBuf),
    /// An empty file.
    Empty,
    /// What the host has at this path, as a copy.
    Imported,
}

/// Parts by their paths, relative to the root; a directory comes before what is in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    parts: BTreeMap<PathBuf, Part>,
}

/// Names in the root that rules for the root do not reach: they are no part of an operating system's tree.
pub(crate) const NOT_OF_THE_TREE: [&str; 6] = crate::sandbox::ALWAYS;

const USUAL_BITS: u32 = 0o755;

impl Plan {
    /// Applies the rules to a tree. Links of the tree are not followed, so nothing outside of it gets in.
    ///
    /// # Errors
    /// If a rule names what is not there, or a path that goes through a link or a file.
    pub(crate) fn new(layout: &Layout, tree: &Path) -> Result<Plan> {
        let mut plan = Plan::default();
        for rule in layout.rules() {
            plan.apply(rule, tree).with_context(|| format!("the rule for {}", rule.path.display()))?;
        }
        Ok(plan)
    }

    /// All parts in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&Path, &Part)> {
        self.parts.iter().map(|(path, part)| (path.as_path(), part))
    }

    /// What lies at a path relative to the root.
    pub(crate) fn part(&self, path: &Path) -> Option<&Part> {
        self.parts.get(path)
    }

    fn apply(&mut self, rule: &Rule, tree: &Path) -> Result<()> {
        let path = rule.path.strip_prefix("/").unwrap_or(&rule.path);
        let from = if rule.verb == Verb::Import { rule.path.clone() } else { tree.join(path) };
        let found = match rule.verb {
            Verb::Import => fs::metadata(&from),
            _ => fs::symlink_metadata(&from),
        };
        let found = match found {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
            found => Some(found.with_context(|| from.display().to_string())?),
        };
        if found.is_none() && rule.may_be_missing {
            return Ok(());
        }
        let part = match (rule.verb, found) {
            (Verb::Touch, _) => Part::Empty,
            (Verb::Writable, Some(found)) if found.is_dir() => Part::Directory(bits(&found)),
            (Verb::Writable, None) => Part::Directory(USUAL_BITS),
            (_, None) => bail!("{} is not there; '-' before a path says that it may be missing", from.display()),
            (Verb::Import, Some(_)) => Part::Imported,
            (Verb::ReadOnly, Some(found)) => part_of(&from, &found, Part::Shown)?,
            (Verb::Copy | Verb::Writable, Some(found)) => part_of(&from, &found, Part::Copied)?,
        };
        self.parts.retain(|known, _| !known.starts_with(path));
        if path == Path::new("") {
            return self.expand(tree, path, &part);
        }
        self.open_up(tree, path)?;
        self.parts.insert(path.to_owned(), part);
        Ok(())
    }

    /// Makes directories of the root's own out of those in which a part is to lie.
    fn open_up(&mut self, tree: &Path, path: &Path) -> Result<()> {
        let mut outer: Vec<&Path> = path.ancestors().skip(1).filter(|outer| *outer != Path::new("")).collect();
        outer.reverse();
        for outer in outer {
            match self.parts.get(outer).cloned() {
                Some(Part::Directory(_)) => {}
                Some(part @ (Part::Shown | Part::Copied)) if tree.join(outer).is_dir() => {
                    self.expand(tree, outer, &part)?
                }
                Some(Part::Link(target)) => {
                    bail!("/{} is a link to {}: name what lies behind it", outer.display(), target.display())
                }
                Some(_) => bail!("/{} is no directory of the tree", outer.display()),
                None => {
                    let bits = match fs::symlink_metadata(tree.join(outer)) {
                        Ok(found) if found.is_symlink() => {
                            bail!("/{} is a link in the tree: name what lies behind it", outer.display())
                        }
                        Ok(found) if found.is_dir() => bits(&found),
                        _ => USUAL_BITS,
                    };
                    self.parts.insert(outer.to_owned(), Part::Directory(bits));
                }
            }
        }
        Ok(())
    }

    /// Puts a directory of the root's own into the place of one of the tree; all that is in it becomes `part`.
    fn expand(&mut self, tree: &Path, path: &Path, part: &Part) -> Result<()> {
        let from = tree.join(path);
        let context = || from.display().to_string();
        if path != Path::new("") {
            let found = fs::metadata(&from).with_context(context)?;
            self.parts.insert(path.to_owned(), Part::Directory(bits(&found)));
        }
        for entry in fs::read_dir(&from).with_context(context)? {
            let entry = entry.with_context(context)?;
            if path == Path::new("") && NOT_OF_THE_TREE.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            let found = entry.metadata().with_context(context)?;
            let inner = part_of(&entry.path(), &found, part.clone())?;
            self.parts.insert(path.join(entry.file_name()), inner);
        }
        Ok(())
    }
}

/// A link is a link whatever the rule says.
fn part_of(path: &Path, found: &fs::Metadata, part: Part) -> Result<Part> {
    if !found.is_symlink() {
        return Ok(part);
    }
    Ok(Part::Link(fs::read_link(path).with_context(|| path.display().to_string())?))
}

fn bits(found: &fs::Metadata) -> u32 {
    found.permissions().mode() & 0o7777
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        for directory in ["dev", "etc/ssl", "usr/local/lib", "usr/bin", "var/log"] {
            fs::create_dir_all(tree.path().join(directory)).unwrap();
        }
        symlink("usr/bin", tree.path().join("bin")).unwrap();
        fs::write(tree.path().join("etc/passwd"), "").unwrap();
        tree
    }

    fn planned(rules: &str) -> Result<Vec<(String, Part)>> {
        let tree = tree();
        let plan = Plan::new(&rules.parse().unwrap(), tree.path())?;
        Ok(plan.parts().map(|(path, part)| (path.display().to_string(), part.clone())).collect())
    }

    fn directory(path: &str) -> (String, Part) {
        (path.to_owned(), Part::Directory(0o755))
    }

    #[test]
    fn an_inner_rule_opens_up_what_an_outer_one_shows() {
        let bin = ("bin".to_owned(), Part::Link("usr/bin".into()));
        let shown = |path: &str| (path.to_owned(), Part::Shown);
        let whole = [bin.clone(), shown("etc"), shown("usr"), shown("var")];
        assert_eq!(planned("readonly /").unwrap(), whole, "the tree's /dev is not the root's");
        let opened =
            [bin.clone(), shown("etc"), directory("usr"), shown("usr/bin"), directory("usr/local"), shown("var")];
        assert_eq!(planned("readonly /\nwritable /usr/local").unwrap(), opened);
        let copied = |path: &str| (path.to_owned(), Part::Copied);
        let mixed = [directory("etc"), copied("etc/passwd"), shown("etc/ssl")];
        assert_eq!(planned("copy /etc\nreadonly /etc/ssl").unwrap(), mixed);
        assert_eq!(planned("readonly /etc/ssl\ncopy /etc").unwrap(), [copied("etc")], "the later rule wins");
        assert_eq!(planned("writable /bin").unwrap(), [bin]);
    }

    #[test]
    fn what_is_not_there() {
        assert_eq!(planned("readonly -/lib32 -/usr/lib32").unwrap(), []);
        assert_eq!(planned("writable /new/place").unwrap(), [directory("new"), directory("new/place")]);
        assert_eq!(planned("touch /etc/mtab").unwrap(), [directory("etc"), ("etc/mtab".to_owned(), Part::Empty)]);
        for rule in [
            "readonly /lib32",
            "copy /lib32",
            "import /not/there",
            "readonly /bin/sh",
            "touch /bin/x",
            "copy /etc\ntouch /etc/passwd/x",
        ] {
            assert!(planned(rule).is_err(), "{rule}");
        }
    }
}
