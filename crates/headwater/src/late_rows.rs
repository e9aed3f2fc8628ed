//! Where late rows go: the second sink of a query.

use std::{
    fmt,
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
};

use datafusion::{execution::SessionState, prelude::SessionContext};
use headwater_connect::foreach::{EpochRows, ForeachBatchSinkProvider};
use headwater_core::{Epoch, Error, Options, Result, SinkProvider};

use crate::{frame::DataFrame, location::IntoLocation};

/// Where the rows go that a query's operators drop because they came after the watermark; see
/// [`StreamWriter::late_rows_to`](crate::StreamWriter::late_rows_to).
///
/// ```
/// use headwater::LateRows;
///
/// let files = LateRows::format("json").path("out/late").option("compression", "gzip");
/// let parquet = LateRows::from("out/late");
/// let table = LateRows::table("late_clicks");
/// ```
#[derive(Debug)]
#[must_use = "late rows go nowhere until late_rows_to()"]
pub struct LateRows {
    pub(crate) target: LateTarget,
    pub(crate) path: Option<Result<Option<String>>>,
    pub(crate) options: Options,
    pub(crate) partition_by: Vec<String>,
}

/// Makes a sink for the session that a query runs in.
type MakeSink = dyn FnOnce(SessionState) -> Arc<dyn SinkProvider> + Send;

pub(crate) enum LateTarget {
    /// A sink by its format's name.
    Format(String),
    /// A table of the session, in memory.
    Table(String),
    /// A sink given as an object.
    Provider(Arc<dyn SinkProvider>),
    /// A sink made of the user's code.
    Made(Box<MakeSink>),
}

impl fmt::Debug for LateTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(format) => f.debug_tuple("Format").field(format).finish(),
            Self::Table(name) => f.debug_tuple("Table").field(name).finish(),
            Self::Provider(sink) => f.debug_tuple("Provider").field(sink).finish(),
            Self::Made(_) => f.write_str("Made"),
        }
    }
}

impl LateRows {
    fn of(target: LateTarget) -> Self {
        Self {
            target,
            path: None,
            options: Options::new(),
            partition_by: Vec::new(),
        }
    }

    /// To a sink of this format, as [`StreamWriter::format`](crate::StreamWriter::format) has them.
    pub fn format(format: impl Into<String>) -> Self {
        Self::of(LateTarget::Format(format.into()))
    }

    /// To a table in memory that the session can query under this name.
    pub fn table(name: impl Into<String>) -> Self {
        Self::of(LateTarget::Table(name.into()))
    }

    /// To a sink of one's own.
    pub fn sink(sink: Arc<dyn SinkProvider>) -> Self {
        Self::of(LateTarget::Provider(sink))
    }

    /// To a function that is called once per epoch with all late rows of it, before the epoch is committed. After a
    /// crash an epoch may come again, with the same number.
    pub fn foreach_batch<F, Done>(function: F) -> Self
    where
        F: Fn(DataFrame, Epoch) -> Done + Send + Sync + 'static,
        Done: Future<Output = Result<()>> + Send + 'static,
    {
        Self::of(LateTarget::Made(Box::new(|state| {
            each_epoch(state, function)
        })))
    }

    /// The path that the sink writes to.
    pub fn path(mut self, path: impl IntoLocation) -> Self {
        self.path = Some(path.into_location());
        self
    }

    /// Sets one option of the sink.
    pub fn option(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.options.set(name, value.to_string());
        self
    }

    /// Columns by whose values a file sink makes folders.
    pub fn partition_by<I>(mut self, columns: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.partition_by = columns.into_iter().map(Into::into).collect();
        self
    }
}

/// Parquet files below the path.
impl From<&str> for LateRows {
    fn from(path: &str) -> Self {
        Self::format("parquet").path(path)
    }
}

/// Parquet files below the path.
impl From<String> for LateRows {
    fn from(path: String) -> Self {
        Self::format("parquet").path(path)
    }
}

/// Parquet files below the path.
impl From<&Path> for LateRows {
    fn from(path: &Path) -> Self {
        Self::format("parquet").path(path)
    }
}

/// Parquet files below the path.
impl From<PathBuf> for LateRows {
    fn from(path: PathBuf) -> Self {
        Self::format("parquet").path(path)
    }
}

/// A sink that calls a function once per epoch with all its rows as a static frame, and the epoch's number.
pub(crate) fn each_epoch<F, Done>(state: SessionState, function: F) -> Arc<dyn SinkProvider>
where
    F: Fn(DataFrame, Epoch) -> Done + Send + Sync + 'static,
    Done: Future<Output = Result<()>> + Send + 'static,
{
    let context = SessionContext::new_with_state(state);
    let function = Arc::new(function);
    Arc::new(ForeachBatchSinkProvider::new(move |rows: EpochRows| {
        let (function, context) = (Arc::clone(&function), context.clone());
        async move {
            let epoch = rows.epoch;
            let frame = rows.into_frame(&context)?;
            function(frame.into(), epoch).await
        }
    }))
}

/// Refuses files of late rows where whoever reads the output would read them too.
pub(crate) fn refuse_inside(output: &str, late: &str) -> Result<()> {
    let parts = |path: &str| -> Vec<String> {
        let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
        parts.map(str::to_owned).collect()
    };
    let (output_parts, late_parts) = (parts(output), parts(late));
    let (outer, inner) = match output_parts.len() <= late_parts.len() {
        true => (&output_parts, &late_parts),
        false => (&late_parts, &output_parts),
    };
    let is_hidden = |part: &String| part.starts_with(['_', '.']);
    if !inner.starts_with(outer) || inner[outer.len()..].first().is_some_and(is_hidden) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "late rows in '{late}' would be read together with the output in '{output}': write them to a folder beside it, \
         or to one inside it whose name begins with '_', which readers pass over",
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_rows_are_kept_apart_from_the_output() {
        for late in ["out", "out/", "./out", "out/late"] {
            let error = refuse_inside("out", late).expect_err(late);
            assert!(error.message().contains("beside it"), "{error}");
        }
        assert!(refuse_inside("out/a", "out").is_err());
        for late in ["late", "out2", "out/_late", "out_late"] {
            refuse_inside("out", late).expect(late);
        }
    }
}
