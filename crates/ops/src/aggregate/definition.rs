//! What a stateful aggregation is, the same in every epoch: its groups, and which stores keep them.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, Int64Array},
        datatypes::{Schema, SchemaRef},
    },
    error::Result,
};
use headwater_core::OutputMode;
use headwater_state::{StateSpec, StoreLayout};

use crate::{
    accumulate::AggregateLayout,
    distinct::{distinct_spec, distinct_store},
    expiry::Expiry,
    stores::{expiry_text, shown, with_shown_names},
    window::{ClosingWindows, SlicedAggregate},
};

/// Name of the store that holds the groups.
pub(super) const GROUPS: &str = "groups";

/// Name of that store where it holds slices of windows.
const SLICES: &str = "slices";

/// Name of the key that names slices.
const SLICE: &str = "__slice_0";

/// What the operator is, the same in every epoch.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) operator: String,
    pub(super) mode: OutputMode,
    /// Grouping columns that lead the input and the output.
    pub(super) keys: usize,
    /// Which key expires, if any.
    pub(super) expiry: Option<Expiry>,
    /// How windows end that state has slices of; their column is its last key.
    pub(super) closing: Option<ClosingWindows>,
    pub(super) layout: AggregateLayout,
    /// Whether the last input column counts the rows of each group.
    pub(super) counted: bool,
    pub(super) spec: StateSpec,
    /// Input columns without the tag of origin.
    pub(super) partial: SchemaRef,
    pub(super) output: SchemaRef,
}

impl Definition {
    /// The same with state that has slices; `None` where windows do not all end, or not together with what is kept of
    /// them.
    pub(super) fn in_slices(&self, sliced: &SlicedAggregate) -> Option<Self> {
        let expiry = self.expiry.filter(|_| self.mode == OutputMode::Append)?;
        let closing = sliced.closing_windows(expiry)?;
        let order = closing.key_order();
        let slice = order.len() - 1;
        let keys = order.iter().enumerate().map(|(place, key)| {
            let field = self.spec.keys.field(*key).clone();
            Arc::new(if place == slice {
                field.with_name(SLICE)
            } else {
                field
            })
        });
        Some(Self {
            operator: self.operator.clone(),
            mode: self.mode,
            keys: self.keys,
            expiry: self.expiry,
            layout: self.layout.clone(),
            counted: self.counted,
            spec: StateSpec {
                keys: Arc::new(Schema::new(keys.collect::<Vec<_>>())),
                owner_columns: Some(slice),
                ..self.spec.clone()
            },
            closing: Some(closing),
            partial: Arc::clone(&self.partial),
            output: Arc::clone(&self.output),
        })
    }

    /// Input columns that decide which partition owns a key.
    pub(super) fn owners(&self) -> Vec<usize> {
        match &self.closing {
            None => (0..self.keys).collect(),
            Some(closing) => {
                let mut others = closing.key_order();
                others.pop();
                others
            }
        }
    }

    /// Which key of state decides when it expires.
    pub(super) fn expiring_key(&self, expiry: Expiry) -> usize {
        match &self.closing {
            None => expiry.column,
            Some(_) => self.spec.keys.fields().len() - 1,
        }
    }

    /// When each of these keys expires.
    pub(super) fn expiry_of(&self, keys: &[ArrayRef]) -> Result<Option<Int64Array>> {
        match (&self.closing, self.expiry) {
            (Some(closing), _) => closing.expiry(keys).map(Some),
            (None, Some(expiry)) => expiry.millis(keys).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The stores by name, and what each holds.
    pub(super) fn stores(&self) -> Vec<(String, StateSpec)> {
        let groups = match self.closing {
            None => GROUPS,
            Some(_) => SLICES,
        };
        let mut stores = vec![(groups.to_owned(), self.spec.clone())];
        stores.extend(self.layout.distinct().map(|distinct| {
            (
                distinct_store(distinct.number),
                distinct_spec(&self.spec, distinct.argument),
            )
        }));
        stores
    }

    fn expiry_text(&self, expiry: Expiry) -> String {
        let key = self.spec.keys.field(self.expiring_key(expiry));
        match self.closing {
            None => expiry_text(key.name(), expiry),
            Some(_) => format!("the end of the last window over {}", shown(key.name())),
        }
    }

    /// The same stores as they are recorded.
    pub(super) fn layouts(&self) -> Vec<StoreLayout> {
        let serve = self.layout.distinct().map(|distinct| Some(distinct.name));
        let stores = self.stores().into_iter();
        let layouts = stores.zip(std::iter::once(None).chain(serve));
        let layouts = layouts.map(|((name, spec), serves)| {
            let layout = with_shown_names(spec.layout(name));
            let layout = match self.expiry {
                Some(expiry) => layout.expiring(self.expiry_text(expiry)),
                None => layout,
            };
            match serves {
                Some(aggregate) => layout.serving(aggregate),
                None => layout,
            }
        });
        layouts.collect()
    }
}
