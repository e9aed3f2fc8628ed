//! Texts: `concat` of anything, splitting and searching by regular expressions, and what DataFusion spells otherwise.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListBuilder, StringArray, StringBuilder,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Int32Type};
use datafusion::common::{Result, exec_datafusion_err, plan_err};
use datafusion::logical_expr::ScalarUDF;
use regex::Regex;

use super::cast::to_text;
use super::scalar::{Scalar, arity, is_text, texts};

pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    [
        Scalar::new(
            "concat",
            coerce_concat,
            |_| Ok(DataType::Utf8),
            |args, call| {
                let zone = call.zone()?;
                let parts = args
                    .iter()
                    .map(|a| to_text(a, zone))
                    .collect::<Result<Vec<_>>>()?;
                let parts: Vec<&StringArray> = parts.iter().map(|p| p.as_string::<i32>()).collect();
                let rows = args.first().map_or(0, |a| a.len());
                // One NULL makes the whole NULL.
                let joined: StringArray = (0..rows)
                    .map(|row| {
                        parts
                            .iter()
                            .map(|p| p.is_valid(row).then(|| p.value(row)))
                            .collect::<Option<String>>()
                    })
                    .collect();
                Ok(Arc::new(joined))
            },
        ),
        Scalar::new(
            "split",
            |t| coerce_texts("split", 2, 3, t),
            |_| Ok(list_of_texts()),
            |args, _| split(args),
        ),
        Scalar::new(
            "regexp_like",
            |t| coerce_texts("regexp_like", 2, 2, t),
            |_| Ok(DataType::Boolean),
            |args, _| {
                let mut cache = RegexCache::default();
                let matches: BooleanArray = texts(&args[0])?
                    .iter()
                    .zip(texts(&args[1])?)
                    .map(|pair| match pair {
                        (Some(text), Some(pattern)) => Ok(Some(cache.get(pattern)?.is_match(text))),
                        _ => Ok(None),
                    })
                    .collect::<Result<_>>()?;
                Ok(Arc::new(matches))
            },
        ),
        Scalar::new(
            "regexp_extract",
            |t| coerce_texts("regexp_extract", 2, 3, t),
            |_| Ok(DataType::Utf8),
            |args, _| regexp_extract(args),
        ),
        Scalar::new(
            "regexp_replace",
            |t| coerce_texts("regexp_replace", 3, 3, t),
            |_| Ok(DataType::Utf8),
            |args, _| regexp_replace(args),
        ),
        Scalar::new(
            "locate",
            |t| coerce_texts("locate", 2, 3, t),
            |_| Ok(DataType::Int32),
            |args, _| locate(args),
        ),
    ]
    .map(Scalar::udf)
    .into()
}

fn list_of_texts() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
}

fn coerce_concat(types: &[DataType]) -> Result<Vec<DataType>> {
    if types.is_empty() {
        return plan_err!("concat() takes at least one argument");
    }
    Ok(types
        .iter()
        .map(|t| {
            if is_text(t) || *t == DataType::Null {
                DataType::Utf8
            } else {
                t.clone()
            }
        })
        .collect())
}

/// Texts, with a number as the last of the most arguments.
fn coerce_texts(
    name: &str,
    least: usize,
    most: usize,
    types: &[DataType],
) -> Result<Vec<DataType>> {
    arity(name, least..=most, types)?;
    Ok((0..types.len())
        .map(|i| {
            if i + 1 == most && most > least {
                DataType::Int32
            } else {
                DataType::Utf8
            }
        })
        .collect())
}

/// The last expression, since nearly always all rows have the same.
#[derive(Default)]
struct RegexCache(Option<Regex>);

impl RegexCache {
    fn get(&mut self, pattern: &str) -> Result<&Regex> {
        if self
            .0
            .as_ref()
            .is_none_or(|known| known.as_str() != pattern)
        {
            let compiled = Regex::new(pattern).map_err(|e| {
                exec_datafusion_err!(
                    "[INVALID_PARAMETER_VALUE] regular expression `{pattern}`: {e}"
                )
            })?;
            self.0 = Some(compiled);
        }
        self.0
            .as_ref()
            .ok_or_else(|| exec_datafusion_err!("regular expression `{pattern}` was not kept"))
    }
}

/// The number in `row` of an optional last argument.
fn number(args: &[ArrayRef], index: usize, row: usize, default: i32) -> Option<i32> {
    match args.get(index) {
        Some(values) => values
            .is_valid(row)
            .then(|| values.as_primitive::<Int32Type>().value(row)),
        None => Some(default),
    }
}

