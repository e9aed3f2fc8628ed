//! Rows as a table of text.

use datafusion::arrow::{
    record_batch::RecordBatch,
    util::{display::FormatOptions, pretty::pretty_format_batches_with_options},
};
use headwater::DataFrame;

use crate::exit::Failure;

/// Collects a frame over tables and draws it, with a line break at the end.
///
/// # Errors
/// `Failed` if the rows cannot be read.
pub(crate) async fn collect(frame: DataFrame) -> Result<String, Failure> {
    let batches = frame.collect().await;
    let batches = batches.map_err(|error| Failure::failed(error.to_string()))?;
    draw(&batches)
}

/// Draws batches of one schema.
///
/// # Errors
/// `Failed` for values that have no form as text.
pub(crate) fn draw(batches: &[RecordBatch]) -> Result<String, Failure> {
    let options = FormatOptions::default().with_null("NULL");
    let table = pretty_format_batches_with_options(batches, &options);
    let table = table.map_err(|error| Failure::failed(format!("cannot show the rows: {error}")))?;
    Ok(format!("{table}\n"))
}

/// The first rows of some batches, and whether there are more.
pub(crate) fn first(batches: &[RecordBatch], rows: usize) -> (Vec<RecordBatch>, bool) {
    let mut left = rows;
    let shown = batches.iter().map(|batch| {
        let taken = batch.num_rows().min(left);
        left -= taken;
        batch.slice(0, taken)
    });
    let shown = shown.collect();
    let all: usize = batches.iter().map(RecordBatch::num_rows).sum();
    (shown, all > rows)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::Int64Array;

    use super::*;

    fn batch(numbers: &[Option<i64>]) -> RecordBatch {
        let column = Int64Array::from(numbers.to_vec());
        RecordBatch::try_from_iter([("n", Arc::new(column) as _)]).expect("a batch")
    }

    #[test]
    fn nulls_can_be_told_from_empty_text() {
        let drawn = draw(&[batch(&[Some(1), None])]).expect("text");
        assert_eq!(
            drawn,
            "+------+\n| n    |\n+------+\n| 1    |\n| NULL |\n+------+\n"
        );
    }

    #[test]
    fn the_first_rows_may_end_in_the_middle_of_a_batch() {
        let batches = [batch(&[Some(1), Some(2)]), batch(&[Some(3)])];
        for (rows, expected, more) in [(1, 1, true), (2, 2, true), (3, 3, false), (9, 3, false)] {
            let (shown, has_more) = first(&batches, rows);
            assert_eq!(
                shown.iter().map(RecordBatch::num_rows).sum::<usize>(),
                expected
            );
            assert_eq!(has_more, more, "{rows}");
        }
    }
}
