//! Leases: for a time one group, and nobody else, publishes at a path and below it.

use super::note;
use super::path::RepositoryPath;
use super::problem::{Answer, Problem};
use super::token::random;
use anyhow::Result;
use libcvmfs::fqrn::Fqrn;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Seconds for which one is told that a lease has expired, instead of that there is none.
const REMEMBERED: u64 = 24 * 60 * 60;
/// Bytes of the name of a lease.
const ID_BYTES: usize = 16;

/// A path of a repository, kept for a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its name.
    pub id: String,
    /// The repository.
    pub repository: Fqrn,
    /// The path, with all that is below it.
    pub path: RepositoryPath,
    /// Whose it is.
    pub group: String,
    /// When it began, seconds since 1970.
    pub created: u64,
    /// When it ends unless it is renewed, seconds since 1970.
    pub expires: u64,
}

/// What is being done with a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Something is on its way to us; that takes as long as the client wants, so the lease may end meanwhile.
    Upload,
    /// It has come, and is published: the lease lasts until that is done.
    Job,
}

#[derive(Default)]
struct State {
    leases: Vec<Lease>,
    in_use: HashMap<String, Use>,
}

impl State {
    fn is_over(&self, lease: &Lease, now: u64) -> bool {
        lease.expires <= now && self.in_use.get(&lease.id) != Some(&Use::Job)
    }

    /// The group's lease of this name, if it is not over. Those of others are as if they did not exist.
    fn find(&self, group: &str, id: &str, now: u64) -> Answer<&Lease> {
        let lease = self.leases.iter().find(|lease| lease.id == id && lease.group == group);
        let lease = lease.ok_or_else(|| Problem::not_found("lease"))?;
        if self.is_over(lease, now) { Err(Problem::expired()) } else { Ok(lease) }
    }
}

/// All leases, in a file as well.
pub struct Leases {
    file: PathBuf,
    longest: u64,
    most: usize,
    state: Mutex<State>,
}

impl Leases {
    /// The leases in `file`; none lasts longer than `longest` seconds, and no group has more than `most`.
    pub fn open(file: &Path, longest: u64, most: usize) -> Result<Leases> {
        let leases = note::read(file)?.unwrap_or_default();
        let state = Mutex::new(State { leases, in_use: HashMap::new() });
        Ok(Leases { file: file.to_owned(), longest, most, state })
    }

    /// Gives a group a path that nobody has, nor one above or below it.
    pub fn take(&self, group: &str, repository: &Fqrn, path: &RepositoryPath, seconds: u64, now: u64) -> Answer<Lease> {
        let seconds = self.length(seconds)?;
        let mut state = self.state.lock();
        let live: Vec<&Lease> = state.leases.iter().filter(|lease| !state.is_over(lease, now)).collect();
        if let Some(other) = live.iter().find(|lease| lease.repository == *repository && lease.path.overlaps(path)) {
            // Who has it, and where exactly, is not told.
            let problem = Problem::conflict("path-leased", format!("{path} is leased, or something above or below it"));
            return Err(problem.after(other.expires.saturating_sub(now).max(1)));
        }
        if live.iter().filter(|lease| lease.group == group).count() >= self.most {
            return Err(Problem::too_many(format!("a group has at most {} leases", self.most)));
        }
        let lease = Lease {
            id: random(ID_BYTES)?,
            repository: repository.clone(),
            path: path.clone(),
            group: group.to_owned(),
            created: now,
            expires: now.saturating_add(seconds),
        };
        let mut leases = state.leases.clone();
        leases.push(lease.clone());
        self.store(&mut state, leases, now)?;
        Ok(lease)
    }

    /// The leases of a group that are not over.
    pub fn of_group(&self, group: &str, now: u64) -> Vec<Lease> {
        let state = self.state.lock();
        state.leases.iter().filter(|lease| lease.group == group && !state.is_over(lease, now)).cloned().collect()
    }

    /// A lease of a group.
    pub fn get(&self, group: &str, id: &str, now: u64) -> Answer<Lease> {
        self.state.lock().find(group, id, now).cloned()
    }

    /// Lets a lease last for so many seconds from now.
    pub fn renew(&self, group: &str, id: &str, seconds: u64, now: u64) -> Answer<Lease> {
        let seconds = self.length(seconds)?;
        let mut state = self.state.lock();
        let renewed = Lease { expires: now.saturating_add(seconds), ..state.find(group, id, now)?.clone() };
        let mut leases = state.leases.clone();
        leases.retain(|lease| lease.id != id);
        leases.push(renewed.clone());
        self.store(&mut state, leases, now)?;
        Ok(renewed)
    }

    /// Ends a lease.
    pub fn release(&self, group: &str, id: &str, now: u64) -> Answer<()> {
        let mut state = self.state.lock();
        state.find(group, id, now)?;
        if state.in_use.contains_key(id) {
            return Err(Problem::conflict("lease-in-use", "something is being published with this lease"));
        }
        let mut leases = state.leases.clone();
        leases.retain(|lease| lease.id != id);
        Ok(self.store(&mut state, leases, now)?)
    }

    /// Takes a lease for one publication; another one has to wait.
    pub fn claim(self: &Arc<Leases>, group: &str, id: &str, now: u64) -> Answer<Claim> {
        let mut state = self.state.lock();
        let lease = state.find(group, id, now)?.clone();
        if state.in_use.contains_key(id) {
            return Err(Problem::conflict("lease-in-use", "something is being published with this lease").after(1));
        }
        state.in_use.insert(id.to_owned(), Use::Upload);
        Ok(Claim { leases: Arc::clone(self), lease })
    }

