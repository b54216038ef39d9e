use super::Output;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver as Inbox, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Bytes in one buffer on its way to the thread: large, so that the threads seldom wake each other.
const BUFFER: usize = 1 << 20;
/// Buffers in existence, the bound on what waits to be written.
const BUFFERS: usize = 4;

/// An output in a thread of its own, so that inflating need not wait for hashing and writing of plain bytes.
pub(super) enum Relay<'scope, W> {
    /// There could be no thread.
    Here(W),
    Threaded(Threaded<'scope, W>),
}

pub(super) struct Threaded<'scope, W> {
    orders: SyncSender<Order>,
    replies: Inbox<Reply>,
    filling: Vec<u8>,
    spare: Vec<Vec<u8>>,
    thread: ScopedJoinHandle<'scope, W>,
}

enum Order {
    Write(Vec<u8>),
    Reset,
    Flush,
}

enum Reply {
    Emptied(Vec<u8>),
    Failed(io::Error),
    Done(io::Result<()>),
}

impl<'scope, W: Output + Send + 'scope> Relay<'scope, W> {
    pub(super) fn start(scope: &'scope Scope<'scope, '_>, output: W) -> Relay<'scope, W> {
        let (orders, inbox) = sync_channel(BUFFERS);
        let (outbox, replies) = channel();
        let (hand_over, handed_over) = sync_channel(1);
        let spawned = Builder::new().name("cvmfs-write".to_owned()).spawn_scoped(scope, move || {
            let mut output: W = handed_over.recv().expect("the spawner sends before it drops its end");
            work(&mut output, &inbox, &outbox);
            output
        });
        match spawned {
            Ok(thread) => {
                // The thread waits for exactly this message, so the channel is open.
                let _ = hand_over.send(output);
                let (filling, spare) = (Vec::with_capacity(BUFFER), vec![Vec::new(); BUFFERS - 1]);
                Relay::Threaded(Threaded { orders, replies, filling, spare, thread })
            }
            Err(_) => Relay::Here(output),
        }
    }

    /// Gives the output back.
    ///
    /// # Panics
    /// If the output panicked while it was written to.
    pub(super) fn into_output(self) -> W {
        match self {
            Relay::Here(output) => output,
            Relay::Threaded(threaded) => {
                drop(threaded.orders);
                match threaded.thread.join() {
                    Ok(output) => output,
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        }
    }
}

impl<W> Threaded<'_, W> {
    fn order(&self, order: Order) -> io::Result<()> {
        self.orders.send(order).map_err(|_| lost())
    }

    /// Waits until everything ordered before was done.
    fn done(&mut self) -> io::Result<()> {
        let mut failure = None;
        loop {
            match self.replies.recv().map_err(|_| lost())? {
                Reply::Emptied(buffer) => self.spare.push(buffer),
                Reply::Failed(error) => failure = Some(error),
                Reply::Done(result) => return failure.map_or(result, Err),
            }
        }
    }

    fn empty_buffer(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(mut buffer) = self.spare.pop() {
                buffer.reserve_exact(BUFFER);
                return Ok(buffer);
            }
            match self.replies.recv().map_err(|_| lost())? {
                Reply::Emptied(buffer) => self.spare.push(buffer),
                Reply::Failed(error) => return Err(error),
                Reply::Done(_) => {}
            }
        }
    }
}

fn lost() -> io::Error {
    io::Error::other("the writing thread is gone")
}

impl<W: Output> Write for Relay<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Relay::Here(output) => output.write(bytes),
            Relay::Threaded(threaded) => {
                if threaded.filling.len() == BUFFER {
                    let empty = threaded.empty_buffer()?;
                    let full = std::mem::replace(&mut threaded.filling, empty);
                    threaded.order(Order::Write(full))?;
                }
                let now = bytes.len().min(BUFFER - threaded.filling.len());
                threaded.filling.extend_from_slice(bytes.get(..now).unwrap_or_default());
                Ok(now)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Relay::Here(output) => output.flush(),
            Relay::Threaded(threaded) => {
                let last = std::mem::take(&mut threaded.filling);
                threaded.order(Order::Write(last))?;
                threaded.order(Order::Flush)?;
                threaded.done()
            }
        }
    }
}

impl<W: Output> Output for Relay<'_, W> {
    fn reset(&mut self) -> io::Result<()> {
        match self {
            Relay::Here(output) => output.reset(),
            Relay::Threaded(threaded) => {
                threaded.filling.clear();
                threaded.order(Order::Reset)?;
                // What went wrong with the bytes before does not matter any more.
                loop {
                    match threaded.replies.recv().map_err(|_| lost())? {
                        Reply::Emptied(buffer) => threaded.spare.push(buffer),
                        Reply::Failed(_) => {}
                        Reply::Done(result) => return result,
                    }
                }
            }
        }
    }
}

/// Follows orders until nobody can give any; after a failure nothing is written before the next reset.
fn work<W: Output>(output: &mut W, orders: &Inbox<Order>, replies: &Sender<Reply>) {
    let mut failed = false;
    for order in orders {
        let reply = match order {
            Order::Write(mut buffer) => {
                let written = if failed { Ok(()) } else { output.write_all(&buffer) };
                buffer.clear();
                if let Err(error) = written {
                    failed = true;
                    if replies.send(Reply::Failed(error)).is_err() {
                        return;
                    }
                }
                Reply::Emptied(buffer)
            }
            Order::Reset => {
                failed = false;
                Reply::Done(output.reset())
            }
            Order::Flush => Reply::Done(output.flush()),
        };
        if replies.send(reply).is_err() {
            return;
        }
    }
}
