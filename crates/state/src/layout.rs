//! How the rows of a store are laid out when they are written.
//!
//! Both kinds of stores write the same kind of section; what tells them apart is here.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};

/// The columns of what a store writes, and what kind of store it is.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// What kind of store it is; see [`flag`].
    pub(crate) flags: u8,
    /// Columns of a stored row. Top-level columns are all nullable: whether a value may be null is the operator's
    /// business, and engines are not exact about it.
    pub(crate) rows: SchemaRef,
    /// Columns that say which rows are removed or marked.
    pub(crate) named: SchemaRef,
}

/// Bits of [`Layout::flags`]; durable.
pub(crate) mod flag {
    /// A key may have several rows, which share its expiry.
    pub(crate) const CHAINED: u8 = 1;
    /// Rows carry an expiry.
    pub(crate) const EXPIRES: u8 = 2;
    /// Rows have numbers, and a key any number of them.
    pub(crate) const NUMBERED: u8 = 4;
    /// Rows carry a mark.
    pub(crate) const MARKS: u8 = 8;
}

/// The columns of these schemas and these fields, all nullable.
pub(crate) fn columns(
    schemas: &[&Schema],
    others: impl IntoIterator<Item = FieldRef>,
) -> SchemaRef {
    let fields = schemas.iter().flat_map(|schema| schema.fields().iter());
    let fields = fields.cloned().chain(others);
    let nullable = fields.map(|field| match field.is_nullable() {
        true => field,
        false => Arc::new(field.as_ref().clone().with_nullable(true)),
    });
    Arc::new(Schema::new(nullable.collect::<Vec<_>>()))
}
