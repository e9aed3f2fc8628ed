//! HTTP errors per host in sliding windows: JSON log lines in, Parquet out, exactly once.

use headwater::prelude::*;

use crate::{column, time};

fn log_lines() -> Schema {
    Schema::new(vec![
        column("time", time()),
        column("host", DataType::Utf8),
        column("method", DataType::Utf8),
        column("path", DataType::Utf8),
        column("status", DataType::Int64),
        column("bytes", DataType::Int64),
        column("agent", DataType::Utf8),
    ])
}

/// The errors of each host in windows of five minutes, one every minute. The same for a stream and for a table.
pub fn errors_by_host(logs: DataFrame) -> Result<DataFrame> {
    logs.with_watermark("time", "10 minutes")?
        .filter(col("status").gt_eq(lit(500)))?
        .group_by([
            window(col("time"), "5 minutes").slide("1 minute"),
            col("host"),
        ])?
        .agg([count(lit(1)).alias("errors")])?
        .select_expr([
            "window.start AS start",
            "window.end AS end",
            "host",
            "errors",
        ])
}

/// Runs over everything that is in `input` and goes on from `checkpoint` if it was run before.
pub async fn run(input: &str, output: &str, checkpoint: &str) -> Result<StreamingQuery> {
    let session = Session::new();
    let logs = session
        .read_stream()
        .format("json")
        .schema(log_lines())
        .option("maxFilesPerTrigger", "2")
        .load(input)?;
    let query = errors_by_host(logs)?
        .write_stream()
        .query_name("errors")
        .output_mode(OutputMode::Append)
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
    use super::*;
    use crate::data;

    #[tokio::test]
    async fn the_stream_writes_the_closed_windows_of_the_batch_answer() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (out, checkpoint) = (path("out"), path("checkpoint"));
        run(&data("logs"), &out, &checkpoint).await?;
        // A second run finds nothing new and changes nothing.
        run(&data("logs"), &out, &checkpoint).await?;

        let session = Session::new();
        session.register_view("written", session.read().parquet(&out).await?)?;
        let logs = session
            .read()
            .schema(log_lines())
            .json(&data("logs"))
            .await?;
        session.register_view("answer", errors_by_host(logs)?)?;
        let count = async |query: &str| -> Result<usize> {
            let rows = session.sql(query).await?.collect().await?;
            Ok(rows.iter().map(RecordBatch::num_rows).sum())
        };
        let written = count("SELECT * FROM written").await?;
        assert!(written > 100, "{written} rows");
        assert_eq!(
            count("SELECT DISTINCT start, host FROM written").await?,
            written
        );
        let closed = "SELECT a.start, a.end, a.host, a.errors FROM answer a
             WHERE a.end <= (SELECT max(w.end) FROM written w)";
        assert_eq!(count(closed).await?, written);
        assert_eq!(
            count("SELECT w.* FROM written w JOIN answer a ON w.start = a.start AND w.host = a.host AND w.errors = a.errors").await?,
            written
        );
        Ok(())
    }
}
