//! Fields found by the names that messages give them.

use arrow::datatypes::Fields;

/// Finds fields by their names.
#[derive(Debug)]
pub(crate) struct Names {
    names: Vec<Box<[u8]>>,
    /// A bit for each first byte and length that a name has: most names that nobody asked for are passed by here.
    filter: [u64; 4],
    /// Places in order of their names, if there are many.
    sorted: Vec<usize>,
}

/// From this many names on they are bisected.
const MANY: usize = 12;

impl Names {
    pub(crate) fn new(fields: &Fields) -> Self {
        let names: Vec<Box<[u8]>> = fields.iter().map(|f| f.name().as_bytes().into()).collect();
        let mut filter = [0; 4];
        for name in &names {
            let (word, bit) = Self::bit(name);
            filter[word] |= bit;
        }
        let mut sorted = vec![];
        if names.len() >= MANY {
            sorted = (0..names.len()).collect();
            sorted.sort_by(|a, b| names[*a].cmp(&names[*b]).then(a.cmp(b)));
        }
        Self {
            names,
            filter,
            sorted,
        }
    }

    /// Lets no name find the field at `place`.
    pub(crate) fn hide(&mut self, place: usize) {
        if let Some(name) = self.names.get_mut(place) {
            // Names in messages are UTF-8, which this is not.
            *name = Box::from(b"\xff".as_slice());
        }
        let places = &mut self.sorted;
        places.sort_by(|a, b| self.names[*a].cmp(&self.names[*b]).then(a.cmp(b)));
    }

    #[inline]
    fn bit(name: &[u8]) -> (usize, u64) {
        let first = name.first().copied().unwrap_or(0);
        let last = name.last().copied().unwrap_or(0);
        let hash = (usize::from(first) * 31 + usize::from(last) * 7 + name.len() * 13) & 0xff;
        (hash >> 6, 1 << (hash & 63))
    }

    /// The place of the first field of this name. `expected` is the place that comes next if members stand in the
    /// order of the fields, as they do in most messages.
    #[inline]
    pub(crate) fn find(&self, name: &[u8], expected: &mut usize) -> Option<usize> {
        if self
            .names
            .get(*expected)
            .is_some_and(|next| **next == *name)
        {
            *expected += 1;
            return Some(*expected - 1);
        }
        let (word, bit) = Self::bit(name);
        if self.filter[word] & bit == 0 {
            return None;
        }
        let found = if self.sorted.is_empty() {
            self.names.iter().position(|known| **known == *name)?
        } else {
            let place = self
                .sorted
                .partition_point(|place| *self.names[*place] < *name);
            let place = *self.sorted.get(place)?;
            if *self.names[place] != *name {
                return None;
            }
            place
        };
        *expected = found + 1;
        Some(found)
    }
}
