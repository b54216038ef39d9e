//! The supervisor: answers the system calls of the program that concern `/cvmfs`.
//!
//! A seccomp filter in the program and in all that it starts sends the system calls with paths here. What is not ours
//! goes on in the kernel; what is ours is answered. Nothing is installed, nothing is mounted, and the program is
//! traced only for the moment in which a call has to be made again with another path.
//!
//! | module | job |
//! |---|---|
//! | [`launch`] | the processes: launcher, supervisor, program |
//! | [`exchange`] | where calls come from and answers go: [`listener`] or [`trace`] |
//! | [`filter`], [`registers`] | the kernel's interface |
//! | [`in_flight`] | calls not answered yet, for who comes after a supervisor that died |
//! | [`calls`] | numbers and arguments of the calls: what is asked |
//! | [`early`] | calls that the kernel settles before it looks at a path |
//! | [`engine`] | one leader that answers what is at hand, workers for what has to be waited for |
//! | [`task`], [`memory`] | the program as the kernel shows it |
//! | [`locate`] | where a path leads |
//! | [`open`], [`tell`], [`change`], [`execute`], [`elf`] | the answers |
//! | [`publish`] | telling the shims what is mounted |
//! | [`rooted`] | a root of its own for the program |
//! | [`rerun`] | making a call again with other arguments |
//! | [`in_place`] | doing without that where nobody may trace |
//! | [`report`] | what the user is told |

mod calls;
mod change;
mod early;
mod elf;
mod engine;
mod exchange;
mod execute;
mod filter;
mod in_flight;
mod in_place;
pub(crate) mod launch;
mod leftover;
mod listener;
mod locate;
mod memory;
mod open;
pub(crate) mod publish;
mod registers;
mod report;
mod rerun;
pub(crate) mod rooted;
mod task;
mod tell;
mod trace;

use calls::Call;
use cvmfs_view::{Errno, Refusal, View, name};
use exchange::Exchange;
use filter::Purpose;
use in_place::InPlace;
use libc::c_int;
use libcvmfs::client::Client;
use libcvmfs::namespace::Node;
use libcvmfs::prefetch::RecordFile;
use libcvmfs::snapshot::Snapshot;
use listener::Notification;
use parking_lot::{Mutex, RwLock};
use publish::Publisher;
use rerun::Rerun;
use rooted::Rooted;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use task::Task;
pub(crate) use tell::SESSION_LINK;

/// Tries to get a listener; this process can hardly be used for anything else afterwards.
pub(crate) fn try_listener() -> std::io::Result<OwnedFd> {
    filter::install(Purpose { cookie: 0, rooted: false })
}

/// Whether calls can be had by tracing; this process goes on as before. It must have one thread.
pub(crate) fn try_tracing() -> std::io::Result<()> {
    trace::works()
}

/// What answers one session.
pub(crate) struct Supervisor {
    client: Client,
    view: View,
    /// User and groups, for permission bits.
    caller: (u32, Vec<u32>),
    /// Lets a call pass the filter.
    cookie: u64,
    /// The snapshots that have names in the view, by key: what was opened stays what it is.
    snapshots: RwLock<HashMap<String, Arc<Snapshot>>>,
    /// None: the programs have no shim.
    publisher: Option<Publisher>,
    /// None: nobody wants to know what is used.
    record: Option<RecordFile>,
    /// A thread was met that may not be traced.
    untraceable: AtomicBool,
    in_place: InPlace,
    /// Calls that threads were let go to make, by the thread: with which path they come.
    expected: Mutex<HashMap<u32, Vec<u8>>>,
    /// The program's own root, if it has one.
    rooted: Option<Rooted>,
}

/// What a supervisor is made for.
pub(crate) struct Wanted<'w> {
    /// Lets a call pass the filter.
    pub(crate) cookie: u64,
    /// None: the programs have no shim.
    pub(crate) publisher: Option<Publisher>,
    /// None: nobody wants to know what is used.
    pub(crate) record: Option<RecordFile>,
    /// A root of its own for the program.
    pub(crate) root: Option<&'w rooted::Plan>,
}

/// How a call ends.
enum Answer {
    /// The kernel goes on with it.
    Resume,
    /// It returns this.
    Value(i64),
    /// It returns a new descriptor for this.
    Descriptor { file: OwnedFd, close_on_exec: bool },
    /// It returns a new descriptor for a file of the host, opened with these flags.
    Open { path: PathBuf, flags: c_int, mode: u32 },
    /// It is made again with other arguments.
    Rerun(Rerun),
}

type Outcome = Result<Answer, Refusal>;

impl Supervisor {
    /// # Errors
    /// If the program's own root cannot be made.
    pub(crate) fn new(client: Client, view: View, wanted: Wanted<'_>) -> anyhow::Result<Supervisor> {
        let Wanted { cookie, publisher, record, root } = wanted;
        let rooted = root.map(|plan| Rooted::new(plan, &client, &view)).transpose()?;
        // In a root of its own the program is root.
        let caller = if rooted.is_some() { (0, vec![0]) } else { libcvmfs::identity::of_process() };
        let supervisor = Supervisor {
            client,
            view,
            caller,
            cookie,
            snapshots: RwLock::default(),
            publisher,
            record,
            untraceable: AtomicBool::new(false),
            in_place: InPlace::default(),
            expected: Mutex::default(),
            rooted,
        };
        if let Some(tree) = supervisor.rooted.as_ref().and_then(Rooted::tree_node) {
            supervisor.keep(tree);
        }
        Ok(supervisor)
    }

