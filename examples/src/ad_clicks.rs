//! Advertisements and the clicks on them: two streams joined, then counted. What nobody clicks on counts too.

use headwater::prelude::*;

use crate::{column, time};

/// Columns of the impressions: what was shown, when, where, and for which campaign.
pub fn impressions() -> Schema {
    Schema::new(vec![
        column("shown_at", time()),
        column("impression", DataType::Utf8),
        column("campaign", DataType::Utf8),
        column("site", DataType::Utf8),
    ])
}

/// Columns of the clicks.
pub fn clicks() -> Schema {
    Schema::new(vec![
        column("clicked_at", time()),
        column("clicked", DataType::Utf8),
        column("button", DataType::Utf8),
    ])
}

/// Each impression with the click on it within a quarter of an hour, or with nulls if there was none.
///
/// The bound on the times is what lets the state go: an impression is kept until no click can belong to it any more, and
/// comes out then if none has come.
pub fn with_clicks(impressions: DataFrame, clicks: DataFrame) -> Result<DataFrame> {
    impressions.with_watermark("shown_at", "2 minutes")?.join_expr(
        clicks.with_watermark("clicked_at", "2 minutes")?,
        JoinType::Left,
        "impression = clicked AND clicked_at BETWEEN shown_at AND shown_at + INTERVAL '15 minutes'",
    )
}

/// How many were shown and clicked on, by campaign and half hour. The same for streams and for tables.
pub fn click_rates(impressions: DataFrame, clicks: DataFrame) -> Result<DataFrame> {
    with_clicks(impressions, clicks)?
        .group_by([window(col("shown_at"), "30 minutes"), col("campaign")])?
        .agg_expr(["count(*) AS shown", "count(clicked_at) AS clicks"])?
        .select_expr([
            "window.start AS start",
            "campaign",
            "shown",
            "clicks",
            "round(100.0 * clicks / shown, 1) AS percent",
        ])
}

/// Runs over everything that is in the folders `impressions` and `clicks` of `input`, and goes on from `checkpoint` if it
/// was run before.
pub async fn run(input: &str, output: &str, checkpoint: &str) -> Result<StreamingQuery> {
    let session = Session::new();
    let stream = |folder: &str, schema: Schema| {
        session
            .read_stream()
            .schema(schema)
            .option("header", "true")
            .option("maxFilesPerTrigger", "1")
            .csv(format!("{input}/{folder}"))
    };
    let query = click_rates(
        stream("impressions", impressions())?,
        stream("clicks", clicks())?,
    )?
    .write_stream()
    .query_name("click_rates")
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
    use std::collections::{BTreeMap, HashMap};

    use super::*;
    use crate::testing::{Arriving, cells, millis, shown, sorted_rows};

    const MINUTE: i64 = 60 * 1000;

    /// Half hour, campaign, impressions and clicks, worked out one impression after the other.
    fn by_hand(input: &str) -> Vec<String> {
        let mut clicked: HashMap<String, i64> = HashMap::new();
        for click in cells(&format!("{input}/clicks")) {
            clicked.insert(click[1].clone(), millis(&click[0]));
        }
        let mut counts: BTreeMap<(i64, String), (u32, u32)> = BTreeMap::new();
        for impression in cells(&format!("{input}/impressions")) {
            let at = millis(&impression[0]);
            let half_hour = at - at % (30 * MINUTE);
            let count = counts
                .entry((half_hour, impression[2].clone()))
                .or_default();
            count.0 += 1;
            let click = clicked.get(&impression[1]);
            count.1 +=
                u32::from(click.is_some_and(|click| (at..=at + 15 * MINUTE).contains(click)));
        }
        let rows = counts
            .into_iter()
            .map(|((start, campaign), (count, clicks))| {
                let percent = f64::from(1000 * clicks) / f64::from(count);
                format!(
                    "{}|{campaign}|{count}|{clicks}|{:?}",
                    shown(start),
                    percent.round() / 10.0
                )
            });
        rows.collect()
    }

    #[tokio::test]
    async fn rates_of_half_hours_that_are_over_are_written_once_across_a_restart() -> Result<()> {
        let ads = Arriving::of("ads");
        let (out, checkpoint) = (ads.path("out"), ads.path("checkpoint"));
        ads.bring_first_half();
        run(&ads.input(), &out, &checkpoint).await?;
        ads.bring_second_half();
        run(&ads.input(), &out, &checkpoint).await?;

        let session = Session::new();
        let written = sorted_rows(session.read().parquet(&out).await?).await?;
        // The last half hour waits for its clicks.
        let mut all = by_hand(&ads.input());
        all.truncate(12);
        assert_eq!(written, all);
        Ok(())
    }

    #[tokio::test]
    async fn tables_give_all_rates() -> Result<()> {
        let session = Session::new();
        let table = async |folder: &str, schema: Schema| {
            let reader = session.read().schema(schema).option("header", "true");
            reader.csv(crate::data(&format!("ads/{folder}"))).await
        };
        let rates = click_rates(
            table("impressions", impressions()).await?,
            table("clicks", clicks()).await?,
        )?;
        let all = by_hand(&crate::data("ads"));
        assert_eq!(all.len(), 16);
        assert_eq!(sorted_rows(rates).await?, all);
        Ok(())
    }
}
