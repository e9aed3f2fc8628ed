//! Which aggregates depend on the order of their rows.
//!
//! Functions say so themselves, but DataFusion's default is that they do, and most that do not are silent about it.
//! Where no aggregate of an operator depends on the order, its rows need not be brought back into it behind an exchange,
//! and windows that overlap can be sliced.

use datafusion::{
    functions_aggregate::{
        approx_distinct::ApproxDistinct,
        average::Avg,
        bit_and_or_xor::{bit_and_udaf, bit_or_udaf, bit_xor_udaf},
        correlation::Correlation,
        count::Count,
        covariance::{CovariancePopulation, CovarianceSample},
        grouping::Grouping,
        median::Median,
        regr::Regr,
        stddev::{Stddev, StddevPop},
        variance::{VariancePopulation, VarianceSample},
    },
    logical_expr::{AggregateUDF, AggregateUDFImpl, utils::AggregateOrderSensitivity},
};

/// Whether rows in another order can give another answer, apart from how sums of floats are rounded.
pub(crate) fn depends_on_order(function: &AggregateUDF) -> bool {
    function.order_sensitivity() != AggregateOrderSensitivity::Insensitive
        && !is_silent(function.inner().as_ref())
        && ![bit_and_udaf(), bit_or_udaf(), bit_xor_udaf()]
            .iter()
            .any(|bitwise| bitwise.inner().as_ref() == function.inner().as_ref())
}

/// Functions of DataFusion that do not depend on the order and do not say so.
fn is_silent(function: &dyn AggregateUDFImpl) -> bool {
    macro_rules! is_one_of {
        ($($kind:ty),+ $(,)?) => { $(function.is::<$kind>())||+ };
    }
    is_one_of!(
        ApproxDistinct,
        Avg,
        Correlation,
        Count,
        CovariancePopulation,
        CovarianceSample,
        Grouping,
        Median,
        Regr,
        Stddev,
        StddevPop,
        VariancePopulation,
        VarianceSample,
    )
}

#[cfg(test)]
mod tests {
    use datafusion::functions_aggregate::{
        array_agg::array_agg_udaf, average::avg_udaf, count::count_udaf,
        first_last::first_value_udaf, min_max::max_udaf, string_agg::string_agg_udaf,
    };

    use super::*;

    #[test]
    fn counting_needs_no_order_and_collecting_does() {
        for function in [count_udaf(), avg_udaf(), max_udaf()] {
            assert!(!depends_on_order(&function), "{}", function.name());
        }
        for function in [array_agg_udaf(), first_value_udaf(), string_agg_udaf()] {
            assert!(depends_on_order(&function), "{}", function.name());
        }
    }
}
