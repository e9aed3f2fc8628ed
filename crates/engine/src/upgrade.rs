//! Whether a query that has changed can go on with the state that it finds: pure comparisons of what is recorded with
//! what the plan keeps.
//!
//! What must never change stands in the operators' fingerprints, which the log compares; what their stores hold may
//! change as far as it can be had from the recorded rows. The newest commit says what those are. The record of the
//! first start speaks only where there is no state yet, and then of nothing that could be lost.

use headwater_core::{Error, Result};
use headwater_log::{
    Metadata,
    compat::{Difference, differences, refusal},
};
use headwater_plan::OperatorInfo;
use headwater_state::{StateManifest, StoreLayout, misfits};

/// Refuses to go on if the query does not fit its checkpoint. `state` is that of the newest commit.
///
/// # Errors
/// `Invalid`, with everything that differs: the recorded and the new schema of each operator concerned too.
pub(crate) fn check_restart(
    place: &str,
    then: &Metadata,
    now: &Metadata,
    operators: &[OperatorInfo],
    state: &StateManifest,
) -> Result<()> {
    let mut found = differences(then, now);
    let schemas = schemas_of_changed(&found, then, operators, state);
    found.extend(schemas);
    for operator in operators {
        let recorded = state.operators.get(&operator.id);
        let recorded = recorded.map_or(&[][..], |files| files.stores.as_slice());
        if recorded.is_empty()
            || found
                .iter()
                .any(|it| it.operator == Some(operator.id.clone()))
        {
            continue;
        }
        let misfits = misfits(recorded, &operator.stores).into_iter();
        found.extend(misfits.map(|misfit| Difference {
            operator: Some(operator.id.clone()),
            what: format!("operator '{}' {}", operator.id, misfit.what),
            was: misfit.was,
            is: misfit.is,
        }));
    }
    match found.is_empty() {
        true => Ok(()),
        false => Err(refusal(place, &found)),
    }
}

/// For each operator that differs: what its state was and what it is.
fn schemas_of_changed(
    found: &[Difference],
    then: &Metadata,
    operators: &[OperatorInfo],
    state: &StateManifest,
) -> Vec<Difference> {
    let mut ids: Vec<&String> = found.iter().filter_map(|it| it.operator.as_ref()).collect();
    ids.dedup();
    let schemas = ids.into_iter().map(|id| {
        let recorded = state.operators.get(id).map(|files| files.stores.clone());
        let recorded = recorded.filter(|stores| !stores.is_empty());
        let first = then.operators.iter().find(|operator| operator.id == *id);
        let first = first.and_then(|operator| recorded_stores(&operator.stores).ok());
        let now = operators.iter().find(|operator| operator.id == *id);
        Difference {
            operator: Some(id.clone()),
            what: format!("operator '{id}' state"),
            was: recorded.or(first).and_then(|stores| schema_text(&stores)),
            is: now.and_then(|operator| schema_text(&operator.stores)),
        }
    });
    schemas
        .filter(|schemas| schemas.was != schemas.is)
        .collect()
}

/// The layouts in an operator's record; none in records of before they were written.
pub(crate) fn recorded_stores(stores: &serde_json::Value) -> Result<Vec<StoreLayout>> {
    if stores.is_null() {
        return Ok(Vec::new());
    }
    serde_json::from_value(stores.clone())
        .map_err(|error| Error::data("the stores of an operator's record").with_source(error))
}

fn schema_text(stores: &[StoreLayout]) -> Option<String> {
    if stores.is_empty() {
        return None;
    }
    let texts: Vec<String> = stores
        .iter()
        .map(|store| format!("store '{}' with {}", store.name, store.schema_text()))
        .collect();
    Some(texts.join("; "))
}
