//! One leader that answers what is at hand, workers for what has to be waited for.
//!
//! Several receivers would be slower than one: the kernel wakes them in turn, each on another processor.

use super::exchange::Exchange;
use super::in_flight::{Entry, InFlight};
use super::listener::Notification;
use super::rerun::Rerun;
use super::task::Task;
use super::{Answer, Outcome, Supervisor, report};
use cvmfs_view::{Errno, Refusal};
use libc::c_int;
use libcvmfs::patience;
use libcvmfs::workers::Workers;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Time between two looks for newer revisions; each repository has its own time to live.
const TICK: Duration = Duration::from_secs(1);
/// Time between two clean-ups of the view.
const CLEAN_EVERY: Duration = Duration::from_secs(600);

/// What a worker does.
struct Job {
    notification: Notification,
    /// None: it has to find out.
    answer: Option<Answer>,
    /// Until it is answered.
    _entry: Entry<'static>,
}

pub(super) struct Engine {
    supervisor: Arc<Supervisor>,
    exchange: Arc<dyn Exchange>,
    workers: Workers,
    /// Lives as long as the process.
    in_flight: &'static InFlight,
}

impl Engine {
    pub(super) fn new(
        supervisor: Arc<Supervisor>,
        exchange: Arc<dyn Exchange>,
        in_flight: &'static InFlight,
    ) -> Arc<Engine> {
        report::listen_to_the_library();
        Arc::new(Engine { supervisor, exchange, workers: Workers::default(), in_flight })
    }

    /// Answers what a dead process has received.
    pub(super) fn take_over(self: &Arc<Self>) {
        for notification in self.in_flight.left() {
            let entry = self.in_flight.note(&notification);
            self.hand_over(Job { notification, answer: None, _entry: entry });
        }
    }

    /// Answers until nobody is left who could ask.
    pub(super) fn lead(self: &Arc<Self>) -> std::io::Result<()> {
        while let Some(notification) = self.exchange.receive()? {
            self.supervisor.in_place.restore(notification.tid);
            let entry = self.in_flight.note(&notification);
            let outcome = patience::without_waiting(|| self.supervisor.answer_safely(&*self.exchange, &notification));
            match outcome {
                Err(Refusal::WouldWait) => self.hand_over(Job { notification, answer: None, _entry: entry }),
                Ok(answer) if self.exchange.takes_time(&answer) => {
                    self.hand_over(Job { notification, answer: Some(answer), _entry: entry });
                }
                outcome => self.supervisor.finish(&*self.exchange, &notification, outcome),
            }
        }
        Ok(())
    }

    fn hand_over(self: &Arc<Self>, job: Job) {
        let engine = self.clone();
        self.workers.run(move || engine.carry_out(job));
    }

    fn carry_out(&self, job: Job) {
        let outcome = match job.answer {
            Some(answer) => Ok(answer),
            None => self.supervisor.answer_safely(&*self.exchange, &job.notification),
        };
        self.supervisor.finish(&*self.exchange, &job.notification, outcome);
    }

    /// Looks for newer revisions and keeps the view clean, for ever.
    pub(super) fn tick(&self) {
        let mut cleaned = Instant::now();
        loop {
            std::thread::sleep(TICK);
            for repository in self.supervisor.client.mounted() {
                repository.fresh_snapshot();
            }
            self.supervisor.publish();
            if cleaned.elapsed() > CLEAN_EVERY {
                self.supervisor.view.clean();
                cleaned = Instant::now();
            }
        }
    }
}

impl Supervisor {
    /// A mistake of ours is an input/output error of the program, not the end of everything.
    fn answer_safely(&self, exchange: &dyn Exchange, notification: &Notification) -> Outcome {
        catch_unwind(AssertUnwindSafe(|| self.answer(exchange, notification))).unwrap_or_else(|_| {
            report::say(format!("a mistake while answering system call {}", notification.number));
            Err(Errno(libc::EIO).into())
        })
    }

    fn finish(&self, exchange: &dyn Exchange, notification: &Notification, outcome: Outcome) {
        // Before the answer: the next call should find it already.
        self.publish();
        let fails = |errno: c_int| Answer::Value(-i64::from(errno));
        let answer = match outcome {
            Ok(answer) => answer,
            Err(Refusal::Error(Errno(errno))) => fails(errno),
            Err(Refusal::WouldWait) => fails(libc::EIO),
        };
        if let Answer::Rerun(rerun) = &answer
            && let Some(path) = rerun.expected()
        {
            self.expected.lock().insert(notification.tid, path.to_vec());
        }
        if let Err(rerun) = exchange.give(notification, answer) {
            self.finish_in_place(exchange, notification, *rerun);
        }
    }

    /// Does without tracing what it can.
    fn finish_in_place(&self, exchange: &dyn Exchange, notification: &Notification, rerun: Rerun) {
        let task = Task::of(exchange, notification);
        // What a script takes is only prepared where it is needed, so it has to be found out once more.
        self.untraceable.store(true, Ordering::Relaxed);
        let own = match rerun.own {
            None => match self.answer_safely(exchange, notification) {
                Ok(Answer::Rerun(again)) => again.own,
                _ => None,
            },
            own => own,
        };
        let resume = || drop(exchange.give(notification, Answer::Resume));
        if own.is_some_and(|own| self.in_place.carry_out(&task, &own, resume).is_ok()) {
            return;
        }
        report::say(
            "this node does not let cvmfs-run redirect a system call of the program (ptrace is forbidden, or a debugger \
             holds it), and its path is too short, or another process's as well (vfork), to be changed in place"
                .to_owned(),
        );
        let _ = exchange.give(notification, Answer::Value(-i64::from(libc::EPERM)));
    }
}
