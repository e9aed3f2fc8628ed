//! From the hash of a key to its rows, across all segments.
//!
//! The rows of one segment whose keys have the same hash form a chain, newest first; the chains of a hash are linked
//! in order of time, the last to expire first. So a look-up over all time costs as many steps as there are segments
//! with such rows, one over a range of time stops at its end, and the chains of a segment that expires, which are the
//! last ones, are unlinked in one step each.
//!
//! Invariant: there is a chain exactly where there is a live row. Nothing here knows keys: rows of a chain may have
//! different keys whose hashes meet, which callers find out by comparing.

use crate::numbers::Numbers;
pub(crate) use crate::numbers::{AT_A_TIME, NONE};

/// The rows of one segment whose keys have the same hash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chain {
    pub(crate) hash: u32,
    pub(crate) segment: u32,
    /// The newest of its rows, a slot of the segment; of a claim the row that it is for.
    pub(crate) head: u32,
    /// The chain of the same hash that expires next later, and next earlier.
    later: u32,
    pub(crate) earlier: u32,
}

/// What there is of a hash for which a chain is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Chains of stored rows.
    Stored,
    /// Nothing but a claim, for this row.
    By(u32),
    /// Nothing but the claim made now, which is this chain.
    Made(u32),
}

/// Chains that an index may waste before it is worth building it again.
const WASTED_CHAINS: usize = 1_024;

/// For how many chains the table may have room for each that there is: twice what it has while it grows one by one.
const ROOM_FOR_A_CHAIN: usize = 4;

/// All chains of a store.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// The chain of each hash that expires last.
    firsts: Numbers,
    chains: Vec<Chain>,
    free: Vec<u32>,
}

impl Index {
    /// An empty index with room for so many chains.
    pub(crate) fn with_capacity(chains: usize) -> Self {
        Self {
            firsts: Numbers::with_capacity(chains),
            chains: Vec::with_capacity(chains),
            free: Vec::new(),
        }
    }

    /// The chain of this hash that expires last, or [`NONE`].
    #[inline]
    pub(crate) fn first(&self, hash: u32) -> u32 {
        self.firsts.get(hash)
    }

    /// Brings what is known of these hashes near, before they are looked up one after the other.
    #[inline]
    pub(crate) fn fetch(&self, hashes: impl Iterator<Item = u32>) {
        self.firsts.fetch(hashes);
    }

    #[inline]
    pub(crate) fn chain(&self, id: u32) -> &Chain {
        &self.chains[id as usize]
    }

    pub(crate) fn chain_mut(&mut self, id: u32) -> &mut Chain {
        &mut self.chains[id as usize]
    }

    /// The chain of this hash in a segment, made if there is none. `is_later` says of two segments whether the first
    /// expires after the second.
    pub(crate) fn find_or_add(
        &mut self,
        hash: u32,
        segment: u32,
        is_later: impl Fn(u32, u32) -> bool,
    ) -> u32 {
        let id = self.next_id();
        let chains = &self.chains;
        let first = self.firsts.get_or_set(hash, id);
        let is_only = first == id;
        let (mut later, mut earlier) = (NONE, if is_only { NONE } else { first });
        while earlier != NONE {
            let chain = &chains[earlier as usize];
            if chain.segment == segment {
                return earlier;
            }
            if is_later(segment, chain.segment) {
                break;
            }
            (later, earlier) = (earlier, chain.earlier);
        }
        if later != NONE {
            self.chain_mut(later).earlier = id;
        } else if !is_only {
            self.firsts.set(hash, id);
        }
        self.add(Chain {
            hash,
            segment,
            head: NONE,
            later,
            earlier,
        });
        if earlier != NONE {
            self.chain_mut(earlier).later = id;
        }
        id
    }

    /// Makes a chain for a row that is about to be stored, if there is none of its hash. Until [`Self::settle`] is told
    /// the segment it belongs to none, and nothing but this can deal with it.
    #[inline]
    pub(crate) fn claim(&mut self, hash: u32, row: u32) -> Claim {
        let id = self.next_id();
        let first = self.firsts.get_or_set(hash, id);
        if first != id {
            let chain = self.chain(first);
            return match chain.segment {
                NONE => Claim::By(chain.head),
                _ => Claim::Stored,
            };
        }
        let (segment, head) = (NONE, row);
        let (later, earlier) = (NONE, NONE);
        Claim::Made(self.add(Chain {
            hash,
            segment,
            head,
            later,
            earlier,
        }))
    }

