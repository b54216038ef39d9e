//! Going to another snapshot, so that a power cut does no harm: first everything that will be needed is written beside the overlay,
//! then a journal is renamed into place, and from then on the way leads forward only. What the journal says can be done as often
//! as it takes, without a network and without any of the trees. The new pin comes last.

use crate::accounts::{self, Files, MAPS, NAMES};
use crate::decision::OPAQUE;
use crate::plan::{Step, Trees, look, plan};
use crate::state::{Action, Pin, remove, replace};
use crate::{At as _, Before, Error, packages, trial};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

/// The writable branch of the overlay, on the scratch.
pub const UPPER: &str = "persistent";
/// The journal, on the scratch.
const JOURNAL: &str = "aux/rebase/journal";
/// Files that were prepared.
const STAGED: &str = "aux/rebase/staged";
/// What the last rebase took out of the overlay.
const REPLACED: &str = "aux/rebase/replaced";
const BEGIN: &str = "ucernvm-rebase 1";
const END: &str = "end";

/// What a rebase is about to do, or has done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Changes of the overlay.
    pub steps: usize,
    /// Entries that both sides have changed; the user's were kept.
    pub conflicts: usize,
    /// Packages that only the user has.
    pub packages: Vec<String>,
    /// The package database was replaced, and packages of users are not in it any more.
    pub packages_unknown: bool,
    /// Ids of the new tree are shown otherwise than before: it has to be mounted again.
    pub maps_changed: bool,
    /// The log that tells everything, on the scratch.
    pub log: PathBuf,
}

/// Writes down how to get to `pin`. Until this returns nothing has changed for the machine.
///
/// # Errors
/// Where trees cannot be read or the scratch not be written.
pub fn prepare(trees: &Trees<'_>, scratch: &Path, pin: &Pin) -> Result<Report, Error> {
    prepare_with(trees, scratch, pin, &mut || Ok(()))
}

/// Does what a journal says, if there is one, and pins; the new snapshot is on trial. Tells which snapshot is pinned now.
///
/// # Errors
/// Where the scratch cannot be written; the journal stays then.
pub fn finish(scratch: &Path) -> Result<Option<Pin>, Error> {
    finish_with(scratch, &mut || Ok(()))
}

fn prepare_with(trees: &Trees<'_>, scratch: &Path, pin: &Pin, before: Before<'_>) -> Result<Report, Error> {
    let mut plan = plan(trees)?;
    let mut report = Report { conflicts: plan.conflicts, ..Report::default() };
    let staged = scratch.join(STAGED);
    for directory in [&staged, &scratch.join(REPLACED)] {
        before()?;
        empty(directory)?;
    }
    let merged = merge_accounts(trees, scratch, &mut plan.steps, before)?;
    report.maps_changed = plan.steps.iter().any(|step| matches!(step, Step::Furnish(_)));
    plan.log.extend(merged);
    merge_packages(trees, &staged, &mut plan.steps, &mut report)?;
    plan.log.extend(report.packages.iter().map(|name| format!("package {name}: is kept")));
    if report.packages_unknown {
        plan.log.push("package database: the new system's; packages that were added are not in it".to_owned());
    }
    report.steps = plan.steps.len();
    let name: String = pin.root_hash.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    report.log = scratch.join(format!("aux/rebase-{name}.log"));
    before()?;
    replace(&report.log, format!("{}\n{}\n", plan.log.join("\n"), pin.root_hash).as_bytes())?;
    before()?;
    sync(scratch)?;
    replace(&scratch.join(JOURNAL), &written(&plan.steps, pin))?;
    Ok(report)
}

fn finish_with(scratch: &Path, before: Before<'_>) -> Result<Option<Pin>, Error> {
    let file = scratch.join(JOURNAL);
    if look(&file)?.is_none() {
        return Ok(None);
    }
    let bytes = fs::read(&file).at(&file)?;
    let wrong = |reason: &str| Error::Journal { path: file.clone(), reason: reason.to_owned() };
    let (steps, pin) = read(&bytes).map_err(wrong)?;
    for step in &steps {
        before()?;
        make(step, scratch)?;
    }
    before()?;
    sync(scratch)?;
    before()?;
    // Whichever boot is the first with this snapshot: after a power cut it finds a pin, and no wish.
    trial::begin(scratch, &pin.root_hash, Action::Rebase)?;
    before()?;
    pin.write(scratch)?;
    before()?;
    remove(&file)?;
    Ok(Some(pin))
}

