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

    /// Memory that it holds, in bytes.
    fn memory_bytes(&self) -> usize;
}

/// What is known of a segment without looking at it.
#[derive(Debug, Clone, Copy, Default)]
struct Noted {
    /// Its memory when it was last looked at.
    bytes: usize,
    /// Whether it may have changed since, and is listed as that.
    is_changed: bool,
}

pub(crate) struct Segments<S> {
    slab: Vec<Option<S>>,
    free: Vec<u32>,
    by_bucket: BTreeMap<i64, u32>,
    never: Option<u32>,
    /// By the number of a segment.
    noted: Vec<Noted>,
    /// Segments that may have changed since they were last looked at, and maybe some that are gone.
    changed: Vec<u32>,
    /// Memory of all segments as it was noted.
    bytes: usize,
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
            noted: Vec::new(),
            changed: Vec::new(),
            bytes: 0,
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
        let id = self.free.pop().unwrap_or_else(|| {
            self.slab.push(None);
            self.noted.push(Noted::default());
            (self.slab.len() - 1) as u32
        });
        self.put(id, segment);
        id
    }

    /// Gives a segment a number that none has.
    fn put(&mut self, id: u32, segment: S) {
        let bucket = segment.bucket();
        self.slab[id as usize] = Some(segment);
        self.note_change(id);
        match bucket {
            Some(bucket) => {
                self.by_bucket.insert(bucket, id);
            }
            None => self.never = Some(id),
        }
    }

    pub(crate) fn remove(&mut self, id: u32) -> Option<S> {
        let segment = self.take(id)?;
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
        self.note_change(id);
        self.slab[id as usize]
            .as_mut()
            .expect("places name only segments that exist")
    }

    /// All segments: by time, then the one that never expires.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.by_bucket.values().copied().chain(self.never).collect()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.iter().count()
    }

    /// That memory, which is told without a look at all segments, is theirs.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn check_invariants(&self) {
        let bytes = self.iter().map(S::memory_bytes).sum::<usize>();
        assert_eq!(self.memory_bytes(), bytes, "memory is that of the segments");
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &S> {
        self.slab.iter().flatten()
    }

    /// The segments whose rows expire, by time.
    pub(crate) fn by_time(&self) -> impl Iterator<Item = &S> {
        self.by_bucket.values().map(|id| self.get(*id))
    }

    #[inline]
    fn note_change(&mut self, id: u32) {
        let noted = &mut self.noted[id as usize];
        if !noted.is_changed {
            noted.is_changed = true;
            self.changed.push(id);
        }
    }

    /// The segments that may have changed since [`Self::take_changed`]: by time, then the one that never expires.
    pub(crate) fn changed(&self) -> Vec<u32> {
        let there = |id: &u32| self.find_by_id(*id).is_some();
        let mut ids: Vec<u32> = self.changed.iter().copied().filter(there).collect();
        ids.sort_by_key(|id| {
            let bucket = self.get(*id).bucket();
            (bucket.is_none(), bucket)
        });
        ids
    }

    /// As [`Self::changed`], and from now on none of them has changed.
    pub(crate) fn take_changed(&mut self) -> Vec<u32> {
        let ids = self.changed();
        for id in std::mem::take(&mut self.changed) {
            let bytes = self.find_by_id(id).map_or(0, S::memory_bytes);
            let noted = &mut self.noted[id as usize];
            self.bytes = self.bytes - noted.bytes + bytes;
            *noted = Noted {
                bytes,
                is_changed: false,
            };
        }
        ids
    }

    /// Memory of all segments, in bytes; looks at those only that may have changed.
    pub(crate) fn memory_bytes(&self) -> usize {
        let changed = self.changed.iter().map(|id| {
            let now = self.find_by_id(*id).map_or(0, S::memory_bytes);
            (self.noted[*id as usize].bytes, now)
        });
        let (noted, now) = changed.fold((0, 0), |(noted, now), it| (noted + it.0, now + it.1));
        self.bytes - noted + now
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

    /// Takes these segments out, as segments of their own with the same numbers.
    pub(crate) fn split_off(&mut self, ids: &[u32]) -> Self {
        let mut apart = Self::new(self.width);
        apart.slab.resize_with(self.slab.len(), || None);
        apart.noted.resize_with(self.slab.len(), Noted::default);
        for id in ids {
            if let Some(segment) = self.remove(*id) {
                apart.put(*id, segment);
            }
        }
        apart.free = (0..)
            .zip(&apart.slab)
            .filter(|it| it.1.is_none())
            .map(|it| it.0)
            .collect();
        apart
    }

    /// Takes a segment, whatever bucket it holds or has held.
    pub(crate) fn take(&mut self, id: u32) -> Option<S> {
        let segment = self.slab[id as usize].take()?;
        self.free.push(id);
        let noted = &mut self.noted[id as usize];
        self.bytes -= std::mem::take(&mut noted.bytes);
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

    /// A segment of so many bytes.
    struct Weighed {
        bucket: Option<i64>,
        bytes: usize,
    }

    impl Bucketed for Weighed {
        fn bucket(&self) -> Option<i64> {
            self.bucket
        }

        fn set_bucket(&mut self, bucket: i64) {
            self.bucket = Some(bucket);
        }

        fn memory_bytes(&self) -> usize {
            self.bytes
        }
    }

    fn segment(bucket: Option<i64>, bytes: usize) -> Weighed {
        Weighed { bucket, bytes }
    }

    #[test]
    fn segments_that_changed_are_known_once_and_by_time() {
        let mut segments = Segments::new(1);
        let never = segments.add(segment(None, 1));
        let late = segments.add(segment(Some(5), 10));
        let early = segments.add(segment(Some(-3), 100));
        assert_eq!(segments.changed(), [early, late, never]);
        assert_eq!(segments.take_changed(), [early, late, never]);
        assert!(segments.take_changed().is_empty());

        segments.get_mut(late).bytes = 20;
        segments.get_mut(late).bytes = 30;
        segments.get(early);
        assert_eq!(segments.take_changed(), [late]);

        // One that is gone has not changed; another with its number has.
        segments.get_mut(early).bytes = 200;
        segments.remove(early);
        assert!(segments.changed().is_empty());
        let other = segments.add(segment(Some(9), 1_000));
        assert_eq!((other, segments.take_changed()), (early, vec![other]));
        assert_eq!(
            segments.by_time().map(|it| it.bytes).collect::<Vec<_>>(),
            [30, 1_000]
        );
    }

    #[test]
    fn memory_is_the_sum_of_the_segments_at_any_time() {
        let mut segments = Segments::new(1);
        let mut expected = Vec::new();
        let check = |segments: &Segments<Weighed>, expected: &[usize]| {
            assert_eq!(segments.memory_bytes(), expected.iter().sum::<usize>());
        };
        for bucket in 0..10 {
            segments.add(segment(Some(bucket), 1 << bucket));
            expected.push(1 << bucket);
            check(&segments, &expected);
        }
        for (step, look) in [true, false, false, true, true, false]
            .into_iter()
            .enumerate()
        {
            if look {
                segments.take_changed();
                check(&segments, &expected);
            }
            let id = segments.find(Some(step as i64)).unwrap();
            segments.get_mut(id).bytes = 5_000;
            expected[step] = 5_000;
            check(&segments, &expected);
            let id = segments.find(Some(9 - step as i64 / 2)).unwrap();
            match step % 2 {
                0 => segments.get_mut(id).bytes = 0,
                _ => drop(segments.remove(id)),
            }
            expected[9 - step / 2] = 0;
            check(&segments, &expected);
        }

        // Buckets of twice the width: of two segments one takes the other's keys, and the other is taken.
        for (bucket, ids) in segments.widen(1) {
            let mut bytes = 0;
            for id in &ids[1..] {
                bytes += segments.take(*id).unwrap().bytes;
                check(&segments, &[expected.iter().sum::<usize>() - bytes]);
            }
            segments.get_mut(ids[0]).bytes += bytes;
            segments.assign(bucket, ids[0]);
            check(&segments, &expected);
        }
        segments.take_changed();
        check(&segments, &expected);
    }
}
