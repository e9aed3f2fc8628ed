//! Random numbers that are the same on every machine.

/// SplitMix64: a seeded stream of numbers, the same for ever.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..end`.
    pub(super) fn below(&mut self, end: i64) -> i64 {
        (self.next() % end.unsigned_abs()) as i64
    }

    pub(super) fn in_percent(&mut self, percent: i64) -> bool {
        self.below(100) < percent
    }

    /// One of the items, as often as its weight says.
    pub(super) fn pick<'a, T>(&mut self, items: &'a [(i64, T)]) -> &'a T {
        let total = items.iter().map(|(weight, _)| weight).sum();
        let mut ticket = self.below(total);
        for (weight, item) in items {
            if ticket < *weight {
                return item;
            }
            ticket -= weight;
        }
        unreachable!("the ticket is below the sum of the weights")
    }
}
