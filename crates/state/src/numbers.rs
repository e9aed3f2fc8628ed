//! Numbers by hashes of 32 bits: of what has one number for each hash, or of keys whose hashes may meet.
//!
//! Open addressing with linear probing (Knuth, The Art of Computer Programming, volume 3, section 6.4): a hash and its
//! number lie in one slot of eight bytes, so that a look-up reads one line of memory and growing reads nothing but the
//! slots. Removing closes the gap it leaves (algorithm R there): no look-up ever pays for what was removed.

/// No number.
pub(crate) const NONE: u32 = u32::MAX;

/// Hashes that are fetched together, see [`Numbers::fetch`]: more than memory answers at a time, less than a cache holds.
pub(crate) const AT_A_TIME: usize = 64;

/// Slots of a table at least, a power of two.
const LEAST_SLOTS: usize = 8;

/// Up to which share of its slots a table is filled: five of eight.
const MOST_FILLED: (usize, usize) = (5, 8);

#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u32,
    /// [`NONE`] if the slot is free.
    number: u32,
}

const FREE: Slot = Slot {
    hash: 0,
    number: NONE,
};

/// Numbers by hash.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// As many as a power of two.
    slots: Vec<Slot>,
    filled: usize,
}

impl Default for Numbers {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl Numbers {
    /// An empty table with room for so many hashes.
    pub(crate) fn with_capacity(hashes: usize) -> Self {
        let (filled, of) = MOST_FILLED;
        let slots = (hashes * of / filled + 1).next_power_of_two();
        Self {
            slots: vec![FREE; slots.max(LEAST_SLOTS)],
            filled: 0,
        }
    }

    /// Where the search for a hash begins. Multiplying (Fibonacci hashing) lets all bits of the hash decide.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        let spread = u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (spread >> (64 - self.slots.len().trailing_zeros())) as usize
    }

