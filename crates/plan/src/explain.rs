//! The incremental plan as people read it.

use std::fmt::Write;

use datafusion::physical_plan::displayable;

use crate::streaming_plan::StreamingPlan;

pub(crate) fn explain(plan: &StreamingPlan) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    for (number, provider) in plan.sources().iter().enumerate() {
        let _ = writeln!(text, "source {number}: {}", provider.identity());
    }
    for watermark in plan.watermark_nodes() {
        let _ = writeln!(
            text,
            "watermark {}: delay {} ms",
            watermark.id, watermark.delay.0
        );
    }
    for operator in plan.operators() {
        let _ = writeln!(
            text,
            "state {}: {} {}",
            operator.id, operator.kind, operator.fingerprint
        );
        for reason in &operator.grows {
            let _ = writeln!(text, "state {} grows without bound: {reason}", operator.id);
        }
    }
    let _ = write!(
        text,
        "{}",
        displayable(plan.physical().as_ref()).indent(false)
    );
    text
}
