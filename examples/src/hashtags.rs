//! Hashtags per five minutes: the text of a row is taken apart into rows of its own before it is counted.

use std::sync::Arc;

use headwater::prelude::*;

use crate::{column, time};

/// Columns of the posts.
pub fn posts() -> SchemaRef {
    Arc::new(Schema::new(vec![
        column("time", time()),
        column("text", DataType::Utf8),
    ]))
}

/// Counts the hashtags of the column `text` in windows of five minutes over the column `time`.
pub fn per_five_minutes(posts: DataFrame) -> Result<DataFrame> {
    posts
        .with_watermark("time", "1 minute")?
        .select_expr(["time", "explode(split(lower(text), ' ')) AS tag"])?
        .filter(col("tag").like(lit("#_%")))?
        .group_by([window(col("time"), "5 minutes"), col("tag")])?
        .agg([count(lit(1)).alias("posts")])?
        .select_expr(["window.start AS start", "tag", "posts"])
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::{
        array::{StringArray, TimestampMicrosecondArray},
        util::pretty::pretty_format_batches,
    };
    use headwater::connect::memory::MemoryStream;

    use super::*;

    fn batch(rows: &[(i64, &str)]) -> RecordBatch {
        let times = rows.iter().map(|(minute, _)| minute * 60_000_000);
        RecordBatch::try_new(
            posts(),
            vec![
                Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
                Arc::new(StringArray::from_iter_values(
                    rows.iter().map(|(_, text)| *text),
                )),
            ],
        )
        .expect("the columns fit")
    }

    #[tokio::test]
    async fn tags_are_counted_when_their_window_has_ended() -> Result<()> {
        let session = Session::builder().spark_functions(true).build()?;
        let first = batch(&[
            (0, "#Rust is fun"),
            (1, "learning #rust and #sql"),
            (4, "no tag # here"),
        ]);
        let stream = MemoryStream::new("posts", first.schema());
        session.register_memory_stream(&stream)?;
        let query = per_five_minutes(session.table("posts").await?)?
            .write_stream()
            .query_name("tags")
            .format("memory")
            .start(None)
            .await?;
        stream.add_batch(first)?;
        query.process_all_available().await?;
        stream.add_batch(batch(&[(20, "#later")]))?;
        query.process_all_available().await?;
        query.stop().await?;
        let rows = session
            .sql("SELECT tag, posts FROM tags ORDER BY tag")
            .await?
            .collect()
            .await?;
        let shown = pretty_format_batches(&rows)
            .expect("rows can be shown")
            .to_string();
        let expected = "\
+-------+-------+
| tag   | posts |
+-------+-------+
| #rust | 2     |
| #sql  | 1     |
+-------+-------+";
        assert_eq!(shown, expected);
        Ok(())
    }
}
