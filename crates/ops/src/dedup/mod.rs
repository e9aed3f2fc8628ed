//! Lets each key through once: the first row in order of arrival.
//!
//! Keys that have come are remembered as [`Remember`] says (`seen` keeps them). All work, the check-in of the new state
//! included, is done before the first output row. An epoch costs the rows it brings and the keys that expire, never the
//! keys that are kept.

mod arrivals;
mod known;
mod local;
mod seen;

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, Int64Array, RecordBatch},
        datatypes::{Field, Schema},
    },
    error::{DataFusionError, Result},
    execution::TaskContext,
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream, execution_plan::EmissionType,
    },
};
use futures::TryStreamExt;
use headwater_core::Watermark;
use headwater_state::StoreLayout;

use self::{
    arrivals::Arrivals,
    local::LocalDedupExec,
    seen::{Entered, Seen, SeenSpec},
};
use crate::{
    binding::{BindEpoch, Bound, EpochBinding},
    exchange::exchange_by_columns,
    expiry::Expiry,
    node::{display_as, no_expressions, node_over, properties, rows_after},
    normal_float::{has_floats, normal_floats},
    report::Report,
    runtime::{EpochRuntime, external},
    state_provider::StateAddress,
    stores::{expiry_text, with_shown_names},
    work_sharing::{share_work, share_work_by_origin},
};

/// Name of the store that holds the keys.
const KEYS: &str = "keys";

/// Name under which dropped rows are reported.
const DUPLICATES: &str = "numDroppedDuplicateRows";

/// How long a key is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remember {
    /// For ever.
    Forever,
    /// Until the watermark has passed this column, one of the key: what comes later would be late.
    WhileInTime(Expiry),
    /// Until the watermark has passed this column of the row that came first, whatever rows come in between.
    SinceFirst(Expiry),
}

impl Remember {
    /// As recorded, a first row without a time is remembered as one of the year 1970 is, where the first row says how
    /// long; elsewhere for ever.
    fn of_no_time(self, expiry: Int64Array) -> Int64Array {
        match self {
            Self::SinceFirst(since) if expiry.null_count() > 0 => {
                let least = since.extra_micros.div_euclid(1_000);
                expiry.iter().map(|time| time.or(Some(least))).collect()
            }
            _ => expiry,
        }
    }

    fn expiry(self) -> Option<Expiry> {
        match self {
            Self::Forever => None,
            Self::WhileInTime(expiry) | Self::SinceFirst(expiry) => Some(expiry),
        }
    }
}

/// What the operator is, the same in every epoch.
#[derive(Debug)]
struct Definition {
    operator: String,
    /// Key columns of the input.
    keys: Vec<usize>,
    remember: Remember,
    /// Whether rows of one key differ, so that it matters which comes first.
    in_order: bool,
    spec: SeenSpec,
}

/// Lets the first row of each key through.
#[derive(Debug, Clone)]
pub struct DedupExec {
    input: Arc<dyn ExecutionPlan>,
    definition: Arc<Definition>,
    bound: Bound,
    properties: Arc<PlanProperties>,
}

impl DedupExec {
    /// Rows of `input` are duplicates if they agree in the columns `keys`.
    pub fn new(
        input: Arc<dyn ExecutionPlan>,
        operator: String,
        keys: Vec<usize>,
        remember: Remember,
    ) -> Self {
        let schema = input.schema();
        let key_fields: Vec<_> = keys
            .iter()
            .map(|column| {
                let field = schema.field(*column);
                Field::new(field.name(), field.data_type().clone(), true)
            })
            .collect();
        let in_order = (0..schema.fields().len()).any(|column| !keys.contains(&column))
            || key_fields.iter().any(|field| has_floats(field.data_type()));
        let definition = Arc::new(Definition {
            operator,
            keys,
            remember,
            in_order,
            spec: SeenSpec::new(Arc::new(Schema::new(key_fields)), remember),
        });
        let schema = Arc::clone(&schema);
        Self::over(input, schema, definition, Bound::NOT_YET)
    }

    fn over(
        input: Arc<dyn ExecutionPlan>,
        output: Arc<Schema>,
        definition: Arc<Definition>,
        bound: Bound,
    ) -> Self {
        Self {
            properties: properties(
                output,
                input.properties().output_partitioning().partition_count(),
                EmissionType::Final,
            ),
            input,
            definition,
            bound,
        }
    }

    /// The same operator with its input exchanged by key over `partitions`. Called once the rest of the physical plan
    /// is final, since DataFusion's own passes would remove a hand-made exchange.
    pub fn with_exchange(&self, partitions: usize) -> Result<Self> {
        let definition = Arc::clone(&self.definition);
        let input = Arc::clone(&self.input);
        let local = LocalDedupExec::new(
            if definition.in_order {
                share_work_by_origin(input)
            } else {
                share_work(input)?
            },
            definition.operator.clone(),
            definition.keys.clone(),
            Arc::clone(definition.spec.keys()),
            definition.in_order,
        );
        let input = exchange_by_columns(Arc::new(local), &definition.keys, partitions)?;
        Ok(Self::over(input, self.schema(), definition, self.bound))
    }
}

