//! What a query over streams has answered so far, as it is shown while it goes on.

use std::collections::VecDeque;

use console::truncate_str;
use datafusion::arrow::{array::RecordBatch, datatypes::Schema};
use headwater::connect::foreach::EpochRows;

use super::{
    grid::{self, FRAME, grid},
    stream_answer::Shape,
};
use crate::{screen::Size, status::numbers::count};

/// Rows that are kept of an answer that grows: more than a terminal shows.
const KEPT: usize = 500;

/// Rows are shown on no fewer lines, however low the terminal is.
const FEWEST: usize = 1;

/// Lines below the table: how many rows there are, the status, why nothing comes out, and one that stays free.
const BELOW: usize = 4;

/// The answer so far.
#[derive(Debug)]
pub(crate) struct Answer {
    shape: Shape,
    schema: Schema,
    rows: VecDeque<RecordBatch>,
    /// Rows that there were in all.
    total: u64,
}

impl Answer {
    /// Nothing yet.
    pub(crate) fn new(shape: Shape, schema: Schema) -> Self {
        Self {
            shape,
            schema,
            rows: VecDeque::new(),
            total: 0,
        }
    }

    /// An epoch has given rows.
    pub(crate) fn add(&mut self, epoch: EpochRows) {
        self.put(epoch.batches);
    }

    fn put(&mut self, batches: Vec<RecordBatch>) {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let batches = batches.into_iter().filter(|batch| batch.num_rows() > 0);
        match self.shape {
            Shape::Whole => {
                self.rows = batches.collect();
                self.total = rows as u64;
            }
            Shape::Growing => {
                self.rows.extend(batches);
                self.total += rows as u64;
                let mut kept: usize = self.rows.iter().map(RecordBatch::num_rows).sum();
                while let Some(first) = self.rows.front()
                    && kept - first.num_rows() >= KEPT
                {
                    kept -= first.num_rows();
                    self.rows.pop_front();
                }
            }
        }
    }

    /// The rows that are shown in so many lines: the first of a whole answer, the newest of one that grows.
    fn shown(&self, lines: usize) -> Vec<RecordBatch> {
        let mut left = lines;
        let mut shown = Vec::new();
        let take = |batch: &RecordBatch, left: &mut usize| {
            let taken = batch.num_rows().min(*left);
            *left -= taken;
            taken
        };
        match self.shape {
            Shape::Whole => {
                for batch in &self.rows {
                    let taken = take(batch, &mut left);
                    shown.push(batch.slice(0, taken));
                }
            }
            Shape::Growing => {
                for batch in self.rows.iter().rev() {
                    let taken = take(batch, &mut left);
                    shown.push(batch.slice(batch.num_rows() - taken, taken));
                }
                shown.reverse();
            }
        }
        shown
    }

    /// The table and how many rows there are, then the lines of `status`, on a terminal of this size. No line is as wide
    /// as the terminal.
    pub(crate) fn draw(&self, status: &[String], size: Size) -> Vec<String> {
        let columns = size.columns - 1;
        let room = size.rows.saturating_sub(FRAME + BELOW).max(FEWEST);
        let shown = self.shown(room);
        let rows: usize = shown.iter().map(RecordBatch::num_rows).sum();
        let mut lines = match grid(&self.schema, &shown, columns) {
            Ok(lines) => lines,
            Err(error) => vec![format!("cannot show the rows: {error}")],
        };
        lines.push(self.counted(rows as u64));
        lines.extend(status.iter().cloned());
        // What is higher than the terminal cannot be drawn over.
        lines.truncate(size.rows - 1);
        let cut = |line: &String| truncate_str(line, columns, "…").into_owned();
        lines.iter().map(cut).collect()
    }

    fn counted(&self, shown: u64) -> String {
        let rows = match self.total {
            1 => "1 row".to_owned(),
            total => format!("{} rows", count(total)),
        };
        match self.shape {
            _ if shown == self.total => rows,
            Shape::Whole => format!("the first {} of {rows}", count(shown)),
            Shape::Growing => format!("the newest {} of {rows}", count(shown)),
        }
    }
}

/// Rows that have an end as lines for a terminal so wide: a table if it fits, else row by row.
///
/// # Errors
/// For values that have no form as text.
pub(crate) fn table(
    schema: &Schema,
    batches: &[RecordBatch],
    columns: usize,
) -> Result<Vec<String>, datafusion::arrow::error::ArrowError> {
    match grid::full_width(schema, batches)? < columns {
        true => grid(schema, batches, usize::MAX),
        false => grid::records(schema, batches),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use console::measure_text_width;
    use datafusion::arrow::array::Int64Array;

    use super::*;

    /// Rows from a number up to another.
    fn batch((from, to): (i64, i64)) -> RecordBatch {
        let column = Int64Array::from_iter_values(from..to);
        RecordBatch::try_from_iter([("n", Arc::new(column) as _)]).expect("a batch")
    }

    fn answer(shape: Shape, epochs: &[&[(i64, i64)]]) -> Answer {
        let mut answer = Answer::new(shape, batch((0, 0)).schema().as_ref().clone());
        for epoch in epochs {
            answer.put(epoch.iter().cloned().map(batch).collect());
        }
        answer
    }

    const SIZE: Size = Size {
        rows: FRAME + BELOW + 3,
        columns: 40,
    };

    #[test]
    fn of_an_answer_that_grows_the_newest_rows_are_shown() {
        let grown = answer(Shape::Growing, &[&[(0, 3), (3, 4)], &[], &[(4, 6)]]);
        let lines = grown.draw(&["epoch 2".to_owned()], SIZE);
        let expected = [
            "+---+",
            "| n |",
            "+---+",
            "| 3 |",
            "| 4 |",
            "| 5 |",
            "+---+",
            "the newest 3 of 6 rows",
            "epoch 2",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn of_a_whole_answer_the_last_one_is_shown_from_its_beginning() {
        let whole = answer(Shape::Whole, &[&[(0, 100)], &[(10, 12), (12, 15)]]);
        let lines = whole.draw(&[], SIZE);
        assert_eq!(lines[3..6], ["| 10 |", "| 11 |", "| 12 |"]);
        assert_eq!(lines[7], "the first 3 of 5 rows");
        let emptied = answer(Shape::Whole, &[&[(0, 100)], &[]]);
        assert_eq!(emptied.draw(&[], SIZE)[4], "0 rows");
        assert_eq!(
            answer(Shape::Whole, &[&[(7, 8)]]).draw(&[], SIZE)[5],
            "1 row"
        );
    }

    #[test]
    fn rows_that_are_not_shown_are_let_go() {
        let mut grown = answer(Shape::Growing, &[]);
        for epoch in 0..100 {
            grown.put(vec![batch((epoch * 100, epoch * 100 + 100))]);
        }
        let kept: usize = grown.rows.iter().map(RecordBatch::num_rows).sum();
        assert_eq!((kept, grown.total), (KEPT, 10_000));
        let lines = grown.draw(&[], SIZE);
        assert_eq!(lines[5], "| 9999 |");
        assert_eq!(lines[7], "the newest 3 of 10,000 rows");
    }

    #[test]
    fn lines_end_before_the_terminal_does() {
        let size = Size {
            rows: 4,
            columns: 24,
        };
        let status = "a status that is longer than the terminal is wide".to_owned();
        let lines = answer(Shape::Growing, &[&[(0, 9)]]).draw(&[status], size);
        assert!(lines.iter().all(|line| measure_text_width(line) < 24));
        assert_eq!(lines.len(), 3);
    }
}
