//! Hashtags per five minutes over posts that are typed in, one a line; every line is a minute later than the last.
//!
//!     cargo run -p headwater-examples --bin hashtags

use std::{io::BufRead, sync::Arc};

use datafusion::arrow::array::{StringArray, TimestampMicrosecondArray};
use headwater::{connect::memory::MemoryStream, prelude::*};
use headwater_examples::{hashtags, word_count};

#[tokio::main]
async fn main() -> Result<()> {
    let session = word_count::session()?;
    let schema = hashtags::posts();
    let stream = MemoryStream::new("posts", Arc::clone(&schema));
    session.register_memory_stream(&stream)?;
    let query = hashtags::per_five_minutes(session.table("posts").await?)?
        .write_stream()
        .format("console")
        .start(None)
        .await?;
    for (minute, line) in (0_i64..).zip(std::io::stdin().lock().lines()) {
        let Ok(line) = line else { break };
        let times = TimestampMicrosecondArray::from(vec![minute * 60_000_000]).with_timezone("UTC");
        let texts = StringArray::from(vec![line]);
        stream.add_batch(RecordBatch::try_new(
            Arc::clone(&schema),
            vec![Arc::new(times), Arc::new(texts)],
        )?)?;
        query.process_all_available().await?;
    }
    query.stop().await
}
