//! Jobs: what takes longer than a request may. One at a time works on a repository; who asked can look how far it is.

use super::note;
use super::path::RepositoryPath;
use super::problem::{Answer, Problem};
use super::token::random;
use super::work::Order;
use anyhow::{Context as _, Result};
use libcvmfs::fqrn::Fqrn;
use libcvmfs::trust::unix_now;
use parking_lot::{Condvar, Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::watch;

/// Seconds for which one can ask how a job ended.
const REMEMBERED: u64 = 7 * 24 * 60 * 60;
/// Bytes of the name of a job.
const ID_BYTES: usize = 16;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Publishes an archive.
    Publish,
    /// Collects garbage.
    Collect,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// It waits for others.
    Queued,
    /// It is being done.
    Running,
    /// It is done; there is a result.
    Done,
    /// It could not be done; there is a problem.
    Failed,
    /// Somebody called it off in time.
    Cancelled,
    /// The service ended before the job did. What it was to publish is published whole or not at all: the repository's
    /// revision tells which.
    Interrupted,
}

impl Progress {
    /// Whether nothing will change any more.
    pub fn is_final(self) -> bool {
        !matches!(self, Progress::Queued | Progress::Running)
    }
}

/// What there is to say about a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    pub id: String,
    /// What it does.
    pub kind: Kind,
    /// Who wants it.
    pub group: String,
    /// Where.
    pub repository: Fqrn,
    /// The lease with which it publishes.
    pub lease: Option<String>,
    /// The path that is published.
    pub path: Option<RepositoryPath>,
    /// How far it is.
    pub progress: Progress,
    /// When it was asked for, seconds since 1970.
    pub created: u64,
    /// When it ended, seconds since 1970.
    pub finished: Option<u64>,
    /// What was done so far, or in the end.
    pub result: Option<Value>,
    /// Why it failed.
    pub problem: Option<Problem>,
}

struct Waiting {
    id: String,
    repository: Fqrn,
    order: Order,
}

#[derive(Default)]
struct State {
    jobs: BTreeMap<String, Job>,
    queue: VecDeque<Waiting>,
    /// Set to call a running job off.
    running: BTreeMap<String, Arc<AtomicBool>>,
    /// Repositories that somebody works on.
    busy: HashSet<Fqrn>,
    stopping: bool,
}

/// All jobs, each in a file as well.
pub struct Jobs {
    directory: PathBuf,
    most: usize,
    state: Mutex<State>,
    changed: Condvar,
    /// Told whenever a job ends.
    ended: watch::Sender<u64>,
}

/// Does an order; told what is done so far, and called off by the flag.
pub type Worker = dyn Fn(&Order, &AtomicBool, &mut dyn FnMut(Value)) -> Answer<Value> + Send + Sync;

impl Jobs {
    /// The jobs in `directory`. What was not finished when the service ended never will be. No group has more than `most`
    /// unfinished ones.
    pub fn open(directory: &Path, most: usize) -> Result<Jobs> {
        std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let mut state = State::default();
        let now = unix_now();
        for entry in std::fs::read_dir(directory).with_context(|| directory.display().to_string())? {
            let file = entry?.path();
            if file.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let Some(mut job) = note::read::<Job>(&file)? else { continue };
            if !job.progress.is_final() {
                (job.progress, job.finished) = (Progress::Interrupted, Some(now));
                note::write(&file, &job)?;
            }
            state.jobs.insert(job.id.clone(), job);
        }
        let (directory, state) = (directory.to_owned(), Mutex::new(state));
        Ok(Jobs { directory, most, state, changed: Condvar::new(), ended: watch::Sender::new(0) })
    }

    /// Starts threads that do what is asked for, until [`Jobs::stop`].
    pub fn start(self: &Arc<Jobs>, threads: usize, work: &Arc<Worker>) -> Result<Vec<JoinHandle<()>>> {
        let one = |number| {
            let (jobs, work) = (Arc::clone(self), Arc::clone(work));
            std::thread::Builder::new().name(format!("job-{number}")).spawn(move || jobs.serve(&*work))
        };
        Ok((0..threads).map(one).collect::<Result<Vec<_>, _>>()?)
    }

