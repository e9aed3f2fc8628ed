//! Types and literals in messages, as SQL writes them.

/// Arrow's names and SQL's. Longer ones before those that they begin with.
const TYPES: &[(&str, &str)] = &[
    ("LargeUtf8", "STRING"),
    ("Utf8View", "STRING"),
    ("Utf8", "STRING"),
    ("LargeBinary", "BINARY"),
    ("BinaryView", "BINARY"),
    ("UInt8", "TINYINT UNSIGNED"),
    ("UInt16", "SMALLINT UNSIGNED"),
    ("UInt32", "INT UNSIGNED"),
    ("UInt64", "BIGINT UNSIGNED"),
    ("Int8", "TINYINT"),
    ("Int16", "SMALLINT"),
    ("Int32", "INT"),
    ("Int64", "BIGINT"),
    ("Float32", "FLOAT"),
    ("Float64", "DOUBLE"),
    ("Boolean", "BOOLEAN"),
    ("Date32", "DATE"),
    ("Timestamp", "TIMESTAMP"),
    ("Decimal128", "DECIMAL"),
    ("Decimal256", "DECIMAL"),
    ("Interval", "INTERVAL"),
];

/// The message with SQL's names of types, and literals as they are written: `Utf8("a")` as `'a'`, `Int64(5)` as `5`.
pub(super) fn shown(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(c) = rest.chars().next() {
        let begins_word = !out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let found = TYPES.iter().find(|(arrow, _)| {
            begins_word
                && rest.strip_prefix(arrow).is_some_and(|behind| {
                    !behind.starts_with(|c: char| c.is_alphanumeric() || c == '_')
                })
        });
        let Some((arrow, sql)) = found else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        rest = &rest[arrow.len()..];
        match inside(rest) {
            // The unit and the zone of a timestamp, the unit of an interval.
            Some((_, behind)) if matches!(*sql, "TIMESTAMP" | "INTERVAL") => {
                out.push_str(sql);
                rest = behind;
            }
            Some((literal, behind)) if *sql != "DECIMAL" => {
                let text = literal
                    .strip_prefix('"')
                    .and_then(|text| text.strip_suffix('"'));
                match text {
                    Some(text) => out.push_str(&format!("'{text}'")),
                    None => out.push_str(literal),
                }
                rest = behind;
            }
            _ => out.push_str(sql),
        }
    }
    out
}

/// What stands in the parentheses at the beginning, and what behind them.
fn inside(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('(')?;
    let mut depth = 1_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&text[..at], &text[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_literals_are_shown_as_sql_writes_them() {
        for (message, expected) in [
            ("s.at is Utf8: no", "s.at is STRING: no"),
            ("upper(Utf8View, Int64)", "upper(STRING, BIGINT)"),
            ("a > Int64(5)", "a > 5"),
            ("a = Utf8(\"x(y)\")", "a = 'x(y)'"),
            (
                "Timestamp(µs, \"UTC\") + Decimal128(10, 2)",
                "TIMESTAMP + DECIMAL(10, 2)",
            ),
            ("MyUtf8 Int64x", "MyUtf8 Int64x"),
        ] {
            assert_eq!(shown(message), expected);
        }
    }
}
