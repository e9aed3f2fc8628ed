//! Folders named `column=value`, as Hive and Spark write them.
//!
//! A value is text; characters that a path cannot hold are written as `%XX`, and a null (or an empty text, which a
//! path cannot hold either) as `__HIVE_DEFAULT_PARTITION__`.

/// The folder name of a null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The folder for one value of a partition column.
pub(crate) fn folder(column: &str, value: Option<&str>) -> String {
    let mut folder = escape(column);
    folder.push('=');
    match value {
        None | Some("") => folder.push_str(NULL),
        Some(value) => folder.push_str(&escape(value)),
    }
    folder
}

/// Column and value of a folder name; `None` for an ordinary folder.
pub(crate) fn parse(folder: &str) -> Option<(String, Option<String>)> {
    let (column, value) = folder.split_once('=')?;
    if column.is_empty() {
        return None;
    }
    let value = (value != NULL).then(|| unescape(value));
    Some((unescape(column), value))
}

/// The partition values in the folders of a path, outermost first.
pub(crate) fn values(path: &str) -> Vec<(String, Option<String>)> {
    let mut segments: Vec<&str> = path.split('/').collect();
    segments.pop();
    segments.into_iter().filter_map(parse).collect()
}

fn must_escape(byte: u8) -> bool {
    byte < 0x20
        || matches!(
            byte,
            0x7f | b'"'
                | b'#'
                | b'%'
                | b'\''
                | b'*'
                | b'/'
                | b':'
                | b'='
                | b'?'
                | b'\\'
                | b'{'
                | b'}'
                | b'['
                | b']'
                | b'^'
                | b'<'
                | b'>'
                | b'|'
                | b'`'
                | b'~'
        )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    // `.` and `..` are names of other folders.
    let only_dots = text.bytes().all(|byte| byte == b'.');
    for c in text.chars() {
        if c.is_ascii() && (must_escape(c as u8) || only_dots) {
            escaped.push_str(&format!("%{:02X}", c as u8));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_the_way_through_a_folder_name() {
        for value in [
            "plain",
            "a/b",
            "2024-01-01 00:00:00",
            "50%",
            "..",
            "ü=ß",
            "%2F",
        ] {
            let name = folder("day", Some(value));
            assert!(!name.contains('/'), "{name}");
            assert_eq!(
                parse(&name),
                Some(("day".to_owned(), Some(value.to_owned())))
            );
        }
    }

    #[test]
    fn null_and_empty_text_share_a_folder() {
        assert_eq!(folder("k", None), "k=__HIVE_DEFAULT_PARTITION__");
        assert_eq!(folder("k", Some("")), "k=__HIVE_DEFAULT_PARTITION__");
        assert_eq!(
            parse("k=__HIVE_DEFAULT_PARTITION__"),
            Some(("k".to_owned(), None))
        );
    }

    #[test]
    fn only_folders_count_not_the_file_itself() {
        assert_eq!(
            values("year=2024/x/month=1/a=b.parquet"),
            vec![
                ("year".to_owned(), Some("2024".to_owned())),
                ("month".to_owned(), Some("1".to_owned())),
            ]
        );
    }
}