    fn length(&self, seconds: u64) -> Answer<u64> {
        match seconds {
            seconds if (1..=self.longest).contains(&seconds) => Ok(seconds),
            _ => Err(Problem::unprocessable("lease-too-long", format!("a lease lasts 1 to {} seconds", self.longest))),
        }
    }

    /// Writes the file, then remembers. What ended long ago is forgotten.
    fn store(&self, state: &mut State, mut leases: Vec<Lease>, now: u64) -> Result<()> {
        leases.retain(|lease| lease.expires.saturating_add(REMEMBERED) > now || state.in_use.contains_key(&lease.id));
        note::write(&self.file, &leases)?;
        state.leases = leases;
        Ok(())
    }
}

/// The one publication that may use a lease now.
pub struct Claim {
    leases: Arc<Leases>,
    /// The lease as it was when it was claimed.
    pub lease: Lease,
}

impl Claim {
    /// An error if the lease is over.
    pub fn check(&self, now: u64) -> Answer<()> {
        self.leases.get(&self.lease.group, &self.lease.id, now).map(drop)
    }

    /// From now on the lease lasts until this is dropped; an error if it is over already.
    pub fn hold(&self, now: u64) -> Answer<()> {
        let mut state = self.leases.state.lock();
        state.find(&self.lease.group, &self.lease.id, now)?;
        state.in_use.insert(self.lease.id.clone(), Use::Job);
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.leases.state.lock().in_use.remove(&self.lease.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn leases(directory: &Path) -> Arc<Leases> {
        Arc::new(Leases::open(&directory.join("leases.json"), 100, 3).unwrap())
    }

    fn take(leases: &Leases, group: &str, path: &str, now: u64) -> Answer<Lease> {
        leases.take(group, &Fqrn::new("a.example").unwrap(), &path.parse().unwrap(), 10, now)
    }

    #[test]
    fn paths_are_exclusive_with_all_above_and_below() {
        let directory = tempfile::tempdir().unwrap();
        let leases = leases(directory.path());
        let lease = take(&leases, "g", "/a/b", NOW).unwrap();
        for (group, path) in [("h", "/a/b"), ("h", "/a"), ("h", "/"), ("h", "/a/b/c"), ("g", "/a/b")] {
            let problem = take(&leases, group, path, NOW).unwrap_err();
            assert_eq!((problem.code.as_str(), problem.retry_after), ("path-leased", Some(10)), "{group} {path}");
        }
        take(&leases, "h", "/a/bb", NOW).unwrap();
        let other = Fqrn::new("b.example").unwrap();
        leases.take("h", &other, &"/a/b".parse().unwrap(), 10, NOW).unwrap();
        assert_eq!(leases.of_group("g", NOW), std::slice::from_ref(&lease));
        assert_eq!(leases.get("h", &lease.id, NOW).unwrap_err().code, "not-found");
        assert_eq!(leases.release("h", &lease.id, NOW).unwrap_err().code, "not-found");
        leases.release("g", &lease.id, NOW).unwrap();
        take(&leases, "h", "/a/b", NOW).unwrap();
        assert_eq!(take(&leases, "h", "/x", NOW).unwrap_err().code, "too-many");
    }

    #[test]
    fn leases_end_and_are_renewed() {
        let directory = tempfile::tempdir().unwrap();
        let leases = leases(directory.path());
        let lease = take(&leases, "g", "/a", NOW).unwrap();
        assert_eq!(leases.renew("g", &lease.id, 20, NOW + 9).unwrap().expires, NOW + 29);
        assert!(leases.get("g", &lease.id, NOW + 28).is_ok());
        for problem in [
            leases.get("g", &lease.id, NOW + 29).unwrap_err(),
            leases.renew("g", &lease.id, 20, NOW + 29).unwrap_err(),
            leases.release("g", &lease.id, NOW + 29).unwrap_err(),
        ] {
            assert_eq!(problem.code, "lease-expired");
        }
        assert!(leases.claim("g", &lease.id, NOW + 29).is_err());
        assert!(leases.of_group("g", NOW + 29).is_empty());
        take(&leases, "h", "/a", NOW + 29).unwrap();
        assert_eq!(leases.renew("g", &lease.id, 101, NOW).unwrap_err().code, "lease-too-long");
        take(&leases, "h", "/b", NOW + 29 + REMEMBERED).unwrap();
        assert_eq!(leases.get("g", &lease.id, NOW + 29 + REMEMBERED).unwrap_err().code, "not-found");
    }

    #[test]
    fn what_has_come_is_published_before_the_lease_ends() {
        let directory = tempfile::tempdir().unwrap();
        let leases = leases(directory.path());
        let lease = take(&leases, "g", "/a", NOW).unwrap();
        let claim = leases.claim("g", &lease.id, NOW).unwrap();
        assert_eq!(leases.claim("g", &lease.id, NOW).err().unwrap().code, "lease-in-use");
        assert_eq!(leases.release("g", &lease.id, NOW).unwrap_err().code, "lease-in-use");
        assert_eq!(claim.hold(NOW + 10).unwrap_err().code, "lease-expired", "an upload does not hold it");
        claim.hold(NOW + 9).unwrap();
        assert_eq!(take(&leases, "h", "/a", NOW + 50).unwrap_err().code, "path-leased");
        drop(claim);
        take(&leases, "h", "/a", NOW + 50).unwrap();
    }

    #[test]
    fn leases_survive_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let lease = take(&leases(directory.path()), "g", "/a", NOW).unwrap();
        let again = leases(directory.path());
        assert_eq!(again.of_group("g", NOW), [lease]);
        assert_eq!(take(&again, "h", "/a/b", NOW).unwrap_err().code, "path-leased");
    }
}
