//! The prompt: a text is typed until it is complete.
//!
//! rustyline edits the text, remembers it and searches in what it remembers; what it asks about SQL is answered here.

use std::{borrow::Cow, io, path::PathBuf};

use headwater::sql::statement::Lexer;
use rustyline::{
    CompletionType, Config, Context, Editor, ExternalPrinter, Helper,
    completion::Completer,
    error::ReadlineError,
    highlight::{CmdKind, Highlighter},
    hint::Hinter,
    history::FileHistory,
    validate::{ValidationContext, ValidationResult, Validator},
};

use super::{
    complete::complete,
    highlight::highlighted,
    pieces::{Place, pieces},
    private::is_private,
    vocabulary::Vocabulary,
    words::word,
};
use crate::{exit::Failure, status::log::colours_allowed};

const PROMPT: &str = "headwater> ";

/// Entries that are remembered.
const REMEMBERED: usize = 1_000;

/// What came of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Typed {
    /// A complete text.
    Text(String),
    /// It was given up.
    GivenUp,
    /// The shell is to end.
    Leave,
}

/// The prompt, and where what is typed is remembered.
pub(crate) struct Prompt {
    /// Away while somebody types.
    editor: Option<Editor<Sql, FileHistory>>,
    history: Option<PathBuf>,
}

impl Prompt {
    /// A prompt at the terminal of standard input and output, with what was typed before in this shell and in others.
    ///
    /// # Errors
    /// `Failed` if the terminal cannot be used.
    pub(crate) fn open(history: Option<PathBuf>) -> Result<Self, Failure> {
        let failed =
            |error: ReadlineError| Failure::failed(format!("cannot use the terminal: {error}"));
        let config = Config::builder()
            .max_history_size(REMEMBERED)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(failed)?
            .completion_type(CompletionType::List)
            .bracketed_paste(true)
            .build();
        let mut editor = Editor::with_config(config).map_err(failed)?;
        if let Some(file) = &history {
            // There may be none yet; without one nothing is remembered.
            let _ = editor.load_history(file);
        }
        Ok(Self {
            editor: Some(editor),
            history,
        })
    }

    /// Writes above what is being typed.
    ///
    /// # Errors
    /// `Failed` if the terminal cannot be used.
    pub(crate) fn printer(&mut self) -> Result<Box<dyn ExternalPrinter + Send>, Failure> {
        let editor = self.editor.as_mut();
        let printer = editor.map(|editor| editor.create_external_printer());
        match printer {
            Some(Ok(printer)) => Ok(Box::new(printer)),
            Some(Err(error)) => Err(Failure::failed(format!("cannot use the terminal: {error}"))),
            None => Err(Failure::failed("somebody is typing")),
        }
    }

    /// Lets somebody type, in a thread of its own. If the future is dropped, that thread goes on reading: there is to be no
    /// other prompt then.
    pub(crate) async fn read(&mut self, names: Vocabulary) -> Typed {
        let Some(mut editor) = self.editor.take() else {
            return Typed::Leave;
        };
        let typing = tokio::task::spawn_blocking(move || {
            let lexer = names.lexer;
            editor.set_helper(Some(Sql { names }));
            let typed = editor.readline(PROMPT);
            (editor, lexer, typed)
        });
        let Ok((mut editor, lexer, typed)) = typing.await else {
            return Typed::Leave;
        };
        let typed = match typed {
            Ok(text) => {
                if !text.trim().is_empty() && !is_private(&text, lexer) {
                    self.remember(&mut editor, &text);
                }
                Typed::Text(text)
            }
            Err(ReadlineError::Interrupted) => Typed::GivenUp,
            // The end of the input, or a terminal that has gone away.
            Err(_) => Typed::Leave,
        };
        self.editor = Some(editor);
        typed
    }

    /// Remembers a text, in the file at once: several shells share it.
    fn remember(&self, editor: &mut Editor<Sql, FileHistory>, text: &str) {
        let Ok(true) = editor.add_history_entry(text) else {
            return;
        };
        let Some(file) = &self.history else { return };
        let mut kept = || -> io::Result<()> {
            if let Some(folder) = file.parent() {
                std::fs::create_dir_all(folder)?;
            }
            editor.append_history(file).map_err(io::Error::other)
        };
        // Where nothing can be written nothing is remembered.
        let _ = kept();
    }
}

/// SQL, and the words of the shell.
struct Sql {
    names: Vocabulary,
}

impl Sql {
    fn is_complete(&self, text: &str) -> bool {
        is_complete(text, self.names.lexer)
    }
}

/// Whether Enter ends a text.
fn is_complete(text: &str, lexer: Lexer) -> bool {
    if text.trim().is_empty() || word(text).is_some() {
        return true;
    }
    let cut = pieces(text, Place::START, lexer);
    cut.rest.is_none() || !cut.can_go_on
}

impl Helper for Sql {}

impl Hinter for Sql {
    type Hint = String;
}

impl Validator for Sql {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match self.is_complete(context.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl Completer for Sql {
    type Candidate = String;

    fn complete(
        &self,
        text: &str,
        cursor: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let found = complete(text, cursor, &self.names);
        Ok((found.range.start, found.candidates))
    }
}

impl Highlighter for Sql {
    fn highlight<'t>(&self, text: &'t str, _: usize) -> Cow<'t, str> {
        match colours_allowed() {
            true => Cow::Owned(highlighted(text, self.names.lexer)),
            false => Cow::Borrowed(text),
        }
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        colours_allowed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_complete_with_its_semicolon() {
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
            assert_eq!(is_complete(text, Lexer::default()), complete, "{text}");
        }
    }
}
