//! What may stand where the cursor is.
//!
//! The words before the cursor, in its own statement, say what is asked for: a format behind `USING`, a table behind
//! `FROM`, the next word of a phrase. Elsewhere it is a column of the tables that the statement names, a function, or a
//! word of the grammar.

use std::ops::Range;

use headwater::sql::statement::{Lexeme, LexemeKind};

use super::vocabulary::{CLAUSES, STATEMENTS, Vocabulary};

/// Behind these comes a table.
const BEFORE_TABLES: [&str; 6] = ["FROM", "JOIN", "TABLE", "DESCRIBE", "DESC", "STREAM"];

/// What may stand in a place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Completion {
    /// What has been typed of it.
    pub(crate) range: Range<usize>,
    /// Each as it would stand there.
    pub(crate) candidates: Vec<String>,
}

/// The completion of a text at its cursor.
pub(crate) fn complete(text: &str, cursor: usize, names: &Vocabulary) -> Completion {
    let all = names.lexer.lexemes(text);
    let begin = all.iter().take_while(|lexeme| lexeme.range.end <= cursor);
    let begin = begin
        .filter(|lexeme| lexeme.kind == LexemeKind::Semicolon)
        .last();
    let begin = begin.map_or(0, |semicolon| semicolon.range.end);
    let before = names.lexer.lexemes(&text[begin..cursor]);
    let last = before.last();
    let typed = match last {
        Some(last) if last.kind == LexemeKind::Word => last.range.clone(),
        // Texts and comments are the user's own.
        Some(last) if last.kind == LexemeKind::Open => return Completion::default(),
        Some(last) if last.kind == LexemeKind::Comment && !text[..cursor].ends_with('\n') => {
            return Completion::default();
        }
        _ => cursor - begin..cursor - begin,
    };
    let words: Vec<&str> = before
        .iter()
        .filter(|lexeme| lexeme.range.end <= typed.start && is_said(lexeme))
        .map(|lexeme| &text[begin..][lexeme.range.clone()])
        .collect();
    let statement: Vec<&str> = all
        .iter()
        .filter(|lexeme| lexeme.range.start >= begin && is_said(lexeme))
        .take_while(|lexeme| lexeme.kind != LexemeKind::Semicolon)
        .map(|lexeme| &text[lexeme.range.clone()])
        .collect();
    let prefix = &text[begin..][typed.clone()];
    Completion {
        range: begin + typed.start..begin + typed.end,
        candidates: candidates(prefix, &words, &statement, names),
    }
}

fn is_said(lexeme: &Lexeme) -> bool {
    !matches!(lexeme.kind, LexemeKind::Blank | LexemeKind::Comment)
}

