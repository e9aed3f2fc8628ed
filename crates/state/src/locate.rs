//! From incoming rows to places: which segment, and which slot of it.
//!
//! Rows of one time bucket, the usual case, are looked up as they are; others are grouped by segment first, so that
//! each index sees its rows in one call. Buckets widen here when there would be too many of them.

use std::sync::atomic::Ordering::Relaxed;

use arrow::{
    array::{ArrayRef, Int64Array, UInt32Array},
    compute::take_arrays,
};
use headwater_core::{Error, Result};

use crate::{
    grouped::Grouped,
    keyed::KeyedState,
    segment::Segment,
    segments::Buckets,
    touched::{Place, Touched},
};

/// Which segment each row goes to.
enum Route {
    All(u32),
    Each(Vec<u32>),
}

impl KeyedState {
    /// The place of each row's key, made if it is new.
    pub(crate) fn locate(
        &mut self,
        keys: &[ArrayRef],
        rows: usize,
        expiry: Option<&Int64Array>,
    ) -> Result<Vec<Place>> {
        self.check_columns(keys, rows, expiry)?;
        self.counters.indexed.fetch_add(rows as u64, Relaxed);
        let mut slots = Vec::new();
        match self.route(rows, expiry)? {
            Route::All(segment) => {
                self.segments
                    .get_mut(segment)
                    .intern(keys, rows, &mut slots)?;
                let slots = slots.into_iter();
                Ok(slots.map(|slot| Place::new(segment, slot)).collect())
            }
            Route::Each(segments) => {
                let Grouped { order, groups } = Grouped::by(&segments);
                let order = UInt32Array::from(order);
                let sorted = take_arrays(keys, &order, None)?;
                let mut places = vec![Place::new(0, 0); rows];
                for (segment, range) in groups {
                    let keys: Vec<ArrayRef> = sorted
                        .iter()
                        .map(|column| column.slice(range.start, range.len()))
                        .collect();
                    let of_segment = self.segments.get_mut(segment);
                    of_segment.intern(&keys, range.len(), &mut slots)?;
                    for (row, slot) in order.values()[range].iter().zip(&slots) {
                        places[*row as usize] = Place::new(segment, *slot);
                    }
                }
                Ok(places)
            }
        }
    }

    /// The places of touched keys, looked up again if keys have moved since.
    pub(crate) fn places(&mut self, touched: &Touched) -> Result<Vec<Place>> {
        if touched.generation == self.generation {
            return Ok(touched.places.clone());
        }
        self.locate(&touched.keys, touched.len(), touched.expiry.as_ref())
    }

    fn check_columns(
        &self,
        keys: &[ArrayRef],
        rows: usize,
        expiry: Option<&Int64Array>,
    ) -> Result<()> {
        let expected = self.shape.spec.keys.fields();
        if keys.len() != expected.len() {
            return Err(Error::internal(format!(
                "state was given {} key columns, expected {}",
                keys.len(),
                expected.len()
            )));
        }
        for (column, field) in keys.iter().zip(expected) {
            if column.data_type() != field.data_type() || column.len() != rows {
                return Err(Error::internal(format!(
                    "state key {} is {} rows of type {}, expected {rows} of type {}",
                    field.name(),
                    column.len(),
                    column.data_type(),
                    field.data_type()
                )));
            }
        }
        match expiry {
            Some(_) if !self.shape.spec.expires => Err(Error::internal(
                "an expiry was given to a store whose keys never expire",
            )),
            Some(expiry) if expiry.len() != rows => Err(Error::internal(format!(
                "state was given {} expiries for {rows} rows",
                expiry.len()
            ))),
            // The row numbers of a touch are 32 bits wide.
            _ if rows >= u32::MAX as usize => Err(Error::invalid(format!(
                "a batch of {rows} rows is too large for state: use smaller batches"
            ))),
            _ => Ok(()),
        }
    }

    fn route(&mut self, rows: usize, expiry: Option<&Int64Array>) -> Result<Route> {
        let Some(expiry) = expiry.filter(|_| rows > 0) else {
            return Ok(Route::All(self.segment_of(None)?));
        };
        let mut buckets = Buckets::of(expiry, self.segments.width);
        let doublings = self.segments.doublings_to_fit(&buckets.distinct);
        if doublings > 0 {
            self.widen(doublings)?;
            buckets = Buckets::of(expiry, self.segments.width);
        }
        let mut segments = Vec::with_capacity(buckets.distinct.len());
        for bucket in &buckets.distinct {
            segments.push(self.segment_of(*bucket)?);
        }
        Ok(match segments.as_slice() {
            [segment] => Route::All(*segment),
            _ => Route::Each(
                buckets
                    .of_row
                    .iter()
                    .map(|b| segments[*b as usize])
                    .collect(),
            ),
        })
    }

    fn segment_of(&mut self, bucket: Option<i64>) -> Result<u32> {
        if let Some(segment) = self.segments.find(bucket) {
            return Ok(segment);
        }
        let segment = Segment::new(self.factory.as_ref(), &self.shape.spec.keys, bucket)?;
        Ok(self.segments.add(segment))
    }

    /// Doubles the width of buckets and unites the segments that then share one. Rows stay where they are; the keys
    /// of all but the largest of the segments united are indexed again.
    fn widen(&mut self, doublings: u32) -> Result<()> {
        self.generation += 1;
        for (bucket, mut segments) in self.segments.widen(doublings) {
            segments.sort_by_key(|id| self.segments.get(*id).slots());
            let Some(largest) = segments.pop() else {
                continue;
            };
            self.segments.assign(bucket, largest);
            for other in segments {
                if let Some(other) = self.segments.take(other) {
                    self.adopt(largest, other)?;
                }
            }
            self.settle(largest)?;
        }
        tracing::debug!(
            width_millis = self.segments.width,
            "widened the time buckets of state"
        );
        Ok(())
    }
}
