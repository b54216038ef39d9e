//! What is done at once, while the client waits.

use super::Manager;
use super::job::{Job, Kind};
use super::lease::Lease;
use super::path::RepositoryPath;
use super::problem::{Answer, Problem};
use super::token::Token;
use super::work::Order;
use crate::gc;
use crate::mkfs::{self, NewRepository};
use crate::repository::Repository;
use crate::tags;
use libcvmfs::fqrn::Fqrn;
use libcvmfs::hash::Algorithm;
use libcvmfs::history::Tag;
use libcvmfs::trust::unix_now;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// How long a request waits for its turn. Clients give up sooner or later, too.
const PATIENCE: Duration = Duration::from_secs(20);
/// Days for which whitelists of new repositories are signed.
const WHITELIST_DAYS: u64 = 30;
/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;
/// Days for which revisions are kept unless something else is said.
const KEEP_DAYS: u64 = 3;
/// Seconds for which files are left alone that nobody names yet.
const GRACE: u64 = DAY;
/// Longest text that describes a tag, in characters.
const LONGEST_DESCRIPTION: usize = 1024;
/// Largest number that every program reads as it is written.
const LARGEST_NUMBER: u64 = (1 << 53) - 1;

/// A number as JSON has it: without a fraction, however it is written.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "serde_json::Number")]
struct Whole(u64);

impl TryFrom<serde_json::Number> for Whole {
    type Error = String;

    fn try_from(number: serde_json::Number) -> Result<Whole, String> {
        let written = number.as_f64().filter(|float| float.fract() == 0.0 && *float >= 0.0);
        let whole = number.as_u64().or(written.map(|float| float as u64));
        whole
            .filter(|whole| *whole <= LARGEST_NUMBER)
            .map(Whole)
            .ok_or(format!("{number} is no number from 0 to {LARGEST_NUMBER}"))
    }
}

/// What a new repository is to be like.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRepositoryBody {
    name: Fqrn,
    #[serde(default = "ttl")]
    ttl: Whole,
    #[serde(default)]
    garbage_collectable: bool,
}

fn ttl() -> Whole {
    Whole(240)
}

/// What is to be leased.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseBody {
    repository: Fqrn,
    path: RepositoryPath,
    seconds: Whole,
}

/// How long a lease is to last from now.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewalBody {
    seconds: Whole,
}

/// A new name for a revision.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagBody {
    name: String,
    of: Option<String>,
    #[serde(default)]
    description: String,
}

/// What garbage collection is to keep.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectBody {
    keep: Option<Whole>,
    keep_days: Option<Whole>,
    #[serde(default)]
    dry_run: bool,
}

/// A tag as it is told.
#[derive(Debug, Serialize)]
struct TagView<'t> {
    name: &'t str,
    revision: u64,
    timestamp: i64,
    root_hash: String,
    branch: &'t str,
    description: &'t str,
}

impl<'t> TagView<'t> {
    fn new(tag: &'t Tag) -> TagView<'t> {
        let Tag { name, root, revision, timestamp, description, branch, .. } = tag;
        TagView { name, revision: *revision, timestamp: *timestamp, root_hash: root.to_string(), branch, description }
    }
}

/// A name of a repository in a path or a body.
pub fn fqrn(text: &str) -> Answer<Fqrn> {
    Fqrn::new(text).map_err(|_| Problem::not_found("repository"))
}

impl Manager {
    /// The repositories that a token is for.
    pub fn repositories(&self, token: &Token) -> Answer<Value> {
        let all = self.workshop.repositories()?;
        let names: Vec<_> = all.iter().filter(|fqrn| token.may_see(fqrn)).map(|name| json!({"name": name})).collect();
        Ok(json!({"repositories": names}))
    }

    /// A repository that a token is for. Others are as if they did not exist.
    fn visible(&self, token: &Token, fqrn: &Fqrn) -> Answer<Repository> {
        match token.may_see(fqrn) {
            true => self.workshop.repository(fqrn),
            false => Err(Problem::not_found("repository")),
        }
    }

    /// What is published in a repository.
    pub fn repository(&self, token: &Token, fqrn: &Fqrn) -> Answer<Value> {
        let repository = self.visible(token, fqrn)?;
        let head = repository.head()?;
        Ok(json!({
            "name": fqrn, "revision": head.revision(), "root_hash": head.root_catalog().hash.to_string(),
            "timestamp": head.timestamp(), "ttl": head.ttl(), "garbage_collectable": head.is_garbage_collectable(),
        }))
    }

    /// Makes a repository with keys of its own.
    pub fn create(&self, token: &Token, body: NewRepositoryBody) -> Answer<Value> {
        let NewRepositoryBody { name, ttl: Whole(ttl), garbage_collectable } = body;
        if !token.may_create(&name) {
            return Err(Problem::forbidden(format!("the token does not allow to make {name}")));
        }
        if !(1..=u64::from(u32::MAX)).contains(&ttl) {
            return Err(Problem::unprocessable("ttl", "a time to live is at least a second, and fits into 32 bits"));
        }
        let _turn = self.jobs.turn(&name, Instant::now() + PATIENCE)?;
        if self.workshop.repository(&name).is_ok() {
            return Err(Problem::conflict("repository-exists", format!("there is a repository {name}")));
        }
        let new = NewRepository {
            algorithm: Algorithm::Sha1,
            ttl,
            garbage_collectable,
            whitelist_days: WHITELIST_DAYS,
            meta_info: None,
            owner: self.workshop.owners.of(0, 0),
        };
        mkfs::mkfs(&self.workshop.place(&name)?, &new)?;
        self.repository(token, &name)
    }

