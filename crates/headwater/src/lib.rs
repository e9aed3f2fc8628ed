//! Headwater is structured streaming as an embeddable library over Arrow and DataFusion.
//!
//! # The model
//!
//! A stream is a table that never stops growing. A query over it is written as if the table were finished; the
//! engine answers it in **epochs**. Each epoch takes what is new in every source, runs one bounded DataFusion plan over
//! it, and hands the result to a sink: rows that are final (append), rows that were touched (update), or everything
//! (complete). What must be remembered from epoch to epoch is state, kept by key. A **watermark** says up to which event
//! time rows are still expected; it closes windows and lets state go. A checkpoint holds log and state, so that a
//! query that was killed goes on where it was, and each row counts exactly once.
//!
//! # A program
//!
//! ```
//! use headwater::prelude::*;
//! # use std::io::Write;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! # let folder = tempfile::tempdir().expect("a folder");
//! # let (logs, out, dir) = (folder.path().join("logs"), folder.path().join("out"), folder.path().join("checkpoint"));
//! # std::fs::create_dir(&logs).expect("a folder");
//! # let mut file = std::fs::File::create(logs.join("a.json")).expect("a file");
//! # for (minute, status) in [(1, 500), (2, 503), (3, 200), (30, 500), (50, 404)] {
//! #     writeln!(file, r#"{{"time":"2024-01-01T00:{minute:02}:00Z","host":"a","status":{status}}}"#).expect("a line");
//! # }
//! # let (logs, out, dir) = (logs.to_str().expect("text"), out.to_str().expect("text"), dir.to_str().expect("text"));
//! let schema = Schema::new(vec![
//!     Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
//!     Field::new("host", DataType::Utf8, true),
//!     Field::new("status", DataType::Int64, true),
//! ]);
//!
//! let session = Session::new();
//! let logs = session.read_stream().format("json").schema(schema).option("maxFilesPerTrigger", "4").load(logs)?;
//! let errors = logs.with_watermark("time", "10 minutes")?
//!     .filter(col("status").gt_eq(lit(500)))?
//!     .group_by([window(col("time"), "5 minutes").slide("1 minute"), col("host")])?
//!     .agg([count(lit(1)).alias("errors")])?;
//! let query = errors.write_stream().query_name("errors").output_mode(OutputMode::Append)
//!     .format("parquet").option("checkpointLocation", dir).trigger(Trigger::available_now()).start(out).await?;
//! query.await_termination().await?;
//!
//! // The folder is a plain one: whoever reads Parquet can read it.
//! let written = session.read().parquet(out).await?.collect().await?;
//! assert!(written.iter().map(|batch| batch.num_rows()).sum::<usize>() > 0);
//! # Ok(())
//! # }
//! ```
//!
//! The same chain over a static table ([`Session::read`], [`Session::table`]) gives the batch answer, so a query can be
//! written and tested on a finished table and then be moved to a stream by changing one line. Queries may be SQL as
//! well ([`Session::sql`]).
//!
//! # Where things are
//!
//! | crate | holds |
//! |---|---|
//! | `headwater` | this: [`Session`], readers, [`DataFrame`], writers |
//! | [`processor`] | code of one's own that keeps state and timers by key |
//! | [`sql`] | Spark-flavoured SQL text, windows, functions |
//! | [`payload`] | messages as columns and back: [`from_json`], [`from_avro`], [`to_json`], … |
//! | [`connect`] | built-in sources and sinks |
//! | [`engine`] | the epoch loop, query handles, listeners |
//! | `headwater-plan`, `headwater-ops` | from a logical plan to operators |
//! | `headwater-state`, `headwater-log` | keyed state, and what is durably known about progress |
//! | [`core`] | the vocabulary: the traits [`Source`] and [`Sink`], [`Clock`], [`Error`], … |
//!
//! # It is not
//!
//! * a broker: rows come from files, sockets, programs, and go to such places;
//! * a scheduler or a cluster manager: a query runs in the process that started it;
//! * a database server: a result is files, a table of the session, or whatever your sink makes of it;
//! * a SQL parser, an expression language or a file format of its own: those are DataFusion's, Arrow's and Parquet's.

mod batch_reader;
mod batch_rules;
mod checkpoint_reader;
mod columns;
mod error;
mod explode;
mod frame;
mod group;
mod group_by_key;
mod late_rows;
mod location;
mod output;
pub mod prelude;
pub mod processor;
mod reader;
mod services;
mod session;
mod sql_hooks;
mod sql_statements;
mod state_reader;
#[cfg(test)]
mod tests;
mod window;
mod writer;

pub use headwater_connect as connect;
pub use headwater_core as core;
pub use headwater_engine as engine;
pub use headwater_payload as payload;
pub use headwater_sql as sql;

pub use batch_reader::BatchReader;
pub use checkpoint_reader::{
    CheckpointNote, CheckpointOverview, CheckpointReader, Damage, EpochOverview, EpochState,
    OperatorOverview, QueryIdentity, RunOverview, SourceRange, Verification,
};
pub use columns::IntoExpr;
pub use frame::DataFrame;
pub use group::GroupedFrame;
pub use group_by_key::{KeyedFrame, StatefulOptions};
pub use headwater_core::{
    Clock, Epoch, Error, ErrorKind, Options, OutputMode, Result, Sink, SinkProvider, Source,
    SourceProvider, Storage, StreamingQueryProgress, Trigger,
};
pub use headwater_engine::{
    Diagnosis, Settings, StreamingQuery, StreamingQueryListener, StreamingQueryManager,
    StreamingQueryStatus, WatermarkPolicy,
};
pub use headwater_payload::{
    from_avro, from_avro_registry, from_avro_with, from_csv, from_csv_with, from_json,
    from_json_with, to_avro, to_avro_with, to_csv, to_csv_with, to_json, to_json_with,
};
pub use headwater_sql::{as_of, as_of_within};
pub use late_rows::LateRows;
pub use location::IntoLocation;
pub use reader::StreamReader;
pub use session::{Session, SessionBuilder};
pub use sql_statements::{
    Pipeline, PipelineQuery, PipelineStep, SinkDefinition, StartOptions, StartWith,
    StreamDefinition, StreamInput,
};
pub use state_reader::{OperatorState, StateReader, StoreState};
pub use window::{Gap, WindowExpr, session_window, window, window_time};
pub use writer::StreamWriter;

/// The front page, whose programs are compiled with the rest.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