/// Makes one step, if it was not made before.
fn make(step: &Step, scratch: &Path) -> Result<(), Error> {
    let upper = scratch.join(UPPER);
    match step {
        Step::Replace(path) => rename(&upper.join(path), &scratch.join(REPLACED).join(path)),
        Step::Unhide(path) => remove(&upper.join(path)),
        Step::Install(path) => rename(&scratch.join(STAGED).join(path), &upper.join(path)),
        Step::Furnish(path) => rename(&scratch.join(STAGED).join(path), &scratch.join(path)),
        Step::Open(path) => {
            let directory = upper.join(path);
            for name in OPAQUE {
                match rustix::fs::lremovexattr(&directory, name) {
                    Ok(()) | Err(Errno::NODATA | Errno::NOENT | Errno::OPNOTSUPP) => {}
                    Err(error) => return Err(error).at(directory),
                }
            }
            Ok(())
        }
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    if look(from)?.is_none() {
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).at(parent)?;
    }
    fs::rename(from, to).at(from)
}

fn empty(directory: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).at(directory),
        _ => {}
    }
    fs::create_dir_all(directory).at(directory)
}

/// All that was renamed and removed is on the disk.
fn sync(scratch: &Path) -> Result<(), Error> {
    File::open(scratch).and_then(|directory| Ok(rustix::fs::syncfs(&directory)?)).at(scratch)
}

/// Content of a file; nothing where there is none, or something else.
fn content(root: Option<&Path>, path: &str) -> Result<Option<Vec<u8>>, Error> {
    let Some(file) = root.map(|root| root.join(path)) else { return Ok(None) };
    match look(&file)? {
        Some(found) if found.is_file() => fs::read(&file).at(&file).map(Some),
        _ => Ok(None),
    }
}

/// Merges users and groups if the overlay has any of the files; lines for the log.
fn merge_accounts(
    trees: &Trees<'_>,
    scratch: &Path,
    steps: &mut Vec<Step>,
    before: Before<'_>,
) -> Result<Vec<String>, Error> {
    let own = |path: &str| content(Some(trees.upper), path);
    if NAMES.iter().all(|name| matches!(own(name), Ok(None))) {
        return Ok(Vec::new());
    }
    let side = |of: &dyn Fn(&str) -> Result<Vec<u8>, Error>| -> Result<Files, Error> {
        let [group, gshadow, passwd, shadow] = NAMES;
        Ok(Files { group: of(group)?, gshadow: of(gshadow)?, passwd: of(passwd)?, shadow: of(shadow)? })
    };
    let base = side(&|path| Ok(content(trees.base, path)?.unwrap_or_default()))?;
    let new = side(&|path| Ok(content(Some(trees.new), path)?.unwrap_or_default()))?;
    let below = if trees.base.is_some() { trees.base } else { Some(trees.new) };
    let local = side(&|path| Ok(own(path)?.or(content(below, path)?).unwrap_or_default()))?;
    let merged = accounts::merge(&base, &local, &new);
    steps.retain(|step| !matches!(step, Step::Replace(path) if NAMES.iter().any(|name| Path::new(name) == path)));
    let staged = scratch.join(STAGED);
    for (index, name) in NAMES.iter().enumerate() {
        let of = |files: &Files| files.all().get(index).map(|bytes| (*bytes).clone()).unwrap_or_default();
        let (wanted, have) = (of(&merged.files), own(name)?);
        if have.as_ref() == Some(&wanted) || (have.is_none() && wanted == of(&new)) {
            continue;
        }
        before()?;
        stage(&staged.join(name), &wanted)?;
        let like = [trees.upper, trees.new].map(|root| root.join(name));
        for like in like.iter().filter_map(|file| look(file).ok().flatten()).take(1) {
            let group =
                if have.is_some() { like.gid() } else { *merged.groups.get(&like.gid()).unwrap_or(&like.gid()) };
            let target = staged.join(name);
            chown(&target, Some(like.uid()), Some(group)).at(&target)?;
            fs::set_permissions(&target, fs::Permissions::from_mode(like.mode() & 0o7777)).at(&target)?;
        }
        steps.push(Step::Install(PathBuf::from(name)));
    }
    let maps = [(&merged.groups, &new.group), (&merged.users, &new.passwd)];
    for (name, (map, file)) in MAPS.into_iter().zip(maps) {
        let old = fs::read_to_string(scratch.join(name)).unwrap_or_default();
        let text = accounts::map_text(&old, map, &accounts::known_ids(file));
        if text != old {
            before()?;
            stage(&staged.join(name), text.as_bytes())?;
            steps.push(Step::Furnish(PathBuf::from(name)));
        }
    }
    Ok(merged.log)
}

