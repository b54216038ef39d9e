use super::inflate::Unpacker;
use super::relay::Relay;
use super::{Output, lost_thread};
use crate::object::ReceiveError;
use std::sync::mpsc::{Receiver as Inbox, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Bytes in one buffer on its way to the thread.
const BUFFER: usize = 1 << 20;
/// Buffers in existence, the bound on what waits.
const BUFFERS: usize = 4;

/// An [`Unpacker`] in a thread of its own, fed through a bounded queue of reused buffers.
pub(super) struct Pipeline<'scope, W> {
    orders: SyncSender<Order>,
    replies: Inbox<Reply>,
    filling: Vec<u8>,
    spare: Vec<Vec<u8>>,
    thread: ScopedJoinHandle<'scope, Unpacker<W>>,
}

enum Order {
    Take(Vec<u8>),
    Restart,
    End,
}

enum Reply {
    Emptied(Vec<u8>),
    Refused(ReceiveError),
    Restarted(Result<(), ReceiveError>),
    Ended(Result<(), ReceiveError>),
}

/// The unpacker, given back because there can be no thread.
pub(super) type Refusal<W> = Box<(Unpacker<W>, std::io::Error)>;

impl<'scope, W: Output> Pipeline<'scope, W> {
    /// Moves the unpacker away; gives it back if there can be no thread.
    pub(super) fn start(
        scope: &'scope Scope<'scope, '_>,
        unpacker: Unpacker<W>,
    ) -> Result<Pipeline<'scope, W>, Refusal<W>>
    where
        W: Send + 'scope,
    {
        let (orders, inbox) = sync_channel(BUFFERS);
        let (outbox, replies) = channel();
        let (hand_over, handed_over) = sync_channel(1);
        let spawned = Builder::new().name("cvmfs-inflate".to_owned()).spawn_scoped(scope, move || {
            let unpacker: Unpacker<W> = handed_over.recv().expect("the spawner sends before it drops its end");
            let mut unpacker = unpacker.map_output(|output| Relay::start(scope, output));
            work(&mut unpacker, &inbox, &outbox);
            unpacker.map_output(Relay::into_output)
        });
        match spawned {
            Ok(thread) => {
                // The thread waits for exactly this message, so the channel is open.
                let _ = hand_over.send(unpacker);
                let spare = vec![Vec::new(); BUFFERS - 1];
                Ok(Pipeline { orders, replies, filling: Vec::new(), spare, thread })
            }
            Err(error) => Err(Box::new((unpacker, error))),
        }
    }

    pub(super) fn take(&mut self, mut stored: &[u8]) -> Result<(), ReceiveError> {
        while !stored.is_empty() {
            if self.filling.capacity() == 0 {
                self.filling.reserve_exact(BUFFER);
            }
            let (now, later) = stored.split_at(stored.len().min(BUFFER - self.filling.len()));
            self.filling.extend_from_slice(now);
            stored = later;
            if self.filling.len() == BUFFER {
                let empty = self.empty_buffer()?;
                let full = std::mem::replace(&mut self.filling, empty);
                self.order(Order::Take(full))?;
            }
        }
        Ok(())
    }

    pub(super) fn restart(&mut self) -> Result<(), ReceiveError> {
        self.filling.clear();
        self.order(Order::Restart)?;
        loop {
            match self.reply()? {
                Reply::Emptied(buffer) => self.spare.push(buffer),
                Reply::Restarted(result) => return result,
                // What was thought of the earlier bytes does not matter any more.
                Reply::Refused(_) | Reply::Ended(_) => {}
            }
        }
    }

    pub(super) fn end(&mut self) -> Result<(), ReceiveError> {
        let last = std::mem::take(&mut self.filling);
        self.order(Order::Take(last))?;
        self.order(Order::End)?;
        loop {
            match self.reply()? {
                Reply::Emptied(buffer) => self.spare.push(buffer),
                Reply::Ended(result) => return result,
                Reply::Refused(error) => return Err(error),
                Reply::Restarted(_) => {}
            }
        }
    }

    pub(super) fn join(self) -> Result<Unpacker<W>, ReceiveError> {
        drop(self.orders);
        self.thread.join().map_err(|_| lost_thread())
    }

    fn order(&self, order: Order) -> Result<(), ReceiveError> {
        self.orders.send(order).map_err(|_| lost_thread())
    }

    fn reply(&self) -> Result<Reply, ReceiveError> {
        self.replies.recv().map_err(|_| lost_thread())
    }

    fn empty_buffer(&mut self) -> Result<Vec<u8>, ReceiveError> {
        loop {
            let reply = match self.replies.try_recv() {
                Ok(reply) => reply,
                Err(_) => match self.spare.pop() {
                    Some(buffer) => return Ok(buffer),
                    None => self.reply()?,
                },
            };
            match reply {
                Reply::Emptied(buffer) => self.spare.push(buffer),
                Reply::Refused(error) => return Err(error),
                Reply::Restarted(_) | Reply::Ended(_) => {}
            }
        }
    }
}

/// Follows orders until nobody can give any; after a refusal nothing is taken before the next restart.
fn work<W: Output>(unpacker: &mut Unpacker<W>, orders: &Inbox<Order>, replies: &Sender<Reply>) {
    let mut refused = false;
    for order in orders {
        let reply = match order {
            Order::Take(mut buffer) => {
                let taken = if refused { Ok(()) } else { unpacker.take(&buffer) };
                buffer.clear();
                if let Err(error) = taken {
                    refused = true;
                    if replies.send(Reply::Refused(error)).is_err() {
                        return;
                    }
                }
                Reply::Emptied(buffer)
            }
            Order::Restart => {
                refused = false;
                Reply::Restarted(unpacker.restart())
            }
            Order::End => Reply::Ended(unpacker.end()),
        };
        if replies.send(reply).is_err() {
            return;
        }
    }
}
