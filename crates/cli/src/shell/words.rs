//! What the shell understands beside SQL.

use std::path::PathBuf;

/// What `help` says.
pub(crate) const HELP: &str = "\
A statement ends with a semicolon and may have several lines; Alt-Enter begins a new line anywhere.

  SELECT …                       over tables: the answer; over a stream: a live table, until a key is pressed
  CREATE STREAM name (…) USING … defines a stream; CREATE SINK, a place for results
  INSERT INTO sink SELECT …      starts a streaming query; CREATE STREAMING QUERY says more about it
  SHOW STREAMS | SINKS | STREAMING QUERIES | TABLES | FUNCTIONS, DESCRIBE name
  STOP STREAMING QUERY name, DROP STREAM | SINK | STREAMING QUERY | VIEW name
  EXPLAIN STREAMING SELECT …     which operators keep what, and which output modes are possible

  .read FILE                     carries out the statements of a file
  help, quit                     Ctrl-D leaves, too

  Tab completes     Up, Down  history     Ctrl-R  searches it     Ctrl-C  clears the line, or ends a statement
";

/// A word of the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    Help,
    Quit,
    Read(PathBuf),
}

/// The word that a text is, if it is one; or what is wrong with it.
pub(crate) fn word(text: &str) -> Option<Result<Word, String>> {
    let text = text.trim().trim_end_matches(';').trim_end();
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    let lower = first.to_ascii_lowercase();
    match (lower.as_str(), rest) {
        ("help" | ".help" | "\\h" | "\\?", "") => Some(Ok(Word::Help)),
        ("quit" | "exit" | ".quit" | ".exit" | "\\q", "") => Some(Ok(Word::Quit)),
        (".read" | "\\i", "") => Some(Err("write .read FILE".to_owned())),
        (".read" | "\\i", file) => {
            let file = file.trim_matches(['\'', '"']);
            Some(Ok(Word::Read(PathBuf::from(file))))
        }
        (other, _) if other.starts_with(['.', '\\']) => Some(Err(format!(
            "there is no '{first}': write SQL, or .read FILE, help or quit"
        ))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_words_are_no_sql() {
        for (text, expected) in [
            ("help", Some(Ok(Word::Help))),
            (" QUIT ; ", Some(Ok(Word::Quit))),
            ("\\q", Some(Ok(Word::Quit))),
            (".read a b.sql", Some(Ok(Word::Read("a b.sql".into())))),
            (".read 'a.sql';", Some(Ok(Word::Read("a.sql".into())))),
            ("SELECT 1;", None),
            ("help me", None),
            ("", None),
        ] {
            assert_eq!(word(text), expected, "{text}");
        }
        assert!(matches!(word(".tables"), Some(Err(_))));
        assert!(matches!(word(".read"), Some(Err(_))));
    }
}
