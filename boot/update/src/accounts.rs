//! Users and groups of the new operating system and of the machine: three sides are compared, name by name.
//!
//! Ids of the machine are never changed, for its files belong to them. Where the new system uses an id in another way, its files
//! are shown with the machine's: that is what the two maps say.

use std::collections::{BTreeMap, BTreeSet};

/// The files, below the root, in the order of [`Files`].
pub const NAMES: [&str; 4] = ["etc/group", "etc/gshadow", "etc/passwd", "etc/shadow"];
/// The maps, on the scratch.
pub const MAPS: [&str; 2] = ["aux/gid_map", "aux/uid_map"];

/// The four files of one side; empty where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// `group`.
    pub group: Vec<u8>,
    /// `gshadow`.
    pub gshadow: Vec<u8>,
    /// `passwd`.
    pub passwd: Vec<u8>,
    /// `shadow`.
    pub shadow: Vec<u8>,
}

impl Files {
    /// All of them, in the order of [`NAMES`].
    pub fn all(&self) -> [&Vec<u8>; 4] {
        [&self.group, &self.gshadow, &self.passwd, &self.shadow]
    }
}

/// Ids of the repository and what they are shown as.
pub type Map = BTreeMap<u32, u32>;

/// What comes of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merged {
    /// The files for the machine.
    pub files: Files,
    /// Groups of the new tree that are shown as others.
    pub groups: Map,
    /// Users of the new tree that are shown as others.
    pub users: Map,
    /// Lines for the log.
    pub log: Vec<String>,
}

/// Merges. `local` is the machine's; what neither `base` nor `local` knows comes from `new`.
pub fn merge(base: &Files, local: &Files, new: &Files) -> Merged {
    let mut log = Vec::new();
    let keep = |_: &mut Line| ();
    let (mut group, groups) = ids("group", &base.group, &local.group, &new.group, keep, &mut log);
    let primary = |line: &mut Line| {
        if let Some(mapped) = line.number(3).and_then(|id| groups.get(&id)) {
            line.set(3, mapped.to_string().into_bytes());
        }
    };
    let (passwd, users) = ids("user", &base.passwd, &local.passwd, &new.passwd, primary, &mut log);
    members(&mut group, 3, &base.group, &new.group);
    let mut gshadow = added(&base.gshadow, &local.gshadow, &new.gshadow, &group);
    members(&mut gshadow, 2, &base.gshadow, &new.gshadow);
    members(&mut gshadow, 3, &base.gshadow, &new.gshadow);
    let shadow = added(&base.shadow, &local.shadow, &new.shadow, &passwd);
    let files = Files { group: text(&group), gshadow: text(&gshadow), passwd: text(&passwd), shadow: text(&shadow) };
    Merged { files, groups, users, log }
}

/// A map as the client reads it: what was in `old` and is not decided now stays.
pub fn map_text(old: &str, map: &Map, decided: &BTreeSet<u32>) -> String {
    let mut text = String::new();
    for line in old.lines() {
        let from = line.split_ascii_whitespace().next().and_then(|word| word.parse::<u32>().ok());
        if !from.is_some_and(|from| decided.contains(&from) || map.contains_key(&from)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text.extend(map.iter().map(|(from, to)| format!("{from} {to}\n")));
    text
}

/// The ids of all entries: of these a map says everything.
pub fn known_ids(file: &[u8]) -> BTreeSet<u32> {
    lines(file).iter().filter_map(|line| line.number(2)).collect()
}

/// A line, split at its colons. Lines that are something else are kept as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line(Vec<Vec<u8>>);

impl Line {
    fn name(&self) -> &[u8] {
        self.0.first().map_or(b"", Vec::as_slice)
    }

    fn field(&self, number: usize) -> &[u8] {
        self.0.get(number).map_or(b"", Vec::as_slice)
    }

    fn number(&self, number: usize) -> Option<u32> {
        let text = std::str::from_utf8(self.field(number)).ok()?;
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        text.parse().ok()
    }

    fn set(&mut self, number: usize, value: Vec<u8>) {
        if let Some(field) = self.0.get_mut(number) {
            *field = value;
        }
    }

    /// Whether it is an entry with a name of its own.
    fn is_entry(&self) -> bool {
        self.0.len() > 1 && !self.name().is_empty() && !matches!(self.name().first(), Some(b'+' | b'-' | b'#'))
    }
}

fn lines(file: &[u8]) -> Vec<Line> {
    let text = file.strip_suffix(b"\n").unwrap_or(file);
    if text.is_empty() {
        return Vec::new();
    }
    let split = |line: &[u8]| Line(line.split(|&byte| byte == b':').map(<[u8]>::to_vec).collect());
    text.split(|&byte| byte == b'\n').map(split).collect()
}

fn text(lines: &[Line]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.0.join(&b':'), b"\n".to_vec()]).flatten().collect()
}

