//! One line about what a query has done.

use headwater::StreamingQueryProgress;
use serde_json::Value;

use super::{
    board::Totals,
    numbers::{bytes, count, duration, short},
};

/// Width of a progress bar.
const BAR: usize = 24;

/// What happened since `before`, for a log: `epoch 41 (+3): 1,200 rows in, 35 out, …`; nothing if nothing did.
pub(crate) fn since(before: &Totals, now: &Totals) -> Option<String> {
    let last = now.last.as_ref()?;
    let epochs = now.epochs - before.epochs;
    if epochs == 0 {
        return None;
    }
    let more = match epochs {
        1 => String::new(),
        more => format!(" (+{})", count(more)),
    };
    let mut parts = vec![
        format!("{} rows in", count(now.rows_in - before.rows_in)),
        format!("{} out", count(now.rows_out - before.rows_out)),
        format!("{} an epoch", duration((now.busy - before.busy) / epochs)),
    ];
    parts.extend(state(last));
    parts.extend(watermark(last));
    let late = now.late_rows - before.late_rows;
    if late > 0 {
        parts.push(format!("{} late", count(late)));
    }
    parts.extend(progress(last).map(|progress| progress.text()));
    Some(format!(
        "epoch {}{more}: {}",
        last.batch_id,
        parts.join(", ")
    ))
}

/// What a query is at, for a status that is drawn again and again.
pub(crate) fn status(totals: &Totals, rates: (f64, f64)) -> String {
    let Some(last) = &totals.last else {
        return "no epoch yet".to_owned();
    };
    let mut parts = vec![
        format!("epoch {}", last.batch_id),
        format!("in {} rows/s", short(rates.0)),
        format!("out {} rows/s", short(rates.1)),
        format!("{} an epoch", duration(last.batch_duration)),
    ];
    parts.extend(state(last));
    parts.extend(watermark(last));
    if !last.state_operators.is_empty() {
        parts.push(format!("{} late", count(totals.late_rows)));
    }
    parts.extend(progress(last).map(|progress| progress.bar()));
    parts.join(" · ")
}

/// The same below a table: what tells how current it is comes first.
pub(crate) fn below(totals: &Totals, rates: (f64, f64)) -> String {
    let Some(last) = &totals.last else {
        return "no epoch yet".to_owned();
    };
    let mut parts = vec![
        format!("epoch {}", last.batch_id),
        format!("{} rows/s", short(rates.0)),
    ];
    parts.extend(watermark(last));
    parts.push(format!("{} an epoch", duration(last.batch_duration)));
    parts.extend(state(last));
    parts.extend(progress(last).map(|progress| progress.text()));
    parts.join(" · ")
}

/// What a query has done in all: `5 epochs, 13,935 rows in, 812 out, 326 ms`.
pub(crate) fn summary(totals: &Totals) -> String {
    let mut parts = vec![
        match totals.epochs {
            1 => "1 epoch".to_owned(),
            epochs => format!("{} epochs", count(epochs)),
        },
        format!("{} rows in", count(totals.rows_in)),
        format!("{} out", count(totals.rows_out)),
    ];
    if totals.late_rows > 0 {
        parts.push(format!("{} late", count(totals.late_rows)));
    }
    parts.push(duration(totals.busy));
    parts.join(", ")
}

fn state(last: &StreamingQueryProgress) -> Option<String> {
    let operators = &last.state_operators;
    let rows = operators.iter().map(|operator| operator.num_rows_total);
    let memory = operators.iter().map(|operator| operator.memory_used_bytes);
    (!operators.is_empty())
        .then(|| format!("state {} rows {}", count(rows.sum()), bytes(memory.sum())))
}

/// The watermark, and how far it is behind the newest event time of the epoch.
fn watermark(last: &StreamingQueryProgress) -> Option<String> {
    let watermark = last.event_time.get("watermark")?;
    if watermark.starts_with("1970-01-01T00:00:00") {
        return Some("no watermark yet".to_owned());
    }
    let behind = last.event_time.get("max").and_then(|newest| {
        let millis = |text: &str| {
            let time =
                datafusion::arrow::compute::kernels::cast_utils::string_to_timestamp_nanos(text);
            time.ok().map(|nanos| nanos / 1_000_000)
        };
        u64::try_from(millis(newest)? - millis(watermark)?).ok()
    });
    let shown = watermark.trim_end_matches('Z').trim_end_matches(".000");
    Some(match behind {
        Some(behind) => format!("watermark {shown} ({} behind)", duration(behind)),
        None => format!("watermark {shown}"),
    })
}

/// How much of what the sources hold has been read, where positions can be compared.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Read {
    done: u64,
    all: u64,
}

