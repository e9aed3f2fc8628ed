//! The prompt: a text is typed until it is complete.

use std::time::Duration;

use console::{measure_text_width, truncate_str};
use headwater::sql::statement::Lexer;

use super::{
    complete::complete,
    edit::{
        editor::{Completion, Editor, Language, Outcome},
        layout::{Prompts, layout},
    },
    highlight::styles,
    pieces::{Place, pieces},
    private::is_private,
    vocabulary::Vocabulary,
    wait::Person,
    words::word,
};
use crate::{
    exit,
    screen::{Screen, Size},
    status::log::colours_allowed,
};

const FIRST: &str = "headwater> ";
const MORE: &str = "        -> ";

/// How often it is looked whether there is something to tell.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Candidates that are shown at most.
const CANDIDATES: usize = 200;

/// SQL, and the words of the shell.
struct Sql<'a> {
    names: &'a Vocabulary,
}

impl Language for Sql<'_> {
    fn is_complete(&self, text: &str) -> bool {
        if text.trim().is_empty() || word(text).is_some() {
            return true;
        }
        let cut = pieces(text, Place::START, self.names.lexer);
        cut.rest.is_none() || !cut.can_go_on
    }

    fn complete(&self, text: &str, cursor: usize) -> Completion {
        complete(text, cursor, self.names)
    }

    fn is_private(&self, text: &str) -> bool {
        is_private(text, self.names.lexer)
    }
}

/// Lets somebody type; nothing if the shell is to end. `news` gives what is to be told meanwhile.
pub(crate) async fn read(
    person: &mut Person,
    screen: &Screen,
    editor: &mut Editor,
    names: &Vocabulary,
    mut news: impl FnMut() -> Vec<String>,
) -> Option<String> {
    let language = Sql { names };
    let mut ticks = tokio::time::interval(TELL_EVERY);
    editor.reset();
    loop {
        if !person.keyboard.has_more() {
            draw(screen, editor, names.lexer, false);
        }
        let key = tokio::select! {
            biased;
            key = person.keyboard.next() => key,
            () = person.interrupts.next() => None,
            _ = ticks.tick() => {
                for line in news() {
                    screen.above(|| eprintln!("{line}"));
                }
                continue;
            }
        };
        let Some(key) = key else {
            screen.leave();
            return None;
        };
        match editor.press(key, &language) {
            Outcome::Edited => {}
            Outcome::Accepted(text) => {
                draw(screen, editor, names.lexer, true);
                screen.leave();
                return Some(text);
            }
            Outcome::GivenUp => {
                let end = editor.buffer.text().len();
                editor.buffer.move_to(end);
                editor.buffer.insert("^C");
                draw(screen, editor, names.lexer, true);
                screen.leave();
                editor.reset();
            }
            Outcome::Leave => {
                screen.leave();
                return None;
            }
            Outcome::Cleared => screen.clear(),
            Outcome::Candidates(candidates) => {
                let lines = in_columns(&candidates, Size::now().columns);
                // Who cannot see it cannot choose.
                let _ = screen.above(|| exit::print(&lines));
            }
        }
    }
}

/// Draws the text; with the cursor behind it if it is done.
fn draw(screen: &Screen, editor: &Editor, lexer: Lexer, is_done: bool) {
    let found = editor.search();
    let first = match found {
        Some((wanted, true)) => format!("search '{wanted}': "),
        Some((wanted, false)) => format!("nothing with '{wanted}': "),
        None => FIRST.to_owned(),
    };
    let text = editor.buffer.text();
    let cursor = if is_done {
        text.len()
    } else {
        editor.buffer.cursor()
    };
    let styles = match colours_allowed() {
        true => styles(text, lexer),
        false => Vec::new(),
    };
    let prompts = Prompts {
        first: &first,
        more: MORE,
    };
    screen.draw(layout(prompts, text, cursor, &styles, Size::now()));
}

/// Words side by side, down and then right, a line break at the end.
fn in_columns(words: &[String], columns: usize) -> String {
    let shown = &words[..words.len().min(CANDIDATES)];
    let widths = shown.iter().map(|word| measure_text_width(word));
    let width = widths.max().unwrap_or(0).min(columns - 3) + 2;
    let across = ((columns - 1) / width).max(1);
    let down = shown.len().div_ceil(across).max(1);
    let mut text = String::new();
    for row in 0..down {
        let words = shown.iter().skip(row).step_by(down);
        let cells = words.map(|word| {
            let word = truncate_str(word, width - 2, "…");
            let blanks = " ".repeat(width - measure_text_width(&word));
            format!("{word}{blanks}")
        });
        let line: String = cells.collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if words.len() > shown.len() {
        text.push_str(&format!("… and {} more\n", words.len() - shown.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_complete_with_its_semicolon() {
        let names = Vocabulary::default();
        let language = Sql { names: &names };
        for (text, complete) in [
            ("", true),
            ("quit", true),
            (".read a.sql", true),
            ("SELECT 1", false),
            ("SELECT 1;", true),
            ("SELECT 1; -- done", true),
            ("SELECT 1; SELECT", false),
            ("SELECT ';", false),
            ("SELECT `a;", false),
            ("SELECT 1 /* ;", false),
        ] {
            assert_eq!(language.is_complete(text), complete, "{text}");
        }
    }

    #[test]
    fn candidates_stand_side_by_side() {
        let words = |words: &[&str]| -> Vec<String> {
            words.iter().map(|word| (*word).to_owned()).collect()
        };
        let some = words(&["a", "bb", "ccc", "d", "e"]);
        assert_eq!(in_columns(&some, 16), "a    ccc  e\nbb   d\n");
        assert_eq!(in_columns(&some, 6), "a\nbb\nccc\nd\ne\n");
        let long = words(&["0123456789"]);
        assert_eq!(in_columns(&long, 8), "0123…\n");
        let many: Vec<String> = (0..300).map(|n| n.to_string()).collect();
        assert!(in_columns(&many, 80).ends_with("… and 100 more\n"));
    }
}
