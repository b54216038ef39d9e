//! What the kernel knows: its numbers for files and directories, and how often it was told each.
//!
//! The number of a thing is its inode number, which is made from its path, so that it is the same in every revision. A
//! directory keeps it for ever. A file whose content is another one in a newer revision keeps it only if nobody has the
//! old one open: the kernel has one page cache for each number, and who reads the old file must not see pages of the new one.

use std::collections::HashMap;

/// The kernel's number for the root directory.
pub(crate) const ROOT: u64 = 1;
/// Numbers that stand in for taken ones begin here.
const SPARE: u64 = 1 << 63;

/// How a thing found now relates to one that the kernel knows under its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// It is the same one.
    Same,
    /// It has taken the other's place: what the kernel keeps of the content is wrong from now on.
    Successor,
    /// They have nothing to do with each other.
    Other,
}

/// What the table holds.
pub(crate) trait Thing: Clone {
    /// Its inode number.
    fn number(&self) -> u64;
    /// What it is to `known`.
    fn likeness_to(&self, known: &Self) -> Likeness;
}

struct Known<T> {
    thing: T,
    /// How often the kernel was told of it.
    told: u64,
    /// How often it is open.
    opens: u64,
    /// The kernel may have pages of what was here before.
    has_old_pages: bool,
    /// Which state of a directory the kernel has a listing of.
    listed: Option<u64>,
}

/// The numbers that the kernel knows.
pub(crate) struct Table<T> {
    known: HashMap<u64, Known<T>>,
    /// Numbers that stand in for a taken one, by that one.
    spares: HashMap<u64, Vec<u64>>,
    last_spare: u64,
}

/// Something that is to be opened.
pub(crate) struct Opening<T> {
    pub(crate) thing: T,
    /// Whether the pages that the kernel has are those of this content.
    pub(crate) keeps_pages: bool,
}

impl<T: Thing> Table<T> {
    /// A table with the root, which is never forgotten.
    pub(crate) fn new(root: T) -> Table<T> {
        let mut table = Table { known: HashMap::new(), spares: HashMap::new(), last_spare: SPARE };
        table.insert(ROOT, root);
        table
    }

    fn insert(&mut self, id: u64, thing: T) {
        let known = Known { thing, told: 1, opens: 0, has_old_pages: false, listed: None };
        self.known.insert(id, known);
    }

    /// The kernel's number for something that it is told of now.
    pub(crate) fn tell(&mut self, thing: T) -> u64 {
        let number = thing.number();
        if let Some(id) = self.find(number, &thing)
            && let Some(known) = self.known.get_mut(&id)
        {
            known.has_old_pages |= thing.likeness_to(&known.thing) == Likeness::Successor;
            known.thing = thing;
            known.told += 1;
            return id;
        }
        let id = if self.known.contains_key(&number) { self.spare(number) } else { number };
        self.insert(id, thing);
        id
    }

    /// The number under which the kernel knows this, or may know it.
    fn find(&self, number: u64, thing: &T) -> Option<u64> {
        let spares = self.spares.get(&number).into_iter().flatten().copied();
        let ids = || std::iter::once(number).chain(spares.clone()).filter(|id| *id != ROOT);
        let fits = |id: &u64, wanted: Likeness, open_too: bool| {
            let known = self.known.get(id);
            known.is_some_and(|known| (open_too || known.opens == 0) && thing.likeness_to(&known.thing) == wanted)
        };
        let same = ids().find(|id| fits(id, Likeness::Same, true));
        same.or_else(|| ids().find(|id| fits(id, Likeness::Successor, false)))
    }

    fn spare(&mut self, number: u64) -> u64 {
        loop {
            self.last_spare = self.last_spare.wrapping_add(1) | SPARE;
            if !self.known.contains_key(&self.last_spare) {
                self.spares.entry(number).or_default().push(self.last_spare);
                return self.last_spare;
            }
        }
    }

    /// The kernel forgets to have been told `times` times.
    pub(crate) fn forget(&mut self, id: u64, times: u64) {
        if id == ROOT {
            return;
        }
        let Some(known) = self.known.get_mut(&id) else { return };
        known.told = known.told.saturating_sub(times);
        if known.told > 0 {
            return;
        }
        let number = known.thing.number();
        self.known.remove(&id);
        if number != id
            && let Some(spares) = self.spares.get_mut(&number)
        {
            spares.retain(|spare| *spare != id);
            if spares.is_empty() {
                self.spares.remove(&number);
            }
        }
    }

    /// What has this number.
    pub(crate) fn get(&self, id: u64) -> Option<&T> {
        self.known.get(&id).map(|known| &known.thing)
    }

    /// Puts what a directory is now in the place of what it was.
    pub(crate) fn follow(&mut self, id: u64, thing: T) {
        if let Some(known) = self.known.get_mut(&id) {
            known.thing = thing;
        }
    }

    /// Notes that something is being opened: it keeps its number for itself until [`Table::closed`].
    pub(crate) fn open(&mut self, id: u64) -> Option<Opening<T>> {
        let known = self.known.get_mut(&id)?;
        known.opens += 1;
        Some(Opening { thing: known.thing.clone(), keeps_pages: !known.has_old_pages })
    }

