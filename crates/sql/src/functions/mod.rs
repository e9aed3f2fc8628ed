//! The functions of Spark SQL that DataFusion and datafusion-spark lack or answer otherwise.
//!
//! Registered behind both, so that the last of one name counts.

pub(crate) mod aggregate;
pub(crate) mod arithmetic;
pub(crate) mod cast;
pub(crate) mod collections;
pub(crate) mod current_time;
pub(crate) mod datetime;
mod fold;
mod forms;
mod hash;
mod java_text;
mod json;
mod lists;
mod of_texts;
mod roots;
mod rounding;
pub(crate) mod scalar;
mod sequence;
mod strings;
pub(crate) mod zip;
pub(crate) mod zoned_timestamps;

use std::sync::Arc;

use datafusion::logical_expr::{HigherOrderUDF, ScalarUDF};

pub(crate) use headwater_payload::time::{pattern, text as time_text, zone};
pub(crate) use of_texts::wrapped;

/// All scalar functions of this crate but the window markers.
pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    [
        arithmetic::functions(),
        cast::functions(),
        collections::functions(),
        current_time::functions(),
        datetime::functions(),
        forms::functions(),
        hash::functions(),
        json::functions(),
        lists::functions(),
        roots::functions(),
        rounding::functions(),
        sequence::functions(),
        strings::functions(),
        zip::functions(),
    ]
    .concat()
}

/// The functions that take lambdas.
pub(crate) fn higher_order_functions() -> Vec<Arc<HigherOrderUDF>> {
    fold::functions()
}
