//! A [`KeyIndex`] for keys of a few numbers, times and truth values: each is packed into one integer.
//!
//! Two keys are then compared in one step, a million of them take eight or sixteen megabytes beside a table of thirteen to
//! twenty-six, and as hashes are computed and slots fetched for some dozens of rows at a time, a large table costs little more than a
//! small one. Keys with a NULL have a map of their own.

use std::hash::{BuildHasher, Hash, RandomState};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    buffer::NullBuffer,
    datatypes::{DataType, SchemaRef},
};
use hashbrown::HashMap;
use headwater_core::{Error, Result};

use crate::{
    index::KeyIndex,
    numbers::{AT_A_TIME, Numbers},
};

/// An index of keys with these columns; `None` if they are of other types, or too wide.
pub fn packed_index(keys: &SchemaRef) -> Option<Box<dyn KeyIndex>> {
    let bits = keys.fields().iter().map(|field| bits(field.data_type()));
    let bits: Vec<u32> = bits.collect::<Option<_>>()?;
    match bits.iter().sum() {
        0..=64 => Some(Box::new(PackedIndex::<u64>::new(bits))),
        65..=128 => Some(Box::new(PackedIndex::<u128>::new(bits))),
        _ => None,
    }
}

/// How many bits a value of a type has, if values are equal exactly where their bits are.
fn bits(value: &DataType) -> Option<u32> {
    use DataType as T;
    let bytes = match value {
        T::Boolean => 1,
        T::Date32 | T::Date64 | T::Time32(_) | T::Time64(_) => value.primitive_width()?,
        T::Timestamp(_, _) | T::Duration(_) => value.primitive_width()?,
        _ if value.is_integer() => value.primitive_width()?,
        _ => return None,
    };
    Some(8 * bytes as u32)
}

/// An integer that a key is packed into.
trait Word: Copy + Eq + Hash + Default + Send + 'static {
    /// With these bits of a column put in at a place where there were none.
    fn with(self, bits: u64, shift: u32) -> Self;

    /// Without what a column put in.
    fn without(self, bits: u32, shift: u32) -> Self;

    /// Spreads it over 32 bits. Multiplying and folding the halves together is what foldhash and wyhash do.
    fn hash32(self, seeds: [u64; 2]) -> u32;
}

/// This many bits, 64 at most.
fn mask(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}

#[inline]
fn fold(a: u64, b: u64) -> u32 {
    let product = u128::from(a) * u128::from(b);
    let folded = (product as u64) ^ (product >> 64) as u64;
    (folded ^ folded >> 32) as u32
}

impl Word for u64 {
    #[inline]
    fn with(self, bits: u64, shift: u32) -> Self {
        self | bits << shift
    }

    fn without(self, bits: u32, shift: u32) -> Self {
        self & !(mask(bits) << shift)
    }

    #[inline]
    fn hash32(self, seeds: [u64; 2]) -> u32 {
        fold(self ^ seeds[0], seeds[1])
    }
}

impl Word for u128 {
    #[inline]
    fn with(self, bits: u64, shift: u32) -> Self {
        self | Self::from(bits) << shift
    }

    fn without(self, bits: u32, shift: u32) -> Self {
        self & !(Self::from(mask(bits)) << shift)
    }

    #[inline]
    fn hash32(self, seeds: [u64; 2]) -> u32 {
        fold(self as u64 ^ seeds[0], (self >> 64) as u64 ^ seeds[1])
    }
}

struct PackedIndex<W> {
    /// Of each column.
    bits: Vec<u32>,
    /// By slot; of a key with a NULL, nothing.
    keys: Vec<W>,
    /// The slots of keys without a NULL.
    slots: Numbers,
    /// The slots of keys with a NULL: what is not NULL, and which columns are.
    with_null: HashMap<(W, u16), u32, RandomState>,
    seeds: [u64; 2],
}

impl<W: Word> PackedIndex<W> {
    fn new(bits: Vec<u32>) -> Self {
        let random = RandomState::new();
        Self {
            bits,
            keys: Vec::new(),
            slots: Numbers::default(),
            // An odd number is no divisor of zero.
            seeds: [random.hash_one(0), random.hash_one(1) | 1],
            with_null: HashMap::with_hasher(random),
        }
    }

