//! Where system calls come from and where their answers go: one of the two ways in which the kernel lets one process
//! decide about the calls of others.

use super::Answer;
use super::listener::Notification;
use super::rerun::Rerun;
use std::io;

/// The kernel's end of the conversation.
pub(super) trait Exchange: Send + Sync {
    /// Waits for the next call; `None` when nobody is left who could make one. Called by one thread only.
    fn receive(&self) -> io::Result<Option<Notification>>;

    /// Whether the caller still waits: what is written to its memory would otherwise hit somebody else.
    fn is_waiting(&self, id: u64) -> bool;

    /// Ends the call. A caller that is gone needs no answer.
    ///
    /// # Errors
    /// The call that cannot be made in the place of this one, because the thread may not be traced. It waits still.
    fn give(&self, notification: &Notification, answer: Answer) -> Result<(), Box<Rerun>>;

    /// Whether this answer takes longer than the thread that receives should be busy.
    fn takes_time(&self, answer: &Answer) -> bool;
}
