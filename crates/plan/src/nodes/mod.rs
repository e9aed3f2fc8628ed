//! Logical nodes of ours, one per file. They are barriers to DataFusion's optimiser except where they say otherwise.

pub(crate) mod as_of_join;
pub(crate) mod dedup;
pub(crate) mod epoch_time;
pub(crate) mod late_filter;
pub(crate) mod limit;
pub(crate) mod processor;
pub(crate) mod session_aggregate;
pub(crate) mod stateful_aggregate;
pub(crate) mod stream_join;
pub(crate) mod table;
pub(crate) mod watermark;
pub(crate) mod windows;

use datafusion::{
    common::{DFSchema, DFSchemaRef, Result},
    logical_expr::LogicalPlan,
};

/// Orders nodes only when they are equal: a plan has no natural order, the trait asks for one.
macro_rules! order_of_equals {
    ($node:ty) => {
        impl PartialOrd for $node {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                (self == other).then_some(std::cmp::Ordering::Equal)
            }
        }
    };
}
pub(crate) use order_of_equals;

/// The input's schema with one more, unqualified column.
pub(crate) fn appended(
    input: &LogicalPlan,
    field: datafusion::arrow::datatypes::Field,
) -> Result<DFSchemaRef> {
    let mut fields: Vec<_> = input
        .schema()
        .iter()
        .map(|(qualifier, field)| (qualifier.cloned(), std::sync::Arc::clone(field)))
        .collect();
    fields.push((None, std::sync::Arc::new(field)));
    Ok(std::sync::Arc::new(DFSchema::new_with_metadata(
        fields,
        input.schema().metadata().clone(),
    )?))
}

/// Whether a column is one that a rewrite has put in, and the user does not see.
pub(crate) fn is_made_by_rewrites(name: &str) -> bool {
    const PREFIXES: &[&str] = &[
        epoch_time::EPOCH_TIME,
        "__window_start_",
        "__window_time_",
        "__session_",
        "__late_time",
        "__key",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
