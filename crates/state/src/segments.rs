//! The segments of a store, and which bucket of time each one holds.
//!
//! Invariant: bucket `b` holds exactly the keys or rows whose expiry is in `[b * width, (b + 1) * width)`. The width is the
//! one of the spec, doubled as often as it takes to stay below [`MAX_SEGMENTS`]; it is not durable.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::{Array, Int64Array};

/// More segments than this are not worth their overhead: buckets widen.
pub(crate) const MAX_SEGMENTS: usize = 1_000;

/// Part of a store that belongs to one bucket.
pub(crate) trait Bucketed {
    /// Its time bucket; none if what it holds never expires.
    fn bucket(&self) -> Option<i64>;

    /// Says which bucket it belongs to from now on.
    fn set_bucket(&mut self, bucket: i64);
}

pub(crate) struct Segments<S> {
    slab: Vec<Option<S>>,
    free: Vec<u32>,
    by_bucket: BTreeMap<i64, u32>,
    never: Option<u32>,
    /// Width of a bucket in milliseconds.
    pub(crate) width: i64,
}

impl<S: Bucketed> Segments<S> {
    pub(crate) fn new(width: i64) -> Self {
        Self {
            slab: Vec::new(),
            free: Vec::new(),
            by_bucket: BTreeMap::new(),
            never: None,
            width,
        }
    }

    pub(crate) fn find(&self, bucket: Option<i64>) -> Option<u32> {
        match bucket {
            Some(bucket) => self.by_bucket.get(&bucket).copied(),
            None => self.never,
        }
    }

    pub(crate) fn add(&mut self, segment: S) -> u32 {
        let bucket = segment.bucket();
        let id = match self.free.pop() {
            Some(id) => {
                self.slab[id as usize] = Some(segment);
                id
            }
            None => {
                self.slab.push(Some(segment));
                (self.slab.len() - 1) as u32
            }
        };
        match bucket {
            Some(bucket) => {
                self.by_bucket.insert(bucket, id);
            }
            None => self.never = Some(id),
        }
        id
    }

    pub(crate) fn remove(&mut self, id: u32) -> Option<S> {
        let segment = self.slab[id as usize].take()?;
        self.free.push(id);
        match segment.bucket() {
            // Of segments about to be united another one may hold the bucket.
            Some(bucket) if self.by_bucket.get(&bucket) == Some(&id) => {
                self.by_bucket.remove(&bucket);
            }
            Some(_) => {}
            None => self.never = None,
        }
        Some(segment)
    }

    pub(crate) fn get(&self, id: u32) -> &S {
        self.slab[id as usize]
            .as_ref()
            .expect("places name only segments that exist")
    }

