//! Aggregate functions that DataFusion lacks or answers otherwise than Spark.
//!
//! Invariant of all of them: the state is mergeable. Over any split of the rows into parts, merging the parts' states
//! in order gives what one pass over all rows gives (property-tested in `tests`); this is what lets a stream keep
//! states instead of rows.

mod checked_sum;
mod count_if;
mod decimal_avg;
mod extremum_by;
mod first_last;
mod min_max;
mod mode;
mod moments;
mod one_group;
mod percentile;
mod slots;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::functions_aggregate::approx_distinct::approx_distinct_udaf;
use datafusion::functions_aggregate::bool_and_or::{bool_and_udaf, bool_or_udaf};
use datafusion::functions_aggregate::string_agg::string_agg_udaf;
use datafusion::logical_expr::AggregateUDF;

pub use checked_sum::checked_sum_udaf;
pub(crate) use decimal_avg::avg_udaf;
pub(crate) use min_max::{max_udaf, min_udaf};

/// All of them, and the names that Spark has for functions of DataFusion.
pub(crate) fn functions() -> Vec<Arc<AggregateUDF>> {
    let renamed = |function: Arc<AggregateUDF>, names: &[&'static str]| {
        Arc::new(AggregateUDF::clone(&function).with_aliases(names.iter().copied()))
    };
    vec![
        checked_sum_udaf(),
        count_if::count_if_udaf(),
        avg_udaf(),
        extremum_by::max_by_udaf(),
        extremum_by::min_by_udaf(),
        first_last::first_udaf(),
        first_last::last_udaf(),
        max_udaf(),
        min_udaf(),
        mode::mode_udaf(),
        moments::skewness_udaf(),
        moments::kurtosis_udaf(),
        percentile::percentile_udaf(),
        percentile::percentile_approx_udaf(),
        renamed(bool_and_udaf(), &["every"]),
        renamed(bool_or_udaf(), &["some"]),
        renamed(string_agg_udaf(), &["listagg"]),
        approx_distinct_udaf(),
    ]
}
