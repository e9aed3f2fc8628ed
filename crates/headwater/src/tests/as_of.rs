//! AS OF joins: the nearest row of a table.

use datafusion::arrow::{array::AsArray, datatypes::Int64Type};

use super::*;

fn prices(rows: &[(i64, &str, i64)]) -> RecordBatch {
    let prices = rows
        .iter()
        .map(|(time, host, price)| (*time, *host, *price));
    super::rows(&prices.collect::<Vec<_>>())
}

fn with_prices(orders: DataFrame, prices: DataFrame) -> Result<DataFrame> {
    let (orders, prices) = (orders.alias("o")?, prices.alias("p")?);
    let condition = [
        col("o.host").eq(col("p.host")),
        as_of_within(col("o.time").gt_eq(col("p.time")), "1 minute"),
    ];
    orders
        .join_on(prices, JoinType::Left, condition)?
        .select_expr(["o.time AS time", "o.host AS host", "p.status AS price"])
}

const PRICES: [(i64, &str, i64); 5] = [
    (0, "a", 1),
    (10, "a", 2),
    (20, "a", 3),
    (10, "b", 7),
    (10, "b", 8),
];
const ORDERS: [(i64, &str, i64); 7] = [
    (10, "a", 0),
    (19, "a", 0),
    (5, "b", 0),
    (11, "b", 0),
    (70, "b", 0),
    (71, "b", 0),
    (11, "c", 0),
];
const FOUND: [Option<i64>; 7] = [Some(2), Some(2), None, Some(8), Some(8), None, None];

async fn prices_of(rows: Vec<RecordBatch>) -> Vec<Option<i64>> {
    let columns = rows.iter().flat_map(|batch| {
        let price = batch.column_by_name("price").expect("the column");
        price.as_primitive::<Int64Type>().iter()
    });
    columns.collect()
}

#[tokio::test]
async fn one_function_finds_the_latest_price_over_a_stream_and_over_a_table() -> Result<()> {
    let (session, stream) = streaming("orders");
    session.register_batch("prices", prices(&PRICES))?;
    session.register_batch("finished", rows(&ORDERS))?;
    let batch = with_prices(
        session.table("finished").await?,
        session.table("prices").await?,
    )?;
    assert_eq!(prices_of(batch.collect().await?).await, FOUND);

    let orders = session
        .table("orders")
        .await?
        .with_watermark("time", "1 minute")?;
    let query = with_prices(orders, session.table("prices").await?)?
        .write_stream()
        .format("memory")
        .query_name("out")
        .start(None)
        .await?;
    stream.add_batch(rows(&ORDERS))?;
    query.process_all_available().await?;
    assert_eq!(prices_of(table(&session, "out").await).await, FOUND);
    // The table is another one from the next epoch on.
    session.register_batch("prices", prices(&[(0, "a", 99)]))?;
    stream.add_batch(rows(&ORDERS[..1]))?;
    query.process_all_available().await?;
    let after = prices_of(table(&session, "out").await).await;
    assert_eq!(after[FOUND.len()..], [Some(99)]);
    query.stop().await
}

#[tokio::test]
async fn what_comes_out_keeps_its_watermark_for_windows_above() -> Result<()> {
    let (session, stream) = streaming("orders");
    session.register_batch("prices", prices(&PRICES))?;
    let orders = session
        .table("orders")
        .await?
        .with_watermark("time", "0 seconds")?;
    let query = with_prices(orders, session.table("prices").await?)?
        .group_by([window(col("time"), "10 seconds")])?
        .agg([sum(col("price")).alias("value")])?
        .select_expr(["window.start AS time", "value AS price"])?
        .write_stream()
        .format("memory")
        .query_name("out")
        .start(None)
        .await?;
    stream.add_batch(rows(&ORDERS[..4]))?;
    stream.add_batch(rows(&[(100, "c", 0)]))?;
    query.process_all_available().await?;
    let closed = prices_of(table(&session, "out").await).await;
    assert_eq!(closed, [None, Some(12)]);
    query.stop().await
}

#[tokio::test]
async fn sql_says_it_in_the_condition_of_a_join() -> Result<()> {
    let session = Session::new();
    session.register_batch("orders", rows(&ORDERS))?;
    session.register_batch("prices", prices(&PRICES))?;
    let found = async |condition: &str| -> Result<Vec<Option<i64>>> {
        let text = format!(
            "SELECT o.time, o.host, p.status AS price FROM orders o JOIN prices p ON {condition}"
        );
        Ok(prices_of(session.sql(&text).await?.collect().await?).await)
    };
    let latest = "o.host = p.host AND as_of(p.time <= o.time)";
    let some = |values: &[i64]| values.iter().copied().map(Some).collect::<Vec<_>>();
    assert_eq!(found(latest).await?, some(&[2, 2, 8, 8, 8]));
    let next = "o.host = p.host AND as_of(o.time < p.time, INTERVAL '10' SECOND)";
    assert_eq!(found(next).await?, some(&[3, 3, 7]));
    let of_table = "o.host = p.host AND as_of(o.time >= p.time) AND p.status <> 8";
    assert_eq!(found(of_table).await?, some(&[2, 2, 7, 7, 7]));
    Ok(())
}

#[tokio::test]
async fn what_has_no_nearest_row_is_refused_with_what_to_write() -> Result<()> {
    let (session, _stream) = streaming("orders");
    session.register_batch("prices", prices(&PRICES))?;
    let cases = [
        (
            "o JOIN orders p ON as_of(o.time >= p.time)",
            "put a table there",
        ),
        (
            "o FULL JOIN prices p ON as_of(o.time >= p.time)",
            "inner or a left",
        ),
        (
            "o JOIN prices p ON as_of(o.time = p.time)",
            ">=, >, <= or <",
        ),
        (
            "o JOIN prices p ON as_of(o.time >= o.time)",
            ">=, >, <= or <",
        ),
        (
            "o JOIN prices p ON as_of(o.time >= p.time) AND o.status > p.status",
            "filter the left side",
        ),
        (
            "o JOIN prices p ON as_of(o.time >= p.time) AND as_of(o.status >= p.status)",
            "one as_of",
        ),
        (
            "o JOIN prices p ON as_of(o.status >= p.status, '1 hour')",
            "no timestamp",
        ),
        ("o JOIN prices p ON as_of(o.time >= p.time, 'soon')", "soon"),
        (
            "o JOIN prices p ON as_of(o.time >= p.time) OR o.host = p.host",
            "joined to the rest by AND",
        ),
    ];
    for (join, expected) in cases {
        let text = format!("SELECT o.time, o.host, p.status FROM orders {join}");
        let started = async {
            let frame = session.sql(&text).await?;
            let query = frame.write_stream().format("memory").query_name("no");
            let query = query.start(None).await?;
            query.process_all_available().await
        };
        let error = started.await.expect_err(join);
        let text = format!(
            "{error} {}",
            std::error::Error::source(&error)
                .map(ToString::to_string)
                .unwrap_or_default()
        );
        assert!(text.contains(expected), "{join}: {text}");
    }
    Ok(())
}
