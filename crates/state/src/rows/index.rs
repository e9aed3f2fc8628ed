//! From the hash of a key to its rows, across all segments.
//!
//! The rows of one segment whose keys have the same hash form a chain, newest first; the chains of a hash are linked
//! in order of time, the last to expire first. So a look-up over all time costs as many steps as there are segments
//! with such rows, one over a range of time stops at its end, and the chains of a segment that expires, which are the
//! last ones, are unlinked in one step each.
//!
//! Invariant: there is a chain exactly where there is a live row. Nothing here knows keys: rows of a chain may have
//! different keys whose hashes meet, which callers find out by comparing.

use hashbrown::{HashTable, hash_table::Entry};

/// No chain, or no row.
pub(crate) const NONE: u32 = u32::MAX;

/// The rows of one segment whose keys have the same hash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chain {
    pub(crate) hash: u32,
    pub(crate) segment: u32,
    /// The newest of its rows, a slot of the segment.
    pub(crate) head: u32,
    /// The chain of the same hash that expires next later, and next earlier.
    later: u32,
    pub(crate) earlier: u32,
}

/// All chains of a store.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// The chain of each hash that expires last.
    table: HashTable<u32>,
    chains: Vec<Chain>,
    free: Vec<u32>,
}

/// Spreads a hash over the bits that the table looks at.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Index {
    /// The chain of this hash that expires last, or [`NONE`].
    #[inline]
    pub(crate) fn first(&self, hash: u32) -> u32 {
        let found = self
            .table
            .find(spread(hash), |id| self.chains[*id as usize].hash == hash);
        found.copied().unwrap_or(NONE)
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
        let chains = &self.chains;
        let entry = self.table.entry(
            spread(hash),
            |id| chains[*id as usize].hash == hash,
            |id| spread(chains[*id as usize].hash),
        );
        let first = match &entry {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(_) => NONE,
        };
        let (mut later, mut earlier) = (NONE, first);
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
        let id = self.free.last().copied().unwrap_or(chains.len() as u32);
        if later == NONE {
            match entry {
                Entry::Occupied(mut entry) => *entry.get_mut() = id,
                Entry::Vacant(entry) => drop(entry.insert(id)),
            }
        } else {
            self.chain_mut(later).earlier = id;
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
        let chains = &self.chains;
        let entry = self.table.entry(
            spread(hash),
            |id| chains[*id as usize].hash == hash,
            |id| spread(chains[*id as usize].hash),
        );
        match (entry, next) {
            (Entry::Occupied(entry), NONE) => drop(entry.remove()),
            (Entry::Occupied(mut entry), next) => *entry.get_mut() = next,
            (Entry::Vacant(_), NONE) => {}
            (Entry::Vacant(entry), next) => drop(entry.insert(next)),
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

    /// Number of chains there were at some time.
    pub(crate) fn capacity(&self) -> usize {
        self.chains.len()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.table.allocation_size()
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
        assert_eq!((index.len(), index.capacity()), (12, 15));
        index.remove(ids[&(7, 7)]);
        index.remove(ids[&(7, 2)]);
        assert_eq!(index.first(7), NONE);
        index.find_or_add(7, 3, |a, b| a > b);
        assert_eq!((chains(&index, 7), index.capacity()), (vec![3], 15));
    }
}