    /// A segment that may be gone.
    pub(crate) fn find_by_id(&self, id: u32) -> Option<&S> {
        self.slab.get(id as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> &mut S {
        self.slab[id as usize]
            .as_mut()
            .expect("places name only segments that exist")
    }

    /// All segments: by time, then the one that never expires.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.by_bucket.values().copied().chain(self.never).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &S> {
        self.slab.iter().flatten()
    }

    /// Segments whose bucket begins at or before `limit`, and whether all of the bucket is at or before it.
    pub(crate) fn up_to(&self, limit: i64) -> Vec<(u32, bool)> {
        let cut = limit.div_euclid(self.width);
        self.by_bucket
            .range(..=cut)
            .map(|(bucket, id)| (*id, last_millis(*bucket, self.width) <= limit))
            .collect()
    }

    /// By how many doublings the width must grow so that these buckets and the existing ones fit; 0 if they fit now.
    pub(crate) fn doublings_to_fit(&self, wanted: &[Option<i64>]) -> u32 {
        let new = wanted
            .iter()
            .flatten()
            .filter(|bucket| !self.by_bucket.contains_key(bucket));
        if self.by_bucket.len() + new.clone().count() <= MAX_SEGMENTS {
            return 0;
        }
        // Half full after widening, so that it does not happen again soon.
        let all: BTreeSet<i64> = self.by_bucket.keys().copied().chain(new.copied()).collect();
        (1..i64::BITS)
            .find(|doublings| {
                let mut buckets: Vec<i64> = all.iter().map(|bucket| bucket >> doublings).collect();
                buckets.dedup();
                buckets.len() <= MAX_SEGMENTS / 2
            })
            .unwrap_or(i64::BITS - 1)
    }

    /// Doubles the width that often and forgets the buckets of all timed segments, whose ids it returns by their new
    /// buckets; the caller must unite those that share one and tell with [`Self::assign`].
    pub(crate) fn widen(&mut self, doublings: u32) -> BTreeMap<i64, Vec<u32>> {
        self.width = self
            .width
            .saturating_mul(1i64.checked_shl(doublings).unwrap_or(i64::MAX));
        let mut united: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for (bucket, id) in std::mem::take(&mut self.by_bucket) {
            united.entry(bucket >> doublings).or_default().push(id);
        }
        united
    }

    /// Says that this segment holds this bucket.
    pub(crate) fn assign(&mut self, bucket: i64, id: u32) {
        self.get_mut(id).set_bucket(bucket);
        self.by_bucket.insert(bucket, id);
    }

    /// Takes a segment that holds no bucket any more.
    pub(crate) fn take(&mut self, id: u32) -> Option<S> {
        let segment = self.slab[id as usize].take()?;
        self.free.push(id);
        Some(segment)
    }
}

/// The last millisecond of a bucket.
fn last_millis(bucket: i64, width: i64) -> i64 {
    bound(bucket, width, i128::from(width) - 1)
}

/// `bucket * width + offset`, kept in range.
fn bound(bucket: i64, width: i64, offset: i128) -> i64 {
    let millis = i128::from(bucket) * i128::from(width) + offset;
    i64::try_from(millis).unwrap_or(if millis < 0 { i64::MIN } else { i64::MAX })
}

/// The buckets of a batch of rows.
pub(crate) struct Buckets {
    /// Each bucket once, in order of first appearance; none is that of rows that never expire.
    pub(crate) distinct: Vec<Option<i64>>,
    /// For each row a position in `distinct`; left empty while all rows are of the same bucket.
    pub(crate) of_row: Vec<u32>,
}

impl Buckets {
    /// Runs of rows in the same bucket, the usual case, cost two comparisons a row.
    pub(crate) fn of(expiry: &Int64Array, width: i64) -> Self {
        let mut found = Self {
            distinct: Vec::new(),
            of_row: Vec::new(),
        };
        let mut ordinals: HashMap<Option<i64>, u32> = HashMap::new();
        let (mut current, mut first, mut last) = (0u32, 0i64, -1i64);
        let mut current_is_never = false;
        for row in 0..expiry.len() {
            let never = expiry.is_null(row);
            let millis = expiry.value(row);
            let same = match never {
                true => current_is_never,
                false => first <= millis && millis <= last,
            };
            if !same {
                let bucket = (!never).then(|| millis.div_euclid(width));
                let next = found.distinct.len() as u32;
                current = *ordinals.entry(bucket).or_insert(next);
                if current == next {
                    found.distinct.push(bucket);
                    if next == 1 {
                        found.of_row.resize(row, 0);
                    }
                }
                current_is_never = never;
                (first, last) = match bucket {
                    Some(bucket) => (bound(bucket, width, 0), last_millis(bucket, width)),
                    None => (0, -1),
                };
            }
            if found.distinct.len() > 1 {
                found.of_row.push(current);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_bucket_need_no_routing() {
        let buckets = Buckets::of(&Int64Array::from(vec![10, 19, 12]), 10);
        assert_eq!(buckets.distinct, [Some(1)]);
        assert!(buckets.of_row.is_empty());
    }

    #[test]
    fn buckets_are_floored_and_null_never_expires() {
        let expiry = Int64Array::from(vec![
            Some(-1),
            None,
            Some(0),
            Some(-10),
            None,
            Some(i64::MIN),
            Some(i64::MAX),
        ]);
        let buckets = Buckets::of(&expiry, 10);
        let of_row: Vec<_> = buckets
            .of_row
            .iter()
            .map(|b| buckets.distinct[*b as usize])
            .collect();
        let min = i64::MIN.div_euclid(10);
        assert_eq!(
            of_row,
            [
                Some(-1),
                None,
                Some(0),
                Some(-1),
                None,
                Some(min),
                Some(i64::MAX / 10)
            ]
        );
    }

    #[test]
    fn too_many_buckets_call_for_wider_ones() {
        let segments = Segments::<crate::segment::Segment>::new(1);
        let few: Vec<_> = (0..1_000).map(Some).collect();
        assert_eq!(segments.doublings_to_fit(&few), 0);
        let many: Vec<_> = (0..1_001).map(Some).collect();
        assert_eq!(segments.doublings_to_fit(&many), 2);
        let far: Vec<_> = (-2_000..2_000)
            .map(|i| Some(i * (i64::MAX / 4_000)))
            .collect();
        assert!(segments.doublings_to_fit(&far) > 40);
    }
}
