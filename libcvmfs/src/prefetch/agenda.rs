//! What is still to be done, shared by the workers.

use super::{Failure, Progress, Summary};
use crate::Error;
use crate::fqrn::Fqrn;
use crate::namespace::Node;
use crate::object::ObjectName;
use crate::prefetch::list::ListedObject;
use crate::snapshot::{Content, Parts};
use parking_lot::{Condvar, Mutex};
use std::collections::HashSet;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Files that are known and not begun: with fewer, workers look into directories to find more.
const ENOUGH_FILES: usize = 256;

/// One piece of work.
pub(super) enum Task {
    Directory(Node),
    File(Node, Arc<Content>),
    Chunk(Node, Arc<Content>, usize),
    Object(ListedObject),
}

pub(super) struct Agenda {
    state: Mutex<State>,
    changed: Condvar,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    directories: Vec<Node>,
    files: VecDeque<Task>,
    /// Contents seen before, which are fetched only once.
    seen: HashSet<Parts>,
    /// The same for objects by name.
    named: HashSet<(Fqrn, ObjectName)>,
    busy: usize,
    stopped: bool,
    progress: Progress,
    failures: Vec<Failure>,
}

impl State {
    fn is_over(&self) -> bool {
        self.busy == 0 && (self.stopped || (self.directories.is_empty() && self.files.is_empty()))
    }

    fn take(&mut self) -> Option<Task> {
        let directory_first = self.files.len() < ENOUGH_FILES;
        let directory = if directory_first { self.directories.pop() } else { None };
        match directory {
            Some(directory) => Some(Task::Directory(directory)),
            None => self.files.pop_front().or_else(|| self.directories.pop().map(Task::Directory)),
        }
    }
}

impl Agenda {
    pub(super) fn new() -> Agenda {
        Agenda { state: Mutex::default(), changed: Condvar::new(), ended: Condvar::new() }
    }

    /// The next piece of work; waits while others may still find some. `None`: it is over.
    pub(super) fn next(&self) -> Option<Task> {
        let mut state = self.state.lock();
        loop {
            if !state.stopped
                && let Some(task) = state.take()
            {
                state.busy += 1;
                return Some(task);
            }
            if state.is_over() {
                self.changed.notify_all();
                self.ended.notify_all();
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    /// A piece of work is finished.
    pub(super) fn finished(&self) {
        let mut state = self.state.lock();
        state.busy -= 1;
        if state.is_over() {
            self.changed.notify_all();
            self.ended.notify_all();
        }
    }

    pub(super) fn add_directory(&self, node: Node) {
        self.state.lock().directories.push(node);
        self.changed.notify_one();
    }

    /// Adds a content unless an equal one was added before.
    pub(super) fn add_content(&self, node: &Node, content: Content, chunks_apart: bool) {
        let mut state = self.state.lock();
        if !state.seen.insert(content.parts.clone()) {
            return;
        }
        let content = Arc::new(content);
        let count = |state: &mut State, task: Task, bytes: u64| {
            state.progress.found += 1;
            state.progress.bytes_found += bytes;
            state.files.push_back(task);
        };
        match &content.parts {
            // The bytes of external files lie in one piece on another server.
            Parts::Chunks(chunks) if chunks_apart && !content.external => {
                for (number, chunk) in chunks.iter().enumerate() {
                    count(&mut state, Task::Chunk(node.clone(), content.clone(), number), chunk.size);
                }
            }
            _ => count(&mut state, Task::File(node.clone(), content.clone()), content.size),
        }
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn add_object(&self, object: ListedObject) {
        let mut state = self.state.lock();
        // The same content can have several paths.
        if !state.named.insert((object.repository.clone(), object.name)) {
            return;
        }
        state.progress.found += 1;
        state.progress.bytes_found += object.size.unwrap_or(0);
        state.files.push_back(Task::Object(object));
        drop(state);
        self.changed.notify_one();
    }

    /// Changes the counts.
    pub(super) fn count(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.state.lock().progress);
    }

    /// Puts down a failure; without space on the disk everything else would fail too.
    pub(super) fn failed(&self, what: Vec<u8>, error: Error) {
        let mut state = self.state.lock();
        state.progress.failed += 1;
        if error.errno() == libc::ENOSPC {
            state.stopped = true;
        }
        state.failures.push(Failure { what, error });
    }

    /// Waits for the end, but not longer than `time`; returns whether it came.
    pub(super) fn wait_for_end(&self, time: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.is_over() {
            self.ended.wait_for(&mut state, time);
        }
        state.is_over()
    }

    pub(super) fn progress(&self) -> Progress {
        self.state.lock().progress
    }

    pub(super) fn summary(self) -> Summary {
        let mut state = self.state.into_inner();
        state.failures.sort_by(|a, b| a.what.cmp(&b.what));
        Summary { progress: state.progress, failures: state.failures }
    }
}