fn split(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, patterns) = (texts(&args[0])?, texts(&args[1])?);
    let mut cache = RegexCache::default();
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in 0..values.len() {
        let (true, true, Some(limit)) = (
            values.is_valid(row),
            patterns.is_valid(row),
            number(args, 2, row, -1),
        ) else {
            lists.append_null();
            continue;
        };
        let (text, pattern) = (values.value(row), patterns.value(row));
        let mut parts: Vec<&str> = match usize::try_from(limit) {
            Ok(limit) if limit > 0 => cache.get(pattern)?.splitn(text, limit).collect(),
            _ => cache.get(pattern)?.split(text).collect(),
        };
        // As in Java, a match of nothing at the very start makes no part; at the end it makes an empty one.
        if pattern.is_empty() && parts.len() > 1 && parts[0].is_empty() {
            parts.remove(0);
        }
        parts
            .into_iter()
            .for_each(|part| lists.values().append_value(part));
        lists.append(true);
    }
    Ok(cast(
        &(Arc::new(lists.finish()) as ArrayRef),
        &list_of_texts(),
    )?)
}

fn regexp_extract(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, patterns) = (texts(&args[0])?, texts(&args[1])?);
    let mut cache = RegexCache::default();
    let mut found = StringBuilder::new();
    for row in 0..values.len() {
        let (true, true, Some(group)) = (
            values.is_valid(row),
            patterns.is_valid(row),
            number(args, 2, row, 1),
        ) else {
            found.append_null();
            continue;
        };
        let regex = cache.get(patterns.value(row))?;
        let group = usize::try_from(group)
            .ok()
            .filter(|g| *g < regex.captures_len())
            .ok_or_else(|| {
                exec_datafusion_err!(
                    "regexp_extract(): `{regex}` has {} groups, group {group} was asked for",
                    regex.captures_len() - 1
                )
            })?;
        let captures = regex.captures(values.value(row));
        found.append_value(
            captures
                .as_ref()
                .and_then(|c| c.get(group))
                .map_or("", |m| m.as_str()),
        );
    }
    Ok(Arc::new(found.finish()))
}

fn regexp_replace(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, patterns, replacements) = (texts(&args[0])?, texts(&args[1])?, texts(&args[2])?);
    let mut cache = RegexCache::default();
    let replaced: StringArray = values
        .iter()
        .zip(patterns)
        .zip(replacements)
        .map(
            |((text, pattern), replacement)| match (text, pattern, replacement) {
                (Some(text), Some(pattern), Some(replacement)) => {
                    let regex = cache.get(pattern)?;
                    Ok(Some(
                        regex
                            .replace_all(text, rust_replacement(replacement).as_str())
                            .into_owned(),
                    ))
                }
                _ => Ok(None),
            },
        )
        .collect::<Result<_>>()?;
    Ok(Arc::new(replaced))
}

/// Java's `$1x` names group 1, the regex crate's would name group `1x`: braces tell them the same.
fn rust_replacement(java: &str) -> String {
    let mut out = String::with_capacity(java.len());
    let mut chars = java.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('$') => out.push_str("$$"),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            '$' => {
                let mut group = String::new();
                while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                    group.push(digit);
                }
                out.push_str(&if group.is_empty() {
                    "$".to_owned()
                } else {
                    format!("${{{group}}}")
                });
            }
            other => out.push(other),
        }
    }
    out
}

/// `locate(part, text[, from])`: where `part` starts, counted in characters from 1; 0 if nowhere.
fn locate(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (parts, values) = (texts(&args[0])?, texts(&args[1])?);
    let found: Int32Array = (0..values.len())
        .map(|row| {
            let from = number(args, 2, row, 1)?;
            if parts.is_null(row) || values.is_null(row) {
                return None;
            }
            let Some(skipped) = usize::try_from(from).ok().and_then(|f| f.checked_sub(1)) else {
                return Some(0);
            };
            let text = values.value(row);
            let start = text
                .char_indices()
                .nth(skipped)
                .map_or(text.len(), |(i, _)| i);
            let place = text[start..]
                .find(parts.value(row))
                .map(|i| text[..start + i].chars().count() + 1);
            Some(place.and_then(|p| i32::try_from(p).ok()).unwrap_or(0))
        })
        .collect();
    Ok(Arc::new(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[test]
    fn split_takes_regular_expressions() {
        let lists =
            split(&[column(&["a1b22c", ""]), column(&["[0-9]+", "[0-9]+"])]).expect("split");
        let first = lists.as_list::<i32>().value(0);
        assert_eq!(
            first
                .as_string::<i32>()
                .iter()
                .flatten()
                .collect::<Vec<_>>(),
            ["a", "b", "c"]
        );
        assert_eq!(lists.as_list::<i32>().value(1).len(), 1);
    }

    #[test]
    fn groups_are_found_and_replaced() {
        let found =
            regexp_extract(&[column(&["k=12"]), column(&["(\\w)=(\\d+)"])]).expect("extract");
        assert_eq!(found.as_string::<i32>().value(0), "k");
        let replaced = regexp_replace(&[
            column(&["k=12"]),
            column(&["(\\w)=(\\d+)"]),
            column(&["$2x$1"]),
        ])
        .expect("replace");
        assert_eq!(replaced.as_string::<i32>().value(0), "12xk");
    }

    #[test]
    fn locate_counts_characters() {
        let places = locate(&[column(&["r", "x"]), column(&["ärr", "ä"])]).expect("locate");
        assert_eq!(places.as_primitive::<Int32Type>().values(), &[2, 0]);
    }
}