    /// The tags of a repository, the newest first.
    pub fn tags(&self, token: &Token, fqrn: &Fqrn) -> Answer<Value> {
        let repository = self.visible(token, fqrn)?;
        let history = repository.history(&repository.head()?)?;
        let tags: Vec<_> = history.tags().iter().map(TagView::new).collect();
        Ok(json!({"tags": tags}))
    }

    /// Names a revision.
    pub fn add_tag(&self, token: &Token, fqrn: &Fqrn, body: &TagBody) -> Answer<Value> {
        let TagBody { name, of, description } = body;
        tag_name(name)?;
        tag_description(description)?;
        let mut told = Value::Null;
        self.change_tags(token, fqrn, |history, head| {
            if history.tag(name).is_some() {
                return Err(Problem::conflict("tag-exists", format!("there is a tag '{name}'")).into());
            }
            if let Some(of) = of
                && history.tag(of).is_none()
            {
                return Err(Problem::unprocessable("no-such-tag", format!("there is no tag '{of}'")).into());
            }
            tags::add(history, head, name, of.as_deref(), description)?;
            told = json!(history.tag(name).map(TagView::new));
            Ok(())
        })?;
        Ok(told)
    }

    /// Takes the name of a revision away.
    pub fn remove_tag(&self, token: &Token, fqrn: &Fqrn, name: &str) -> Answer<()> {
        self.change_tags(token, fqrn, |history, _| {
            if history.tag(name).is_none() {
                return Err(Problem::not_found("tag").into());
            }
            tag_name(name)?;
            tags::remove(history, &[name.to_owned()])
        })
    }

    fn change_tags(
        &self,
        token: &Token,
        fqrn: &Fqrn,
        change: impl FnOnce(&mut libcvmfs::history::History, &libcvmfs::trust::VerifiedManifest) -> anyhow::Result<()>,
    ) -> Answer<()> {
        let repository = self.visible(token, fqrn)?;
        if !token.may_tag(fqrn) {
            return Err(Problem::forbidden("the token does not allow to change tags"));
        }
        let _turn = self.jobs.turn(fqrn, Instant::now() + PATIENCE)?;
        let _lock =
            self.workshop.lock(&repository, &format!("tag for {}", token.group), PATIENCE, &AtomicBool::new(false))?;
        tags::change(&repository, change)?;
        Ok(())
    }

    /// Begins to collect garbage.
    pub fn collect(&self, token: &Token, fqrn: &Fqrn, body: &CollectBody) -> Answer<Job> {
        let repository = self.visible(token, fqrn)?;
        if !token.may_collect(fqrn) {
            return Err(Problem::forbidden("the token does not allow to collect garbage"));
        }
        if !repository.head()?.is_garbage_collectable() {
            let detail = "the repository was made without garbage collection";
            return Err(Problem::conflict("not-garbage-collectable", detail));
        }
        let (keep, days) = match (body.keep, body.keep_days) {
            (None, None) => (0, Some(KEEP_DAYS)),
            (keep, days) => (keep.map_or(0, |keep| keep.0), days.map(|days| days.0)),
        };
        let settings = gc::Settings {
            keep,
            keep_seconds: days.map(|days| days.saturating_mul(DAY)),
            grace: GRACE,
            dry_run: body.dry_run,
            mirror: false,
            now: unix_now(),
        };
        self.jobs.add(Kind::Collect, &token.group, fqrn, Order::Collect(fqrn.clone(), settings))
    }

    /// Takes a lease.
    pub fn take_lease(&self, token: &Token, body: &LeaseBody) -> Answer<Lease> {
        let LeaseBody { repository, path, seconds: Whole(seconds) } = body;
        self.visible(token, repository)?;
        if !token.may_publish(repository, path) {
            return Err(Problem::forbidden(format!("the token does not allow to publish {path}")));
        }
        self.leases.take(&token.group, repository, path, *seconds, unix_now())
    }

    /// One's leases.
    pub fn leases(&self, token: &Token) -> Value {
        json!({"leases": self.leases.of_group(&token.group, unix_now())})
    }

    /// One lease.
    pub fn lease(&self, token: &Token, id: &str) -> Answer<Lease> {
        self.leases.get(&token.group, id, unix_now())
    }

    /// Makes a lease last longer.
    pub fn renew_lease(&self, token: &Token, id: &str, body: &RenewalBody) -> Answer<Lease> {
        self.still_allowed(token, &self.lease(token, id)?)?;
        self.leases.renew(&token.group, id, body.seconds.0, unix_now())
    }

    /// Ends a lease.
    pub fn release_lease(&self, token: &Token, id: &str) -> Answer<()> {
        self.leases.release(&token.group, id, unix_now())
    }

    /// Rights may have changed since a lease was taken, and tokens of one group need not allow the same.
    pub fn still_allowed(&self, token: &Token, lease: &Lease) -> Answer<()> {
        match token.may_publish(&lease.repository, &lease.path) {
            true => Ok(()),
            false => Err(Problem::forbidden(format!("the token does not allow to publish {}", lease.path))),
        }
    }
}

/// Refuses names that a tag cannot have.
pub fn tag_name(name: &str) -> Answer<()> {
    tags::check_name(name).map_err(|error| Problem::unprocessable("tag-name", error.to_string()))
}

/// Refuses descriptions of tags that are no description any more.
pub fn tag_description(text: &str) -> Answer<()> {
    match text.chars().count() <= LONGEST_DESCRIPTION {
        true => Ok(()),
        false => Err(Problem::unprocessable("description", "the description is too long")),
    }
}
