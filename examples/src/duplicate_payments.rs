//! Duplicate payments: a terminal sends a payment again until it is told that one has arrived; only one of them counts.

use headwater::prelude::*;

use crate::{column, time};

/// Columns of the payments. Money is decimal: its sums are exact.
pub fn payments() -> Schema {
    Schema::new(vec![
        column("sent_at", time()),
        column("payment", DataType::Utf8),
        column("merchant", DataType::Utf8),
        column("amount", DataType::Decimal128(12, 2)),
        column("attempt", DataType::Int64),
    ])
}

/// Each payment as it came first. A payment that is sent again has the same number but another time, so that the number
/// alone is the key; it is remembered until the watermark says that no copy can come any more.
pub fn once(payments: DataFrame) -> Result<DataFrame> {
    payments
        .with_watermark("sent_at", "10 minutes")?
        .drop_duplicates_within_watermark(&["payment"])
}

/// What each merchant has taken in each hour. The same for a stream and for a table.
pub fn takings(payments: DataFrame) -> Result<DataFrame> {
    once(payments)?
        .group_by([window(col("sent_at"), "1 hour"), col("merchant")])?
        .agg_expr(["count(*) AS payments", "sum(amount) AS amount"])?
        .select_expr(["window.start AS hour", "merchant", "payments", "amount"])
}

/// Runs over everything that is in `input` and goes on from `checkpoint` if it was run before: a payment is known again
/// although its copy comes after the restart.
pub async fn run(input: &str, output: &str, checkpoint: &str) -> Result<StreamingQuery> {
    let session = Session::new();
    let stream = session
        .read_stream()
        .schema(payments())
        .option("header", "true")
        .option("maxFilesPerTrigger", "2")
        .csv(input)?;
    let query = takings(stream)?
        .write_stream()
        .query_name("takings")
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
    use std::collections::{BTreeMap, HashSet};

    use super::*;
    use crate::testing::{Arriving, cells, millis, shown, sorted_rows, watermark};

    const HOUR: i64 = 60 * 60 * 1000;

    /// Payments and cents by hour and merchant, worked out one event after the other in order of arrival.
    fn by_hand(folder: &str) -> BTreeMap<(i64, String), (u64, u64)> {
        let mut known = HashSet::new();
        let mut takings = BTreeMap::new();
        for event in cells(folder) {
            if known.insert(event[1].clone()) {
                let sent = millis(&event[0]);
                let key = (sent - sent % HOUR, event[2].clone());
                let taken: &mut (u64, u64) = takings.entry(key).or_default();
                taken.0 += 1;
                taken.1 += event[3].replace('.', "").parse::<u64>().expect("cents");
            }
        }
        takings
    }

    #[tokio::test]
    async fn each_payment_counts_once_across_a_restart() -> Result<()> {
        let payments = Arriving::of("payments");
        let (out, checkpoint) = (payments.path("out"), payments.path("checkpoint"));
        payments.bring_first_half();
        run(&payments.input(), &out, &checkpoint).await?;
        payments.bring_second_half();
        let query = run(&payments.input(), &out, &checkpoint).await?;

        let session = Session::new();
        let written = sorted_rows(session.read().parquet(&out).await?).await?;
        let closed_at = watermark(&query);
        let by_hand = by_hand(&payments.input()).into_iter();
        let closed = by_hand.filter(|((hour, _), _)| hour + HOUR <= closed_at);
        let expected: Vec<String> = closed
            .map(|((hour, merchant), (count, cents))| {
                let (hour, euros) = (shown(hour), cents / 100);
                format!("{hour}|{merchant}|{count}|{euros}.{:02}", cents % 100)
            })
            .collect();
        assert_eq!(written, expected);
        assert_eq!(written.len(), 15);
        Ok(())
    }

    #[tokio::test]
    async fn a_table_gives_each_payment_once() -> Result<()> {
        let session = Session::new();
        let folder = crate::data("payments");
        let reader = session.read().schema(payments()).option("header", "true");
        let table = reader.csv(&folder).await?;
        let totals = once(table)?.agg([count(lit(1)), sum(col("amount"))])?;
        let by_hand = by_hand(&folder).into_values();
        let (payments, cents) = by_hand.fold((0, 0), |all, hour| (all.0 + hour.0, all.1 + hour.1));
        assert!(payments < cells(&folder).len() as u64);
        let expected = format!("{payments}|{}.{:02}", cents / 100, cents % 100);
        assert_eq!(sorted_rows(totals).await?, [expected]);
        Ok(())
    }
}
