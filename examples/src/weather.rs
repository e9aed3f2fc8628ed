//! Weather stations: hourly means from CSV readings, complete mode into a table that SQL can query.

use headwater::prelude::*;

use crate::{column, time};

fn readings() -> Schema {
    Schema::new(vec![
        column("time", time()),
        column("station", DataType::Utf8),
        column("temperature", DataType::Float64),
        column("humidity", DataType::Int64),
        column("pressure", DataType::Float64),
        column("wind", DataType::Float64),
    ])
}

/// Mean temperature and strongest wind of each station and hour.
pub fn by_hour(readings: DataFrame) -> Result<DataFrame> {
    readings
        .group_by([window(col("time"), "1 hour"), col("station")])?
        .agg([
            avg(col("temperature")).alias("temperature"),
            max(col("wind")).alias("wind"),
            count(lit(1)).alias("readings"),
        ])?
        .select_expr([
            "window.start AS hour",
            "station",
            "temperature",
            "wind",
            "readings",
        ])
}

/// Runs over everything in `input`; the result is the table `hours` of the session that comes back.
pub async fn run(input: &str) -> Result<Session> {
    let session = Session::new();
    let stream = session
        .read_stream()
        .format("csv")
        .schema(readings())
        .option("header", "true")
        .option("maxFilesPerTrigger", "2")
        .load(input)?;
    let query = by_hour(stream)?
        .write_stream()
        .query_name("hours")
        .output_mode(OutputMode::Complete)
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

    #[tokio::test]
    async fn the_table_equals_the_batch_answer() -> Result<()> {
        let session = run(&data("weather")).await?;
        let table = session
            .read()
            .schema(readings())
            .option("header", "true")
            .csv(&data("weather"))
            .await?;
        session.register_view("answer", by_hour(table)?)?;
        let rounded = |table: &str| {
            format!(
                "SELECT hour, station, round(temperature, 6) AS t, wind, readings FROM {table} ORDER BY hour, station"
            )
        };
        let mut texts = Vec::new();
        for table in ["hours", "answer"] {
            let rows = session.sql(&rounded(table)).await?.collect().await?;
            texts.push(
                pretty_format_batches(&rows)
                    .expect("rows can be shown")
                    .to_string(),
            );
        }
        assert_eq!(texts[0], texts[1]);
        assert!(texts[0].lines().count() > 50);
        Ok(())
    }
}
