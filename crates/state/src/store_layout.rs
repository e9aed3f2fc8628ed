//! What a store holds, as it is recorded with its files: by it a reader knows keys from values, and a restart whose
//! query has changed knows what it can take over.
//!
//! Plain data. Columns of values are known by name across restarts, so their names say what they are; the types are
//! those that Arrow shows.

use std::fmt;

use arrow::datatypes::{DataType, Schema};
use serde::{Deserialize, Serialize};

use crate::{rows::RowsSpec, spec::StateSpec};

/// Which kind of store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// A value by key: [`crate::KeyedState`].
    Value,
    /// A value of several rows by key, which come one after the other and go together: [`crate::KeyedState`], chained.
    Chain,
    /// Any number of rows by key, each with a number of its own: [`crate::RowStore`].
    Rows,
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value => "a value by key",
            Self::Chain => "a chain of rows by key",
            Self::Rows => "rows by key",
        })
    }
}

/// A column: name and type. In JSON an array of both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(String, String)", into = "(String, String)")]
pub struct StoreColumn {
    /// Its name.
    pub name: String,
    /// Its type, as Arrow shows it.
    pub data_type: String,
}

impl StoreColumn {
    /// The type, if its text can be read back.
    pub fn arrow_type(&self) -> Option<DataType> {
        self.data_type.parse().ok()
    }
}

impl From<(String, String)> for StoreColumn {
    fn from((name, data_type): (String, String)) -> Self {
        Self { name, data_type }
    }
}

impl From<StoreColumn> for (String, String) {
    fn from(column: StoreColumn) -> Self {
        (column.name, column.data_type)
    }
}

impl fmt::Display for StoreColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.data_type)
    }
}

/// What one store of an operator holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreLayout {
    /// Its name inside the operator.
    pub name: String,
    /// What it serves, if an operator has several of a kind: the aggregate whose values it remembers. Such a store is
    /// known by this across restarts, others are known by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serves: Option<String>,
    /// Which kind of store it is.
    pub kind: StoreKind,
    /// Columns of the key.
    pub keys: Vec<StoreColumn>,
    /// Columns of the value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<StoreColumn>,
    /// How many leading key columns decide which partition owns a key, if not all do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_columns: Option<usize>,
    /// When a key or row goes, in words; none if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Whether rows carry a mark.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marks: bool,
}

impl StoreLayout {
    /// The same store, which serves `what`.
    pub fn serving(mut self, what: impl Into<String>) -> Self {
        self.serves = Some(what.into());
        self
    }

    /// The same store; a key or row goes when the watermark has passed what `text` says. A store whose rows never
    /// expire stays as it is.
    pub fn expiring(mut self, text: impl Into<String>) -> Self {
        self.expires = self.expires.map(|_| text.into());
        self
    }

    /// Keys and values, for people.
    pub fn schema_text(&self) -> String {
        let list = |columns: &[StoreColumn]| {
            let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
            columns.join(", ")
        };
        format!(
            "keys ({}), values ({})",
            list(&self.keys),
            list(&self.values)
        )
    }
}

fn columns(schema: &Schema) -> Vec<StoreColumn> {
    let fields = schema.fields().iter();
    let columns = fields.map(|field| StoreColumn {
        name: field.name().clone(),
        data_type: field.data_type().to_string(),
    });
    columns.collect()
}

/// What is said of an expiry whose meaning only the operator knows.
fn some_expiry(expires: bool) -> Option<String> {
    expires.then(|| "by time".to_owned())
}

impl StateSpec {
    /// The layout of a store of this kind.
    pub fn layout(&self, name: impl Into<String>) -> StoreLayout {
        StoreLayout {
            name: name.into(),
            serves: None,
            kind: match self.chained {
                true => StoreKind::Chain,
                false => StoreKind::Value,
            },
            keys: columns(&self.keys),
            values: columns(&self.values),
            owner_columns: self.owner_columns,
            expires: some_expiry(self.expires),
            marks: false,
        }
    }
}

impl RowsSpec {
    /// The layout of a store of this kind.
    pub fn layout(&self, name: impl Into<String>) -> StoreLayout {
        StoreLayout {
            name: name.into(),
            serves: None,
            kind: StoreKind::Rows,
            keys: columns(&self.keys),
            values: columns(&self.values),
            owner_columns: self.owner_columns,
            expires: some_expiry(self.expires),
            marks: self.marks,
        }
    }
}
