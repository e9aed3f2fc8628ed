//! The types that Spark SQL names, as Arrow types.
//!
//! Timestamps are microseconds in UTC whatever the session's zone, which only decides how they are read and shown.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use datafusion::common::{Result, plan_datafusion_err, plan_err};
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType as SqlType, ExactNumberInfo, TimezoneInfo,
};

/// Plans Spark's type names.
#[derive(Debug)]
pub(crate) struct SparkTypePlanner;

impl TypePlanner for SparkTypePlanner {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        Ok(arrow_type(sql_type)?.map(|data_type| Arc::new(Field::new("", data_type, true))))
    }
}

/// The Arrow type of a type name; `None` leaves it to DataFusion.
pub(crate) fn arrow_type(sql_type: &SqlType) -> Result<Option<DataType>> {
    let required = |inner: &SqlType| -> Result<DataType> {
        arrow_type(inner)?.ok_or_else(|| plan_datafusion_err!("unknown type {inner}"))
    };
    Ok(Some(match sql_type {
        SqlType::Boolean | SqlType::Bool => DataType::Boolean,
        SqlType::TinyInt(_) => DataType::Int8,
        SqlType::SmallInt(_) => DataType::Int16,
        SqlType::Int(_) | SqlType::Integer(_) => DataType::Int32,
        SqlType::BigInt(_) => DataType::Int64,
        SqlType::Float(_) | SqlType::Real => DataType::Float32,
        SqlType::Double(_) | SqlType::DoublePrecision => DataType::Float64,
        SqlType::String(_) | SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) => {
            DataType::Utf8
        }
        SqlType::Binary(_) | SqlType::Varbinary(_) => DataType::Binary,
        SqlType::Date => DataType::Date32,
        SqlType::Decimal(shape) | SqlType::Numeric(shape) | SqlType::Dec(shape) => decimal(shape)?,
        SqlType::Timestamp(_, TimezoneInfo::WithoutTimeZone) => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        SqlType::Timestamp(_, _) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        SqlType::TimestampNtz { .. } => DataType::Timestamp(TimeUnit::Microsecond, None),
        SqlType::Array(ArrayElemTypeDef::AngleBracket(item)) => {
            DataType::List(Arc::new(Field::new_list_field(required(item)?, true)))
        }
        SqlType::Struct(fields, _) => {
            let fields = fields
                .iter()
                .enumerate()
                .map(|(i, field)| {
                    let name = field
                        .field_name
                        .as_ref()
                        .map_or_else(|| format!("col{}", i + 1), |n| n.value.clone());
                    Ok(Field::new(name, required(&field.field_type)?, true))
                })
                .collect::<Result<Vec<_>>>()?;
            DataType::Struct(Fields::from(fields))
        }
        SqlType::Custom(name, _) => match name.to_string().to_ascii_uppercase().as_str() {
            "LONG" => DataType::Int64,
            "SHORT" => DataType::Int16,
            "BYTE" => DataType::Int8,
            "TIMESTAMP_LTZ" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            "TIMESTAMP_NTZ" => DataType::Timestamp(TimeUnit::Microsecond, None),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    }))
}

/// `DECIMAL` is `DECIMAL(10, 0)` in Spark.
fn decimal(shape: &ExactNumberInfo) -> Result<DataType> {
    let (precision, scale) = match shape {
        ExactNumberInfo::None => (10, 0),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p @ 1..=38), Ok(s)) if s >= 0 && i16::from(s) <= i16::from(p) => {
            Ok(DataType::Decimal128(p, s))
        }
        _ => plan_err!(
            "DECIMAL({precision}, {scale}): the precision is 1 to 38, the scale 0 to the precision"
        ),
    }
}
