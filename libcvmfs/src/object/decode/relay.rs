use super::Output;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver as Inbox, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Bytes in one buffer on its way to the thread: large, so that the threads seldom wake each other.
const BUFFER: usize = 1 << 20;
/// Buffers besides the one being filled, the bound on what waits to be written.
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
    spare: Vec<Box<[u8]>>,
    thread: ScopedJoinHandle<'scope, W>,
}

enum Order {
    /// A buffer and how much of it is filled.
    Write(Box<[u8]>, usize),
    Reset,
    Flush,
}

enum Reply {
    Emptied(Box<[u8]>),
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
                let spare = vec![Box::default(); BUFFERS];
                Relay::Threaded(Threaded { orders, replies, spare, thread })
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

    fn empty_buffer(&mut self) -> io::Result<Box<[u8]>> {
        loop {
            if let Some(buffer) = self.spare.pop() {
                // Buffers from before the thread are smaller, those that never were are empty.
                return Ok(if buffer.len() < BUFFER { vec![0; BUFFER].into_boxed_slice() } else { buffer });
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
                let mut buffer = threaded.empty_buffer()?;
                let filled = bytes.len().min(buffer.len());
                buffer[..filled].copy_from_slice(&bytes[..filled]);
                threaded.order(Order::Write(buffer, filled))?;
                Ok(filled)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Relay::Here(output) => output.flush(),
            Relay::Threaded(threaded) => {
                threaded.order(Order::Flush)?;
                threaded.done()
            }
        }
    }
}

impl<W: Output> Output for Relay<'_, W> {
    fn write_buffer(&mut self, buffer: Box<[u8]>, filled: usize) -> io::Result<Box<[u8]>> {
        match self {
            Relay::Here(output) => output.write_buffer(buffer, filled),
            Relay::Threaded(threaded) => {
                let empty = threaded.empty_buffer()?;
                threaded.order(Order::Write(buffer, filled))?;
                Ok(empty)
            }
        }
    }

    fn reset(&mut self) -> io::Result<()> {
        match self {
            Relay::Here(output) => output.reset(),
            Relay::Threaded(threaded) => {
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
            Order::Write(buffer, filled) => {
                let written = if failed { Ok(()) } else { output.write_all(&buffer[..filled]) };
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
