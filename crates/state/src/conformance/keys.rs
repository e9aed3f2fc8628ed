//! Keys of many types, made from numbers and recognised again.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, StringArray,
        StringViewArray, StructArray, TimestampMicrosecondArray,
    },
    buffer::NullBuffer,
    datatypes::{Field, Fields, Int32Type, Schema, SchemaRef},
    util::display::{ArrayFormatter, FormatOptions},
};
use headwater_core::{Error, Result};

/// Columns of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// No columns: there is one key.
    None,
    /// One int64.
    Int,
    /// One int64 that may be null.
    NullableInt,
    /// One text that may be null.
    Text,
    /// One text in a dictionary, different in each batch.
    Dictionary,
    /// One float64: zeros of either sign, NaN, infinities among them.
    Float,
    /// A struct of an int32 and a text, both and itself nullable.
    Struct,
    /// A timestamp and a text as a view: what a windowed aggregation has.
    Pair,
}

impl KeyKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::Int,
        Self::NullableInt,
        Self::Text,
        Self::Dictionary,
        Self::Float,
        Self::Struct,
        Self::Pair,
    ];

    /// Key columns whose rows have these numbers. Equal numbers give equal keys, though not always the same bits.
    pub(super) fn columns(self, numbers: &[u16]) -> Vec<ArrayRef> {
        let ints = || numbers.iter().map(|n| i64::from(*n));
        let nullable = || numbers.iter().map(|n| (*n > 0).then_some(*n));
        let texts = || nullable().map(|n| n.map(text));
        match self {
            Self::None => vec![],
            Self::Int => vec![Arc::new(Int64Array::from_iter_values(ints()))],
            Self::NullableInt => {
                vec![Arc::new(
                    nullable().map(|n| n.map(i64::from)).collect::<Int64Array>(),
                )]
            }
            Self::Text => vec![Arc::new(texts().collect::<StringArray>())],
            Self::Dictionary => {
                let texts: Vec<_> = texts().collect();
                let array: DictionaryArray<Int32Type> =
                    texts.iter().map(Option::as_deref).collect();
                vec![Arc::new(array)]
            }
            Self::Float => {
                let rows = numbers.iter().enumerate();
                vec![Arc::new(Float64Array::from_iter_values(
                    rows.map(|(row, n)| float(*n, row)),
                ))]
            }
            Self::Struct => vec![Arc::new(structs(numbers))],
            Self::Pair => vec![
                Arc::new(TimestampMicrosecondArray::from_iter_values(
                    ints().map(|n| n / 3 * 1_000),
                )),
                Arc::new(texts().collect::<StringViewArray>()),
            ],
        }
    }

    /// Number that the key of this number is equal to.
    pub(super) fn canonical(self, number: u16) -> u16 {
        if self == Self::None { 0 } else { number }
    }

    /// Whether the key of this number has a column that is null.
    pub(super) fn is_null(self, number: u16) -> bool {
        number == 0 && !matches!(self, Self::None | Self::Int | Self::Float)
    }

    pub(super) fn schema(self) -> SchemaRef {
        let fields = self.columns(&[0, 1]).into_iter().enumerate();
        let fields = fields.map(|(i, c)| Field::new(format!("k{i}"), c.data_type().clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

fn text(number: u16) -> String {
    // Short ones fit into a view, long ones do not.
    if number.is_multiple_of(2) {
        format!("{number}")
    } else {
        format!("key number {number}, a long one")
    }
}

fn float(number: u16, row: usize) -> f64 {
    match (number, row % 2) {
        (0, 0) => 0.0,
        (0, _) => -0.0,
        (1, 0) => f64::NAN,
        (1, _) => -f64::NAN,
        (2, _) => f64::NEG_INFINITY,
        (n, _) => f64::from(n) / 4.0,
    }
}

/// Number 0 is a null struct, 1 a struct of nulls.
fn structs(numbers: &[u16]) -> StructArray {
    let values = || numbers.iter().map(|n| (*n > 1).then_some(*n));
    let ints: Int32Array = values().map(|n| n.map(|n| i32::from(n % 50))).collect();
    let texts: StringArray = values().map(|n| n.map(text)).collect();
    let fields = Fields::from(vec![
        Field::new("a", ints.data_type().clone(), true),
        Field::new("b", texts.data_type().clone(), true),
    ]);
    let nulls: NullBuffer = numbers.iter().map(|n| *n > 0).collect();
    StructArray::new(fields, vec![Arc::new(ints), Arc::new(texts)], Some(nulls))
}

/// Finds out the numbers of keys.
pub(super) struct Numbers {
    kind: KeyKind,
    by_text: HashMap<String, u16>,
}

impl Numbers {
    /// Of keys below `bound`.
    pub(super) fn new(kind: KeyKind, bound: u16) -> Result<Self> {
        // Twice, since the two appearances of a float may differ.
        let numbers: Vec<u16> = (0..bound).flat_map(|number| [number, number]).collect();
        let texts = shown(&kind.columns(&numbers), numbers.len())?;
        let canonical = numbers.into_iter().map(|number| kind.canonical(number));
        Ok(Self {
            kind,
            by_text: texts.into_iter().zip(canonical).collect(),
        })
    }

    /// The numbers of the keys in these columns.
    pub(super) fn of(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<u16>> {
        let texts = shown(columns, rows)?.into_iter();
        let known = texts.map(|text| {
            let number = self.by_text.get(&text).copied();
            number.ok_or_else(|| {
                Error::internal(format!("{text} is not a key of kind {:?}", self.kind))
            })
        });
        known.collect()
    }
}

/// Each row as text.
fn shown(columns: &[ArrayRef], rows: usize) -> Result<Vec<String>> {
    let options = FormatOptions::default().with_null("null");
    let mut texts = vec![String::new(); rows];
    for column in columns {
        let formatter = ArrayFormatter::try_new(column, &options)?;
        for (row, text) in texts.iter_mut().enumerate() {
            text.push_str(&formatter.value(row).to_string());
            text.push('|');
        }
    }
    Ok(texts)
}