/// Whatever begins with `prefix` and may follow `words`, each once, what fits best first.
fn candidates(prefix: &str, words: &[&str], statement: &[&str], names: &Vocabulary) -> Vec<String> {
    let mut found = Found {
        prefix,
        candidates: Vec::new(),
    };
    let is = |back: usize, word: &str| {
        let at = words.len().checked_sub(back);
        at.is_some_and(|at| words[at].eq_ignore_ascii_case(word))
    };
    let begins = |word: &str| {
        statement
            .first()
            .is_some_and(|w| w.eq_ignore_ascii_case(word))
    };
    let has = |word: &str| words.iter().any(|w| w.eq_ignore_ascii_case(word));
    if words.is_empty() {
        found.keywords(STATEMENTS.iter().filter_map(|phrase| nth(phrase, 0)));
        return found.candidates;
    }
    if is(1, "USING") && begins("CREATE") {
        let (sources, sinks) = (&names.source_formats, &names.sink_formats);
        found.texts(if has("SINK") { sinks } else { sources });
        return found.candidates;
    }
    if is(1, ".") {
        let qualifier = words.get(words.len().wrapping_sub(2)).copied();
        found.names(columns_of(qualifier.unwrap_or_default(), statement, names));
        return found.candidates;
    }
    if is(1, "INTO") {
        found.names(&names.sinks);
        found.names(names.tables.iter().map(|(name, _)| name));
        return found.candidates;
    }
    let of_phrase = next_of_phrases(words);
    found.keywords(of_phrase.iter().copied());
    if is(1, "QUERY") && (begins("STOP") || begins("DROP")) {
        found.names(&names.queries);
    } else if is(1, "SINK") && (begins("DROP") || begins("DESCRIBE")) {
        found.names(&names.sinks);
    } else if BEFORE_TABLES.iter().any(|word| is(1, word)) && !begins("CREATE")
        || (is(1, "VIEW") && begins("DROP"))
        || (["FROM", "JOIN"].iter().any(|word| is(1, word)))
    {
        found.names(names.tables.iter().map(|(name, _)| name));
        if begins("DESCRIBE") {
            found.names(&names.sinks);
        }
    } else if of_phrase.is_empty() {
        let is_named = |name: &str| statement.iter().any(|word| is_name(word, name));
        // Before its FROM is written, a query may mean any table.
        let means_any = !prefix.is_empty() && !names.tables.iter().any(|(name, _)| is_named(name));
        for (name, columns) in &names.tables {
            if means_any || is_named(name) {
                found.names(columns);
            }
        }
        // All there is would be too much to read.
        if !prefix.is_empty() {
            found.names(names.tables.iter().map(|(name, _)| name));
            found.functions(&names.functions);
            found.keywords(CLAUSES.iter().filter_map(|phrase| nth(phrase, 0)));
        }
    }
    found.candidates
}

fn nth(phrase: &str, number: usize) -> Option<&str> {
    phrase.split_whitespace().nth(number)
}

/// The words with which phrases go on whose beginning stands before the cursor.
fn next_of_phrases(words: &[&str]) -> Vec<&'static str> {
    let mut next = Vec::new();
    let whole = STATEMENTS.iter().map(|phrase| (phrase, true));
    let parts = CLAUSES.iter().map(|phrase| (phrase, false));
    for (phrase, from_start) in whole.chain(parts) {
        let phrase: Vec<&str> = phrase.split_whitespace().collect();
        for length in 1..phrase.len() {
            let fits = match from_start {
                true => words.len() == length,
                false => words.len() >= length,
            };
            let before = words.iter().rev().take(length).rev();
            let mut pairs = before.zip(&phrase);
            if fits && pairs.all(|(word, known)| word.eq_ignore_ascii_case(known)) {
                next.push(phrase[length]);
            }
        }
    }
    next
}

/// The columns of the table that a name means in a statement: its own, or an alias.
fn columns_of<'a>(name: &str, statement: &[&str], names: &'a Vocabulary) -> &'a [String] {
    let table = |name: &str| {
        let mut tables = names.tables.iter();
        tables.find(|(table, _)| is_name(name, table))
    };
    let aliased = |at: usize| {
        let back = match statement.get(at.checked_sub(1)?) {
            Some(word) if word.eq_ignore_ascii_case("AS") => 2,
            _ => 1,
        };
        table(statement.get(at.checked_sub(back)?)?)
    };
    let places = statement.iter().enumerate();
    let mut places = places.filter(|(_, word)| word.eq_ignore_ascii_case(name));
    let found = table(name).or_else(|| places.find_map(|(at, _)| aliased(at)));
    found.map_or(&[], |(_, columns)| columns.as_slice())
}

/// Whether a word of a text means this name.
fn is_name(word: &str, name: &str) -> bool {
    let within = |quote| word.strip_prefix(quote)?.strip_suffix(quote);
    match within('`').or_else(|| within('"')) {
        Some(quoted) => quoted == name,
        None => word.eq_ignore_ascii_case(name),
    }
}

/// Candidates on their way.
struct Found<'a> {
    prefix: &'a str,
    candidates: Vec<String>,
}

