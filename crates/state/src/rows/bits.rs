//! A growing row of bits.

use arrow::buffer::BooleanBuffer;

/// Bits by number, 64 to a word.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    pub(crate) fn push(&mut self, bit: bool) {
        if self.len.is_multiple_of(64) {
            self.words.push(0);
        }
        self.len += 1;
        if bit {
            self.set(self.len - 1);
        }
    }

    pub(crate) fn get(&self, at: usize) -> bool {
        self.words[at / 64] >> (at % 64) & 1 == 1
    }

    pub(crate) fn set(&mut self, at: usize) {
        self.words[at / 64] |= 1 << (at % 64);
    }

    pub(crate) fn clear(&mut self, at: usize) {
        self.words[at / 64] &= !(1 << (at % 64));
    }

    /// `len` bits from `start` on.
    pub(crate) fn slice(&self, start: usize, len: usize) -> BooleanBuffer {
        BooleanBuffer::collect_bool(len, |at| self.get(start + at))
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_what_was_pushed_set_and_cleared() {
        let mut bits = Bits::default();
        for at in 0..200 {
            bits.push(at % 3 == 0);
        }
        bits.set(100);
        bits.clear(99);
        let expected = |at: usize| at == 100 || at.is_multiple_of(3) && at != 99;
        assert!((0..200).all(|at| bits.get(at) == expected(at)));
        let slice = bits.slice(60, 100);
        assert!((0..100).all(|at| slice.value(at) == expected(60 + at)));
    }
}