    /// The keys of some rows; of NULL, any bits.
    fn packed(&self, keys: &[ArrayRef], rows: usize) -> Vec<W> {
        let mut words = vec![W::default(); rows];
        let mut shift = 0;
        for (column, bits) in keys.iter().zip(&self.bits) {
            put(column, shift, &mut words);
            shift += bits;
        }
        words
    }

    /// The slots of keys without a NULL.
    fn intern_words(&mut self, words: &[W], slots: &mut Vec<usize>) {
        let mut hashes = [0; AT_A_TIME];
        for words in words.chunks(AT_A_TIME) {
            for (hash, word) in hashes.iter_mut().zip(words) {
                *hash = word.hash32(self.seeds);
            }
            let hashes = &hashes[..words.len()];
            self.slots.fetch(hashes.iter().copied());
            // The keys that they will be compared with, too.
            let likely = hashes.iter().zip(words).filter(|(hash, word)| {
                self.keys.get(self.slots.glimpse(**hash) as usize) == Some(*word)
            });
            std::hint::black_box(likely.count());
            for (hash, word) in hashes.iter().zip(words) {
                slots.push(self.intern_word(*hash, *word));
            }
        }
    }

    #[inline]
    fn intern_word(&mut self, hash: u32, word: W) -> usize {
        let (keys, next) = (&self.keys, self.keys.len() as u32);
        let is_right = |slot: u32| keys[slot as usize] == word;
        let slot = self.slots.get_right_or_add(hash, next, is_right);
        if slot == next {
            self.keys.push(word);
        }
        slot as usize
    }

    /// The slots of keys of which some have a NULL.
    fn intern_with_nulls(&mut self, keys: &[ArrayRef], words: &[W], slots: &mut Vec<usize>) {
        let nulls: Vec<Option<NullBuffer>> = keys.iter().map(|key| key.logical_nulls()).collect();
        let is_null = |column: usize, row: usize| {
            let nulls = nulls[column].as_ref();
            nulls.is_some_and(|nulls| nulls.is_null(row))
        };
        for (row, word) in words.iter().enumerate() {
            let null_columns = (0..keys.len()).filter(|column| is_null(*column, row));
            let null_columns = null_columns.fold(0_u16, |all, column| all | 1 << column);
            if null_columns == 0 {
                slots.push(self.intern_word(word.hash32(self.seeds), *word));
                continue;
            }
            let (mut word, mut shift) = (*word, 0);
            for (column, bits) in self.bits.iter().enumerate() {
                if is_null(column, row) {
                    word = word.without(*bits, shift);
                }
                shift += bits;
            }
            let next = self.keys.len() as u32;
            let slot = *self.with_null.entry((word, null_columns)).or_insert(next);
            if slot == next {
                self.keys.push(W::default());
            }
            slots.push(slot as usize);
        }
    }
}

/// Puts the bits of a column into the words of its rows.
fn put<W: Word>(column: &dyn Array, shift: u32, words: &mut [W]) {
    if let Some(truths) = column.as_boolean_opt() {
        for (word, truth) in words.iter_mut().zip(truths.values()) {
            *word = word.with(u64::from(truth), shift);
        }
        return;
    }
    let data = column.to_data();
    match column.data_type().primitive_width() {
        Some(1) => put_all(data.buffer::<u8>(0), shift, words),
        Some(2) => put_all(data.buffer::<u16>(0), shift, words),
        Some(4) => put_all(data.buffer::<u32>(0), shift, words),
        _ => put_all(data.buffer::<u64>(0), shift, words),
    }
}

fn put_all<W: Word, B: Copy + Into<u64>>(values: &[B], shift: u32, words: &mut [W]) {
    for (word, value) in words.iter_mut().zip(values) {
        *word = word.with((*value).into(), shift);
    }
}

