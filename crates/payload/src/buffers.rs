//! Buffers of a column that grow value by value and can be cut back.

use arrow::array::{ArrowPrimitiveType, PrimitiveArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

/// Validity of rows, one byte each until the end.
#[derive(Debug, Default)]
pub(crate) struct Valid(pub(crate) Vec<bool>);

impl Valid {
    pub(crate) fn finish(&mut self) -> Option<NullBuffer> {
        let valid = std::mem::take(&mut self.0);
        if valid.iter().all(|v| *v) {
            return None;
        }
        Some(NullBuffer::from(valid))
    }
}

/// Values of fixed width.
#[derive(Debug)]
pub(crate) struct Values<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    valid: Valid,
}

impl<T: ArrowPrimitiveType> Default for Values<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            valid: Valid::default(),
        }
    }
}

impl<T: ArrowPrimitiveType> Values<T> {
    #[inline]
    pub(crate) fn push(&mut self, value: Option<T::Native>) {
        self.values.push(value.unwrap_or_default());
        self.valid.0.push(value.is_some());
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Makes room for so many values altogether.
    pub(crate) fn expect(&mut self, values: usize) {
        let more = values.saturating_sub(self.len());
        self.values.reserve(more);
        self.valid.0.reserve(more);
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        self.values.truncate(length);
        self.valid.0.truncate(length);
    }

    pub(crate) fn finish(&mut self) -> PrimitiveArray<T> {
        let values = ScalarBuffer::from(std::mem::take(&mut self.values));
        PrimitiveArray::new(values, self.valid.finish())
    }
}

/// Texts or binaries, one behind the other.
#[derive(Debug)]
pub(crate) struct Bytes {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
    valid: Valid,
}

impl Default for Bytes {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            offsets: vec![0],
            valid: Valid::default(),
        }
    }
}

impl Bytes {
    /// Adds what `write` appends; nothing and a null if it appends nothing because there is no value.
    #[inline]
    pub(crate) fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let start = self.bytes.len();
        let valid = write(&mut self.bytes);
        if !valid {
            self.bytes.truncate(start);
        }
        // Batches whose texts could exceed this are refused before they are read, see `column::MOST_BYTES`.
        self.offsets
            .push(i32::try_from(self.bytes.len()).unwrap_or(i32::MAX));
        self.valid.0.push(valid);
    }

    #[inline]
    pub(crate) fn push(&mut self, value: Option<&[u8]>) {
        self.push_with(|out| {
            out.extend_from_slice(value.unwrap_or_default());
            value.is_some()
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.valid.0.len()
    }

    /// Makes room for so many values altogether, if they are as long as those that are there, but for no more than `most`
    /// bytes: the first ones may be longer than all others.
    pub(crate) fn expect(&mut self, values: usize, most: usize) {
        let more = values.saturating_sub(self.len());
        let mean = self.bytes.len().div_ceil(self.len().max(1));
        // Some may be longer.
        let wanted = (mean + mean / 8).saturating_mul(more);
        self.bytes
            .reserve(wanted.min(most.saturating_sub(self.bytes.len())));
        self.offsets.reserve(more);
        self.valid.0.reserve(more);
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        self.offsets.truncate(length + 1);
        let end = self.offsets.last().copied().unwrap_or(0);
        self.bytes.truncate(usize::try_from(end).unwrap_or(0));
        self.valid.0.truncate(length);
    }

    pub(crate) fn parts(&mut self) -> (OffsetBuffer<i32>, Buffer, Option<NullBuffer>) {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.capacity() / 2 > bytes.len() {
            bytes.shrink_to_fit();
        }
        (
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            Buffer::from_vec(bytes),
            self.valid.finish(),
        )
    }
}
