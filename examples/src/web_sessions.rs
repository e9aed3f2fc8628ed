//! Web sessions: the page views of each visitor that follow each other closely, one row for each visit.

use headwater::prelude::*;

use crate::{column, time};

/// Columns of the page views.
pub fn page_views() -> Schema {
    Schema::new(vec![
        column("time", time()),
        column("visitor", DataType::Utf8),
        column("page", DataType::Utf8),
        column("referrer", DataType::Utf8),
    ])
}

/// The visits of each visitor: a visit ends when nothing is looked at for half an hour. The same for a stream and for a
/// table.
pub fn sessions(views: DataFrame) -> Result<DataFrame> {
    views
        .with_watermark("time", "5 minutes")?
        .group_by([session_window(col("time"), "30 minutes"), col("visitor")])?
        .agg_expr([
            "count(*) AS pages",
            "first_value(page ORDER BY time) AS first_page",
            "last_value(page ORDER BY time) AS last_page",
            "max(time) AS ended",
        ])?
        .select_expr([
            "visitor",
            "session_window.start AS began",
            "ended",
            "to_unixtime(ended) - to_unixtime(session_window.start) AS seconds",
            "pages",
            "first_page",
            "last_page",
        ])
}

/// Runs over everything that is in `input` and goes on from `checkpoint` if it was run before: a visit that was open at
/// the end of a run is gone on with in the next one.
pub async fn run(input: &str, output: &str, checkpoint: &str) -> Result<StreamingQuery> {
    let session = Session::new();
    let views = session
        .read_stream()
        .schema(page_views())
        .option("maxFilesPerTrigger", "2")
        .json(input)?;
    let query = sessions(views)?
        .write_stream()
        .query_name("sessions")
        .format("parquet")
        .option("checkpointLocation", checkpoint)
        .trigger(Trigger::available_now())
        .start(output)
        .await?;
    query.await_termination().await?;
    Ok(query)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::{Arriving, millis, objects, shown, sorted_rows, watermark};

    const GAP: i64 = 30 * 60 * 1000;

    /// The visits worked out one view after the other, each with the time at which it is over.
    fn by_hand(folder: &str) -> Vec<(i64, String)> {
        let mut visitors: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
        for view in objects(folder) {
            let views = visitors.entry(view[1].clone()).or_default();
            views.push((millis(&view[0]), view[2].clone()));
        }
        let mut visits = Vec::new();
        for (visitor, mut views) in visitors {
            views.sort();
            for visit in views.chunk_by(|one, next| next.0 - one.0 <= GAP) {
                let (began, first) = &visit[0];
                let (ended, last) = &visit[visit.len() - 1];
                let row = format!(
                    "{visitor}|{}|{}|{}|{}|{first}|{last}",
                    shown(*began),
                    shown(*ended),
                    ended / 1000 - began / 1000,
                    visit.len()
                );
                visits.push((ended + GAP, row));
            }
        }
        visits
    }

    #[tokio::test]
    async fn visits_that_are_over_are_written_once_across_a_restart() -> Result<()> {
        let views = Arriving::of("page_views");
        let (out, checkpoint) = (views.path("out"), views.path("checkpoint"));
        views.bring_first_half();
        run(&views.input(), &out, &checkpoint).await?;
        views.bring_second_half();
        let query = run(&views.input(), &out, &checkpoint).await?;

        let session = Session::new();
        let written = sorted_rows(session.read().parquet(&out).await?).await?;
        let closed_at = watermark(&query);
        let all = by_hand(&views.input());
        let mut closed: Vec<String> = all
            .iter()
            .filter(|visit| visit.0 <= closed_at)
            .map(|visit| visit.1.clone())
            .collect();
        closed.sort_unstable();
        assert_eq!(written, closed);
        assert!(closed.len() > 100 && closed.len() < all.len());
        Ok(())
    }

    #[tokio::test]
    async fn a_table_gives_all_visits() -> Result<()> {
        let session = Session::new();
        let folder = crate::data("page_views");
        let table = session.read().schema(page_views()).json(&folder).await?;
        let mut all: Vec<String> = by_hand(&folder).into_iter().map(|visit| visit.1).collect();
        all.sort_unstable();
        assert_eq!(sorted_rows(sessions(table)?).await?, all);
        Ok(())
    }
}
