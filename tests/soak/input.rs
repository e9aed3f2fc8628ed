//! A few rows an epoch, the same again and again but for their times and ids.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use headwater::{
    connect::memory::MemoryStream,
    prelude::{DataType, Field, RecordBatch, Result, Schema, SchemaRef, TimeUnit},
};

/// After so many epochs the input is the same again.
pub(super) const PERIOD: u64 = 50;

const SECOND: i64 = 1_000_000;

/// 2024-01-01T00:00:00Z.
const BASE: i64 = 1_704_067_200_000_000;

/// The columns of both streams.
pub(super) fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("time", time, true),
        // Never the same twice in a stream; the streams have them in common.
        Field::new("id", DataType::Int64, true),
        // Of seven epochs each.
        Field::new("visitor", DataType::Utf8, true),
        // One of few.
        Field::new("kind", DataType::Utf8, true),
        Field::new("value", DataType::Int64, true),
    ]))
}

/// A number below `below` that looks random, the same for the same place in the period.
fn noise(epoch: u64, row: u64, salt: u64, below: u64) -> u64 {
    let mut mixed = (epoch % PERIOD) ^ (row << 20) ^ (salt << 40);
    for _ in 0..3 {
        mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    (mixed >> 33) % below
}

/// The rows of one epoch of stream number `stream`. Each epoch is a second later than the one before; some rows are
/// older than the watermark allows.
fn rows(epoch: u64, stream: u64) -> RecordBatch {
    let count = 3 + noise(epoch, 0, stream + 10, 3);
    let (mut times, mut ids, mut visitors, mut kinds, mut values) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in 0..count {
        let salt = stream * 8;
        let ago = match noise(epoch, row, salt, 20) {
            0 => 30,
            ago => (ago % 4) as i64,
        };
        times.push(
            BASE + (epoch as i64 - ago) * SECOND + noise(epoch, row, salt + 1, 900_000) as i64,
        );
        ids.push((epoch * 10 + row) as i64);
        visitors.push(format!("v{:06}-{}", epoch / 7, row % 2));
        kinds.push(format!("k{}", noise(epoch, row, salt + 2, 4)));
        values.push(noise(epoch, row, salt + 3, 100) as i64);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
        Arc::new(Int64Array::from(ids)),
        Arc::new(StringArray::from(visitors)),
        Arc::new(StringArray::from(kinds)),
        Arc::new(Int64Array::from(values)),
    ];
    RecordBatch::try_new(schema(), columns).expect("the columns fit the schema")
}

/// Adds the rows of one epoch to the streams.
pub(super) fn feed(streams: &[MemoryStream], epoch: u64) -> Result<()> {
    for (number, stream) in (0..).zip(streams) {
        stream.add_batch(rows(epoch, number))?;
    }
    Ok(())
}
