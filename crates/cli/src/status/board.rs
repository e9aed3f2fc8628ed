//! What the queries of a run have reported, added up.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use headwater::{Clock, StreamingQueryListener, StreamingQueryProgress, engine::QueryProgress};
use parking_lot::Mutex;

/// Over how many milliseconds rates are taken.
const RATE_SPAN: i64 = 3_000;

/// The totals of one query since it was started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    pub(crate) epochs: u64,
    pub(crate) rows_in: u64,
    pub(crate) rows_out: u64,
    pub(crate) late_rows: u64,
    /// Time spent in epochs, in milliseconds.
    pub(crate) busy: u64,
    /// The report of the last epoch.
    pub(crate) last: Option<Arc<StreamingQueryProgress>>,
    /// When (milliseconds), and the rows in and out until then: of the last seconds.
    pub(super) recent: VecDeque<(i64, u64, u64)>,
}

impl Totals {
    fn add(&mut self, progress: &Arc<StreamingQueryProgress>, now: i64) {
        self.epochs += 1;
        self.rows_in += progress.num_input_rows;
        self.rows_out += progress.sink.num_output_rows;
        let operators = progress.state_operators.iter();
        self.late_rows += operators
            .map(|operator| operator.num_rows_dropped_by_watermark)
            .sum::<u64>();
        self.busy += progress.batch_duration;
        self.last = Some(Arc::clone(progress));
        self.recent.push_back((now, self.rows_in, self.rows_out));
        // The oldest that stays is at least as old as the span is long.
        while self.recent.len() > 2 && now - self.recent[1].0 >= RATE_SPAN {
            self.recent.pop_front();
        }
    }

    /// Rows in and out per second, of late.
    pub(crate) fn rates(&self, now: i64) -> (f64, f64) {
        let Some((since, rows_in, rows_out)) = self.recent.front() else {
            return (0.0, 0.0);
        };
        if self
            .recent
            .back()
            .is_some_and(|(last, ..)| now - *last > RATE_SPAN)
        {
            return (0.0, 0.0);
        }
        let seconds = (now - *since) as f64 / 1_000.0;
        let rate = |total: u64, before: u64| match seconds > 0.0 {
            true => (total - before) as f64 / seconds,
            false => 0.0,
        };
        (rate(self.rows_in, *rows_in), rate(self.rows_out, *rows_out))
    }
}

/// The totals of all queries, by name.
#[derive(Debug)]
pub(crate) struct Board {
    clock: Arc<dyn Clock>,
    // Short sections: add a report, clone the totals of one query.
    queries: Mutex<BTreeMap<String, Totals>>,
    /// Whether each epoch is printed as a line of JSON.
    json: bool,
}

impl Board {
    /// An empty board; with `json`, it prints each epoch's report to standard output.
    pub(crate) fn new(clock: Arc<dyn Clock>, json: bool) -> Arc<Self> {
        Arc::new(Self {
            clock,
            queries: Mutex::default(),
            json,
        })
    }

    /// The clock of the queries, in milliseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        self.clock.now_millis()
    }

    /// A query of this name begins anew.
    pub(crate) fn forget(&self, query: &str) {
        self.queries.lock().remove(query);
    }

    /// What is known of a query.
    pub(crate) fn totals(&self, query: &str) -> Totals {
        self.queries.lock().get(query).cloned().unwrap_or_default()
    }
}

impl StreamingQueryListener for Board {
    fn on_query_progress(&self, event: &QueryProgress) {
        let progress = &event.progress;
        if self.json {
            // Whoever read it has gone: the queries go on.
            let _ = crate::exit::print(&format!("{}\n", progress.json()));
        }
        let name = progress.name.clone().unwrap_or_default();
        let mut queries = self.queries.lock();
        queries
            .entry(name)
            .or_default()
            .add(progress, self.clock.now_millis());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// The report of an epoch with so many rows.
    pub(crate) fn report(rows_in: u64, rows_out: u64) -> Arc<StreamingQueryProgress> {
        let report = json!({
            "id": "00000000-0000-0000-0000-000000000001",
            "runId": "00000000-0000-0000-0000-000000000002",
            "name": "q",
            "timestamp": "2024-01-01T00:00:00.000Z",
            "batchId": 0,
            "batchDuration": 5,
            "numInputRows": rows_in,
            "inputRowsPerSecond": 0.0,
            "processedRowsPerSecond": 0.0,
            "durationMs": {},
            "eventTime": {},
            "stateOperators": [],
            "sources": [],
            "sink": {"description": "sink", "numOutputRows": rows_out}
        });
        serde_json::from_value(report).expect("a report")
    }

    #[test]
    fn rates_are_those_of_the_last_seconds() {
        let start = 1_000_000;
        let mut totals = Totals::default();
        assert_eq!(totals.rates(start), (0.0, 0.0));
        for second in 0..10_i64 {
            let rows = if second < 5 { 1_000 } else { 10 };
            totals.add(&report(rows, rows / 10), start + second * 1_000);
        }
        let (rows_in, rows_out) = totals.rates(start + 9_000);
        assert_eq!((rows_in, rows_out), (10.0, 1.0));
        assert_eq!(totals.rates(start + 13_000), (0.0, 0.0));
        assert_eq!((totals.rows_in, totals.rows_out), (5_050, 505));
        assert_eq!((totals.epochs, totals.busy), (10, 50));
    }
}
