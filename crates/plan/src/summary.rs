//! What a streaming plan keeps, for how long, and what it does to late rows: `EXPLAIN STREAMING` in words.

use std::fmt::Write;

use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    physical_plan::ExecutionPlan,
};
use headwater_core::{OutputMode, options::micros_in_words};
use headwater_ops::late::LateFilterExec;
use headwater_state::StoreLayout;

use crate::streaming_plan::{OperatorInfo, StreamingPlan};

/// Sources, watermarks and stateful operators of a plan.
pub(crate) fn summary(plan: &StreamingPlan) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    for provider in plan.sources() {
        let _ = writeln!(text, "reads {}", provider.identity());
    }
    for watermark in plan.watermark_nodes() {
        let delay = micros_in_words(watermark.delay.0.saturating_mul(1_000));
        let _ = writeln!(
            text,
            "watermark on {}: {delay} behind the latest time seen",
            watermark.column
        );
    }
    if plan.watermark_nodes().is_empty() {
        let _ = writeln!(
            text,
            "no watermark: rows may come at any time, none is ever late"
        );
    }
    if plan.operators().is_empty() {
        let _ = writeln!(text, "keeps no state: each row is on its own");
    }
    let filters = late_filters(plan);
    for operator in plan.operators() {
        let _ = writeln!(text, "{} keeps state: {}", operator.id, purpose(operator));
        for store in &operator.stores {
            describe_store(&mut text, store, operator, plan.mode());
        }
        for reason in &operator.grows {
            let _ = writeln!(text, "  unbounded: {reason}");
        }
        let mut late = filters
            .iter()
            .filter(|(id, _)| *id == operator.id)
            .peekable();
        if late.peek().is_none() {
            let _ = writeln!(text, "  late rows: none, every row counts");
        }
        for (_, when) in late {
            let _ = writeln!(
                text,
                "  late rows: dropped and counted when the watermark of the epoch before has reached {when}"
            );
        }
    }
    plain(&text)
}

/// What an operator is there for.
fn purpose(operator: &OperatorInfo) -> String {
    let of = |name: &str| operator.fingerprint.get(name);
    let list = |name: &str| {
        let items = of(name).and_then(|items| items.as_array());
        let items = items.into_iter().flatten();
        let items: Vec<&str> = items.filter_map(|item| item.as_str()).collect();
        items.join(", ")
    };
    match operator.kind.as_str() {
        "aggregate" if list("keys").is_empty() => "an aggregation of all rows".to_owned(),
        "aggregate" => format!("an aggregation by {}", list("keys")),
        "session" => format!("sessions by {}", list("keys")),
        "dedup" => format!("the first row of each {}", list("keys")),
        "dedup within watermark" => {
            format!(
                "the first row of each {}, within the watermark",
                list("keys")
            )
        }
        "limit" => "how many rows have been let through".to_owned(),
        "join" => {
            let kind = of("type").and_then(|kind| kind.as_str()).unwrap_or("Inner");
            format!("a join of two streams ({kind})")
        }
        other => other.to_owned(),
    }
}

fn describe_store(
    text: &mut String,
    store: &StoreLayout,
    operator: &OperatorInfo,
    mode: OutputMode,
) {
    let names = |columns: &[headwater_state::StoreColumn]| {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        names.join(", ")
    };
    let values = match store.values.as_slice() {
        [] => String::new(),
        values => format!(", with {}", names(values)),
    };
    let keys = match store.keys.as_slice() {
        [] => String::new(),
        keys => format!(" ({})", names(keys)),
    };
    let _ = writeln!(text, "  {}: {}{keys}{values}", store.name, store.kind);
    let bound = match &store.expires {
        Some(when) => format!("bounded: goes when the watermark has reached {when}"),
        None => match unbounded(operator, mode) {
            Some(reason) => format!("unbounded: {reason}"),
            None => return,
        },
    };
    let _ = writeln!(text, "    {bound}");
}

/// Why a store without an expiry grows; none for those that do not, or that say so themselves.
fn unbounded(operator: &OperatorInfo, mode: OutputMode) -> Option<&'static str> {
    match (operator.kind.as_str(), mode) {
        ("aggregate" | "session", OutputMode::Complete) => {
            Some("complete mode keeps every group, to give all of them out each time")
        }
        ("aggregate", _) => Some(
            "no key has an event time with a watermark: group by window(time, '…') over a column with a watermark, or \
             keep the number of different keys small",
        ),
        ("session", _) => Some("the time has no watermark: add one"),
        ("dedup", _) => Some(
            "no column among the keys has an event time with a watermark: add it to the keys, or drop duplicates within \
             the watermark",
        ),
        _ => None,
    }
}

/// The late filters of a plan: for which operator, and from when on a row is late.
fn late_filters(plan: &StreamingPlan) -> Vec<(String, String)> {
    let mut found = Vec::new();
    // The closure never fails, so neither does the walk.
    let _ = plan.physical().apply(|node| {
        if let Some(filter) = <dyn ExecutionPlan>::downcast_ref::<LateFilterExec>(node.as_ref()) {
            found.push((filter.operator().to_owned(), filter.late_when()));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// Columns of ours by names that mean something.
fn plain(text: &str) -> String {
    let mut pieces = text.split("__window_start_");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        plain.push_str("window.start");
        plain.push_str(piece.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    plain
}
