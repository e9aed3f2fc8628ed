//! What must hold of a store between any two calls, for tests.

use std::collections::HashSet;

use arrow::array::Array;

use super::{RowStore, index::NONE};
use crate::{columns::batch_bytes, segments::Bucketed};

impl RowStore {
    /// Checks the invariants of segments and index; takes time in proportion to the state.
    ///
    /// # Panics
    /// If one does not hold.
    pub(crate) fn check_invariants(&self) {
        let mut chains = HashSet::new();
        let mut rows = 0;
        for id in self.segments.ids() {
            let segment = self.segments.get(id);
            let slots: Vec<usize> = segment.blocks.iter().flat_map(|b| b.slots()).collect();
            assert_eq!(slots, (0..segment.slots()).collect::<Vec<_>>());
            assert_eq!(segment.older.len(), segment.slots());
            let bytes = segment.blocks.iter().map(|block| batch_bytes(&block.rows));
            assert_eq!(segment.block_bytes(), bytes.sum::<usize>());
            let numbers: Vec<u64> = (0..segment.slots() as u32)
                .map(|slot| segment.number(slot))
                .collect();
            assert!(numbers.is_sorted_by(|a, b| a < b));
            assert!(numbers.iter().all(|number| *number < self.next_number));
            let live: Vec<u32> = slots
                .iter()
                .filter(|slot| segment.live.get(**slot))
                .map(|slot| *slot as u32)
                .collect();
            assert_eq!(live.len(), segment.rows);
            rows += live.len();
            for slot in &live {
                let chain = segment.chains[*slot as usize];
                assert_eq!(self.index.chain(chain).segment, id);
                chains.insert(chain);
                let millis = segment.expiry(*slot);
                let width = self.segments.width;
                assert_eq!(millis.map(|ms| ms.div_euclid(width)), segment.bucket());
                let within = millis.is_none_or(|ms| segment.earliest <= ms && ms <= segment.latest);
                assert!(within, "bounds of a segment");
            }
            let own: HashSet<u32> = segment.own_chains(&self.index).collect();
            let mut chained = 0;
            for chain in own {
                let mut slot = self.index.chain(chain).head;
                while slot != NONE {
                    assert!(segment.live.get(slot as usize), "a dead row is in a chain");
                    assert_eq!(segment.chains[slot as usize], chain);
                    chained += 1;
                    let older = segment.older[slot as usize];
                    assert!(older == NONE || older < slot, "a chain is in order of age");
                    slot = older;
                }
            }
            assert_eq!(chained, live.len(), "live rows are in chains");
            let is_new = segment.newest >= Some(self.uncommitted);
            assert!(
                !is_new || self.segments.changed().contains(&id),
                "rows of the next delta are found"
            );
            for block in &segment.blocks {
                assert_eq!(block.numbers.null_count(), 0);
            }
        }
        assert_eq!(rows, self.rows);
        self.segments.check_invariants();
        assert_eq!(chains.len(), self.index.len(), "a chain without rows");
        for chain in chains {
            let chain = *self.index.chain(chain);
            let mut found = false;
            let mut next = self.index.first(chain.hash);
            while next != NONE {
                let this = *self.index.chain(next);
                assert_eq!(this.hash, chain.hash);
                found |= this.segment == chain.segment;
                next = this.earlier;
                if next != NONE {
                    let later = self.segments.get(this.segment);
                    let earlier = self.segments.get(self.index.chain(next).segment);
                    assert!(later.is_later(earlier), "chains are in order of time");
                }
            }
            assert!(found, "a chain cannot be found");
        }
    }
}