impl Found<'_> {
    fn begins(&self, candidate: &str) -> bool {
        let beginning = candidate.get(..self.prefix.len());
        beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(self.prefix))
    }

    fn add(&mut self, candidate: String) {
        if !self.candidates.contains(&candidate) {
            self.candidates.push(candidate);
        }
    }

    /// In small letters where one types such.
    fn keywords<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) {
        let is_small = self.prefix.starts_with(char::is_lowercase);
        for word in words {
            if self.begins(word) {
                self.add(match is_small {
                    true => word.to_ascii_lowercase(),
                    false => word.to_owned(),
                });
            }
        }
    }

    fn names<'a>(&mut self, names: impl IntoIterator<Item = &'a String>) {
        for name in names {
            if self.begins(name) {
                self.add(written(name));
            }
        }
    }

    fn texts(&mut self, texts: &[String]) {
        for text in texts {
            if self.begins(text) {
                self.add(text.clone());
            }
        }
    }

    fn functions(&mut self, functions: &[String]) {
        for function in functions {
            if self.begins(function) {
                self.add(format!("{function}("));
            }
        }
    }
}

/// A name as a statement writes it: in backticks, unless it is a plain word.
fn written(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    match name.chars().all(is_plain) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        true => name.to_owned(),
        false => format!("`{}`", name.replace('`', "``")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vocabulary {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Vocabulary {
            tables: vec![
                ("logs".to_owned(), texts(&["time", "host", "status"])),
                ("hosts".to_owned(), texts(&["host", "Owner"])),
            ],
            sinks: texts(&["errors", "screen"]),
            queries: texts(&["hourly"]),
            functions: texts(&["count", "current_date", "hour"]),
            source_formats: texts(&["json", "rate"]),
            sink_formats: texts(&["json", "console"]),
            ..Vocabulary::default()
        }
    }

    /// What Tab offers at `|`.
    fn offered(text: &str) -> Vec<String> {
        let cursor = text.find('|').expect("a cursor");
        let text = text.replace('|', "");
        complete(&text, cursor, &names()).candidates
    }

    #[test]
    fn what_stands_before_says_what_may_come() {
        for (text, expected) in [
            ("sel|", &["select"][..]),
            ("SELECT 1; SHO|", &["SHOW"]),
            ("SHOW STREA|", &["STREAMS", "STREAMING"]),
            ("SHOW STREAMING |", &["QUERIES"]),
            ("drop st|", &["stream", "streaming"]),
            ("DROP STREAM |", &["IF", "logs", "hosts"]),
            ("STOP STREAMING QUERY h|", &["hourly"]),
            ("CREATE STREAM s (a INT) USING |", &["json", "rate"]),
            ("CREATE SINK s USING c|", &["console"]),
            ("INSERT INTO |", &["errors", "screen", "logs", "hosts"]),
            ("SELECT * FROM l|", &["logs"]),
            ("SELECT * FROM STREAM |", &["logs", "hosts"]),
            ("SELECT | FROM logs", &["time", "host", "status"]),
            ("SELECT h| FROM logs", &["host", "hosts", "hour("]),
            ("SELECT l.| FROM logs AS l", &["time", "host", "status"]),
            ("SELECT hosts.o| FROM hosts", &["`Owner`"]),
            ("SELECT x.| FROM hosts x, logs y", &["host", "`Owner`"]),
            ("SELECT cur|", &["current_date("]),
            ("SELECT sta|", &["status"]),
            ("SELECT host FROM logs GROUP |", &["BY"]),
            ("CREATE STREAMING QUERY q TRIGGER AVAILABLE |", &["NOW"]),
            (
                "CREATE STREAMING QUERY q OUTPUT MODE |",
                &["append", "update", "complete"],
            ),
            ("SELECT 'FROM |", &[]),
            ("SELECT 1 -- FROM |", &[]),
            ("SELECT 1 FROM nothing WHERE |", &[]),
        ] {
            let found = offered(text);
            let found: Vec<&str> = found.iter().map(String::as_str).collect();
            let found = match text.contains("h| FROM") {
                // And whatever the grammar has with this letter.
                true => &found[..3],
                false => &found[..],
            };
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn the_word_that_is_typed_is_replaced() {
        let text = "SELECT 1;\nSELECT ho FROM logs";
        let completion = complete(text, 19, &names());
        assert_eq!(&text[completion.range], "ho");
    }
}
