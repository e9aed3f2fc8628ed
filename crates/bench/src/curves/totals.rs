//! A running query that keeps count, sum and max for each of many keys, for good.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use headwater::connect::memory::MemoryStream;
use headwater::{Error, OutputMode, Result, Session, StreamingQuery};
use headwater_log::store::CountedStorage;

/// Rows of an epoch while keys are being added.
const FILL: i64 = 100_000;

/// Keys are dealt out by this factor, which no number of keys here shares: epochs touch keys all over the state.
const STRIDE: i64 = 7_919;

/// The query, and the stream that feeds it.
pub(super) struct Totals {
    stream: MemoryStream,
    query: StreamingQuery,
}

/// The stream to feed such queries with; it survives them.
pub(super) fn stream() -> MemoryStream {
    MemoryStream::new("a", schema())
}

impl Totals {
    /// Starts the query, or goes on with it if the checkpoint has it already.
    pub(super) async fn start(
        stream: &MemoryStream,
        storage: &Arc<CountedStorage>,
    ) -> Result<Self> {
        let session = Session::new();
        let provider = stream.provider().drop_acknowledged();
        session.register_stream("a", Arc::new(provider))?;
        let frame = session
            .sql("SELECT key, count(*) AS n, sum(value) AS total, max(value) AS most FROM a GROUP BY key")
            .await?;
        let query = frame
            .write_stream()
            .output_mode(OutputMode::Update)
            .checkpoint(Arc::clone(storage) as _)
            .format("noop")
            .start(None)
            .await?;
        Ok(Self {
            stream: stream.clone(),
            query,
        })
    }

    /// Gives rows of this many keys, of `keys` in all, beginning with the `first`, and waits until they are processed.
    pub(super) async fn touch(&self, first: i64, count: i64, keys: i64) -> Result<()> {
        self.stream.add_batch(batch(first..first + count, keys)?)?;
        self.query.process_all_available().await
    }

    /// Gives a row for each of `keys` keys that has none yet, `from` having one.
    pub(super) async fn fill(&self, from: i64, keys: i64) -> Result<()> {
        let mut done = from;
        while done < keys {
            let count = FILL.min(keys - done);
            self.touch(done, count, keys).await?;
            done += count;
        }
        Ok(())
    }

    /// Keys in state and the bytes that they are said to take, after the last epoch.
    pub(super) fn reported(&self) -> Result<(u64, u64)> {
        let report = self.query.last_progress();
        let report =
            report.ok_or_else(|| Error::internal("a query that has run reports nothing"))?;
        let operators = &report.state_operators;
        Ok((
            operators.iter().map(|it| it.num_rows_total).sum(),
            operators.iter().map(|it| it.memory_used_bytes).sum(),
        ))
    }

    pub(super) async fn stop(self) -> Result<()> {
        self.query.stop().await
    }
}

fn schema() -> SchemaRef {
    let column = |name| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![column("key"), column("value")]))
}

fn batch(numbers: std::ops::Range<i64>, keys: i64) -> Result<RecordBatch> {
    let key = |number: i64| number.wrapping_mul(STRIDE).rem_euclid(keys);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(numbers.clone().map(key))),
        Arc::new(Int64Array::from_iter_values(numbers)),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use arrow::{array::AsArray, datatypes::Int64Type};

    use super::*;

    #[test]
    fn as_many_rows_as_keys_touch_every_key_once() {
        for keys in [4_000, 100_000] {
            let batch = batch(0..keys, keys).unwrap();
            let column = batch.column(0).as_primitive::<Int64Type>();
            let distinct: HashSet<i64> = column.values().iter().copied().collect();
            assert_eq!(distinct.len() as i64, keys);
        }
    }
}