/// Merges the package database if the overlay has one.
fn merge_packages(trees: &Trees<'_>, staged: &Path, steps: &mut Vec<Step>, report: &mut Report) -> Result<(), Error> {
    let rpm = Path::new(packages::RPM);
    report.packages_unknown = steps.iter().any(|step| matches!(step, Step::Replace(path) if path.starts_with(rpm)));
    let Some(local) = content(Some(trees.upper), packages::DPKG)? else { return Ok(()) };
    let Some(new) = content(Some(trees.new), packages::DPKG)? else { return Ok(()) };
    // Without the old system's nobody knows which packages were added.
    let Some(base) = content(trees.base, packages::DPKG)? else {
        report.packages_unknown = true;
        return Ok(());
    };
    let merged = packages::merge(&base, &local, &new);
    if !merged.added.is_empty() {
        stage(&staged.join(packages::DPKG), &merged.text)?;
        let status = Path::new(packages::DPKG);
        steps.retain(|step| !matches!(step, Step::Replace(path) if path == status));
        steps.push(Step::Install(status.to_owned()));
    }
    report.packages = merged.added;
    Ok(())
}

fn stage(file: &Path, bytes: &[u8]) -> Result<(), Error> {
    let parent = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).at(parent)?;
    replace(file, bytes)
}

fn written(steps: &[Step], pin: &Pin) -> Vec<u8> {
    let mut text = format!("{BEGIN}\npin {}\ntag {}\n", pin.root_hash, pin.tag.as_deref().unwrap_or_default());
    for step in steps {
        let (word, path) = match step {
            Step::Replace(path) => ("replace", path),
            Step::Unhide(path) => ("unhide", path),
            Step::Open(path) => ("open", path),
            Step::Install(path) => ("install", path),
            Step::Furnish(path) => ("furnish", path),
        };
        text.push_str(&format!("{word} {}\n", escaped(path)));
    }
    text.push_str(END);
    text.push('\n');
    text.into_bytes()
}

fn read(bytes: &[u8]) -> Result<(Vec<Step>, Pin), &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not text")?;
    let mut lines = text.lines();
    if lines.next() != Some(BEGIN) {
        return Err("another version");
    }
    let mut value = |key: &str| lines.next().and_then(|line| line.strip_prefix(key)).map(str::trim);
    let (hash, tag) = (value("pin ").ok_or("no pin")?, value("tag").ok_or("no tag")?);
    let pin = Pin::parse(&format!("{hash}\n{tag}\n")).ok_or("no pin")?;
    let mut steps = Vec::new();
    for line in lines {
        if line == END {
            return Ok((steps, pin));
        }
        let (word, path) = line.split_once(' ').ok_or("a step without a path")?;
        let path = unescaped(path).ok_or("a path that is none")?;
        steps.push(match word {
            "replace" => Step::Replace(path),
            "unhide" => Step::Unhide(path),
            "open" => Step::Open(path),
            "install" => Step::Install(path),
            "furnish" => Step::Furnish(path),
            _ => return Err("an unknown step"),
        });
    }
    Err("it has no end")
}

/// Any name in one line.
fn escaped(path: &Path) -> String {
    let mut text = String::new();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'!'..=b'~' if byte != b'%' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02x}")),
        }
    }
    text
}

/// The path behind a line; `None` if it could lead anywhere else than below.
fn unescaped(text: &str) -> Option<PathBuf> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail.get(2..)?;
    }
    let path = PathBuf::from(OsStr::from_bytes(&bytes));
    let is_below = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    (is_below && !bytes.is_empty()).then_some(path)
}

#[cfg(test)]
mod tests;