    #[inline]
    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.slots.len() - 1)
    }

    /// The slot of a number with this hash that is the right one, or the free slot where it belongs. There is always one
    /// that is free.
    #[inline]
    fn find(&self, hash: u32, is_right: impl Fn(u32) -> bool) -> usize {
        let mut place = self.home(hash);
        loop {
            let slot = self.slots[place];
            if slot.number == NONE || slot.hash == hash && is_right(slot.number) {
                return place;
            }
            place = self.after(place);
        }
    }

    /// The slot of the only number of a hash, or the free one where it belongs.
    #[inline]
    fn find_only(&self, hash: u32) -> usize {
        self.find(hash, |_| true)
    }

    /// The only number of a hash, or [`NONE`].
    #[inline]
    pub(crate) fn get(&self, hash: u32) -> u32 {
        self.slots[self.find_only(hash)].number
    }

    /// A number that the search for this hash may come upon first, or [`NONE`].
    #[inline]
    pub(crate) fn glimpse(&self, hash: u32) -> u32 {
        self.slots[self.home(hash)].number
    }

    /// Gives a hash its only number, which must not be [`NONE`]; the one that it had before, or [`NONE`].
    #[inline]
    pub(crate) fn set(&mut self, hash: u32, number: u32) -> u32 {
        let place = self.find_only(hash);
        let before = self.slots[place].number;
        if before == NONE {
            self.fill(place, hash, number);
        } else {
            self.slots[place].number = number;
        }
        before
    }

    /// The only number of a hash; one without gets this number, which must not be [`NONE`].
    #[inline]
    pub(crate) fn get_or_set(&mut self, hash: u32, number: u32) -> u32 {
        self.get_right_or_add(hash, number, |_| true)
    }

    /// The number with this hash that is the right one; if there is none it is this number, which must not be [`NONE`].
    #[inline]
    pub(crate) fn get_right_or_add(
        &mut self,
        hash: u32,
        number: u32,
        is_right: impl Fn(u32) -> bool,
    ) -> u32 {
        let place = self.find(hash, is_right);
        match self.slots[place].number {
            NONE => {
                self.fill(place, hash, number);
                number
            }
            found => found,
        }
    }

    /// Puts a number into the free slot where it belongs.
    #[inline]
    fn fill(&mut self, place: usize, hash: u32, number: u32) {
        self.slots[place] = Slot { hash, number };
        self.filled += 1;
        let (filled, of) = MOST_FILLED;
        if self.filled * of > self.slots.len() * filled {
            self.grow();
        }
    }

    /// Takes the only number of a hash away, if it has one.
    pub(crate) fn remove(&mut self, hash: u32) {
        let mut gap = self.find_only(hash);
        if self.slots[gap].number == NONE {
            return;
        }
        self.filled -= 1;
        let mut next = self.after(gap);
        while self.slots[next].number != NONE {
            // Whoever passed the gap on the way from home must not find it empty.
            let steps = |from: usize| next.wrapping_sub(from) & (self.slots.len() - 1);
            if steps(self.home(self.slots[next].hash)) >= steps(gap) {
                self.slots[gap] = self.slots[next];
                gap = next;
            }
            next = self.after(next);
        }
        self.slots[gap] = FREE;
    }

    /// Brings the slots of these hashes near, all at a time, where one look-up after the other would wait for memory
    /// again and again. Pays in large tables, for some dozens of hashes that are looked up next.
    #[inline]
    pub(crate) fn fetch(&self, hashes: impl Iterator<Item = u32>) {
        let seen = hashes.fold(0, |seen, hash| seen ^ self.slots[self.home(hash)].number);
        std::hint::black_box(seen);
    }

    #[cold]
    fn grow(&mut self) {
        let slots = vec![FREE; self.slots.len() * 2];
        for slot in std::mem::replace(&mut self.slots, slots) {
            if slot.number != NONE {
                let place = self.find(slot.hash, |_| false);
                self.slots[place] = slot;
            }
        }
    }

    /// For how many hashes there is room before the table grows.
    pub(crate) fn room(&self) -> usize {
        let (filled, of) = MOST_FILLED;
        self.slots.len() / of * filled
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Action {
        Set(u32, u32),
        GetOrSet(u32, u32),
        Remove(u32),
    }

    /// Few hashes, many of which have the same home in a small table.
    fn actions() -> impl Strategy<Value = Vec<Action>> {
        let hash = prop_oneof![0_u32..40, (0_u32..8).prop_map(|hash| u32::MAX - hash)];
        let action = (0..5, hash, 0_u32..1_000).prop_map(|(kind, hash, number)| match kind {
            0 | 1 => Action::Set(hash, number),
            2 => Action::GetOrSet(hash, number),
            _ => Action::Remove(hash),
        });
        prop::collection::vec(action, 0..200)
    }

    proptest! {
        #[test]
        fn it_does_what_a_map_does(actions in actions()) {
            let mut numbers = Numbers::default();
            let mut map = HashMap::new();
            for action in actions {
                match action {
                    Action::Set(hash, number) => {
                        let before = map.insert(hash, number).unwrap_or(NONE);
                        prop_assert_eq!(numbers.set(hash, number), before);
                    }
                    Action::GetOrSet(hash, number) => {
                        let there = *map.entry(hash).or_insert(number);
                        prop_assert_eq!(numbers.get_or_set(hash, number), there);
                    }
                    Action::Remove(hash) => {
                        map.remove(&hash);
                        numbers.remove(hash);
                    }
                }
                prop_assert_eq!(numbers.filled, map.len());
                for hash in (0..40).chain(u32::MAX - 8..=u32::MAX) {
                    let expected = map.get(&hash).copied().unwrap_or(NONE);
                    prop_assert_eq!(numbers.get(hash), expected);
                }
            }
        }
    }

    #[test]
    fn numbers_of_one_hash_are_told_apart_by_who_knows_them() {
        let mut numbers = Numbers::default();
        let keys: Vec<u32> = (0..100).map(|n| n % 50).collect();
        for (number, key) in (0..).zip(&keys) {
            let is_right = |other: u32| keys[other as usize] == *key;
            let found = numbers.get_right_or_add(key % 3, number, is_right);
            assert_eq!(found, *key);
        }
        assert_eq!(numbers.filled, 50);
    }

    #[test]
    fn a_table_with_room_for_its_hashes_does_not_grow() {
        for hashes in [0, 1, 5, 6, 1_000] {
            let mut numbers = Numbers::with_capacity(hashes);
            let slots = numbers.slots.len();
            for hash in 0..hashes as u32 {
                numbers.set(hash, hash);
            }
            assert_eq!(numbers.slots.len(), slots, "{hashes} hashes");
        }
    }
}
