//! Reads its input to the end even when what is above stops early.
//!
//! A join with an empty table gives nothing and never reads the stream beside it. But the stream's rows are part of the
//! epoch: they advance the watermark, and stateful operators below must come to the epoch's version. What was not read
//! is left in the epoch's runtime, where the plan's root reads it before the epoch ends.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    error::Result,
    execution::TaskContext,
    physical_plan::{ExecutionPlan, PlanProperties, RecordBatchStream, SendableRecordBatchStream},
};
use futures::{Stream, StreamExt};

use crate::{
    node::{display_as, no_expressions, node_over, properties_of_input},
    runtime::EpochRuntime,
};

/// Streams that nobody has read to the end, while the epoch lasts.
#[derive(Clone, Default)]
pub struct Unread {
    // A short section without awaits: a std mutex is enough.
    streams: Arc<Mutex<Streams>>,
}

#[derive(Default)]
struct Streams {
    left: Vec<SendableRecordBatchStream>,
    is_over: bool,
}

/// Ends the epoch for [`Unread`] when dropped: streams hold the runtime that holds them, and would never be freed.
#[must_use = "the epoch is over as soon as this is dropped"]
pub struct UnreadUntil(Unread);

impl Drop for UnreadUntil {
    fn drop(&mut self) {
        let left = {
            let mut streams = self.0.lock();
            streams.is_over = true;
            std::mem::take(&mut streams.left)
        };
        drop(left);
    }
}

impl Unread {
    /// Keeps streams until the returned value is dropped.
    pub fn until(&self) -> UnreadUntil {
        UnreadUntil(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, stream: SendableRecordBatchStream) {
        let mut streams = self.lock();
        if !streams.is_over {
            streams.left.push(stream);
        }
    }

    fn take(&self) -> Option<SendableRecordBatchStream> {
        self.lock().left.pop()
    }

    /// Reads what was left so far to its end. Call it when nothing above can read any more.
    pub(crate) async fn read(&self) -> Result<()> {
        while let Some(mut stream) = self.take() {
            while let Some(batch) = stream.next().await {
                batch?;
            }
        }
        Ok(())
    }
}

/// Passes rows on unchanged, all of them.
#[derive(Debug, Clone)]
pub struct ReadWholeExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl ReadWholeExec {
    /// Sees to it that `input` is read to the end.
    pub fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        Self {
            properties: properties_of_input(&input),
            input,
        }
    }
}

display_as!(ReadWholeExec, |_this, f| write!(f, "ReadWholeExec"));

impl ExecutionPlan for ReadWholeExec {
    node_over!("ReadWholeExec", [input], |_this| Ok(Arc::new(Self::new(
        input
    ))));
    no_expressions!();

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let unread = EpochRuntime::of(&context)?.unread.clone();
        Ok(Box::pin(WholeStream {
            schema: self.schema(),
            input: Some(self.input.execute(partition, context)?),
            unread,
        }))
    }
}

struct WholeStream {
    schema: SchemaRef,
    /// None once it has ended.
    input: Option<SendableRecordBatchStream>,
    unread: Unread,
}

impl Stream for WholeStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(input) = &mut self.input else {
            return Poll::Ready(None);
        };
        let polled = input.poll_next_unpin(context);
        // After an error the epoch has failed: nothing more is to be read.
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.input = None;
        }
        polled
    }
}

impl RecordBatchStream for WholeStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Drop for WholeStream {
    fn drop(&mut self) {
        if let Some(input) = self.input.take() {
            self.unread.leave(input);
        }
    }
}
