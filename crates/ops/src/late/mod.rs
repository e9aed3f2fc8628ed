//! Drops rows that come after the watermark, counts them, and records them where somebody wants to have them.
//!
//! Stands below the partial aggregation, so that what is late is counted per (row, operator, window). It uses the
//! watermark of the epoch before: rows of one epoch are never late against each other.
//!
//! With a sink of late rows each filter prepares the parts of its own partitions there, while rows go on to the
//! operator, and reports them like the plan's root reports those of the sink: the commit record names both.

mod record;
mod writer;

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::RecordBatch,
        compute::{filter_record_batch, not},
        datatypes::SchemaRef,
    },
    error::Result,
    execution::TaskContext,
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream, stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, TryStreamExt, stream};
use headwater_core::{Epoch, EpochWrite, OutputMode, PartWrite, QueryId, RunId, Watermark};

pub use self::record::{LateRow, LateWindow, late_fields, record_schema};
use self::{record::Recorder, writer::LateWriter};
use crate::{
    binding::{BindEpoch, EpochBinding},
    expiry::Expiry,
    node::{display_as, no_expressions, node_over, properties_of_input},
    report::{Outbox, Report},
    runtime::{EpochRuntime, external},
    stores::expiry_text,
};

/// Lets through the rows that are not late for `operator`.
#[derive(Debug, Clone)]
pub struct LateFilterExec {
    input: Arc<dyn ExecutionPlan>,
    operator: String,
    expiry: Expiry,
    /// What is recorded of a late row, if anything is.
    row: Option<LateRow>,
    records: Option<Records>,
    watermark: Watermark,
    write: EpochWrite,
    properties: Arc<PlanProperties>,
}

/// Where records go.
#[derive(Debug, Clone)]
struct Records {
    recorder: Arc<Recorder>,
    /// The number that the part of partition 0 has among those of all filters.
    first_part: usize,
}

impl LateFilterExec {
    /// A late filter in front of the stateful operator `operator`, which records `row` of each late row, if anything.
    pub fn new(
        input: Arc<dyn ExecutionPlan>,
        operator: String,
        expiry: Expiry,
        row: Option<LateRow>,
    ) -> Self {
        Self {
            properties: properties_of_input(&input),
            input,
            operator,
            expiry,
            row,
            records: None,
            watermark: Watermark::START,
            write: EpochWrite {
                query: QueryId(uuid::Uuid::nil()),
                run: RunId(uuid::Uuid::nil()),
                epoch: Epoch::FIRST,
                mode: OutputMode::Append,
            },
        }
    }

    /// The same filter with records of the schema `schema`, one of [`record_schema`], in parts from `first_part` on,
    /// one for each partition. Called once the plan is final, when all filters are known.
    ///
    /// # Errors
    /// A schema that has not all columns of the filter's rows, which would be a defect of planning.
    pub fn with_records(&self, schema: SchemaRef, first_part: usize) -> Result<Self> {
        let Some(row) = self.row.clone() else {
            return Ok(self.clone());
        };
        let recorder = Arc::new(Recorder::try_new(self.operator.clone(), row, schema)?);
        Ok(Self {
            records: Some(Records {
                recorder,
                first_part,
            }),
            ..self.clone()
        })
    }
}

impl LateFilterExec {
    /// The stateful operator that it stands before.
    pub fn operator(&self) -> &str {
        &self.operator
    }

    /// Whether late rows are recorded, in columns that were fixed for it.
    pub(crate) fn records_rows(&self) -> bool {
        self.records.is_some()
    }

    /// When a row is late.
    pub(crate) fn expiry(&self) -> Expiry {
        self.expiry
    }

    /// What the watermark must have reached for a row to be late, such as `ts + 0 us`.
    pub fn late_when(&self) -> String {
        let schema = self.input.schema();
        expiry_text(schema.field(self.expiry.column).name(), self.expiry)
    }
}

impl BindEpoch for LateFilterExec {
    fn bind_epoch(&self, binding: &EpochBinding) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self {
            watermark: binding.late_watermark,
            write: EpochWrite {
                // Records are rows of their own: whatever the query does with its result, they are added.
                mode: OutputMode::Append,
                ..binding.write
            },
            ..self.clone()
        }))
    }
}

display_as!(LateFilterExec, |this, f| {
    write!(
        f,
        "LateFilterExec: operator={}, time={}, watermark={}",
        this.operator,
        this.schema().field(this.expiry.column).name(),
        this.watermark
    )?;
    match this.records {
        None => Ok(()),
        Some(_) => write!(f, ", recorded"),
    }
});

/// Late rows of one partition; reports them when dropped.
struct LateCount {
    operator: String,
    rows: u64,
    outbox: Outbox,
}

impl LateCount {
    fn add(&mut self, rows: usize) {
        self.rows += rows as u64;
    }
}

impl Drop for LateCount {
    fn drop(&mut self) {
        if self.rows > 0 {
            self.outbox.post(Report::LateRows {
                operator: self.operator.clone(),
                rows: self.rows,
            });
        }
    }
}

/// One partition of a filter in one epoch.
struct Filtering {
    input: SendableRecordBatchStream,
    expiry: Expiry,
    watermark: Watermark,
    count: LateCount,
    recording: Option<Recording>,
}

/// Where one partition's records go.
struct Recording {
    recorder: Arc<Recorder>,
    epoch: Epoch,
    writer: LateWriter,
}

impl Filtering {
    /// The rows of the next batch that are not late; `None` when all late rows are recorded too.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.input.try_next().await? else {
            if let Some(recording) = self.recording.take() {
                recording.writer.finish().await.map_err(external)?;
            }
            return Ok(None);
        };
        let Some(alive) = self.expiry.alive(batch.columns(), self.watermark)? else {
            return Ok(Some(batch));
        };
        let kept = filter_record_batch(&batch, &alive)?;
        if let Some(recording) = &mut self.recording {
            let late = filter_record_batch(&batch, &not(&alive)?)?;
            let records = recording
                .recorder
                .records(&late, self.watermark, recording.epoch)?;
            recording.writer.write(records).await.map_err(external)?;
        }
        self.count.add(batch.num_rows() - kept.num_rows());
        Ok(Some(kept))
    }
}

impl ExecutionPlan for LateFilterExec {
    node_over!("LateFilterExec", [input], |this| {
        Ok(Arc::new(Self {
            records: this.records.clone(),
            watermark: this.watermark,
            write: this.write,
            ..Self::new(input, this.operator.clone(), this.expiry, this.row.clone())
        }))
    });
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
        let runtime = EpochRuntime::of(&context)?;
        let sink = self.records.as_ref().zip(runtime.late_sink.as_ref());
        let recording = sink.map(|(records, sink)| {
            let part = PartWrite {
                write: self.write,
                partition: records.first_part + partition,
            };
            Recording {
                recorder: Arc::clone(&records.recorder),
                epoch: self.write.epoch,
                writer: LateWriter::new(Arc::clone(sink), part, runtime.outbox.clone()),
            }
        });
        let filtering = Filtering {
            input: self.input.execute(partition, context)?,
            expiry: self.expiry,
            watermark: self.watermark,
            count: LateCount {
                operator: self.operator.clone(),
                rows: 0,
                outbox: runtime.outbox.clone(),
            },
            recording,
        };
        let batches = stream::try_unfold(filtering, |mut filtering| async move {
            let next = filtering.next().await?;
            Ok(next.map(|batch| (batch, filtering)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            batches.boxed(),
        )))
    }
}
