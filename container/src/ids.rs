//! Which users and groups there are inside, and who they are outside.

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, getgid, getuid};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Consecutive numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Range {
    inside: u32,
    outside: u32,
    count: u32,
}

/// The two maps of a user namespace. The caller is root inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ids {
    uids: Vec<Range>,
    gids: Vec<Range>,
}

impl Ids {
    /// The caller alone: everybody else's files belong to `nobody` inside.
    pub(crate) fn own() -> Ids {
        let one = |outside| vec![Range { inside: 0, outside, count: 1 }];
        Ids { uids: one(getuid().as_raw()), gids: one(getgid().as_raw()) }
    }

    /// The best for this caller: root has all users that there are; others have those of `/etc/subuid` and
    /// `/etc/subgid` where `newuidmap` and `newgidmap` are installed.
    pub(crate) fn best() -> Result<Ids> {
        if getuid().is_root() {
            return Ok(Ids { uids: all("/proc/self/uid_map")?, gids: all("/proc/self/gid_map")? });
        }
        let mut ids = Ids::own();
        if [NEWUIDMAP, NEWGIDMAP].iter().all(|program| installed(program)) {
            let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
            let names = (user.map(|user| user.name).unwrap_or_default(), getuid().as_raw().to_string());
            let uids = delegated(&fs::read_to_string("/etc/subuid").unwrap_or_default(), &names);
            let gids = delegated(&fs::read_to_string("/etc/subgid").unwrap_or_default(), &names);
            if !uids.is_empty() && !gids.is_empty() {
                ids.uids.extend(uids);
                ids.gids.extend(gids);
            }
        }
        Ok(ids)
    }

    /// Whether files in a layer may belong to somebody else than the caller.
    pub(crate) fn has_others(&self) -> bool {
        *self != Ids::own()
    }

    /// How many users there are inside.
    pub(crate) fn users(&self) -> u64 {
        self.uids.iter().map(|range| u64::from(range.count)).sum()
    }

    /// Whether the groups of a process inside may be changed.
    pub(crate) fn can_set_groups(&self) -> bool {
        self.has_others()
    }

    /// Gives these maps to a process that has just been made in a user namespace of its own.
    pub(crate) fn give_to(&self, child: Pid) -> Result<()> {
        if getuid().is_root() {
            write(child, "uid_map", &lines(&self.uids))?;
            return write(child, "gid_map", &lines(&self.gids));
        }
        if self.has_others() {
            through(NEWUIDMAP, child, &self.uids)?;
            return through(NEWGIDMAP, child, &self.gids);
        }
        write(child, "setgroups", "deny")?;
        write(child, "uid_map", &lines(&self.uids))?;
        write(child, "gid_map", &lines(&self.gids))
    }
}

const NEWUIDMAP: &str = "newuidmap";
const NEWGIDMAP: &str = "newgidmap";

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn lines(ranges: &[Range]) -> String {
    ranges.iter().map(|range| format!("{} {} {}\n", range.inside, range.outside, range.count)).collect()
}

fn write(child: Pid, file: &str, text: &str) -> Result<()> {
    let path = format!("/proc/{}/{file}", child.as_raw_nonzero());
    fs::write(&path, text).with_context(|| format!("writing {path}: this node does not let you map your own user"))
}

fn through(program: &str, child: Pid, ranges: &[Range]) -> Result<()> {
    let mut command = Command::new(program);
    command.arg(child.as_raw_nonzero().to_string()).stdin(Stdio::null()).stdout(Stdio::null());
    for range in ranges {
        command.args([range.inside, range.outside, range.count].map(|number| number.to_string()));
    }
    let out = command.output().with_context(|| format!("starting {program}"))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        bail!("{}; /etc/subuid and /etc/subgid tell what it allows", said.trim());
    }
    Ok(())
}

/// Each one as itself.
fn all(map: &str) -> Result<Vec<Range>> {
    let text = fs::read_to_string(Path::new(map)).with_context(|| map.to_owned())?;
    let ranges = text.lines().filter_map(|line| {
        let numbers: Vec<u32> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        match numbers[..] {
            [inside, _, count] => Some(Range { inside, outside: inside, count }),
            _ => None,
        }
    });
    Ok(ranges.collect())
}

/// What `/etc/subuid` gives to a user of this name or number, one after the other from 1 on.
fn delegated(text: &str, (name, number): &(String, String)) -> Vec<Range> {
    let mut inside = 1u32;
    let mut ranges = Vec::new();
    for line in text.lines() {
        let parts: Vec<&str> = line.split(':').collect();
        let [owner, first, count] = parts[..] else { continue };
        if owner.is_empty() || owner != name && owner != number {
            continue;
        }
        let (Ok(outside), Ok(count)) = (first.parse(), count.parse::<u32>()) else { continue };
        let Some(next) = inside.checked_add(count).filter(|_| count > 0) else { continue };
        ranges.push(Range { inside, outside, count });
        inside = next;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_delegated_to_this_user_is_taken() {
        let text = "somebody:100000:65536\nme:200000:10\n1000:300000:5\nme:bad:5\nme:1:0\n:7:7\nme:4:4294967295\n";
        let ranges = delegated(text, &("me".to_owned(), "1000".to_owned()));
        let expected = [(1, 200_000, 10), (11, 300_000, 5)];
        assert_eq!(ranges, expected.map(|(inside, outside, count)| Range { inside, outside, count }));
        assert_eq!(delegated(text, &(String::new(), "0".to_owned())), []);
    }
}
