//! The operators that keep state, each under a watermark that bounds it.

use headwater::{
    prelude::{DataFrame, OutputMode, Result},
    processor::TimeMode,
};

use super::run::Soak;

fn soak(mode: OutputMode, operators: usize, sql: &'static str) {
    Soak {
        sql,
        then: Ok,
        mode,
        operators,
        has_late_rows: true,
    }
    .assert_flat();
}

/// The rows of one stream, and what is done with them.
fn soak_rows(then: fn(DataFrame) -> Result<DataFrame>) {
    Soak {
        sql: "SELECT * FROM l WATERMARK time DELAY OF INTERVAL 5 SECONDS",
        then,
        mode: OutputMode::Append,
        operators: 1,
        has_late_rows: true,
    }
    .assert_flat();
}

const WINDOWS: &str = "SELECT window.start AS start, kind, id % 3 AS third, count(*) AS n, sum(value) AS total, \
                       count(DISTINCT value) AS different, array_agg(id) AS ids, max(visitor) AS last \
                       FROM l WATERMARK time DELAY OF INTERVAL 5 SECONDS \
                       GROUP BY window(time, '10 seconds'), kind, id % 3";

#[test]
fn windows_in_append_mode() {
    soak(OutputMode::Append, 1, WINDOWS);
}

#[test]
fn windows_in_update_mode() {
    soak(OutputMode::Update, 1, WINDOWS);
}

#[test]
fn sliding_windows_of_visitors() {
    soak(
        OutputMode::Append,
        1,
        "SELECT window.start AS start, visitor, count(*) AS n, avg(value) AS mean \
         FROM l WATERMARK time DELAY OF INTERVAL 5 SECONDS \
         GROUP BY window(time, '10 seconds', '5 seconds'), visitor",
    );
}

#[test]
fn sessions() {
    soak(
        OutputMode::Append,
        1,
        "SELECT session_window.start AS start, visitor, count(*) AS n, count(DISTINCT kind) AS kinds \
         FROM l WATERMARK time DELAY OF INTERVAL 5 SECONDS \
         GROUP BY session_window(time, '2 seconds'), visitor",
    );
}

#[test]
fn rows_that_are_distinct_by_event_time() {
    soak(
        OutputMode::Append,
        1,
        "SELECT DISTINCT time, visitor FROM l WATERMARK time DELAY OF INTERVAL 5 SECONDS",
    );
}

#[test]
fn dropping_of_duplicates_by_event_time() {
    soak_rows(|rows| rows.drop_duplicates(&["time", "id"]));
}

#[test]
fn dropping_of_duplicates_within_the_watermark() {
    soak_rows(|rows| rows.drop_duplicates_within_watermark(&["id"]));
}

#[test]
fn joins_within_a_range_of_time() {
    soak(
        OutputMode::Append,
        1,
        "SELECT l.id AS id, l.kind AS kind, r.value AS value \
         FROM l WATERMARK time DELAY OF INTERVAL 5 SECONDS AS l \
         JOIN r WATERMARK time DELAY OF INTERVAL 5 SECONDS AS r \
         ON l.visitor = r.visitor AND r.time BETWEEN l.time - INTERVAL 4 SECONDS AND l.time + INTERVAL 6 SECONDS",
    );
}

#[test]
fn full_outer_joins_within_a_range_of_time() {
    soak(
        OutputMode::Append,
        1,
        "SELECT l.id AS id, r.id AS other \
         FROM l WATERMARK time DELAY OF INTERVAL 5 SECONDS AS l \
         FULL JOIN r WATERMARK time DELAY OF INTERVAL 5 SECONDS AS r \
         ON l.id = r.id AND l.kind < r.kind AND r.time BETWEEN l.time AND l.time + INTERVAL 6 SECONDS",
    );
}

#[test]
fn windows_over_windows() {
    soak(
        OutputMode::Append,
        2,
        "SELECT window.start AS start, count(*) AS groups, sum(n) AS rows FROM \
         (SELECT window(time, '5 seconds') AS w, visitor, count(*) AS n \
         FROM l WATERMARK time DELAY OF INTERVAL 5 SECONDS GROUP BY window(time, '5 seconds'), visitor) \
         GROUP BY window(w, '2 seconds')",
    );
}

#[test]
fn windows_over_a_join() {
    soak(
        OutputMode::Append,
        2,
        "SELECT window.start AS start, kind, count(*) AS n, sum(value) AS total FROM \
         (SELECT l.time AS time, l.kind AS kind, r.value AS value \
         FROM l WATERMARK time DELAY OF INTERVAL 5 SECONDS AS l \
         LEFT JOIN r WATERMARK time DELAY OF INTERVAL 5 SECONDS AS r \
         ON l.id = r.id AND r.time BETWEEN l.time - INTERVAL 4 SECONDS AND l.time + INTERVAL 6 SECONDS) \
         GROUP BY window(time, '2 seconds'), kind",
    );
}

#[test]
fn processors_with_timers_by_event_time() {
    Soak {
        sql: "SELECT time, visitor, value FROM l WATERMARK time DELAY OF INTERVAL 5 SECONDS",
        then: |rows| {
            rows.group_by_key(["visitor"])?
                .transform_with_state("visits", TimeMode::EventTime)
        },
        mode: OutputMode::Update,
        operators: 1,
        has_late_rows: true,
    }
    .assert_flat();
}

#[test]
fn processors_with_a_time_to_live() {
    Soak {
        sql: "SELECT visitor AS k, value AS v FROM l",
        then: |rows| {
            rows.group_by_key(["k"])?
                .transform_with_state("short_memory", TimeMode::ProcessingTime)
        },
        mode: OutputMode::Update,
        operators: 1,
        has_late_rows: false,
    }
    .assert_flat();
}