impl<W: Word> KeyIndex for PackedIndex<W> {
    fn intern(&mut self, keys: &[ArrayRef], slots: &mut Vec<usize>) -> Result<()> {
        let rows = keys.first().map_or(0, |key| key.len());
        if rows >= u32::MAX as usize - self.keys.len() {
            return Err(Error::invalid(
                "more than 4 billion keys in one segment of state: use more partitions",
            ));
        }
        slots.clear();
        slots.reserve(rows);
        let words = self.packed(keys, rows);
        if keys.iter().any(|key| key.null_count() > 0) {
            self.intern_with_nulls(keys, &words, slots);
        } else {
            self.intern_words(&words, slots);
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.keys.len()
    }

    fn memory_bytes(&self) -> usize {
        self.keys.capacity() * size_of::<W>()
            + self.slots.memory_bytes()
            + self.with_null.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{BooleanArray, Int16Array, Int64Array, TimestampMicrosecondArray},
        datatypes::{Field, Schema, TimeUnit},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::RowIndex;

    fn schema(types: &[DataType]) -> SchemaRef {
        let fields = types.iter().map(|t| Field::new("k", t.clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    #[test]
    fn only_keys_whose_bits_decide_and_fit_are_packed() {
        use DataType as T;
        let time = T::Timestamp(TimeUnit::Microsecond, None);
        for (types, is_packed) in [
            (&[T::Int64][..], true),
            (&[time.clone(), T::UInt64], true),
            (&[T::Boolean, T::Int8, T::UInt16, T::Date32], true),
            (&[time, T::UInt64, T::Int8], false),
            (&[T::Float64], false),
            (&[T::Int64, T::Utf8], false),
            (&[T::Decimal128(38, 0)], false),
        ] {
            assert_eq!(
                packed_index(&schema(types)).is_some(),
                is_packed,
                "{types:?}"
            );
        }
    }

    type Row = (Option<i64>, Option<i16>, Option<bool>);

    fn rows() -> impl Strategy<Value = Vec<Vec<Row>>> {
        let wide = prop_oneof![-20_i64..20, Just(i64::MIN), Just(i64::MAX)];
        let row = (
            prop::option::weighted(0.95, wide),
            prop::option::weighted(0.95, -3_i16..3),
            prop::option::weighted(0.95, any::<bool>()),
        );
        prop::collection::vec(prop::collection::vec(row, 0..200), 0..6)
    }

    proptest! {
        #[test]
        fn slots_are_those_of_an_index_over_encoded_rows(batches in rows(), is_wide in any::<bool>()) {
            let types = match is_wide {
                true => vec![DataType::Int64, DataType::Int16, DataType::Boolean],
                false => vec![DataType::Int16, DataType::Boolean],
            };
            let keys = schema(&types);
            let mut packed = packed_index(&keys).unwrap();
            let mut plain = RowIndex::new(&keys).unwrap();
            let (mut found, mut expected) = (Vec::new(), Vec::new());
            for rows in batches {
                let mut columns: Vec<ArrayRef> = vec![
                    Arc::new(rows.iter().map(|row| row.1).collect::<Int16Array>()),
                    Arc::new(rows.iter().map(|row| row.2).collect::<BooleanArray>()),
                ];
                if is_wide {
                    columns.insert(0, Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()));
                }
                // A slice, as batches are that were cut.
                let half = rows.len() / 2;
                for range in [0..half, half..rows.len()] {
                    let cut = columns.iter().map(|c| c.slice(range.start, range.len()));
                    let cut: Vec<ArrayRef> = cut.collect();
                    packed.intern(&cut, &mut found).unwrap();
                    plain.intern(&cut, &mut expected).unwrap();
                    prop_assert_eq!(&found, &expected);
                    prop_assert_eq!(packed.len(), plain.len());
                }
            }
        }
    }

    #[test]
    fn many_keys_of_times_and_numbers_have_a_slot_each() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let mut packed = packed_index(&schema(&[time, DataType::Int64])).unwrap();
        let rows = 300_000;
        let keys: Vec<ArrayRef> = vec![
            Arc::new(TimestampMicrosecondArray::from_iter_values(
                (0..rows).map(|n| n / 3),
            )),
            Arc::new(Int64Array::from_iter_values((0..rows).map(|n| n % 3))),
        ];
        let mut slots = Vec::new();
        for _ in 0..2 {
            packed.intern(&keys, &mut slots).unwrap();
            assert!(slots.iter().copied().eq(0..rows as usize));
        }
        assert!(packed.memory_bytes() < 64 * rows as usize);
    }
}
