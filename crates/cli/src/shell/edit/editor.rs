//! What a key does to the text that is being typed.

use std::ops::Range;

use super::{buffer::Buffer, history::History};
use crate::shell::terminal::keys::Key;

/// What the editor asks about the text.
pub(crate) trait Language {
    /// Whether Enter ends it.
    fn is_complete(&self, text: &str) -> bool;

    /// What may stand where the cursor is.
    fn complete(&self, text: &str, cursor: usize) -> Completion;

    /// Whether it is not to be remembered.
    fn is_private(&self, text: &str) -> bool;
}

/// What may stand in a place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Completion {
    /// What has been typed of it.
    pub(crate) range: Range<usize>,
    /// Each as it would stand there.
    pub(crate) candidates: Vec<String>,
}

/// What becomes of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The text may have changed.
    Edited,
    /// The text is complete.
    Accepted(String),
    /// The text is given up.
    GivenUp,
    /// The shell is to end.
    Leave,
    /// Everything above is to go.
    Cleared,
    /// These may stand there.
    Candidates(Vec<String>),
}

/// The text, what was cut out of it, and what was typed before.
#[derive(Debug, Default)]
pub(crate) struct Editor {
    pub(crate) buffer: Buffer,
    history: History,
    cut: String,
    search: Option<Search>,
}

/// A search in the history.
#[derive(Debug, Clone, Default)]
struct Search {
    wanted: String,
    /// The number of the entry that is shown.
    found: usize,
    failed: bool,
    before: Buffer,
}

impl Editor {
    pub(crate) fn new(history: History) -> Self {
        Self {
            history,
            ..Self::default()
        }
    }

    /// What is searched for, and whether it was found.
    pub(crate) fn search(&self) -> Option<(&str, bool)> {
        let search = self.search.as_ref()?;
        Some((&search.wanted, !search.failed))
    }

    /// Begins a new text.
    pub(crate) fn reset(&mut self) {
        self.buffer = Buffer::default();
        self.search = None;
        self.history.begin_new();
    }

    /// Does what a key asks for.
    pub(crate) fn press(&mut self, key: Key, language: &dyn Language) -> Outcome {
        match self.search.take() {
            Some(search) => self.press_in_search(search, key, language),
            None => self.press_in_text(key, language),
        }
    }

    fn press_in_text(&mut self, key: Key, language: &dyn Language) -> Outcome {
        let buffer = &mut self.buffer;
        match key {
            Key::Enter if language.is_complete(buffer.text()) => {
                let text = buffer.text().to_owned();
                self.history.add(&text, language.is_private(&text));
                return Outcome::Accepted(text);
            }
            Key::Enter | Key::AltEnter => buffer.insert("\n"),
            Key::Char(c) => buffer.insert(c.encode_utf8(&mut [0; 4])),
            Key::Paste(text) => buffer.insert(&text),
            Key::Tab => return self.complete(language),
            Key::Ctrl('c') => return Outcome::GivenUp,
            Key::Ctrl('d') if buffer.is_empty() => return Outcome::Leave,
            Key::Ctrl('l') => return Outcome::Cleared,
            Key::Ctrl('r') => {
                self.search = Some(Search {
                    found: usize::MAX,
                    before: buffer.clone(),
                    ..Search::default()
                });
            }
            Key::Left | Key::Ctrl('b') => buffer.move_to(buffer.left()),
            Key::Right | Key::Ctrl('f') => buffer.move_to(buffer.right()),
            Key::WordLeft => buffer.move_to(buffer.word_left()),
            Key::WordRight => buffer.move_to(buffer.word_right()),
            Key::Home | Key::Ctrl('a') => buffer.move_to(buffer.line_start()),
            Key::End | Key::Ctrl('e') => buffer.move_to(buffer.line_end()),
            Key::Up => match buffer.up() {
                Some(place) => buffer.move_to(place),
                None => self.earlier(),
            },
            Key::Down => match buffer.down() {
                Some(place) => buffer.move_to(place),
                None => self.later(),
            },
            Key::Ctrl('p') => self.earlier(),
            Key::Ctrl('n') => self.later(),
            Key::Backspace => drop(buffer.cut(buffer.left()..buffer.cursor())),
            Key::Delete | Key::Ctrl('d') => {
                let at = buffer.cursor();
                drop(buffer.cut(at..buffer.right()));
            }
            Key::Ctrl('k') => {
                let (at, end) = (buffer.cursor(), buffer.line_end());
                // At the end of a line, its end.
                let end = if at == end { buffer.right() } else { end };
                self.cut = buffer.cut(at..end);
            }
            Key::Ctrl('u') => self.cut = buffer.cut(buffer.line_start()..buffer.cursor()),
            Key::Ctrl('w') | Key::AltBackspace => {
                self.cut = buffer.cut(buffer.word_left()..buffer.cursor());
            }
            Key::Alt('d') => {
                let at = buffer.cursor();
                self.cut = buffer.cut(at..buffer.word_right());
            }
            Key::Ctrl('y') => buffer.insert(&self.cut),
            Key::Escape | Key::Ctrl(_) | Key::Alt(_) | Key::Other => {}
        }
        Outcome::Edited
    }

