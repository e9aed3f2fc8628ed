//! What plan nodes of ours have in common.

/// The members of `ExecutionPlan` that follow from having the inputs that lie in these fields, in this order, and
/// properties in a field `properties`. The closure rebuilds the node over other inputs, which have the fields' names.
macro_rules! node_over {
    ($name:literal, [$($input:ident),*], |$this:ident| $rebuild:expr) => {
        fn name(&self) -> &str {
            $name
        }

        fn properties(&self) -> &Arc<datafusion::physical_plan::PlanProperties> {
            &self.properties
        }

        fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
            vec![$(&self.$input),*]
        }

        fn replace_children(
            self: Arc<Self>,
            children: Vec<Arc<dyn ExecutionPlan>>,
            _options: datafusion::physical_plan::execution_plan::ReplaceChildrenOptions,
        ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
            const INPUTS: &[&str] = &[$(stringify!($input)),*];
            let inputs = <[Arc<dyn ExecutionPlan>; INPUTS.len()]>::try_from(children);
            let [$($input),*] = inputs.map_err(|given| {
                datafusion::error::DataFusionError::Internal(format!(
                    "{} takes the inputs {INPUTS:?}, {} were given",
                    $name,
                    given.len()
                ))
            })?;
            let $this = self;
            $rebuild
        }

        fn with_new_children(
            self: Arc<Self>,
            children: Vec<Arc<dyn ExecutionPlan>>,
        ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
            self.replace_children(
                children,
                datafusion::physical_plan::execution_plan::ReplaceChildrenOptions::new(
                    datafusion::physical_plan::execution_plan::ChildrenPropertiesMode::Recompute,
                ),
            )
        }
    };
}

/// No physical expressions inside the node.
macro_rules! no_expressions {
    () => {
        fn apply_expressions(
            &self,
            _f: &mut dyn FnMut(
                &Arc<dyn datafusion::physical_expr::PhysicalExpr>,
            ) -> datafusion::error::Result<
                datafusion::common::tree_node::TreeNodeRecursion,
            >,
        ) -> datafusion::error::Result<datafusion::common::tree_node::TreeNodeRecursion> {
            Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
        }
    };
}

/// One line in an explained plan, the same in every format.
macro_rules! display_as {
    ($kind:ty, |$this:ident, $f:ident| $body:expr) => {
        impl datafusion::physical_plan::DisplayAs for $kind {
            fn fmt_as(
                &self,
                _t: datafusion::physical_plan::DisplayFormatType,
                $f: &mut std::fmt::Formatter<'_>,
            ) -> std::fmt::Result {
                let $this = self;
                $body
            }
        }
    };
}

pub(crate) use {display_as, no_expressions, node_over};

use std::sync::Arc;

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    error::Result,
    physical_expr::EquivalenceProperties,
    physical_plan::{
        ExecutionPlan, Partitioning, PlanProperties, SendableRecordBatchStream,
        execution_plan::{Boundedness, EmissionType, SchedulingType},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{TryStreamExt, stream};

/// Properties of a node that passes its input's rows on as they come, all or some: what holds of their order still does.
pub(crate) fn properties_of_input(input: &Arc<dyn ExecutionPlan>) -> Arc<PlanProperties> {
    let of_input = input.properties();
    let partitions = of_input.output_partitioning().partition_count();
    Arc::new(
        PlanProperties::new(
            of_input.equivalence_properties().clone(),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative),
    )
}

/// Properties of a node of ours: bounded, because an epoch is; streaming; no order promised. Such a node must not say that
/// it maintains its input's order: whoever needs one would be refused instead of getting a sort.
pub(crate) fn properties(
    schema: SchemaRef,
    partitions: usize,
    emission: EmissionType,
) -> Arc<PlanProperties> {
    Arc::new(
        PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions),
            emission,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative),
    )
}

/// The rows that `work` gives. All of it is done before the first of them: whoever stops reading early cannot leave it
/// half done.
pub(crate) fn rows_after(
    schema: SchemaRef,
    work: impl Future<Output = Result<Vec<RecordBatch>>> + Send + 'static,
) -> SendableRecordBatchStream {
    let rows = stream::once(work)
        .map_ok(|batches| stream::iter(batches.into_iter().map(Ok)))
        .try_flatten();
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}