    /// Makes of a claim an empty chain of a segment.
    pub(crate) fn settle(&mut self, id: u32, segment: u32) {
        let chain = self.chain_mut(id);
        (chain.segment, chain.head) = (segment, NONE);
    }

    /// The number that the next chain gets.
    #[inline]
    fn next_id(&self) -> u32 {
        self.free
            .last()
            .copied()
            .unwrap_or(self.chains.len() as u32)
    }

    fn add(&mut self, chain: Chain) -> u32 {
        match self.free.pop() {
            Some(id) => {
                self.chains[id as usize] = chain;
                id
            }
            None => {
                self.chains.push(chain);
                (self.chains.len() - 1) as u32
            }
        }
    }

    /// Makes `next` the one that follows `later`, which may be none: then it is the first.
    fn link(&mut self, hash: u32, later: u32, next: u32) {
        if later != NONE {
            self.chain_mut(later).earlier = next;
            return;
        }
        if next == NONE {
            self.firsts.remove(hash);
        } else {
            self.firsts.set(hash, next);
        }
    }

    /// Gives a chain up.
    pub(crate) fn remove(&mut self, id: u32) {
        let Chain {
            hash,
            later,
            earlier,
            ..
        } = *self.chain(id);
        self.link(hash, later, earlier);
        if earlier != NONE {
            self.chain_mut(earlier).later = later;
        }
        self.free.push(id);
    }

    /// Number of chains.
    pub(crate) fn len(&self) -> usize {
        self.chains.len() - self.free.len()
    }

    /// Whether most of it is of no use, so that it is worth building it again: of chains that were given up, or of room
    /// that was made and not needed.
    pub(crate) fn is_wasteful(&self) -> bool {
        let needed = self.len() + WASTED_CHAINS / 2;
        self.chains.len() > 2 * needed || self.firsts.room() > ROOM_FOR_A_CHAIN * needed
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.firsts.memory_bytes()
            + self.chains.capacity() * size_of::<Chain>()
            + self.free.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments by number: a larger one expires later.
    fn chains(index: &Index, hash: u32) -> Vec<u32> {
        let mut segments = vec![];
        let (mut id, mut later) = (index.first(hash), NONE);
        while id != NONE {
            let chain = index.chain(id);
            assert_eq!((chain.hash, chain.later), (hash, later));
            segments.push(chain.segment);
            (later, id) = (id, chain.earlier);
        }
        segments
    }

    #[test]
    fn chains_of_a_hash_are_in_order_of_time() {
        let mut index = Index::default();
        let mut ids = std::collections::HashMap::new();
        for segment in [5, 2, 9, 7, 2, 1, 9] {
            for hash in [0, 7, u32::MAX] {
                let id = index.find_or_add(hash, segment, |a, b| a > b);
                assert_eq!(*ids.entry((hash, segment)).or_insert(id), id);
            }
        }
        assert_eq!(chains(&index, 7), [9, 7, 5, 2, 1]);
        for segment in [1, 9, 5] {
            index.remove(ids[&(7, segment)]);
        }
        assert_eq!(chains(&index, 7), [7, 2]);
        assert_eq!(chains(&index, 0), [9, 7, 5, 2, 1]);
        assert_eq!((index.len(), index.chains.len()), (12, 15));
        index.remove(ids[&(7, 7)]);
        index.remove(ids[&(7, 2)]);
        assert_eq!(index.first(7), NONE);
        index.find_or_add(7, 3, |a, b| a > b);
        assert_eq!((chains(&index, 7), index.chains.len()), (vec![3], 15));
    }

    #[test]
    fn a_claim_is_of_no_segment_until_it_is_settled() {
        let mut index = Index::default();
        let stored = index.find_or_add(7, 3, |a, b| a > b);
        assert_eq!(index.claim(7, 0), Claim::Stored);
        let Claim::Made(id) = index.claim(8, 1) else {
            panic!("nothing of hash 8 is there");
        };
        assert_ne!(id, stored);
        assert_eq!(index.claim(8, 2), Claim::By(1));
        index.settle(id, 4);
        assert_eq!(index.claim(8, 2), Claim::Stored);
        index.find_or_add(8, 5, |a, b| a > b);
        assert_eq!(
            (chains(&index, 8), chains(&index, 7)),
            (vec![5, 4], vec![3])
        );
        assert_eq!(index.chain(id).head, NONE);
    }
}
