//! `${NAME}` in the text of a pipeline, and `${NAME:-otherwise}` with what it is where nobody gives a value.
//!
//! A value is put in as it is, inside a string literal or outside. `$${` stands for `${` itself. A value must not hold
//! line breaks, so that lines of the filled text are those of the file, and no quotation mark, so that a value cannot end
//! the literal that it stands in.

use std::collections::BTreeSet;

/// A text that cannot be filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfilled {
    /// Counted from one.
    pub(crate) line: usize,
    pub(crate) message: String,
}

/// Whether something can be a variable: letters, digits and `_`, no digit first.
pub(crate) fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(is_part) && name.starts_with(|c: char| !c.is_ascii_digit())
}

/// The text with each `${NAME}` replaced by what `value` gives for the name, and the names that were used. As in shells,
/// `${NAME:-otherwise}` is `otherwise` if there is no value, or an empty one.
///
/// # Errors
/// If a name has no value, a value cannot stand in a text, or `${` is not closed; with the line.
pub(crate) fn fill(
    text: &str,
    value: impl Fn(&str) -> Option<String>,
) -> Result<(String, BTreeSet<String>), Unfilled> {
    let mut filled = String::with_capacity(text.len());
    let mut used = BTreeSet::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = &from[2..];
            continue;
        }
        filled.push_str(before);
        let line = 1 + text[..text.len() - from.len()].matches('\n').count();
        let wrong = |message: String| Unfilled { line, message };
        let Some((name, otherwise)) = from[2..]
            .split_once('}')
            .and_then(|(inner, _)| parts(inner))
        else {
            return Err(wrong(
                "${ begins a variable: write ${NAME} or ${NAME:-otherwise}, or $${ for the characters themselves"
                    .to_owned(),
            ));
        };
        let given = value(name).filter(|value| otherwise.is_none() || !value.is_empty());
        let value = given.or_else(|| otherwise.map(str::to_owned));
        let value = value.ok_or_else(|| {
            wrong(format!(
                "${{{name}}} has no value: give it with --set {name}=…, or in the environment"
            ))
        })?;
        if value.contains(['\n', '\r', '\'']) {
            return Err(wrong(format!(
                "the value of ${{{name}}} holds a line break or a quotation mark, and could mean something else than a value"
            )));
        }
        filled.push_str(&value);
        used.insert(name.to_owned());
        rest = from.split_once('}').map_or("", |(_, rest)| rest);
    }
    filled.push_str(rest);
    Ok((filled, used))
}

/// The name between the braces, and what stands for a value that is not given.
fn parts(inner: &str) -> Option<(&str, Option<&str>)> {
    let (name, otherwise) = match inner.split_once(":-") {
        Some((name, otherwise)) => (name, Some(otherwise)),
        None => (inner, None),
    };
    is_name(name).then_some((name, otherwise))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill_with(text: &str) -> Result<String, Unfilled> {
        let value = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "LONG_NAME" => Some("x y".to_owned()),
            "QUOTED" => Some("it's".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        fill(text, value).map(|(filled, _)| filled)
    }

    #[test]
    fn names_become_values() {
        for (text, expected) in [
            ("", ""),
            ("no $ here }", "no $ here }"),
            ("${A}", "1"),
            ("a ${A}${A} '${LONG_NAME}'", "a 11 'x y'"),
            ("$${A} and ${A}", "${A} and 1"),
            ("$1 ${A}", "$1 1"),
            ("${A:-2} ${B:-2}/${C:-}", "1 2/"),
            ("${EMPTY:-data/logs}", "data/logs"),
            ("${B:-a:-b}", "a:-b"),
        ] {
            assert_eq!(fill_with(text).as_deref(), Ok(expected), "{text}");
        }
        let (_, used) = fill("${B} ${A} ${B}", |_| Some(String::new())).expect("values");
        assert_eq!(used.into_iter().collect::<Vec<_>>(), ["A", "B"]);
    }

    #[test]
    fn what_cannot_be_filled_is_told_with_its_line() {
        for (text, line, message) in [
            ("a\n${B}", 2, "${B} has no value: give it with --set B=…"),
            ("${A", 1, "${ begins a variable"),
            ("\n\n${}", 3, "${ begins a variable"),
            ("${A B}", 1, "${ begins a variable"),
            ("${:-a}", 1, "${ begins a variable"),
            ("${B:-it's}", 1, "the value of ${B} holds"),
            ("'${QUOTED}'", 1, "the value of ${QUOTED} holds"),
        ] {
            let wrong = fill_with(text).expect_err(text);
            assert_eq!(wrong.line, line, "{text}");
            assert!(wrong.message.starts_with(message), "{}", wrong.message);
        }
    }
}
