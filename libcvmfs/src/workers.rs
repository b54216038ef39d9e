//! Threads that wait in the place of one that must not (see [`crate::patience`]).

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// What is waited for at the same time.
const MOST: usize = 64;
/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

/// Threads that come when they are needed and end when they are not. Clones share them.
#[derive(Clone, Default)]
pub struct Workers(Arc<Shared>);

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    idle: usize,
    threads: usize,
}

impl Workers {
    /// Has a job done by another thread; by this one where none can be started.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut queue = self.0.queue.lock();
        queue.jobs.push_back(Box::new(job));
        if queue.idle >= queue.jobs.len() || queue.threads >= MOST {
            self.0.more.notify_one();
            return;
        }
        let shared = self.0.clone();
        match std::thread::Builder::new().name("cvmfs-worker".to_owned()).spawn(move || shared.work()) {
            Ok(_) => queue.threads += 1,
            Err(error) if queue.threads > 0 => log::warn!("starting a thread: {error}"),
            Err(error) => {
                log::warn!("starting a thread: {error}");
                let job = queue.jobs.pop_back();
                drop(queue);
                job.into_iter().for_each(carry_out);
            }
        }
    }
}

impl Shared {
    fn work(&self) {
        let mut queue = self.queue.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                carry_out(job);
                queue = self.queue.lock();
                continue;
            }
            queue.idle += 1;
            let timed_out = self.more.wait_for(&mut queue, IDLE).timed_out();
            queue.idle -= 1;
            if timed_out && queue.jobs.is_empty() {
                queue.threads -= 1;
                return;
            }
        }
    }
}

/// A job that panics costs only its own answer.
fn carry_out(job: Job) {
    let _ = catch_unwind(AssertUnwindSafe(job));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_job_that_hangs_holds_nobody_up() {
        let workers = Workers::default();
        let (release, hang) = channel::<()>();
        workers.run(move || {
            let _ = hang.recv();
        });
        let (done, ends) = channel();
        for number in 0..100 {
            let done = done.clone();
            workers.run(move || {
                let _ = done.send(number);
            });
        }
        let mut seen: Vec<u32> = (0..100).map(|_| ends.recv().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<u32>>());
        drop(release);
    }

    #[test]
    fn a_job_that_panics_ends_alone() {
        let workers = Workers::default();
        let (done, ends) = channel();
        for number in 0..50 {
            let done = done.clone();
            workers.run(move || {
                assert!(number % 2 == 0, "on purpose");
                let _ = done.send(number);
            });
        }
        assert_eq!(ends.iter().take(25).count(), 25);
        assert!(workers.0.queue.lock().threads <= MOST);
    }
}