impl Read {
    fn text(self) -> String {
        format!("{} of {} read", count(self.done), count(self.all))
    }

    fn bar(self) -> String {
        let filled = (self.done as f64 / self.all.max(1) as f64 * BAR as f64) as usize;
        let filled = filled.min(BAR);
        format!(
            "{}{} {}",
            "█".repeat(filled),
            "░".repeat(BAR - filled),
            self.text()
        )
    }
}

/// Of all sources together; nothing where one of them has no such position, or nothing is left to read.
fn progress(last: &StreamingQueryProgress) -> Option<Read> {
    let mut read = Read { done: 0, all: 0 };
    for source in &last.sources {
        let done = position(&source.end_offset)?;
        read.done += done;
        read.all += position(&source.latest_offset)?.max(done);
    }
    (read.done < read.all).then_some(read)
}

/// An offset that is a number, or one number under a name.
fn position(offset: &Value) -> Option<u64> {
    match offset {
        Value::Number(number) => number.as_u64(),
        Value::Object(fields) if fields.len() == 1 => position(fields.values().next()?),
        Value::Null => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn report() -> StreamingQueryProgress {
        serde_json::from_value(json!({
            "id": "00000000-0000-0000-0000-000000000001",
            "runId": "00000000-0000-0000-0000-000000000002",
            "name": "q",
            "timestamp": "2024-01-01T00:00:00.000Z",
            "batchId": 41,
            "batchDuration": 12,
            "numInputRows": 1_200,
            "inputRowsPerSecond": 1.0,
            "processedRowsPerSecond": 1.0,
            "durationMs": {},
            "eventTime": {"watermark": "2024-01-01T12:00:05.000Z", "max": "2024-01-01T12:00:15.000Z"},
            "stateOperators": [{
                "operatorName": "stateStoreSave", "numRowsTotal": 1_204, "numRowsUpdated": 3, "numRowsRemoved": 0,
                "numRowsDroppedByWatermark": 2, "memoryUsedBytes": 310_000, "numShufflePartitions": 2
            }],
            "sources": [{
                "description": "FileSource[in]", "startOffset": 10, "endOffset": 12, "latestOffset": 48,
                "numInputRows": 1_200, "inputRowsPerSecond": 1.0, "processedRowsPerSecond": 1.0
            }],
            "sink": {"description": "sink", "numOutputRows": 35}
        }))
        .expect("a report")
    }

    fn totals() -> Totals {
        Totals {
            epochs: 3,
            rows_in: 3_600,
            rows_out: 70,
            late_rows: 2,
            busy: 36,
            last: Some(Arc::new(report())),
            ..Totals::default()
        }
    }

    #[test]
    fn a_line_says_what_happened_since_the_one_before() {
        let now = totals();
        assert_eq!(
            since(&Totals::default(), &now).as_deref(),
            Some(
                "epoch 41 (+3): 3,600 rows in, 70 out, 12 ms an epoch, state 1,204 rows 310 kB, \
                 watermark 2024-01-01T12:00:05 (10 s behind), 2 late, 12 of 48 read"
            )
        );
        assert_eq!(since(&now, &now), None);
        assert_eq!(since(&Totals::default(), &Totals::default()), None);
    }

    #[test]
    fn a_status_says_what_a_query_is_at() {
        assert_eq!(status(&Totals::default(), (0.0, 0.0)), "no epoch yet");
        assert_eq!(
            status(&totals(), (12_345.0, 3.0)),
            "epoch 41 · in 12.3 k rows/s · out 3 rows/s · 12 ms an epoch · state 1,204 rows 310 kB · \
             watermark 2024-01-01T12:00:05 (10 s behind) · 2 late · ██████░░░░░░░░░░░░░░░░░░ 12 of 48 read"
        );
        assert_eq!(
            below(&totals(), (12_345.0, 3.0)),
            "epoch 41 · 12.3 k rows/s · watermark 2024-01-01T12:00:05 (10 s behind) · 12 ms an epoch · \
             state 1,204 rows 310 kB · 12 of 48 read"
        );
        assert_eq!(
            summary(&totals()),
            "3 epochs, 3,600 rows in, 70 out, 2 late, 36 ms"
        );
    }

    #[test]
    fn a_bar_is_drawn_where_positions_can_be_compared() {
        for (offset, expected) in [
            (json!(3), Some(3)),
            (json!({"logOffset": 3}), Some(3)),
            (json!(null), Some(0)),
            (json!({"a": 1, "b": 2}), None),
            (json!("3"), None),
        ] {
            assert_eq!(position(&offset), expected, "{offset}");
        }
        let mut last = report();
        last.sources[0].latest_offset = json!(12);
        assert_eq!(progress(&last), None);
    }
}