impl BindEpoch for DedupExec {
    fn bind_epoch(&self, binding: &EpochBinding) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self {
            bound: Bound::to(binding),
            ..self.clone()
        }))
    }

    fn stores(&self) -> Option<(&str, Vec<StoreLayout>)> {
        let definition = &self.definition;
        let layout = with_shown_names(definition.spec.layout(KEYS));
        let layout = match definition.remember.expiry() {
            Some(expiry) => {
                let schema = self.schema();
                layout.expiring(expiry_text(schema.field(expiry.column).name(), expiry))
            }
            None => layout,
        };
        Some((&definition.operator, vec![layout]))
    }
}

/// What one epoch did to one partition.
#[derive(Debug, Default)]
struct Outcome {
    output: Vec<RecordBatch>,
    new_keys: usize,
    duplicates: usize,
    removed: usize,
}

impl Definition {
    /// One epoch of one partition, without I/O.
    fn run(&self, seen: &mut Seen, arrivals: Arrivals, watermark: Watermark) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let rows = arrivals.len();
        if rows > 0 {
            let keys = self.keys_of(&arrivals)?;
            let expiry = self.remember.expiry();
            let expiry = expiry.map(|expiry| {
                let time = arrivals.column(expiry.column)?;
                Expiry {
                    column: 0,
                    ..expiry
                }
                .millis(&[time])
                .map(|expiry| self.remember.of_no_time(expiry))
            });
            let expiry = expiry.transpose()?;
            let Entered { new, forgotten } =
                seen.enter(&keys, expiry.as_ref(), watermark.millis())?;
            outcome.new_keys = new.len();
            outcome.duplicates = rows - new.len();
            outcome.output = arrivals.pick(&new)?;
            outcome.removed = forgotten;
        } else {
            outcome.removed = seen.forget(watermark.millis())?;
        }
        Ok(outcome)
    }

    fn keys_of(&self, arrivals: &Arrivals) -> Result<Vec<ArrayRef>> {
        let keys = self.keys.iter().map(|column| {
            let key = arrivals.column(*column)?;
            if has_floats(key.data_type()) {
                normal_floats(&key)
            } else {
                Ok(key)
            }
        });
        keys.collect()
    }
}

/// One epoch of one partition: state in, work, state out.
async fn run_partition(
    exec: DedupExec,
    partition: usize,
    input: SendableRecordBatchStream,
    runtime: Arc<EpochRuntime>,
) -> Result<Vec<RecordBatch>> {
    let (definition, bound) = (&exec.definition, exec.bound);
    let partition = u32::try_from(partition)
        .map_err(|_| DataFusionError::Internal("too many partitions".to_owned()))?;
    let address = StateAddress {
        operator: definition.operator.clone(),
        store: KEYS.to_owned(),
        partition,
    };
    let mut seen = definition
        .spec
        .check_out(&runtime.state, &address, bound.reads)
        .await
        .map_err(external)?;
    let batches: Vec<RecordBatch> = input.try_collect().await?;
    let arrivals = Arrivals::new(batches, &exec.schema(), definition.in_order)?;
    let outcome = definition.run(&mut seen, arrivals, bound.watermark)?;
    runtime.outbox.post(Report::State {
        operator: definition.operator.clone(),
        total: seen.len() as u64,
        updated: outcome.new_keys as u64,
        removed: outcome.removed as u64,
        memory_bytes: seen.memory_bytes() as u64,
    });
    runtime.outbox.post(Report::Metric {
        operator: definition.operator.clone(),
        name: DUPLICATES.to_owned(),
        value: outcome.duplicates as u64,
    });
    runtime.outbox.post_next_expiry(
        &definition.operator,
        seen.earliest_expiry(),
        bound.watermark,
    );
    let stores = vec![(KEYS.to_owned(), seen)];
    runtime
        .state
        .check_in(
            &definition.operator,
            partition,
            bound.writes,
            stores,
            runtime.state.partitions(),
        )
        .map_err(external)?;
    Ok(outcome.output)
}

display_as!(DedupExec, |this, f| {
    let definition = &this.definition;
    let schema = this.schema();
    let keys: Vec<&str> = definition
        .keys
        .iter()
        .map(|column| schema.field(*column).name().as_str())
        .collect();
    write!(
        f,
        "DedupExec: operator={}, keys=[{}], ",
        definition.operator,
        keys.join(", "),
    )?;
    let time = |expiry: Expiry| {
        let name = schema.field(expiry.column).name();
        format!("{name} + {}us", expiry.extra_micros)
    };
    match definition.remember {
        Remember::Forever => write!(f, "expires=never"),
        Remember::WhileInTime(expiry) => write!(f, "expires={}", time(expiry)),
        Remember::SinceFirst(expiry) => write!(f, "expires=first {}", time(expiry)),
    }
});

impl ExecutionPlan for DedupExec {
    node_over!("DedupExec", [input], |this| {
        let definition = Arc::clone(&this.definition);
        Ok(Arc::new(Self::over(
            input,
            this.schema(),
            definition,
            this.bound,
        )))
    });
    no_expressions!();

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let runtime = EpochRuntime::of(&context)?;
        let input = self.input.execute(partition, context)?;
        let work = run_partition(self.clone(), partition, input, runtime);
        Ok(rows_after(self.schema(), work))
    }
}

#[cfg(test)]
mod tests;
