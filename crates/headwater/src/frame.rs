//! The lazy table, growing or not: DataFusion's `DataFrame`, with the words of structured streaming.
//!
//! A [`DataFrame`] holds a DataFusion `DataFrame` and nothing else, and converts from and to one. The same method
//! chain over a static table gives the batch answer: what makes sense on streams only ([`DataFrame::with_watermark`])
//! changes nothing there.

use std::{
    io::{ErrorKind, Write},
    ops::Deref,
};

use datafusion::{
    arrow::record_batch::RecordBatch,
    common::{Column, JoinType},
    dataframe::DataFrame as Inner,
    logical_expr::{Expr, LogicalPlan, SortExpr},
};
use futures::{StreamExt, TryStreamExt};
use headwater_core::{BatchStream, Error, Result};

use crate::{
    columns::{IntoExpr, expressions},
    error::from_datafusion,
    explode::{explode, exploded, takes_lists_apart},
    group::GroupedFrame,
    group_by_key::KeyedFrame,
    services::Services,
    window::named_window,
    writer::StreamWriter,
};

/// A table that may never stop growing, and what to compute from it.
///
/// Nothing runs until the frame is written with [`DataFrame::write_stream`] (a stream) or collected (a static
/// table). Columns are DataFusion's [`Expr`]s or names; functions are DataFusion's. Whatever else a DataFusion
/// `DataFrame` can do is reached through [`DataFrame::apply`].
#[derive(Debug, Clone)]
pub struct DataFrame {
    inner: Inner,
}

impl From<Inner> for DataFrame {
    fn from(inner: Inner) -> Self {
        Self { inner }
    }
}

impl From<DataFrame> for Inner {
    fn from(frame: DataFrame) -> Self {
        frame.inner
    }
}

/// Reading methods of DataFusion's frame: `schema`, `logical_plan`, ….
impl Deref for DataFrame {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl DataFrame {
    /// DataFusion's frame.
    pub fn into_inner(self) -> Inner {
        self.inner
    }

    /// Does with the frame whatever DataFusion can do.
    ///
    /// # Errors
    /// Whatever `change` gives, as headwater's error.
    pub fn apply(
        self,
        change: impl FnOnce(Inner) -> datafusion::error::Result<Inner>,
    ) -> Result<Self> {
        change(self.inner).map(Self::from).map_err(from_datafusion)
    }

    /// Whether some table below is a stream, so that the result never ends.
    pub fn is_streaming(&self) -> bool {
        headwater_plan::is_streaming(self.inner.logical_plan())
    }

    /// Reads a SQL expression, with its alias if it has one, against the columns of this frame.
    ///
    /// # Errors
    /// `Invalid` if the text is no expression, or names what does not exist.
    pub fn expr(&self, text: &str) -> Result<Expr> {
        let (state, plan) = self.inner.clone().into_parts();
        Services::of(&state)?.parse_expr(&state, plan.schema(), text)
    }

    /// Says which column is the event time and how far behind its maximum the watermark stays: `"10 minutes"`.
    ///
    /// A window (or key) is closed when the watermark has reached its end; rows that come later are dropped and
    /// counted. The watermark survives restarts. Without effect on a static frame.
    ///
    /// # Errors
    /// `Invalid` if the column does not exist or is no timestamp, or if the delay is negative or no interval.
    pub fn with_watermark(self, column: &str, delay: &str) -> Result<Self> {
        if !self.is_streaming() {
            return Ok(self);
        }
        let (state, plan) = self.inner.into_parts();
        let plan = headwater_plan::with_watermark(plan, column, delay).map_err(from_datafusion)?;
        Ok(Inner::new(state, plan).into())
    }