    /// Lets no further job begin, and calls off what runs.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        state.stopping = true;
        for flag in state.running.values() {
            flag.store(true, Ordering::Relaxed);
        }
        self.changed.notify_all();
    }

    /// Puts a job at the end of the queue.
    pub fn add(&self, kind: Kind, group: &str, repository: &Fqrn, order: Order) -> Answer<Job> {
        let lease = order.lease();
        let job = Job {
            id: random(ID_BYTES)?,
            kind,
            group: group.to_owned(),
            repository: repository.clone(),
            lease: lease.map(|lease| lease.id.clone()),
            path: lease.map(|lease| lease.path.clone()),
            progress: Progress::Queued,
            created: unix_now(),
            finished: None,
            result: None,
            problem: None,
        };
        let mut state = self.state.lock();
        if state.stopping {
            return Err(Problem::busy("the service is being stopped"));
        }
        let unfinished = |job: &&Job| job.group == group && !job.progress.is_final();
        if state.jobs.values().filter(unfinished).count() >= self.most {
            return Err(Problem::too_many(format!("a group has at most {} unfinished jobs", self.most)));
        }
        self.forget(&mut state, job.created);
        note::write(&self.file(&job.id), &job)?;
        state.jobs.insert(job.id.clone(), job.clone());
        state.queue.push_back(Waiting { id: job.id.clone(), repository: repository.clone(), order });
        self.changed.notify_all();
        Ok(job)
    }

    /// A job of a group.
    pub fn get(&self, group: &str, id: &str) -> Answer<Job> {
        let state = self.state.lock();
        let job = state.jobs.get(id).filter(|job| job.group == group);
        job.cloned().ok_or_else(|| Problem::not_found("job"))
    }

    /// The jobs of a group, the newest first.
    pub fn of_group(&self, group: &str) -> Vec<Job> {
        let mut jobs: Vec<Job> = self.state.lock().jobs.values().filter(|job| job.group == group).cloned().collect();
        jobs.sort_by(|a, b| (b.created, &b.id).cmp(&(a.created, &a.id)));
        jobs
    }

    /// Calls a job off. One that runs may still be done: what is published is published.
    pub fn cancel(&self, group: &str, id: &str) -> Answer<Job> {
        let mut state = self.state.lock();
        let job = state.jobs.get(id).filter(|job| job.group == group).ok_or_else(|| Problem::not_found("job"))?.clone();
        if let Some(flag) = state.running.get(id) {
            flag.store(true, Ordering::Relaxed);
        } else if let Some(at) = state.queue.iter().position(|waiting| waiting.id == id) {
            drop(state.queue.remove(at));
            return Ok(self.end(&mut state, id, Progress::Cancelled, None, None).unwrap_or(job));
        } else {
            return Err(Problem::conflict("job-ended", "the job has ended"));
        }
        Ok(job)
    }

    /// Waits until a job has ended, or until `deadline`.
    pub async fn wait(&self, group: &str, id: &str, deadline: tokio::time::Instant) -> Answer<Job> {
        let mut ended = self.ended.subscribe();
        loop {
            let job = self.get(group, id)?;
            if job.progress.is_final() || tokio::time::timeout_at(deadline, ended.changed()).await.is_err() {
                return self.get(group, id);
            }
        }
    }

    /// Keeps jobs away from a repository, as soon as none works on it; an error if that is not so by `deadline`.
    pub fn turn(&self, repository: &Fqrn, deadline: Instant) -> Answer<Turn<'_>> {
        let mut state = self.state.lock();
        while state.busy.contains(repository) {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return Err(Problem::busy("a job is at work on the repository"));
            }
        }
        state.busy.insert(repository.clone());
        Ok(Turn { jobs: self, repository: repository.clone() })
    }

    fn serve(&self, work: &Worker) {
        let mut state = self.state.lock();
        loop {
            if state.stopping {
                return;
            }
            let ready = state.queue.iter().position(|waiting| !state.busy.contains(&waiting.repository));
            let Some(waiting) = ready.and_then(|at| state.queue.remove(at)) else {
                self.changed.wait(&mut state);
                continue;
            };
            let flag = Arc::new(AtomicBool::new(false));
            state.busy.insert(waiting.repository.clone());
            state.running.insert(waiting.id.clone(), Arc::clone(&flag));
            if let Some(job) = state.jobs.get_mut(&waiting.id) {
                job.progress = Progress::Running;
            }
            MutexGuard::unlocked(&mut state, || self.perform(waiting, &flag, work));
        }
    }

    fn perform(&self, waiting: Waiting, flag: &AtomicBool, work: &Worker) {
        let Waiting { id, repository, order } = waiting;
        let mut watch = |result: Value| {
            if let Some(job) = self.state.lock().jobs.get_mut(&id) {
                job.result = Some(result);
            }
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| work(&order, flag, &mut watch)));
        let outcome = outcome.unwrap_or_else(|_| Err(Problem::internal(&anyhow::anyhow!("job {id} panicked"))));
        // Who sees that the job has ended can use the lease again.
        drop(order);
        let mut state = self.state.lock();
        state.running.remove(&id);
        state.busy.remove(&repository);
        let called_off = if state.stopping { Progress::Interrupted } else { Progress::Cancelled };
        match outcome {
            Ok(result) => self.end(&mut state, &id, Progress::Done, Some(result), None),
            Err(_) if flag.load(Ordering::Relaxed) => self.end(&mut state, &id, called_off, None, None),
            Err(problem) => self.end(&mut state, &id, Progress::Failed, None, Some(problem)),
        };
    }

    fn end(
        &self,
        state: &mut State,
        id: &str,
        progress: Progress,
        result: Option<Value>,
        problem: Option<Problem>,
    ) -> Option<Job> {
        let job = state.jobs.get_mut(id)?;
        (job.progress, job.finished, job.problem) = (progress, Some(unix_now()), problem);
        job.result = result;
        log::info!("job {id} of {}: {progress:?}", job.group);
        if let Err(error) = note::write(&self.file(id), job) {
            log::error!("{error:#}");
        }
        let job = job.clone();
        self.changed.notify_all();
        self.ended.send_modify(|count| *count += 1);
        Some(job)
    }

    fn forget(&self, state: &mut State, now: u64) {
        let is_old = |job: &Job| job.finished.is_some_and(|end| end.saturating_add(REMEMBERED) < now);
        let old: Vec<String> = state.jobs.values().filter(|job| is_old(job)).map(|job| job.id.clone()).collect();
        for id in old {
            state.jobs.remove(&id);
            let _ = std::fs::remove_file(self.file(&id));
        }
    }

    fn file(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }
}

/// Keeps jobs away from a repository until it is dropped.
pub struct Turn<'j> {
    jobs: &'j Jobs,
    repository: Fqrn,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.jobs.state.lock().busy.remove(&self.repository);
        self.jobs.changed.notify_all();
    }
}
