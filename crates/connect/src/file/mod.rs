//! Files as a stream: a folder that only gains files is a table that only grows, and a folder that gains whole files
//! is a sink.
//!
//! The two halves share the formats and the place where the files are (`place`); everything else is their own.
//! Both are append only: a file is read once and written once, and nothing that was published is touched again.

mod compression;
mod flags;
mod format;
mod hive;
mod place;
mod read_back;
pub mod sink;
pub mod source;

pub use format::FileFormat;
pub use read_back::WrittenFiles;
pub use sink::{FileSink, FileSinkProvider};
pub use source::{FileSource, FileSourceProvider};