    /// Only these columns, in this order.
    ///
    /// # Errors
    /// `Invalid` if a column does not exist.
    pub fn select<I>(self, columns: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: IntoExpr,
    {
        let columns = expressions(columns, self.inner.schema());
        self.apply(|inner| {
            let (inner, columns) = exploded(inner, columns)?;
            inner.select(columns)
        })
    }

    /// Only these columns, each a SQL expression: `["k", "v * 2 AS double"]`.
    ///
    /// # Errors
    /// As [`Self::expr`].
    pub fn select_expr<I>(self, texts: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let columns = texts
            .into_iter()
            .map(|text| self.expr(text.as_ref()))
            .collect::<Result<Vec<_>>>()?;
        self.select(columns)
    }

    /// Only rows for which the predicate is true.
    ///
    /// # Errors
    /// `Invalid` if the predicate is no truth value or a column does not exist.
    pub fn filter(self, predicate: Expr) -> Result<Self> {
        self.apply(|inner| inner.filter(predicate))
    }

    /// Adds a column, or replaces the one of this name.
    ///
    /// # Errors
    /// `Invalid` if a column does not exist.
    pub fn with_column(self, name: &str, expr: Expr) -> Result<Self> {
        if !takes_lists_apart(&expr) {
            return self.apply(|inner| inner.with_column(name, expr));
        }
        let columns = self.inner.schema().columns();
        let others = columns.into_iter().filter(|column| column.name != name);
        let columns: Vec<Expr> = others.map(Expr::Column).chain([expr.alias(name)]).collect();
        self.select(columns)
    }

    /// Gives a column another name; a watermark on it stays.
    ///
    /// # Errors
    /// `Invalid` if there is no such column.
    pub fn with_column_renamed(self, name: &str, new_name: &str) -> Result<Self> {
        self.existing(&[name])?;
        self.apply(|inner| inner.with_column_renamed(name, new_name))
    }

    /// All columns but these.
    ///
    /// # Errors
    /// `Invalid` if there is no such column.
    pub fn drop(self, columns: &[&str]) -> Result<Self> {
        self.existing(columns)?;
        let columns: Vec<Column> = columns
            .iter()
            .map(|name| Column::from_name(*name))
            .collect();
        self.apply(|inner| inner.drop_columns(&columns))
    }

    fn existing(&self, names: &[&str]) -> Result<()> {
        let schema = self.inner.schema();
        match names
            .iter()
            .find(|name| !schema.has_column_with_unqualified_name(name))
        {
            None => Ok(()),
            Some(name) => Err(self.no_column(name)),
        }
    }

    pub(crate) fn no_column(&self, name: &str) -> Error {
        let fields = self.inner.schema().fields();
        let known: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        Error::invalid(format!(
            "there is no column '{name}': the columns are {}",
            known.join(", ")
        ))
    }

    /// Names the frame, so that its columns can be told from another's: `l.k`.
    ///
    /// # Errors
    /// `Invalid` if the name is empty.
    pub fn alias(self, name: &str) -> Result<Self> {
        self.apply(|inner| inner.alias(name))
    }

    /// The rows of both, column by column in order; the names are the first one's. Duplicates stay.
    ///
    /// # Errors
    /// `Invalid` if the numbers of columns differ, or types have no common one.
    pub fn union(self, other: Self) -> Result<Self> {
        self.apply(|inner| inner.union(other.inner))
    }

    /// The rows of both, columns matched by name; a column that one lacks is null there. Duplicates stay.
    ///
    /// # Errors
    /// `Invalid` if types have no common one.
    pub fn union_by_name(self, other: Self) -> Result<Self> {
        self.apply(|inner| inner.union_by_name(other.inner))
    }

    /// One row per element of a list column; rows whose list is empty or null vanish.
    ///
    /// # Errors
    /// `Invalid` if there is no such column.
    pub fn explode(self, column: &str) -> Result<Self> {
        self.unnest(column, false)
    }

    /// One row per element of a list column; rows whose list is empty or null stay, with a null.
    ///
    /// # Errors
    /// `Invalid` if there is no such column.
    pub fn explode_outer(self, column: &str) -> Result<Self> {
        self.unnest(column, true)
    }

    fn unnest(self, column: &str, outer: bool) -> Result<Self> {
        self.existing(&[column])?;
        let column = Column::from_name(column);
        self.apply(|inner| explode(inner, vec![column], outer))
    }

    /// Groups by keys; see [`GroupedFrame::agg`]. A key that is a [`crate::window()`] gets the name `window`.
    ///
    /// # Errors
    /// `Invalid` if a column does not exist.
    pub fn group_by<I>(self, keys: I) -> Result<GroupedFrame>
    where
        I: IntoIterator,
        I::Item: IntoExpr,
    {
        let schema = self.inner.schema();
        let keys: Vec<Expr> = expressions(keys, schema)
            .into_iter()
            .map(named_window)
            .collect();
        for column in keys.iter().flat_map(Expr::column_refs) {
            if !schema.is_column_from_schema(column) {
                return Err(self.no_column(&column.flat_name()));
            }
        }
        Ok(GroupedFrame { frame: self, keys })
    }

    /// Groups by keys for code of one's own, which sees the rows of each key and keeps state; see [`crate::processor`].
    /// The code sees all columns of this frame.
    ///
    /// # Errors
    /// `Invalid` if a column does not exist.
    pub fn group_by_key<I>(self, keys: I) -> Result<KeyedFrame>
    where
        I: IntoIterator,
        I::Item: IntoExpr,
    {
        KeyedFrame::new(self, keys)
    }

    /// Aggregates all rows into one.
    ///
    /// # Errors
    /// As [`GroupedFrame::agg`].
    pub fn agg<I>(self, aggregates: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: IntoExpr,
    {
        let none: [Expr; 0] = [];
        self.group_by(none)?.agg(aggregates)
    }

    /// Of the rows that agree in these columns only the first; in all columns, if none is named.
    ///
    /// On a stream a row comes out at once, and its key is remembered: for ever, unless the event time or a window is
    /// among the columns; then until the watermark has passed it. Rows that the watermark has passed are dropped as
    /// late, also if their time is not among the columns. On a static frame any one row of each key stays.
    ///
    /// # Errors
    /// `Invalid` if there is no such column.
    pub fn drop_duplicates(self, columns: &[&str]) -> Result<Self> {
        let keys = self.key_columns(columns)?;
        if self.is_streaming() {
            let (state, plan) = self.inner.into_parts();
            let plan = headwater_plan::drop_duplicates(plan, keys).map_err(from_datafusion)?;
            return Ok(Inner::new(state, plan).into());
        }
        let all = self.inner.schema().columns();
        if all.iter().all(|column| keys.contains(column)) {
            return self.apply(Inner::distinct);
        }
        let keys = keys.into_iter().map(Expr::Column).collect();
        let all = all.into_iter().map(Expr::Column).collect();
        self.apply(|inner| inner.distinct_on(keys, all, None))
    }

    /// As [`Self::drop_duplicates`], but a key is forgotten when the watermark has reached the event time of the row
    /// that came first plus the watermark's delay: later duplicates do not renew it. So the state stays small although
    /// the event time is not among the columns, for duplicates that come within the delay of each other.
    ///
    /// A key whose first row has no event time is remembered, as in Spark, as if that were 1970: until there is a watermark.
    ///
    /// On a static frame the same as [`Self::drop_duplicates`].
    ///
    /// # Errors
    /// `Invalid` if there is no such column. A stream without a watermark is refused when the query is started.
    pub fn drop_duplicates_within_watermark(self, columns: &[&str]) -> Result<Self> {
        if !self.is_streaming() {
            return self.drop_duplicates(columns);
        }
        let keys = self.key_columns(columns)?;
        let (state, plan) = self.inner.into_parts();
        let plan = headwater_plan::drop_duplicates_within_watermark(plan, keys);
        Ok(Inner::new(state, plan.map_err(from_datafusion)?).into())
    }

    /// The columns of these names; all of them, if there are no names.
    fn key_columns(&self, names: &[&str]) -> Result<Vec<Column>> {
        let schema = self.inner.schema();
        if names.is_empty() {
            return Ok(schema.columns());
        }
        let columns = names.iter().map(|name| match name.into_expr(schema) {
            Expr::Column(column) if schema.is_column_from_schema(&column) => {
                let index = schema.index_of_column(&column).map_err(from_datafusion)?;
                Ok(Column::from(schema.qualified_field(index)))
            }
            _ => Err(self.no_column(name)),
        });
        columns.collect()
    }

    /// Each different row once. On a stream a row comes out when it is first seen: [`Self::drop_duplicates`] over all
    /// columns, unlike SQL's `SELECT DISTINCT`, which is an aggregation and gives rows out by the rules of those.
    ///
    /// # Errors
    /// None of its own; output modes that cannot do it refuse it when the query is started.
    pub fn distinct(self) -> Result<Self> {
        self.drop_duplicates(&[])
    }

    /// Joins with another frame where the columns are equal.
    ///
    /// # Errors
    /// `Invalid` if a column does not exist. A join of two streams that needs a watermark or a bound of its event times is
    /// refused when the query is started.
    pub fn join(
        self,
        right: Self,
        how: JoinType,
        left_columns: &[&str],
        right_columns: &[&str],
    ) -> Result<Self> {
        self.apply(|inner| inner.join(right.inner, how, left_columns, right_columns, None))
    }

    /// Joins with another frame where all the predicates are true. With [`as_of`](crate::as_of) among them, with the
    /// nearest row of a table only.
    ///
    /// # Errors
    /// As [`Self::join`].
    pub fn join_on(
        self,
        right: Self,
        how: JoinType,
        predicates: impl IntoIterator<Item = Expr>,
    ) -> Result<Self> {
        self.apply(|inner| inner.join_on(right.inner, how, predicates))
    }

    /// As [`Self::join_on`], with the condition as SQL over the columns of both frames, such as
    /// `"id = clicked AND clicked_at BETWEEN shown_at AND shown_at + INTERVAL '15 minutes'"`. Columns that have the same
    /// name on both sides are told apart by [`Self::alias`].
    ///
    /// # Errors
    /// As [`Self::join`], and `Invalid` if the text is no condition.
    pub fn join_expr(self, right: Self, how: JoinType, condition: &str) -> Result<Self> {
        let (left_schema, right_schema) = (self.inner.schema(), right.inner.schema());
        let both = left_schema.join(right_schema).map_err(|error| {
            Error::invalid(
                "the frames have columns of the same name: tell them apart with alias(\"l\") and alias(\"r\")",
            )
            .with_source(error)
        })?;
        let (state, _) = self.inner.clone().into_parts();
        let condition = Services::of(&state)?.parse_expr(&state, &both, condition)?;
        self.join_on(right, how, [condition])
    }

    /// Only rows for which the SQL condition is true: `"status >= 500"`.
    ///
    /// # Errors
    /// As [`Self::filter`] and [`Self::expr`].
    pub fn filter_expr(self, condition: &str) -> Result<Self> {
        let condition = self.expr(condition)?;
        self.filter(condition)
    }

    /// The first rows. Of a stream in append mode: of its whole life, restarts included.
    ///
    /// # Errors
    /// None of its own; output modes that cannot do it refuse it when the query is started.
    pub fn limit(self, rows: usize) -> Result<Self> {
        self.apply(|inner| inner.limit(0, Some(rows)))
    }

    /// Sorts the rows. Of a stream: only what complete mode emits.
    ///
    /// # Errors
    /// `Invalid` if a column does not exist.
    pub fn sort(self, by: impl IntoIterator<Item = SortExpr>) -> Result<Self> {
        let by = by.into_iter().collect();
        self.apply(|inner| inner.sort(by))
    }

    /// Writes the result epoch by epoch, as a streaming query.
    pub fn write_stream(self) -> StreamWriter {
        StreamWriter::new(self)
    }

    /// All rows of a static frame.
    ///
    /// # Errors
    /// `Invalid` for a stream, which has no last row.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        self.bounded("collected")?;
        self.inner.collect().await.map_err(from_datafusion)
    }

    /// The rows of a static frame, batch by batch as they are computed.
    ///
    /// # Errors
    /// `Invalid` for a stream, which has no last row; the batches themselves may fail, too.
    pub async fn batches(self) -> Result<BatchStream> {
        self.bounded("read batch by batch")?;
        let batches = self.inner.execute_stream().await.map_err(from_datafusion)?;
        Ok(batches.map_err(from_datafusion).boxed())
    }

    /// Prints all rows of a static frame as a table. Whoever reads the output may stop reading (`| head`).
    ///
    /// # Errors
    /// As [`Self::collect`]; `Unavailable` if the output cannot be written.
    pub async fn show(self) -> Result<()> {
        self.bounded("shown")?;
        let text = self.inner.to_string().await.map_err(from_datafusion)?;
        match writeln!(std::io::stdout().lock(), "{text}") {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Error::unavailable("cannot write the table to the output").with_source(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn bounded(&self, what: &str) -> Result<()> {
        if self.is_streaming() {
            return Err(Error::invalid(format!(
                "a stream has no last row and cannot be {what}: start it with write_stream()"
            )));
        }
        Ok(())
    }

    /// The plan as it was written.
    pub fn plan(&self) -> &LogicalPlan {
        self.inner.logical_plan()
    }
}
