//! Hands the records of one partition of one late filter to the sink of late rows, as they are made.
//!
//! The sink takes them while rows go on to the operator: what is held here is one batch. A partition without late rows
//! costs nothing and prepares nothing.

use std::{fmt, pin::pin, sync::Arc};

use datafusion::arrow::array::RecordBatch;
use futures::{
    SinkExt, StreamExt,
    channel::mpsc,
    future::{BoxFuture, Either, FutureExt, select},
};
use headwater_core::{PartWrite, PreparedPart, Result, Sink};

use crate::report::{Outbox, Report};

/// A part of the sink of late rows in the making.
pub(super) struct LateWriter {
    sink: Arc<dyn Sink>,
    part: PartWrite,
    outbox: Outbox,
    state: State,
}

enum State {
    /// No row is late so far.
    Unused,
    /// The sink takes records.
    Open {
        records: mpsc::Sender<Result<RecordBatch>>,
        prepared: BoxFuture<'static, Result<PreparedPart>>,
    },
    /// The sink wants no more records.
    Done(PreparedPart),
}

impl fmt::Debug for LateWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LateWriter")
            .field("sink", &self.sink.description())
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

impl LateWriter {
    /// Writes part `part` of `sink` and reports it to `outbox`.
    pub(super) fn new(sink: Arc<dyn Sink>, part: PartWrite, outbox: Outbox) -> Self {
        Self {
            sink,
            part,
            outbox,
            state: State::Unused,
        }
    }

    fn open(&self) -> State {
        // One batch on its way: `write` returns when the sink has taken it.
        let (records, incoming) = mpsc::channel(0);
        let (sink, part) = (Arc::clone(&self.sink), self.part);
        State::Open {
            records,
            prepared: async move {
                let prepared = sink.prepare(part, incoming.boxed()).await;
                prepared.map_err(|error| error.context("the sink of late rows"))
            }
            .boxed(),
        }
    }

    /// Gives records to the sink; returns when it has taken them.
    ///
    /// # Errors
    /// Whatever the sink answers.
    pub(super) async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        if matches!(self.state, State::Unused) {
            self.state = self.open();
        }
        let State::Open { records, prepared } = &mut self.state else {
            return Ok(());
        };
        let sending = pin!(records.send(Ok(batch)));
        let part = match select(sending, &mut *prepared).await {
            Either::Left((Ok(()), _)) => return Ok(()),
            // The sink has let go of the records: it has an answer.
            Either::Left((Err(_), prepared)) => prepared.await?,
            Either::Right((answer, _)) => answer?,
        };
        self.state = State::Done(part);
        Ok(())
    }

    /// Waits until all records are durable, and reports the part.
    ///
    /// # Errors
    /// Whatever the sink answers.
    pub(super) async fn finish(self) -> Result<()> {
        let part = match self.state {
            State::Unused => return Ok(()),
            State::Open { records, prepared } => {
                drop(records);
                prepared.await?
            }
            State::Done(part) => part,
        };
        self.outbox.post(Report::LatePart { part });
        Ok(())
    }
}
