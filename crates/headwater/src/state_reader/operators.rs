//! The list of operators and their stores, from the record of the first start and the newest commit.

use std::sync::Arc;

use datafusion::arrow::{
    array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use headwater_core::{Epoch, Error, Result};
use headwater_log::Metadata;
use headwater_state::{OperatorFiles, StoreColumn, StoreLayout, Version};

use super::{Inner, OperatorState, StoreState};
use crate::{DataFrame, error::from_datafusion, session::Session};

/// What is known of a store beside its layout, by the newest version.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Facts {
    partitions: u32,
    rows: Option<u64>,
    bytes: u64,
    versions: Option<(Epoch, Epoch)>,
}

pub(super) fn operators(
    inner: &Arc<Inner>,
    metadata: &Metadata,
    newest: Option<&Version>,
    versions: Option<(Epoch, Epoch)>,
) -> Result<Vec<OperatorState>> {
    let operators = metadata.operators.iter().map(|operator| {
        let files = newest.and_then(|newest| newest.manifest.operators.get(&operator.id));
        let recorded = files.map(|files| files.stores.clone());
        let layouts = match recorded.filter(|stores| !stores.is_empty()) {
            Some(stores) => stores,
            None => layouts_of(&operator.stores)?,
        };
        let layouts = Arc::new(layouts);
        let stores = layouts.iter().map(|layout| StoreState {
            inner: Arc::clone(inner),
            operator: operator.id.clone(),
            layouts: Arc::clone(&layouts),
            layout: layout.clone(),
            facts: facts(files, layout, metadata.partitions, versions),
        });
        Ok(OperatorState {
            id: operator.id.clone(),
            kind: operator.kind.clone(),
            stores: stores.collect(),
        })
    });
    operators.collect()
}

fn layouts_of(stores: &serde_json::Value) -> Result<Vec<StoreLayout>> {
    if stores.is_null() {
        return Ok(Vec::new());
    }
    serde_json::from_value(stores.clone())
        .map_err(|error| Error::data("the stores in the checkpoint's metadata").with_source(error))
}

fn facts(
    files: Option<&OperatorFiles>,
    layout: &StoreLayout,
    partitions: u32,
    versions: Option<(Epoch, Epoch)>,
) -> Facts {
    let Some(files) = files else {
        return Facts {
            partitions,
            rows: Some(0),
            bytes: 0,
            versions,
        };
    };
    let sections = files.files().flat_map(|file| &file.sections);
    let of_store = sections.filter(|section| section.store == layout.name);
    Facts {
        partitions: files.partitions,
        rows: files.live.get(&layout.name).copied(),
        bytes: of_store.map(|section| section.len).sum(),
        versions,
    }
}

/// All stores as a table.
pub(super) fn frame(session: &Session, operators: &[OperatorState]) -> Result<DataFrame> {
    let stores: Vec<(&OperatorState, &StoreState)> = operators
        .iter()
        .flat_map(|operator| operator.stores.iter().map(move |store| (operator, store)))
        .collect();
    let text = |of: &dyn Fn(&OperatorState, &StoreState) -> Option<String>| -> ArrayRef {
        let texts = stores.iter().map(|(operator, store)| of(operator, store));
        Arc::new(texts.collect::<StringArray>())
    };
    let number = |of: &dyn Fn(&Facts) -> Option<u64>| -> ArrayRef {
        let numbers = stores.iter().map(|(_, store)| of(&store.facts));
        let numbers = numbers.map(|number| number.and_then(|number| i64::try_from(number).ok()));
        Arc::new(numbers.collect::<Int64Array>())
    };
    let partitions = stores.iter().map(|(_, store)| store.facts.partitions);
    let partitions = partitions.map(|it| i32::try_from(it).unwrap_or(i32::MAX));
    let columns: Vec<(&str, DataType, ArrayRef)> = vec![
        (
            "operator",
            DataType::Utf8,
            text(&|it, _| Some(it.id.clone())),
        ),
        ("kind", DataType::Utf8, text(&|it, _| Some(it.kind.clone()))),
        (
            "store",
            DataType::Utf8,
            text(&|_, it| Some(it.layout.name.clone())),
        ),
        (
            "serves",
            DataType::Utf8,
            text(&|_, it| it.layout.serves.clone()),
        ),
        (
            "holds",
            DataType::Utf8,
            text(&|_, it| Some(it.layout.kind.to_string())),
        ),
        (
            "keys",
            DataType::Utf8,
            text(&|_, it| Some(columns_text(&it.layout.keys))),
        ),
        (
            "values",
            DataType::Utf8,
            text(&|_, it| Some(columns_text(&it.layout.values))),
        ),
        (
            "expires",
            DataType::Utf8,
            text(&|_, it| it.layout.expires.clone()),
        ),
        (
            "partitions",
            DataType::Int32,
            Arc::new(Int32Array::from_iter_values(partitions)),
        ),
        ("rows", DataType::Int64, number(&|facts| facts.rows)),
        ("bytes", DataType::Int64, number(&|facts| Some(facts.bytes))),
        (
            "first_version",
            DataType::Int64,
            number(&|facts| facts.versions.map(|(first, _)| first.0)),
        ),
        (
            "last_version",
            DataType::Int64,
            number(&|facts| facts.versions.map(|(_, last)| last.0)),
        ),
    ];
    let fields = columns.iter();
    let fields = fields.map(|(name, data_type, _)| Field::new(*name, data_type.clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = columns.into_iter().map(|(_, _, column)| column).collect();
    let batch = RecordBatch::try_new(schema, columns)?;
    let frame = session
        .context()
        .read_batch(batch)
        .map_err(from_datafusion)?;
    Ok(frame.into())
}

fn columns_text(columns: &[StoreColumn]) -> String {
    let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
    columns.join(", ")
}
