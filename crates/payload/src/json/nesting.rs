//! What is open around a place in a text, in little room.

use super::scan::Malformed;

/// Deeper texts than this are malformed, as in Spark.
pub(crate) const DEEPEST: usize = 1000;

/// The objects and lists that are open, a bit each.
#[derive(Debug, Default)]
pub(crate) struct Nesting {
    bits: [u64; DEEPEST.div_ceil(64)],
    depth: usize,
}

impl Nesting {
    #[inline]
    pub(crate) fn push(&mut self, is_object: bool, at: usize) -> Result<(), Malformed> {
        if self.depth == DEEPEST {
            let expected = "a value that is less deeply nested";
            return Err(Malformed { at, expected });
        }
        let bit = 1 << (self.depth % 64);
        let word = &mut self.bits[self.depth / 64];
        *word = if is_object { *word | bit } else { *word & !bit };
        self.depth += 1;
        Ok(())
    }

    pub(crate) fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// Whether the innermost is an object; `None` if nothing is open.
    #[inline]
    pub(crate) fn top(&self) -> Option<bool> {
        let last = self.depth.checked_sub(1)?;
        Some(self.bits[last / 64] >> (last % 64) & 1 == 1)
    }
}
