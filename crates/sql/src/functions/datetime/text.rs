//! Times from texts and to texts, with a pattern or in the form of CAST.

use std::sync::Arc;

use super::{instants, time_type};
use crate::functions::cast::cast_array;
use crate::functions::pattern::Pattern;
use crate::functions::scalar::{Call, Scalar, arity, is_text, texts, timestamp};
use crate::functions::zone::Zone;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, TimestampMicrosecondType};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::ScalarUDF;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    [
        Scalar::new(
            "date_format",
            coerce_date_format,
            |_| Ok(DataType::Utf8),
            date_format,
        ),
        Scalar::new(
            "to_date",
            |t| coerce_parse("to_date", t),
            |_| Ok(DataType::Date32),
            to_date,
        ),
        Scalar::new(
            "to_timestamp",
            |t| coerce_parse("to_timestamp", t),
            |_| Ok(timestamp()),
            |args, call| to_timestamp(args, call, false),
        ),
        Scalar::new(
            "try_to_timestamp",
            |t| coerce_parse("try_to_timestamp", t),
            |_| Ok(timestamp()),
            |args, call| to_timestamp(args, call, true),
        ),
        Scalar::new(
            "to_unix_timestamp",
            |t| coerce_parse("unix_timestamp", t),
            |_| Ok(DataType::Int64),
            |args, call| {
                // Towards zero, where CAST floors.
                let instants = to_timestamp(args, call, false)?;
                let seconds: Int64Array = instants
                    .as_primitive::<TimestampMicrosecondType>()
                    .unary(|t| t / 1_000_000);
                Ok(Arc::new(seconds))
            },
        )
        .aliases(&["unix_timestamp"]),
        Scalar::new(
            "from_unixtime",
            coerce_from_unixtime,
            |_| Ok(DataType::Utf8),
            from_unixtime,
        ),
    ]
    .map(Scalar::udf)
    .into()
}

fn coerce_date_format(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("date_format", 2..=2, types)?;
    Ok(vec![time_type("date_format", &types[0])?, DataType::Utf8])
}

fn date_format(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    let plain = matches!(args[0].data_type(), DataType::Timestamp(_, None));
    let zone = if plain { Zone::UTC } else { call.zone()? };
    let times = if plain {
        args[0].as_primitive::<TimestampMicrosecondType>().clone()
    } else {
        instants(&args[0], call)?
    };
    format_all(&times, &args[1], zone)
}

fn format_all(
    times: &TimestampMicrosecondArray,
    patterns: &ArrayRef,
    zone: Zone,
) -> Result<ArrayRef> {
    let mut cache = PatternCache::default();
    let formatted: StringArray = times
        .iter()
        .zip(texts(patterns)?)
        .map(|pair| match pair {
            (Some(t), Some(pattern)) => cache.get(pattern)?.format(t, zone).map(Some),
            _ => Ok(None),
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(formatted))
}

/// The last pattern, since nearly always all rows have the same.
#[derive(Default)]
struct PatternCache(Option<(String, Pattern)>);

impl PatternCache {
    fn get(&mut self, text: &str) -> Result<&Pattern> {
        if self.0.as_ref().is_none_or(|(known, _)| known != text) {
            self.0 = Some((text.to_owned(), Pattern::new(text)?));
        }
        match &self.0 {
            Some((_, pattern)) => Ok(pattern),
            None => exec_err!("pattern `{text}` was not kept"),
        }
    }
}

fn coerce_parse(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, 1..=2, types)?;
    let value = match &types[0] {
        text if is_text(text) => DataType::Utf8,
        DataType::Null => DataType::Utf8,
        number if number.is_numeric() && name != "to_date" => number.clone(),
        other => time_type(name, other)?,
    };
    Ok(if types.len() == 1 {
        vec![value]
    } else {
        vec![value, DataType::Utf8]
    })
}

fn to_timestamp(args: &[ArrayRef], call: &Call<'_>, attempt: bool) -> Result<ArrayRef> {
    let zone = call.zone()?;
    let (Some(patterns), true) = (args.get(1), is_text(args[0].data_type())) else {
        return cast_array(&args[0], &timestamp(), attempt, zone);
    };
    let mut cache = PatternCache::default();
    let parsed: TimestampMicrosecondArray = texts(&args[0])?
        .iter()
        .zip(texts(patterns)?)
        .map(|pair| {
            let (Some(text), Some(pattern)) = pair else { return Ok(None) };
            match cache.get(pattern)?.parse(text, zone) {
                None if !attempt => exec_err!(
                    "[CANNOT_PARSE_TIMESTAMP] the text '{text}' does not match '{pattern}': use try_to_timestamp to get NULL instead"
                ),
                parsed => Ok(parsed),
            }
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(parsed.with_timezone("UTC")))
}

fn to_date(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    let zone = call.zone()?;
    if args.len() == 1 || !is_text(args[0].data_type()) {
        return cast_array(&args[0], &DataType::Date32, false, zone);
    }
    let instants = to_timestamp(args, call, false)?;
    cast_array(&instants, &DataType::Date32, false, zone)
}

fn coerce_from_unixtime(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("from_unixtime", 1..=2, types)?;
    Ok([DataType::Int64, DataType::Utf8][..types.len()].to_vec())
}

fn from_unixtime(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    let zone = call.zone()?;
    let times = cast_array(&args[0], &timestamp(), false, zone)?;
    let default: ArrayRef = Arc::new(StringArray::from(vec!["yyyy-MM-dd HH:mm:ss"; times.len()]));
    format_all(times.as_primitive(), args.get(1).unwrap_or(&default), zone)
}