    fn earlier(&mut self) {
        if let Some(entry) = self.history.earlier(self.buffer.text()) {
            self.buffer = Buffer::of(entry);
        }
    }

    fn later(&mut self) {
        if let Some(entry) = self.history.later() {
            self.buffer = Buffer::of(entry);
        }
    }

    /// Writes what all candidates have in common; if that is nothing new, shows them.
    fn complete(&mut self, language: &dyn Language) -> Outcome {
        let Completion { range, candidates } =
            language.complete(self.buffer.text(), self.buffer.cursor());
        let typed = &self.buffer.text()[range.clone()];
        match candidates.as_slice() {
            [] => Outcome::Edited,
            [only] => {
                let only = only.clone();
                // A word is done; what opens something goes on.
                let end = if only.ends_with('(') { "" } else { " " };
                let has_blank = self.buffer.text()[range.end..].starts_with(' ');
                self.buffer.replace(range, &only);
                if !has_blank {
                    self.buffer.insert(end);
                }
                Outcome::Edited
            }
            several => {
                let common = common_beginning(several);
                if common.len() > typed.len() {
                    let common = common.to_owned();
                    self.buffer.replace(range, &common);
                    return Outcome::Edited;
                }
                Outcome::Candidates(candidates)
            }
        }
    }

    fn press_in_search(
        &mut self,
        mut search: Search,
        key: Key,
        language: &dyn Language,
    ) -> Outcome {
        match key {
            Key::Char(c) => {
                search.wanted.push(c);
                // What is shown may contain this too.
                self.look_for(search, 1);
            }
            Key::Backspace => {
                search.wanted.pop();
                search.found = usize::MAX;
                self.look_for(search, 0);
            }
            Key::Ctrl('r') => self.look_for(search, 0),
            Key::Ctrl('c' | 'g') | Key::Escape => self.buffer = search.before,
            // Whatever else was pressed is meant for what was found.
            key => return self.press_in_text(key, language),
        }
        Outcome::Edited
    }

    /// Shows the last entry that has the text, of those before the one that is shown, or up to `more` behind.
    fn look_for(&mut self, mut search: Search, more: usize) {
        let before = search.found.saturating_add(more);
        match self.history.find(&search.wanted, before) {
            Some((number, entry)) if !search.wanted.is_empty() => {
                self.buffer = Buffer::of(entry);
                search.found = number;
                search.failed = false;
            }
            _ => search.failed = !search.wanted.is_empty(),
        }
        self.search = Some(search);
    }
}