fn find<'a>(lines: &'a [Line], name: &[u8]) -> Option<&'a Line> {
    lines.iter().find(|line| line.is_entry() && line.name() == name)
}

/// Merges a file whose third field is an id. `adapt` changes lines that come from the new side.
fn ids(
    what: &str,
    base: &[u8],
    local: &[u8],
    new: &[u8],
    adapt: impl Fn(&mut Line),
    log: &mut Vec<String>,
) -> (Vec<Line>, Map) {
    let (base, mut merged, new) = (lines(base), lines(local), lines(new));
    let mut decided = Map::new();
    let upstream: BTreeSet<u32> = new.iter().filter_map(|line| line.number(2)).collect();
    let shown = |line: &Line| line.name().escape_ascii().to_string();
    for theirs in new.iter().filter(|line| line.is_entry()) {
        let Some(their_id) = theirs.number(2) else { continue };
        let own = merged.iter().position(|line| line.is_entry() && line.name() == theirs.name());
        if let Some(own) = own.and_then(|own| merged.get_mut(own)) {
            let Some(own_id) = own.number(2) else { continue };
            // What nobody touched here follows the system, but for the id.
            if find(&base, theirs.name()) == Some(&*own) {
                *own = theirs.clone();
                adapt(own);
                own.set(2, own_id.to_string().into_bytes());
            }
            if *decided.entry(their_id).or_insert(own_id) != their_id {
                log.push(format!("{what} {}: {their_id} is shown as {own_id}", shown(theirs)));
            }
            continue;
        }
        if find(&base, theirs.name()).is_some() {
            log.push(format!("{what} {}: was removed here", shown(theirs)));
            continue;
        }
        let used: BTreeSet<u32> = merged.iter().filter_map(|line| line.number(2)).collect();
        let id = match decided.get(&their_id) {
            // A second name of one id.
            Some(&known) => known,
            None if !used.contains(&their_id) => their_id,
            None => free(their_id, &used, &upstream),
        };
        let mut line = theirs.clone();
        adapt(&mut line);
        line.set(2, id.to_string().into_bytes());
        decided.insert(their_id, id);
        log.push(match id == their_id {
            true => format!("{what} {}: is new, {id}", shown(theirs)),
            false => format!("{what} {}: is new, {their_id} is shown as {id}", shown(theirs)),
        });
        let end = merged.iter().position(|line| !line.is_entry() && matches!(line.name().first(), Some(b'+' | b'-')));
        merged.insert(end.unwrap_or(merged.len()), line);
    }
    decided.retain(|from, to| from != to);
    (merged, decided)
}

/// An id that neither side uses, of the same range: those of the system are below 1000.
fn free(id: u32, used: &BTreeSet<u32>, upstream: &BTreeSet<u32>) -> u32 {
    let is_free = |id: &u32| !used.contains(id) && !upstream.contains(id);
    let of_system = (id < 1000).then(|| (100..1000).rev().find(is_free)).flatten();
    of_system.or_else(|| (1000..60_000).find(is_free)).or_else(|| (60_000..u32::MAX - 1).find(is_free)).unwrap_or(id)
}

/// Adds members that the new side has since the base; none is taken away.
fn members(merged: &mut [Line], field: usize, base: &[u8], new: &[u8]) {
    let (base, new) = (lines(base), lines(new));
    let of = |line: Option<&Line>| -> Vec<Vec<u8>> {
        let field = line.map_or(&b""[..], |line| line.field(field));
        field.split(|&byte| byte == b',').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()
    };
    for line in merged.iter_mut().filter(|line| line.is_entry()) {
        let before = of(find(&base, line.name()));
        let mut all = of(Some(line));
        let count = all.len();
        for member in of(find(&new, line.name())) {
            if !all.contains(&member) && !before.contains(&member) {
                all.push(member);
            }
        }
        if all.len() > count {
            line.set(field, all.join(&b','));
        }
    }
}

/// The local lines, and those of the new side whose names are in `accounts` and were not removed here. Passwords that are there
/// are never replaced.
fn added(base: &[u8], local: &[u8], new: &[u8], accounts: &[Line]) -> Vec<Line> {
    let (base, mut merged) = (lines(base), lines(local));
    for theirs in lines(new).into_iter().filter(Line::is_entry) {
        let is_wanted = find(accounts, theirs.name()).is_some() && find(&base, theirs.name()).is_none();
        if is_wanted && find(&merged, theirs.name()).is_none() {
            merged.push(theirs);
        }
    }
    merged
}

#[cfg(test)]
mod tests;
