//! Live scores: each match keeps its score in a row of state, and a match of which nothing is heard any more is reported
//! as broken off when the watermark has left it behind.

use datafusion::{
    arrow::array::{AsArray, RecordBatch},
    scalar::ScalarValue,
};
use headwater::{
    prelude::*,
    processor::{GroupState, Output},
};

use crate::{column, time};

/// How long nothing may be heard of a match, in milliseconds of event time.
const SILENCE: i64 = 40 * 60 * 1_000;

fn events() -> Schema {
    Schema::new(vec![
        column("time", time()),
        column("match", DataType::Utf8),
        column("event", DataType::Utf8),
        column("side", DataType::Utf8),
    ])
}

/// Takes the news of one match, or that there was none for too long, and gives out where it stands.
fn keep_score(
    key: &[ScalarValue],
    rows: &RecordBatch,
    state: &mut GroupState,
    output: &mut Output,
) -> Result<()> {
    let (mut home, mut away) = state.get()?.unwrap_or((0_i64, 0_i64));
    if state.has_timed_out() {
        state.remove();
        return output.row((key[0].clone(), home, away, "broken off"));
    }
    let mut is_over = false;
    let text = |column: usize| rows.column(column).as_string::<i32>();
    for (event, side) in text(2).iter().zip(text(3)) {
        match (event, side) {
            (Some("goal"), Some("home")) => home += 1,
            (Some("goal"), Some("away")) => away += 1,
            (Some("final whistle"), _) => is_over = true,
            _ => {}
        }
    }
    if is_over {
        state.remove();
        return output.row((key[0].clone(), home, away, "final"));
    }
    state.update((home, away));
    state.set_timeout_timestamp(state.current_watermark()?.max(latest(rows)) + SILENCE)?;
    output.row((key[0].clone(), home, away, "playing"))
}

/// The latest time of some rows, in milliseconds.
fn latest(rows: &RecordBatch) -> i64 {
    let times = rows
        .column(0)
        .as_primitive::<datafusion::arrow::datatypes::TimestampMicrosecondType>();
    datafusion::arrow::compute::max(times).map_or(0, |micros| micros.div_euclid(1_000))
}

/// Runs over everything in `input`; the result is the table `scores` of the session that comes back: what was known of a
/// match whenever news came.
pub async fn run(input: &str) -> Result<Session> {
    let session = Session::new();
    session.register_group_function(
        "keep_score",
        [("home", DataType::Int64), ("away", DataType::Int64)],
        [
            ("match", DataType::Utf8),
            ("home", DataType::Int64),
            ("away", DataType::Int64),
            ("status", DataType::Utf8),
        ],
        keep_score,
    )?;
    let query = session
        .read_stream()
        .format("json")
        .schema(events())
        .option("maxFilesPerTrigger", "1")
        .load(input)?
        .with_watermark("time", "2 minutes")?
        .group_by_key(["match"])?
        .map_groups_with_state("keep_score", TimeMode::EventTime)?
        .write_stream()
        .query_name("scores")
        .output_mode(OutputMode::Update)
        .format("memory")
        .trigger(Trigger::available_now())
        .start(None)
        .await?;
    query.await_termination().await?;
    Ok(session)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::util::pretty::pretty_format_batches;

    use super::*;
    use crate::data;

    async fn shown(session: &Session, query: &str) -> Result<String> {
        let rows = session.sql(query).await?.collect().await?;
        let text = pretty_format_batches(&rows).expect("rows can be shown");
        Ok(text.to_string())
    }

    #[tokio::test]
    async fn every_match_ends_once_with_the_goals_that_were_told() -> Result<()> {
        let session = run(&data("matches")).await?;
        let news = session
            .read()
            .schema(events())
            .json(&data("matches"))
            .await?;
        session.register_view("news", news)?;
        let ended = shown(
            &session,
            "SELECT match, home, away FROM scores WHERE status <> 'playing' ORDER BY match",
        )
        .await?;
        let told = shown(
            &session,
            "SELECT match, count(*) FILTER (WHERE event = 'goal' AND side = 'home') AS home, \
             count(*) FILTER (WHERE event = 'goal' AND side = 'away') AS away FROM news GROUP BY match ORDER BY match",
        )
        .await?;
        assert_eq!(ended, told);
        let broken_off = shown(
            &session,
            "SELECT match FROM scores WHERE status = 'broken off'",
        )
        .await?;
        assert!(broken_off.contains("Knoll - Lagoon"), "{broken_off}");
        assert_eq!(broken_off.lines().count(), 5, "{broken_off}");
        Ok(())
    }
}
