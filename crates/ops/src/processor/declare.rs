//! What a processor declares: its state, its output, and which time its timers follow. Plain data, part of the plan.

use std::{fmt, sync::Arc, time::Duration};

use datafusion::arrow::datatypes::{Field, FieldRef, Fields, Schema, SchemaRef};
use headwater_core::{Error, Result};

/// Name of the store of timers.
pub(super) const TIMERS: &str = "timers";

/// Which time the timers of an operator follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeMode {
    /// There are no timers, and no row is late.
    None,
    /// The clock, as each epoch records it.
    ProcessingTime,
    /// The watermark. Rows that it has passed are dropped as late.
    EventTime,
}

impl TimeMode {
    /// As the checkpoint names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ProcessingTime => "processing time",
            Self::EventTime => "event time",
        }
    }
}

/// How a state variable keeps its rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StateKind {
    /// One row per key.
    Value,
    /// Any number of rows per key, in the order in which they were appended.
    List,
    /// Rows per key by a key of their own, with these columns.
    Map(Fields),
}

/// One named piece of what a processor remembers of each key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StateVariable {
    /// Its name, unique in the processor.
    pub name: String,
    /// Value, list or map.
    pub kind: StateKind,
    /// Columns of a row; of a map, those of an entry's value.
    pub columns: Fields,
    /// How long a row stays after it was written, in milliseconds of processing time; `None`: until it is removed.
    pub ttl_millis: Option<i64>,
}

impl StateVariable {
    /// One row per key.
    pub fn value(name: impl Into<String>, columns: impl IntoColumns) -> Self {
        Self::new(name, StateKind::Value, columns)
    }

    /// Any number of rows per key.
    pub fn list(name: impl Into<String>, columns: impl IntoColumns) -> Self {
        Self::new(name, StateKind::List, columns)
    }

    /// For each key a map from rows of `keys` to rows of `columns`.
    pub fn map(name: impl Into<String>, keys: impl IntoColumns, columns: impl IntoColumns) -> Self {
        Self::new(name, StateKind::Map(keys.into_columns()), columns)
    }

    fn new(name: impl Into<String>, kind: StateKind, columns: impl IntoColumns) -> Self {
        Self {
            name: name.into(),
            kind,
            columns: columns.into_columns(),
            ttl_millis: None,
        }
    }

    /// Forgets each row this long after it was written: at exactly that moment of processing time it is gone. Writing
    /// a row anew renews it, reading it does not. Of a list each element has its own time, of a map each entry.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl_millis = Some(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let what = format!("state '{}'", self.name);
        if self.name.is_empty() {
            return Err(Error::invalid("a state variable has no name: give it one"));
        }
        if self.ttl_millis.is_some_and(|ttl| ttl < 1) {
            return Err(Error::invalid(format!(
                "{what} has a time to live below one millisecond: leave ttl() out, or give it more"
            )));
        }
        if self.name == TIMERS {
            return Err(Error::invalid(format!(
                "{what} has the name of the store of timers: give it another one"
            )));
        }
        if self.columns.is_empty() {
            return Err(Error::invalid(format!(
                "{what} has no columns: give it one"
            )));
        }
        if matches!(&self.kind, StateKind::Map(keys) if keys.is_empty()) {
            return Err(Error::invalid(format!(
                "{what} is a map without key columns: declare a value instead"
            )));
        }
        Ok(())
    }
}

/// Columns given as fields, `(name, type)` pairs or a schema. Pairs are nullable.
pub trait IntoColumns {
    /// The fields.
    fn into_columns(self) -> Fields;
}

impl IntoColumns for Fields {
    fn into_columns(self) -> Fields {
        self
    }
}

impl IntoColumns for Schema {
    fn into_columns(self) -> Fields {
        self.fields
    }
}

impl IntoColumns for SchemaRef {
    fn into_columns(self) -> Fields {
        self.fields().clone()
    }
}

impl IntoColumns for Vec<FieldRef> {
    fn into_columns(self) -> Fields {
        self.into()
    }
}

impl<const N: usize> IntoColumns for [Field; N] {
    fn into_columns(self) -> Fields {
        Vec::from(self).into()
    }
}

impl<const N: usize> IntoColumns for [(&str, datafusion::arrow::datatypes::DataType); N] {
    fn into_columns(self) -> Fields {
        self.into_iter()
            .map(|(name, kind)| Field::new(name, kind, true))
            .collect()
    }
}

/// What a processor is given and gives, known when a query is planned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessorSpec {
    /// What it remembers of each key.
    pub variables: Vec<StateVariable>,
    /// Columns of the rows that it gives out.
    pub output: SchemaRef,
}

impl ProcessorSpec {
    /// A processor that gives out these columns and remembers nothing yet.
    pub fn new(output: impl IntoColumns) -> Self {
        Self {
            variables: Vec::new(),
            output: Arc::new(Schema::new(output.into_columns())),
        }
    }

    /// Adds a state variable.
    #[must_use]
    pub fn with(mut self, variable: StateVariable) -> Self {
        self.variables.push(variable);
        self
    }

    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// `Invalid` for a name that is used twice, or state or output without columns.
    pub fn check(&self) -> Result<()> {
        for (at, variable) in self.variables.iter().enumerate() {
            variable.check()?;
            if self.variables[..at].iter().any(|v| v.name == variable.name) {
                return Err(Error::invalid(format!(
                    "state '{}' is declared twice: give each variable its own name",
                    variable.name
                )));
            }
        }
        if self.output.fields().is_empty() {
            return Err(Error::invalid(
                "the output has no columns: declare at least one",
            ));
        }
        Ok(())
    }
}

/// What a processor can know about the rows that it will be given, when it declares itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessorInput {
    /// Columns of the key.
    pub keys: SchemaRef,
    /// Columns of the rows.
    pub rows: SchemaRef,
}

impl fmt::Display for StateVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            StateKind::Value => "value",
            StateKind::List => "list",
            StateKind::Map(_) => "map",
        };
        write!(f, "{kind} {}", self.name)
    }
}
