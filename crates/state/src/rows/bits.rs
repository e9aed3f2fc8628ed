//! A growing row of bits.

use arrow::buffer::{BooleanBuffer, Buffer};

/// Bits by number, 64 to a word.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    pub(crate) fn push(&mut self, bit: bool) {
        self.extend(1, bit);
    }

    /// Adds this many bits.
    pub(crate) fn extend(&mut self, bits: usize, bit: bool) {
        let start = self.len;
        self.len += bits;
        self.words.resize(self.len.div_ceil(64), 0);
        if bit {
            (start..self.len).for_each(|at| self.set(at));
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
        let words = &self.words[start / 64..(start + len).div_ceil(64)];
        // Arrow's bits are in order of bytes, the first in the lowest bit.
        let words: Vec<u64> = words.iter().map(|word| word.to_le()).collect();
        BooleanBuffer::new(Buffer::from_vec(words), start % 64, len)
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
        for (start, len) in [(60, 100), (0, 200), (199, 1), (200, 0), (64, 64), (70, 3)] {
            let slice = bits.slice(start, len);
            assert_eq!(slice.len(), len);
            assert!((0..len).all(|at| slice.value(at) == expected(start + at)));
        }
        bits.extend(100, true);
        assert_eq!(bits.slice(190, 110).count_set_bits(), 103);
    }
}