    /// What the filter for the program is made for.
    fn purpose(&self) -> Purpose {
        Purpose { cookie: self.cookie, rooted: self.rooted.is_some() }
    }

    /// Notes that the content of a file was handed out, or a directory that can be listed.
    fn note(&self, node: &Node) -> Result<(), Refusal> {
        match &self.record {
            Some(record) => Ok(record.note(node)?),
            None => Ok(()),
        }
    }

    /// Writes what was noted so far.
    fn write_record(&self) {
        if let Some(record) = &self.record
            && let Err(error) = record.write(&self.client)
        {
            report::say(format!("writing the list {}: {error}", record.path().display()));
        }
    }

    /// Nobody is left.
    fn end(&self) {
        self.write_record();
        self.in_place.remove();
        if let Some(publisher) = &self.publisher {
            publisher.remove();
        }
    }

    /// Tells the shims what was mounted since the last time.
    fn publish(&self) {
        if let Some(publisher) = &self.publisher {
            // The shims open names in the view by themselves.
            for snapshot in publisher.refresh(&self.client) {
                self.snapshots.write().insert(snapshot.identity().root_hash.to_string(), snapshot);
            }
        }
    }

    fn answer(&self, exchange: &dyn Exchange, notification: &Notification) -> Outcome {
        let task = Task::of(exchange, notification);
        let Some(call) = calls::decode(notification.number, &notification.arguments) else {
            return Ok(Answer::Resume);
        };
        if early::is_settled(notification.number, &notification.arguments, task.memory) {
            return Ok(Answer::Resume);
        }
        if let Call::Open { at, .. } = call
            && self.is_expected(&task, at)
        {
            return Ok(Answer::Resume);
        }
        match self.dispatch(&task, call, notification) {
            // Not even the path can be read: the process does not want to be looked at, and the kernel serves it.
            Err(Refusal::Error(Errno(libc::EPERM))) if task.memory.word(notification.arguments[1] & !7).is_err() => {
                Ok(Answer::Resume)
            }
            outcome => outcome,
        }
    }

    /// Whether this is the call that the thread was told to make.
    fn is_expected(&self, task: &Task, at: calls::At) -> bool {
        let mut expected = self.expected.lock();
        let comes =
            expected.get(&task.tid).is_some_and(|path| task.memory.path(at.path).is_ok_and(|came| came == *path));
        if comes {
            expected.remove(&task.tid);
        }
        comes
    }

    fn dispatch(&self, task: &Task, call: Call, notification: &Notification) -> Outcome {
        if let Some(rooted) = &self.rooted
            && let Some(outcome) = self.dispatch_rooted(rooted, task, call, notification)
        {
            return outcome;
        }
        match call {
            Call::Open { at, flags, mode } => self.open(task, at, flags, mode, notification),
            Call::OpenHow { at, how } => self.open_how(task, at, how, notification),
            Call::Stat { of, buf } => self.stat(task, of, |stat| self.put(task, buf, stat)),
            Call::Statx { of, buf } => self.stat(task, of, |stat| self.put(task, buf, &cvmfs_view::stat::statx(stat))),
            Call::Access { at, mode, flags } => self.access(task, at, mode, flags),
            Call::ReadLink { at, into } => self.read_link(task, at, into),
            Call::WorkingDirectory { into } => self.working_directory(task, into),
            Call::StatFs { of, buf } => self.stat_fs(task, of, buf, notification),
            Call::GetAttribute { of, name, into } => self.get_attribute(task, of, name, into, notification),
            Call::ListAttributes { of, into } => self.list_attributes(task, of, into, notification),
            Call::Handle { of } => self.handle(task, of),
            Call::Watch { at, mask, .. } => self.watch(task, at, mask, notification),
            Call::ChangeDirectory { at } => self.change_directory(task, at, notification),
            Call::Execute { at, arguments, environment: _, flags } => {
                self.execute(task, at, arguments, flags, notification)
            }
            Call::Make { at, what } => self.make(task, at, what, notification),
            Call::Remove { at, directory } => self.remove(task, at, directory, notification),
            Call::Rename { from, to, .. } => self.rename(task, from, to),
            Call::Link { from, to, flags } => self.link(task, from, to, flags),
            Call::Truncate { at, .. } => self.truncate(task, at, notification),
            Call::Alter { of, .. } => self.alter(task, of, notification),
            Call::Identity { into } => {
                for address in into {
                    task.write(address, &[0; 4])?;
                }
                Ok(Answer::Value(0))
            }
            Call::Refuse { errno } => Err(Errno(errno).into()),
        }
    }

    /// Writes one of the kernel's structures to the program.
    fn put<T: Copy>(&self, task: &Task, address: u64, value: &T) -> Outcome {
        task.write(address, memory::bytes_of(value))?;
        Ok(Answer::Value(0))
    }

    /// Notes the snapshot of something that gets a name in the view.
    fn keep(&self, node: &Node) {
        let Some(snapshot) = node.snapshot() else { return };
        let key = name::key(node);
        if !self.snapshots.read().contains_key(&key) {
            self.snapshots.write().insert(key, snapshot.clone());
        }
    }
}
