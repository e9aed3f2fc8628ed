//! What the operators of a plan keep, in the words that are recorded with it.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::physical_plan::ExecutionPlan;
use headwater_state::StoreLayout;

use crate::expiry::Expiry;

/// The stores of every operator of a plan, by the operator's id.
pub fn stores_of(plan: &Arc<dyn ExecutionPlan>) -> BTreeMap<String, Vec<StoreLayout>> {
    let mut found = BTreeMap::new();
    collect(plan, &mut found);
    found
}

fn collect(plan: &Arc<dyn ExecutionPlan>, found: &mut BTreeMap<String, Vec<StoreLayout>>) {
    if let Some((operator, stores)) = crate::as_bindable(plan).and_then(|node| node.stores()) {
        found.insert(operator.to_owned(), stores);
    }
    for child in plan.children() {
        collect(child, found);
    }
}

/// A name that this engine made, such as `__window_start_0`, as people are shown it; other names as they are.
pub(crate) fn shown(name: &str) -> &str {
    let Some(made) = name.strip_prefix("__") else {
        return name;
    };
    match made.rsplit_once('_') {
        Some((stem, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => stem,
        _ => name,
    }
}

/// The layout with its names as people are shown them.
pub(crate) fn with_shown_names(mut layout: StoreLayout) -> StoreLayout {
    for column in layout.keys.iter_mut().chain(&mut layout.values) {
        column.name = shown(&column.name).to_owned();
    }
    layout
}

/// When something goes whose column is called `name`, such as `window_start + 10 s`.
pub(crate) fn expiry_text(name: &str, expiry: Expiry) -> String {
    let name = shown(name);
    let micros = expiry.extra_micros;
    let units = [
        (3_600_000_000, "h"),
        (60_000_000, "min"),
        (1_000_000, "s"),
        (1_000, "ms"),
        (1, "us"),
    ];
    let unit = units.iter().find(|(length, _)| micros % length == 0);
    match (micros, unit) {
        (0, _) | (_, None) => name.to_owned(),
        (_, Some((length, unit))) => {
            let sign = if micros < 0 { '-' } else { '+' };
            format!("{name} {sign} {} {unit}", (micros / length).abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_we_made_lose_their_number() {
        for (name, expected) in [
            ("__window_start_0", "window_start"),
            ("__x", "__x"),
            ("host_1", "host_1"),
        ] {
            assert_eq!(shown(name), expected);
        }
    }

    #[test]
    fn an_expiry_is_told_in_the_largest_unit_that_fits() {
        for (extra_micros, expected) in [
            (0, "ts"),
            (600_000_000, "ts + 10 min"),
            (-1_500_000, "ts - 1500 ms"),
            (7, "ts + 7 us"),
        ] {
            let expiry = Expiry {
                column: 0,
                extra_micros,
            };
            assert_eq!(expiry_text("ts", expiry), expected);
        }
    }
}
