//! The threads that are traced: whose memory they share, and what each is in the middle of.

use super::super::registers::Registers;
use super::super::rerun::Rerun;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Memory in the program that holds strings of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) address: u64,
    pub(super) size: u64,
}

/// The room in one address space.
#[derive(Default)]
struct Rooms {
    /// What nobody uses at the moment.
    free: Vec<Room>,
    /// Several threads have been in this memory. Then nobody knows what of it was there already when one of them forked: what
    /// is room in the one can be something else in the other.
    several: bool,
}

type Space = Arc<Mutex<Rooms>>;

/// What a thread is in the middle of.
pub(super) enum State {
    /// Nothing of ours.
    Running,
    /// A call that waits for an answer.
    Asking { registers: Registers },
    /// Mapping memory for the strings of an answer, in the place of its own call.
    Mapping { registers: Registers, size: u64, answer: Made },
    /// A call of ours in the place of its own.
    Calling {
        registers: Registers,
        room: Option<Room>,
        /// What the call opens.
        #[expect(dead_code, reason = "open as long as this lives")]
        held: Option<OwnedFd>,
    },
}

/// A call that is to be made, and what is open until that has ended.
pub(super) type Made = (Rerun, Option<OwnedFd>);

struct Member {
    space: Space,
    state: State,
    /// The answer to a call that the thread makes once more, now that there is room for it. To find out twice would be
    /// to do twice what the call does.
    kept: Option<(Registers, Made)>,
}

impl Member {
    fn new(space: Space) -> Member {
        Member { space, state: State::Running, kept: None }
    }

    /// It does nothing of ours any more: its room is free for others that share its memory.
    fn rest(&mut self) -> State {
        let state = std::mem::replace(&mut self.state, State::Running);
        if let State::Calling { room: Some(room), .. } = state {
            self.space.lock().free.push(room);
        }
        state
    }
}

/// All of them.
pub(super) struct Family {
    members: HashMap<u32, Member>,
    /// Those that have stopped for the first time before we were told whose they are.
    unborn: HashSet<u32>,
    last_question: u64,
}

impl Family {
    /// Of one thread.
    pub(super) fn new(first: u32) -> Family {
        let members = HashMap::from([(first, Member::new(Space::default()))]);
        Family { members, unborn: HashSet::new(), last_question: 0 }
    }

    /// A thread has stopped that did not have to: true if it is known and goes on.
    pub(super) fn arrives(&mut self, tid: u32) -> bool {
        self.members.contains_key(&tid) || {
            self.unborn.insert(tid);
            false
        }
    }

    /// `parent` has made `child`; true if that has stopped already.
    pub(super) fn born(&mut self, parent: u32, child: u32, shares_memory: bool) -> bool {
        // One that was given up for an orphan may be in the middle of something.
        if self.members.contains_key(&child) {
            return false;
        }
        let space = match self.members.get(&parent) {
            Some(parent) if shares_memory => {
                parent.space.lock().several = true;
                parent.space.clone()
            }
            // A copy of all memory has a copy of that room, too.
            Some(parent) if !parent.space.lock().several => {
                let free = parent.space.lock().free.clone();
                Arc::new(Mutex::new(Rooms { free, several: false }))
            }
            _ => Space::default(),
        };
        self.members.insert(child, Member::new(space));
        self.unborn.remove(&child)
    }

    /// A thread has ended. Gives those that wait for a parent which may have been this one.
    pub(super) fn gone(&mut self, tid: u32) -> Vec<u32> {
        if let Some(mut member) = self.members.remove(&tid) {
            member.rest();
        }
        self.unborn.remove(&tid);
        let orphans: Vec<u32> = self.unborn.drain().collect();
        for orphan in &orphans {
            self.members.insert(*orphan, Member::new(Space::default()));
        }
        orphans
    }

    /// The thread that was `former` runs another program, as the first thread of its process, `tid`.
    pub(super) fn executed(&mut self, tid: u32, former: u32) {
        for old in [tid, former] {
            if let Some(mut member) = self.members.remove(&old) {
                member.rest();
            }
        }
        self.members.insert(tid, Member::new(Space::default()));
    }

