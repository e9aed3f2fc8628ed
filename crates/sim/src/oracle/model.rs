//! What is late and what is closed, in a few lines that know nothing of the engine.

use super::{case::Event, duplicates::Seen, sessions::close_sessions, shape::QueryShape};

/// One row in one window (or under one key that closes), and when it stops counting.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) event: Event,
    pub(super) window: Option<(i64, i64)>,
    /// The watermark, in microseconds, from which on the group is closed; none if it never is.
    pub(super) closes_at: Option<i64>,
}

/// The model of one query: its watermark and the pairs that count.
#[derive(Debug)]
pub(super) struct Model {
    shape: QueryShape,
    /// The watermark after the epochs so far, in milliseconds.
    pub(super) watermark: i64,
    pub(super) pairs: Vec<Pair>,
    /// Rows of sessions that have ended; `pairs` holds the others.
    pub(super) ended: Vec<Pair>,
    /// Rows that were not late where duplicates are dropped, those included.
    pub(super) in_time: Vec<Event>,
    seen: Seen,
}

impl Model {
    pub(super) fn new(shape: &QueryShape) -> Self {
        Self {
            shape: shape.clone(),
            watermark: 0,
            pairs: Vec::new(),
            ended: Vec::new(),
            in_time: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// Ends the sessions and forgets the keys that the watermark in force in an epoch, in milliseconds, has passed.
    pub(super) fn end_epoch(&mut self, in_force: i64) {
        self.seen.forget(in_force);
        if self.shape.sessions.is_some() && self.closes() {
            let ended = close_sessions(&mut self.pairs, &self.shape.keys, in_force);
            self.ended.extend(ended);
        }
    }

    /// Nothing closes without a watermark and in complete mode; but for sessions, nothing is late then either.
    fn closes(&self) -> bool {
        self.shape.delay.is_some() && self.shape.mode != headwater_core::OutputMode::Complete
    }

    /// Takes the rows of one epoch. `late_below` is the watermark that filters late rows in it, in milliseconds.
    /// Gives the pairs that came too late.
    pub(super) fn take(&mut self, events: &[Event], late_below: i64) -> Vec<Pair> {
        let shape = &self.shape;
        let mut late = Vec::new();
        let mut highest: Option<i64> = None;
        for event in events {
            let passes = shape.filter.passes(event);
            if let Some(time) = event.time
                && (passes || shape.filter.stays_above_the_watermark())
            {
                highest = highest.max(Some(time.div_euclid(1_000)));
            }
            if !passes {
                continue;
            }
            if let Some(duplicates) = &shape.duplicates {
                let is_late = |time: i64| time <= late_below.saturating_mul(1_000);
                if shape.delay.is_some() && event.time.is_some_and(is_late) {
                    late.push(Pair {
                        event: event.clone(),
                        window: None,
                        closes_at: event.time,
                    });
                    continue;
                }
                self.in_time.push(event.clone());
                if !self.seen.is_first(event, duplicates, shape.delay) {
                    continue;
                }
            }
            let (closed, open): (Vec<Pair>, Vec<Pair>) = self
                .pairs_of(event)
                .into_iter()
                .partition(|pair| Self::is_closed(pair, late_below));
            late.extend(closed);
            self.pairs.extend(open);
        }
        if let (Some(delay), Some(highest)) = (self.shape.delay, highest) {
            self.watermark = self.watermark.max(highest - delay * 1_000);
        }
        late
    }

    fn pairs_of(&self, event: &Event) -> Vec<Pair> {
        let shape = &self.shape;
        let closes = self.closes();
        if let Some(gap) = shape.sessions {
            // As recorded, complete mode keeps every session and yet takes no late row.
            let interval = gap.of(event).into_iter();
            return interval
                .map(|(start, end)| Pair {
                    event: event.clone(),
                    window: Some((start, end)),
                    closes_at: shape.delay.map(|_| end),
                })
                .collect();
        }
        match (shape.window, event.time) {
            (Some(windows), Some(time)) => windows
                .of(time)
                .into_iter()
                .map(|(start, end)| Pair {
                    event: event.clone(),
                    window: Some((start, end)),
                    closes_at: closes.then_some(end),
                })
                .collect(),
            (Some(_), None) => Vec::new(),
            (None, time) => vec![Pair {
                event: event.clone(),
                window: None,
                closes_at: time.filter(|_| closes && shape.by_time),
            }],
        }
    }

    /// Whether a pair's group is closed at a watermark in milliseconds.
    pub(super) fn is_closed(pair: &Pair, watermark: i64) -> bool {
        pair.closes_at
            .is_some_and(|closes_at| closes_at <= watermark.saturating_mul(1_000))
    }
}
