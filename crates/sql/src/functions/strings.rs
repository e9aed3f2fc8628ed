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
use super::lists::concat_lists;
use super::scalar::{Scalar, arity, is_text, texts};

pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    [
        Scalar::new(
            "concat",
            coerce_concat,
            |types| match types.first() {
                Some(list @ DataType::List(_)) => Ok(list.clone()),
                _ => Ok(DataType::Utf8),
            },
            |args, call| {
                if matches!(call.return_type, DataType::List(_)) {
                    return concat_lists(args);
                }
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
            "regexp_extract_all",
            |t| coerce_texts("regexp_extract_all", 2, 3, t),
            |_| Ok(list_of_texts()),
            |args, _| regexp_extract_all(args),
        ),
        Scalar::new(
            "initcap",
            |t| coerce_texts("initcap", 1, 1, t),
            |_| Ok(DataType::Utf8),
            |args, _| {
                let titles: StringArray = texts(&args[0])?.iter().map(|t| t.map(initcap)).collect();
                Ok(Arc::new(titles))
            },
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
    if let Some(list) = types.iter().find(|t| matches!(t, DataType::List(_))) {
        return Ok(vec![list.clone(); types.len()]);
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
struct RegexCache(Option<(String, Regex)>);

impl RegexCache {
    fn get(&mut self, pattern: &str) -> Result<&Regex> {
        let kept = self.0.take().filter(|(known, _)| known == pattern);
        let kept = match kept {
            Some(kept) => kept,
            None => {
                let compiled = Regex::new(&java_classes(pattern)).map_err(|e| {
                    exec_datafusion_err!(
                        "[INVALID_PARAMETER_VALUE] regular expression `{pattern}`: {e}"
                    )
                })?;
                (pattern.to_owned(), compiled)
            }
        };
        Ok(&self.0.insert(kept).1)
    }
}

/// Java's `\w`, `\d`, `\s` and `\b` know ASCII only, where the regex crate's know Unicode.
fn java_classes(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('w') => out.push_str("[0-9A-Za-z_]"),
            Some('W') => out.push_str("[^0-9A-Za-z_]"),
            Some('d') => out.push_str("[0-9]"),
            Some('D') => out.push_str("[^0-9]"),
            Some('s') => out.push_str("[ \\t\\n\\x0B\\f\\r]"),
            Some('S') => out.push_str("[^ \\t\\n\\x0B\\f\\r]"),
            Some('b') => out.push_str("(?-u:\\b)"),
            other => {
                out.push('\\');
                out.extend(other);
            }
        }
    }
    out
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
            // Spark's own rule: split into characters, without the empty rest.
            if parts.len() > 1 && parts.last().is_some_and(|last| last.is_empty()) {
                parts.pop();
            }
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
        let group = group_of("regexp_extract", regex, group)?;
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

/// What the group matched, for every match; the whole match is group 0.
fn regexp_extract_all(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, patterns) = (texts(&args[0])?, texts(&args[1])?);
    let mut cache = RegexCache::default();
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in 0..values.len() {
        let (true, true, Some(group)) = (
            values.is_valid(row),
            patterns.is_valid(row),
            number(args, 2, row, 1),
        ) else {
            lists.append_null();
            continue;
        };
        let regex = cache.get(patterns.value(row))?;
        let group = group_of("regexp_extract_all", regex, group)?;
        for captures in regex.captures_iter(values.value(row)) {
            let text = captures.get(group).map_or("", |m| m.as_str());
            lists.values().append_value(text);
        }
        lists.append(true);
    }
    let lists: ArrayRef = Arc::new(lists.finish());
    Ok(cast(&lists, &list_of_texts())?)
}

/// The number of a group that the expression has.
fn group_of(name: &str, regex: &Regex, group: i32) -> Result<usize> {
    let known = usize::try_from(group)
        .ok()
        .filter(|g| *g < regex.captures_len());
    known.ok_or_else(|| {
        exec_datafusion_err!(
            "{name}(): `{regex}` has {} groups, group {group} was asked for",
            regex.captures_len() - 1
        )
    })
}

/// The first letter behind each space is large, all others small.
fn initcap(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut is_first = true;
    for c in text.chars() {
        match is_first {
            // One letter only: `ß` is `Ss` at the start of a word.
            true => {
                let mut upper = c.to_uppercase();
                out.extend(upper.next());
                out.extend(upper.flat_map(char::to_lowercase));
            }
            false => out.extend(c.to_lowercase()),
        }
        is_first = c == ' ';
    }
    out
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
    fn classes_know_ascii_only() {
        let found = regexp_extract_all(&[
            column(&["é1 b22"]),
            column(&["\\b\\w+"]),
            Arc::new(Int32Array::from(vec![0])),
        ])
        .expect("extract");
        let found = found.as_list::<i32>().value(0);
        assert_eq!(
            found
                .as_string::<i32>()
                .iter()
                .flatten()
                .collect::<Vec<_>>(),
            ["1", "b22"]
        );
    }

    #[test]
    fn words_are_told_by_spaces() {
        assert_eq!(initcap("hello wORLD foo-bar ßa"), "Hello World Foo-bar Ssa");
    }

    #[test]
    fn split_by_nothing_gives_characters() {
        let lists = split(&[column(&["ab", ""]), column(&["", ""])]).expect("split");
        let lists = lists.as_list::<i32>();
        assert_eq!((lists.value(0).len(), lists.value(1).len()), (2, 1));
    }

    #[test]
    fn locate_counts_characters() {
        let places = locate(&[column(&["r", "x"]), column(&["ärr", "ä"])]).expect("locate");
        assert_eq!(places.as_primitive::<Int32Type>().values(), &[2, 0]);
    }
}