    /// A thread waits for an answer; gives the name of its question.
    pub(super) fn asks(&mut self, tid: u32, registers: Registers) -> u64 {
        self.set(tid, State::Asking { registers });
        self.last_question += 1;
        self.last_question
    }

    /// The registers of a thread that waits for an answer.
    pub(super) fn registers(&self, tid: u32) -> Option<Registers> {
        match self.members.get(&tid)?.state {
            State::Asking { registers } => Some(registers),
            _ => None,
        }
    }

    /// Keeps the answer to the call that the thread is going to make once more.
    pub(super) fn keep(&mut self, tid: u32, registers: Registers, answer: Made) {
        if let Some(member) = self.members.get_mut(&tid) {
            member.kept = Some((registers, answer));
        }
    }

    /// The answer that was kept for this call of the thread, which waits for it now.
    pub(super) fn take_kept(&mut self, tid: u32, registers: &Registers) -> Option<Made> {
        let member = self.members.get_mut(&tid)?;
        // Between them a handler of a signal may make other calls.
        let (_, answer) = member.kept.take_if(|(before, _)| before.is_same_call(registers))?;
        member.state = State::Asking { registers: *registers };
        Some(answer)
    }

    /// What a thread begins to do.
    pub(super) fn set(&mut self, tid: u32, state: State) {
        let member = self.members.entry(tid).or_insert_with(|| Member::new(Space::default()));
        member.state = state;
    }

    /// What the thread was in the middle of.
    pub(super) fn end_call(&mut self, tid: u32) -> State {
        self.members.get_mut(&tid).map_or(State::Running, Member::rest)
    }

    /// Room for `length` bytes that nobody else uses until the thread's call ends.
    pub(super) fn take_room(&mut self, tid: u32, length: u64) -> Option<Room> {
        let free = &mut self.members.get(&tid)?.space.lock().free;
        let which = free.iter().position(|room| room.size >= length)?;
        Some(free.swap_remove(which))
    }

    /// More room where this thread is.
    pub(super) fn add_room(&mut self, tid: u32, room: Room) {
        if let Some(member) = self.members.get(&tid) {
            member.space.lock().free.push(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { address: 0x1000, size: 0x4000 };

    fn family() -> Family {
        let mut family = Family::new(1);
        family.add_room(1, ROOM);
        family
    }

    #[test]
    fn who_shares_memory_shares_room() {
        let mut family = family();
        assert!(!family.born(1, 3, false), "it has not arrived yet");
        assert!(family.arrives(3));
        assert!(!family.arrives(2), "it waits until it is known whose it is");
        assert!(family.born(1, 2, true));
        family.born(1, 4, false);
        assert_eq!(family.take_room(2, 10), Some(ROOM));
        assert_eq!(family.take_room(1, 10), None);
        assert_eq!(family.take_room(3, 10), Some(ROOM), "a copy has a copy");
        assert_eq!(family.take_room(3, 10), None);
        assert_eq!(family.take_room(4, 10), None, "the other thread may have mapped it after the copy was made");
        family.executed(2, 2);
        assert_eq!(family.take_room(2, 10), None, "another program has nothing");
    }

    #[test]
    fn room_that_is_too_small_is_not_taken() {
        let mut family = family();
        assert_eq!(family.take_room(1, 0x4001), None);
        assert_eq!(family.take_room(1, 0x4000), Some(ROOM));
    }

    /// Its parent has been killed, or is only late: who knows.
    #[test]
    fn an_orphan_that_goes_on_stays_in_what_it_is_in_the_middle_of() {
        let mut family = family();
        family.born(1, 9, false);
        assert!(!family.arrives(2));
        assert_eq!(family.gone(9), [2]);
        family.add_room(2, ROOM);
        assert!(!family.born(1, 2, true), "it runs already");
        assert_eq!(family.take_room(2, 1), Some(ROOM));
        assert_eq!(family.take_room(1, 1), Some(ROOM), "which is not its parent's");
    }
}