fn common_beginning(texts: &[String]) -> &str {
    let Some((first, others)) = texts.split_first() else {
        return "";
    };
    let mut end = first.len();
    for other in others {
        let pairs = first.char_indices().zip(other.chars());
        let same = pairs.take_while(|((_, a), b)| a == b);
        let same = same.last().map_or(0, |((at, c), _)| at + c.len_utf8());
        end = end.min(same);
    }
    &first[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Semicolons;

    impl Language for Semicolons {
        fn is_complete(&self, text: &str) -> bool {
            text.ends_with(';')
        }

        fn complete(&self, text: &str, cursor: usize) -> Completion {
            let typed = &text[..cursor];
            let start = typed.rfind(' ').map_or(0, |at| at + 1);
            let words = ["select", "selected", "count("];
            let candidates = words
                .iter()
                .filter(|word| word.starts_with(&typed[start..]));
            Completion {
                range: start..cursor,
                candidates: candidates.map(|word| (*word).to_owned()).collect(),
            }
        }

        fn is_private(&self, text: &str) -> bool {
            text.contains("password")
        }
    }

    fn press(editor: &mut Editor, keys: &[Key]) -> Outcome {
        let mut outcome = Outcome::Edited;
        for key in keys {
            outcome = editor.press(key.clone(), &Semicolons);
            if matches!(outcome, Outcome::Accepted(_)) {
                editor.reset();
            }
        }
        outcome
    }

    fn typed(text: &str) -> Vec<Key> {
        text.chars()
            .map(|c| match c {
                '\n' => Key::Enter,
                '\t' => Key::Tab,
                c => Key::Char(c),
            })
            .collect()
    }

    #[test]
    fn enter_goes_on_until_the_text_is_complete() {
        let mut editor = Editor::default();
        let outcome = press(&mut editor, &typed("select\n1;\n"));
        assert_eq!(outcome, Outcome::Accepted("select\n1;".to_owned()));
        assert!(editor.buffer.is_empty());
        press(&mut editor, &[Key::Up, Key::Up, Key::Home, Key::Char('x')]);
        assert_eq!(editor.buffer.text(), "xselect\n1;");
        press(
            &mut editor,
            &[Key::Ctrl('k'), Key::Ctrl('k'), Key::Ctrl('y')],
        );
        assert_eq!(editor.buffer.text(), "x\n1;");
        assert_eq!(press(&mut editor, &[Key::Ctrl('c')]), Outcome::GivenUp);
        editor.reset();
        assert_eq!(press(&mut editor, &[Key::Ctrl('d')]), Outcome::Leave);
    }

    #[test]
    fn tab_writes_what_is_certain_and_shows_the_rest() {
        let mut editor = Editor::default();
        press(&mut editor, &typed("s\t"));
        assert_eq!(editor.buffer.text(), "select");
        let both = ["select", "selected"].map(str::to_owned).to_vec();
        let shown = press(&mut editor, &[Key::Tab]);
        assert_eq!(shown, Outcome::Candidates(both));
        press(&mut editor, &typed("e\tc\t"));
        assert_eq!(editor.buffer.text(), "selected count(");
        assert_eq!(press(&mut editor, &typed("x\t")), Outcome::Edited);
    }

    #[test]
    fn the_history_is_gone_through_and_searched() {
        let mut editor = Editor::default();
        press(&mut editor, &typed("a one;\n"));
        press(&mut editor, &typed("b two;\n"));
        press(&mut editor, &typed("c password;\n"));
        press(&mut editor, &typed("draft"));
        press(&mut editor, &[Key::Up]);
        assert_eq!(editor.buffer.text(), "b two;");
        press(&mut editor, &[Key::Down]);
        assert_eq!(editor.buffer.text(), "draft");
        press(&mut editor, &[Key::Ctrl('r'), Key::Char('o')]);
        assert_eq!(editor.buffer.text(), "b two;");
        press(&mut editor, &[Key::Ctrl('r')]);
        assert_eq!(editor.buffer.text(), "a one;");
        press(&mut editor, &[Key::Char('x')]);
        assert_eq!(editor.search(), Some(("ox", false)));
        press(&mut editor, &[Key::Escape]);
        assert_eq!(editor.buffer.text(), "draft");
        let found = press(&mut editor, &[Key::Ctrl('r'), Key::Char('w'), Key::Enter]);
        assert_eq!(found, Outcome::Accepted("b two;".to_owned()));
    }
}