    /// The kernel has been told to drop old pages.
    pub(crate) fn dropped_pages(&mut self, id: u64) {
        if let Some(known) = self.known.get_mut(&id) {
            known.has_old_pages = false;
        }
    }

    /// Undoes one [`Table::open`].
    pub(crate) fn closed(&mut self, id: u64) {
        if let Some(known) = self.known.get_mut(&id) {
            known.opens = known.opens.saturating_sub(1);
        }
    }

    /// Notes that the kernel lists a directory in this state; whether it did so last time.
    pub(crate) fn lists(&mut self, id: u64, state: u64) -> bool {
        self.known.get_mut(&id).is_some_and(|known| known.listed.replace(state) == Some(state))
    }

    /// All numbers and what has them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.known.iter().map(|(id, known)| (*id, &known.thing))
    }

    /// How many things the kernel knows.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Number, whether it is a directory, content.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Toy(u64, bool, u8);

    impl Thing for Toy {
        fn number(&self) -> u64 {
            self.0
        }

        fn likeness_to(&self, known: &Toy) -> Likeness {
            match () {
                () if self == known || (self.1 && known.1) => Likeness::Same,
                () if self.1 == known.1 => Likeness::Successor,
                () => Likeness::Other,
            }
        }
    }

    fn table() -> Table<Toy> {
        Table::new(Toy(99, true, 0))
    }

    #[test]
    fn a_number_is_kept_while_it_is_known() {
        let mut table = table();
        assert_eq!(table.tell(Toy(7, false, 1)), 7);
        assert_eq!(table.tell(Toy(7, false, 1)), 7);
        table.forget(7, 1);
        assert_eq!(table.get(7), Some(&Toy(7, false, 1)));
        table.forget(7, 1);
        assert_eq!((table.get(7), table.len()), (None, 1));
        table.forget(ROOT, u64::MAX);
        assert!(table.get(ROOT).is_some());
    }

    #[test]
    fn new_content_takes_the_number_of_what_nobody_has_open() {
        let mut table = table();
        table.tell(Toy(7, false, 1));
        assert!(table.open(7).unwrap().keeps_pages);
        // Somebody reads it: the new one gets a number of its own, always the same one.
        let spare = table.tell(Toy(7, false, 2));
        assert_ne!(spare, 7);
        assert_eq!(table.tell(Toy(7, false, 2)), spare);
        assert_eq!(table.get(7), Some(&Toy(7, false, 1)));
        table.forget(spare, 2);
        table.closed(7);
        assert_eq!(table.tell(Toy(7, false, 3)), 7);
        assert!(!table.open(7).unwrap().keeps_pages, "the kernel has pages of the first one");
        table.dropped_pages(7);
        assert!(table.open(7).unwrap().keeps_pages);
    }

    #[test]
    fn a_directory_keeps_its_number_whatever_is_open() {
        let mut table = table();
        table.tell(Toy(7, true, 1));
        table.open(7).unwrap();
        assert_eq!(table.tell(Toy(7, true, 2)), 7);
        assert_ne!(table.tell(Toy(7, false, 0)), 7, "a file in its place is another thing");
    }

    #[test]
    fn nothing_gets_the_number_of_the_root() {
        assert_ne!(table().tell(Toy(ROOT, true, 0)), ROOT);
    }

    #[test]
    fn a_listing_is_known_for_one_state() {
        let mut table = table();
        assert!(!table.lists(ROOT, 5));
        assert!(table.lists(ROOT, 5));
        assert!(!table.lists(ROOT, 6));
    }

    proptest! {
        /// Whatever happens, a number that is open never changes its content, no two contents share one, and what
        /// is forgotten as often as it was told is gone.
        #[test]
        fn numbers_are_never_mixed_up(steps in prop::collection::vec((0u8..4, 2u64..5, any::<bool>(), 0u8..3), 1..200)) {
            let mut table = table();
            let mut told: HashMap<u64, u64> = HashMap::new();
            let mut open: HashMap<u64, (Toy, u64)> = HashMap::new();
            for (step, number, directory, content) in steps {
                let toy = Toy(number, directory, content);
                match step {
                    0 | 1 => {
                        let id = table.tell(toy);
                        *told.entry(id).or_default() += 1;
                        prop_assert_eq!(table.get(id), Some(&toy));
                    }
                    2 => if let Some(id) = told.keys().copied().min() {
                        let opened = table.open(id).unwrap().thing;
                        open.entry(id).or_insert((opened, 0)).1 += 1;
                    },
                    _ => if let Some(id) = told.keys().copied().max().filter(|id| !open.contains_key(id)) {
                        table.forget(id, told.remove(&id).unwrap());
                        prop_assert!(table.get(id).is_none());
                    } else if let Some(id) = open.keys().copied().min() {
                        let (_, times) = open.remove(&id).unwrap();
                        (0..times).for_each(|_| table.closed(id));
                    },
                }
                for (id, (toy, _)) in open.iter().filter(|(_, (toy, _))| !toy.1) {
                    prop_assert_eq!(table.get(*id), Some(toy));
                }
                prop_assert_eq!(table.len(), told.len() + 1);
            }
        }
    }
}
