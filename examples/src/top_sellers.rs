//! Top sellers of the past hour: sales counted in overlapping hours, in tables in memory that SQL can query while the
//! query runs.

use headwater::prelude::*;

use crate::{column, time};

/// Columns of the sales.
pub fn sales() -> Schema {
    Schema::new(vec![
        column("time", time()),
        column("order", DataType::Int64),
        column("product", DataType::Utf8),
        column("quantity", DataType::Int64),
        column("price", DataType::Decimal128(12, 2)),
    ])
}

/// How often each product was sold in each hour; an hour begins `every` so often. The same for a stream and for a table.
pub fn by_hour(sales: DataFrame, every: &str) -> Result<DataFrame> {
    sales
        .group_by([window(col("time"), "1 hour").slide(every), col("product")])?
        .agg_expr([
            "sum(quantity) AS sold",
            "sum(quantity * price) AS amount",
            "max(time) AS last_sale",
        ])?
        .select_expr([
            "window.start AS start",
            "window.end AS until",
            "product",
            "sold",
            "amount",
            "last_sale",
        ])
}

/// Of all full hours and products the five that brought in most: sorted and cut off anew in each epoch.
pub fn best_hours(sales: DataFrame) -> Result<DataFrame> {
    by_hour(sales, "1 hour")?
        .sort([
            col("amount").sort(false, true),
            col("start").sort(true, true),
            col("product").sort(true, true),
        ])?
        .limit(5)
}

/// The ranking of the hour that ends with the newest sale, to the next five minutes, over a table `hours` as
/// [`by_hour`] makes it
/// every five minutes.
pub const PAST_HOUR: &str = "
    SELECT start, product, sold, amount FROM hours
    WHERE until = (SELECT min(until) FROM hours WHERE until > (SELECT max(last_sale) FROM hours))
    ORDER BY sold DESC, product LIMIT 5";

/// Starts the two queries over the sales that come to the folder `input`, into the tables `hours` and `best` of the
/// session. Complete mode gives out the whole table each time, so that a table in memory is up to date after each epoch;
/// its state keeps every hour. The tables live as long as the session, so that a new one reads all sales again.
pub async fn start(session: &Session, input: &str) -> Result<[StreamingQuery; 2]> {
    let stream = || {
        let reader = session.read_stream().schema(sales());
        reader
            .option("header", "true")
            .option("maxFilesPerTrigger", "2")
            .csv(input)
    };
    let hours = by_hour(stream()?, "5 minutes")?
        .write_stream()
        .output_mode(OutputMode::Complete)
        .to_table("hours")
        .await?;
    let best = best_hours(stream()?)?
        .write_stream()
        .output_mode(OutputMode::Complete)
        .to_table("best")
        .await?;
    Ok([hours, best])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::{Arriving, cells, millis, shown, sorted_rows};

    const MINUTE: i64 = 60 * 1000;

    /// How often each product was sold in the hour that begins at `start`, the most sold first.
    fn ranking(folder: &str, start: i64) -> Vec<(i64, String)> {
        let mut sold: BTreeMap<String, i64> = BTreeMap::new();
        for sale in cells(folder) {
            if (start..start + 60 * MINUTE).contains(&millis(&sale[0])) {
                *sold.entry(sale[2].clone()).or_default() +=
                    sale[3].parse::<i64>().expect("a number");
            }
        }
        let mut ranking: Vec<_> = sold
            .into_iter()
            .map(|(product, sold)| (sold, product))
            .collect();
        ranking.sort_by_key(|(sold, product)| (-sold, product.clone()));
        ranking
    }

    /// The start of the hour that ends within the five minutes after the newest sale.
    fn past_hour(folder: &str) -> i64 {
        let newest = cells(folder)
            .iter()
            .map(|sale| millis(&sale[0]))
            .max()
            .expect("sales");
        newest - newest % (5 * MINUTE) - 55 * MINUTE
    }

    async fn texts(session: &Session, query: &str) -> Result<Vec<String>> {
        // Numbered, so that the order is tested too.
        let numbered = format!("SELECT row_number() OVER () AS n, * FROM ({query})");
        sorted_rows(session.sql(&numbered).await?).await
    }

    #[tokio::test]
    async fn the_past_hour_moves_on_with_the_sales() -> Result<()> {
        let sales = Arriving::of("sales");
        let session = Session::new();
        let queries = start(&session, &sales.input()).await?;
        let mut seen = Vec::new();
        for bring in [Arriving::bring_first_half, Arriving::bring_second_half] {
            bring(&sales);
            for query in &queries {
                query.process_all_available().await?;
            }
            let start = past_hour(&sales.input());
            let expected = ranking(&sales.input(), start).into_iter().take(5);
            let expected: Vec<String> = (1..)
                .zip(expected)
                .map(|(place, (sold, product))| {
                    format!("{place}|{}|{product}|{sold}", shown(start))
                })
                .collect();
            let query = format!("SELECT start, product, sold FROM ({PAST_HOUR})");
            assert_eq!(texts(&session, &query).await?, expected);
            seen.push(expected);
        }
        // Before the rain and in it.
        assert!(
            seen[0][0] != seen[1][0] && seen[1][0].contains("umbrella"),
            "{seen:?}"
        );
        for query in queries {
            query.stop().await?;
        }
        Ok(())
    }

    #[tokio::test]
    async fn tables_in_memory_equal_the_batch_answer() -> Result<()> {
        let session = Session::new();
        let folder = crate::data("sales");
        for query in start(&session, &folder).await? {
            query.process_all_available().await?;
            query.stop().await?;
        }
        let table = async || {
            let reader = session.read().schema(sales()).option("header", "true");
            reader.csv(&folder).await
        };
        let hours = sorted_rows(session.table("hours").await?).await?;
        assert!(hours.len() > 500, "{}", hours.len());
        assert_eq!(
            hours,
            sorted_rows(by_hour(table().await?, "5 minutes")?).await?
        );
        let best = sorted_rows(session.table("best").await?).await?;
        assert_eq!(best.len(), 5);
        assert_eq!(best, sorted_rows(best_hours(table().await?)?).await?);
        Ok(())
    }

    #[tokio::test]
    async fn a_restart_goes_on_with_the_whole_table() -> Result<()> {
        let sales = Arriving::of("sales");
        let run = async |session: &Session| -> Result<()> {
            let reader = session.read_stream().schema(super::sales());
            let stream = reader.option("header", "true").csv(sales.input())?;
            let query = by_hour(stream, "5 minutes")?
                .write_stream()
                .output_mode(OutputMode::Complete)
                .option("checkpointLocation", sales.path("checkpoint"))
                .trigger(Trigger::available_now())
                .to_table("hours")
                .await?;
            query.await_termination().await
        };
        sales.bring_first_half();
        run(&Session::new()).await?;
        sales.bring_second_half();
        let session = Session::new();
        run(&session).await?;
        let reader = session.read().schema(super::sales());
        let table = reader.option("header", "true").csv(sales.input()).await?;
        assert_eq!(
            sorted_rows(session.table("hours").await?).await?,
            sorted_rows(by_hour(table, "5 minutes")?).await?
        );
        Ok(())
    }
}
