//! Code of one's own that keeps state: what [`KeyedFrame`] calls by name.
//!
//! A [`StatefulProcessor`] has any number of named state variables (values, lists, maps, each with a time to live if it
//! wants) and timers; a [`GroupFunction`] one row of state and one timeout. Both see all rows of a key in an epoch at
//! once, as an Arrow batch, and are registered by name with the session, so that a plan is data and a restart can tell
//! whether it still calls the same code with the same state.
//!
//! ```
//! use headwater::{connect::memory::MemoryStream, prelude::*, processor::*};
//! # use std::sync::Arc;
//! # use datafusion::{arrow::array::StringArray, scalar::ScalarValue};
//!
//! /// Counts the rows of each key.
//! struct Counter;
//!
//! impl StatefulProcessor for Counter {
//!     fn declare(&self, _input: &ProcessorInput) -> Result<ProcessorSpec> {
//!         Ok(ProcessorSpec::new([("word", DataType::Utf8), ("n", DataType::Int64)])
//!             .with(StateVariable::value("count", [("n", DataType::Int64)])))
//!     }
//!
//!     fn handle_rows(
//!         &self,
//!         key: &[ScalarValue],
//!         rows: &RecordBatch,
//!         state: &mut State<'_>,
//!         output: &mut Output,
//!     ) -> Result<()> {
//!         let mut count = state.value("count")?;
//!         let (before,) = count.get()?.unwrap_or((0_i64,));
//!         let n = before + rows.num_rows() as i64;
//!         count.update((n,))?;
//!         output.row((key[0].clone(), n))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let session = Session::new();
//! session.register_processor("counter", Counter);
//! let schema = Schema::new(vec![Field::new("word", DataType::Utf8, true)]);
//! let words = MemoryStream::new("words", Arc::new(schema));
//! session.register_memory_stream(&words)?;
//! let query = session.table("words").await?
//!     .group_by_key(["word"])?
//!     .transform_with_state("counter", TimeMode::None)?
//!     .write_stream().query_name("counts").output_mode(OutputMode::Update).format("memory").start(None).await?;
//! # let batch = |text: Vec<&str>| RecordBatch::try_new(words.schema(), vec![Arc::new(StringArray::from(text))]).expect("one column");
//! words.add_batch(batch(vec!["a", "rose", "is", "a", "rose"]))?;
//! query.process_all_available().await?;
//! # query.stop().await?;
//! let rows = session.sql("SELECT n FROM counts WHERE word = 'rose'").await?.collect().await?;
//! assert_eq!(rows[0].num_rows(), 1);
//! # Ok(())
//! # }
//! ```

pub use headwater_ops::processor::{
    FromRow, FromValue, GroupFunction, GroupState, IntoColumns, IntoRow, IntoValue, ListState,
    MapState, Output, ProcessorInput, ProcessorSpec, Row, State, StateKind, StateVariable,
    StatefulProcessor, TimeMode, ValueState,
};

pub use crate::group_by_key::{KeyedFrame, StatefulOptions};
