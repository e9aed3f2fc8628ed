//! The shell at a terminal: a prompt, an answer, the next prompt.

use std::{io::Write, path::PathBuf, time::Duration};

use futures::StreamExt;
use headwater::DataFrame;

use super::{
    batch,
    conversation::{Answer, Conversation},
    history,
    live::table,
    look::look,
    output::{Output, is_plan, plan},
    pieces::{Piece, Place, pieces},
    prompt::{Prompt, Typed},
    terminal::Mode,
    vocabulary::Vocabulary,
    words::{HELP, Word, word},
};
use crate::{
    exit::{self, Failure},
    interrupt::Interrupts,
    screen::{Screen, Size},
    script,
    status::{
        log::{self, AbovePrompt, Aside, Drawn, print_tables_aside},
        numbers::{count, duration},
    },
};

/// How often it is looked whether there is something to tell.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Switches off what an editor that was left to itself may have switched on: pasted text in brackets.
const PASTE_AS_EVER: &str = "\x1b[?2004l\r\n";

/// Rows of an answer that are shown.
const ROWS: usize = 500;

/// Talks with whoever sits at the terminal, until they leave. Files are carried out first. With an output, rows go
/// there instead of being drawn for the terminal.
///
/// # Errors
/// `Failed` if the terminal cannot be used; `Interrupted` if nobody waits for the queries to stop.
pub(crate) async fn converse(
    conversation: &mut Conversation,
    interrupts: Interrupts,
    files: &[PathBuf],
    output: Option<Output>,
) -> Result<(), Failure> {
    // Whatever ends the shell, the terminal is then as it was.
    let _mode = Mode::remembered()?;
    let place = history::place(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME"));
    let mut prompt = Prompt::open(place)?;
    let printer = AbovePrompt::new(prompt.printer()?);
    let mut shell = Shell {
        screen: Screen::default(),
        interrupts,
        conversation,
        output,
        is_open: true,
        is_quiet: false,
    };
    log::above(Some(Drawn::Prompt(printer)));
    print_tables_aside(&shell.conversation.session, Aside::Out);
    let ended = shell.talk(&mut prompt, files).await;
    log::above(None);
    ended
}

struct Shell<'a> {
    conversation: &'a mut Conversation,
    interrupts: Interrupts,
    screen: Screen,
    output: Option<Output>,
    /// Cleared when the shell is to end.
    is_open: bool,
    /// While a file is carried out: what has no answer needs no word.
    is_quiet: bool,
}

impl Shell<'_> {
    async fn talk(&mut self, prompt: &mut Prompt, files: &[PathBuf]) -> Result<(), Failure> {
        let version = env!("CARGO_PKG_VERSION");
        exit::print(&format!(
            "headwater {version}: SQL over streams and tables. help says what there is, Ctrl-D leaves\n"
        ))?;
        for file in files {
            Box::pin(self.read_file(file)).await;
        }
        while self.is_open {
            match self.typed(prompt).await {
                Typed::Text(text) => Box::pin(self.answer(&text)).await,
                Typed::GivenUp => {}
                Typed::Leave => break,
            }
        }
        self.leave().await
    }

    /// Lets somebody type. Queries that fail meanwhile are told.
    async fn typed(&mut self, prompt: &mut Prompt) -> Typed {
        let names = Vocabulary::of(&self.conversation.session).await;
        let mut typing = std::pin::pin!(prompt.read(names));
        let mut ticks = tokio::time::interval(TELL_EVERY);
        loop {
            tokio::select! {
                biased;
                typed = &mut typing => return typed,
                () = self.interrupts.next() => {
                    self.say(PASTE_AS_EVER);
                    return Typed::Leave;
                }
                _ = ticks.tick() => {
                    for failure in self.conversation.failures() {
                        // A terminal that has gone away is noticed at the next key.
                        let _ = writeln!(Aside::Err, "{failure}");
                    }
                }
            }
        }
    }

    /// Does what a text says; what is wrong with it is told.
    async fn answer(&mut self, text: &str) {
        match word(text) {
            Some(Ok(Word::Quit)) => self.is_open = false,
            Some(Ok(Word::Help)) => self.say(HELP),
            Some(Ok(Word::Read(file))) => self.read_file(&file).await,
            Some(Err(error)) => Failure::wrong(error).print(),
            None => {
                if let Err(failure) = self.statements(text).await {
                    failure.print();
                }
            }
        }
    }

    async fn read_file(&mut self, file: &PathBuf) {
        let done = match script::read_file(file) {
            Ok(text) => {
                let origin = file.display().to_string();
                self.is_quiet = true;
                let done = self.statements(&text).await;
                self.is_quiet = false;
                done.map_err(|failure| failure.of_text(&origin))
            }
            Err(failure) => Err(failure),
        };
        if let Err(failure) = done {
            failure.print();
        }
    }

    /// Carries out statements until one fails or is interrupted.
    async fn statements(&mut self, text: &str) -> Result<(), Failure> {
        let filled = self.conversation.values.fill(text);
        let (text, _) = filled
            .map_err(|wrong| Failure::wrong(format!("line {}: {}", wrong.line, wrong.message)))?;
        let cut = pieces(&text, Place::START, self.conversation.session.lexer());
        for piece in cut.complete.iter().chain(&cut.rest) {
            let done = Box::pin(self.statement(&text, piece)).await;
            done.map_err(|failure| failure.without_secrets(&self.conversation.values))?;
            if !self.is_open {
                break;
            }
        }
        Ok(())
    }

    async fn statement(&mut self, text: &str, piece: &Piece) -> Result<(), Failure> {
        let clock = std::sync::Arc::clone(self.conversation.session.clock());
        let begun = clock.now_millis();
        let work = self.conversation.carry_out(text, piece);
        let answer = self.interrupts.or(work).await;
        let answer = answer.unwrap_or_else(|| Err(interrupted()))?;
        let took = || u64::try_from(clock.now_millis() - begun).unwrap_or(0);
        match answer {
            Answer::Done if self.is_quiet => {}
            Answer::Done => self.say(&format!("done ({})\n", duration(took()))),
            Answer::Started(started) => self.say(&format!("{}\n", started.in_words())),
            Answer::Stream(frame) => {
                let looked = look(self.conversation, &mut self.interrupts, &self.screen, frame);
                self.is_open = Box::pin(looked).await?;
            }
            Answer::Rows(frame) => {
                let rows = Box::pin(rows(frame, self.output.as_mut()));
                let shown = self.interrupts.or(rows).await;
                let (lines, rows) = shown.unwrap_or_else(|| Err(interrupted()))?;
                self.say(&lines);
                if let Some(rows) = rows {
                    self.say(&format!("{rows} ({})\n", duration(took())));
                }
            }
        }
        Ok(())
    }

    fn say(&self, text: &str) {
        // A terminal that has gone away is noticed at the next key.
        let _ = exit::print(text);
    }

    /// Stops what runs.
    async fn leave(&mut self) -> Result<(), Failure> {
        let active = self.conversation.session.streams().active();
        let names: Vec<&str> = active.iter().filter_map(|query| query.name()).collect();
        if !names.is_empty() {
            self.say(&format!(
                "stopping {}: the running epochs are finished first; Ctrl-C leaves at once\n",
                names.join(", ")
            ));
        }
        let stopping = self.conversation.stop();
        match self.interrupts.or(stopping).await {
            Some(stopped) => {
                for line in stopped {
                    self.say(&format!("{line}\n"));
                }
                for failure in self.conversation.failures() {
                    Failure::failed(failure).print();
                }
                Ok(())
            }
            None => Err(Failure::interrupted()),
        }
    }
}

fn interrupted() -> Failure {
    Failure::failed("interrupted")
}

/// The rows as text, and how many there are; none where they have gone to an output.
async fn rows(
    frame: DataFrame,
    output: Option<&mut Output>,
) -> Result<(String, Option<String>), Failure> {
    if let Some(output) = output {
        batch::rows(output, frame).await?;
        return Ok((String::new(), None));
    }
    let schema = frame.schema().as_arrow().clone();
    let wrong = |error: headwater::Error| Failure::failed(error.to_string());
    let mut stream = frame.batches().await.map_err(wrong)?;
    let mut batches = Vec::new();
    let mut left = ROWS;
    let mut has_more = false;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(wrong)?;
        has_more = batch.num_rows() > left;
        let taken = batch.num_rows().min(left);
        left -= taken;
        batches.push(batch.slice(0, taken));
        if has_more {
            break;
        }
    }
    if is_plan(&schema) {
        return Ok((batches.iter().map(plan).collect(), None));
    }
    let lines = table(&schema, &batches, Size::now().columns);
    let lines = lines.map_err(|error| Failure::failed(format!("cannot show the rows: {error}")))?;
    let rows = match (ROWS - left, has_more) {
        (_, true) => {
            format!("the first {ROWS} rows, there are more: ask for some, or COPY them to a file")
        }
        (1, _) => "1 row".to_owned(),
        (rows, _) => format!("{} rows", count(rows as u64)),
    };
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Ok((text, Some(rows)))
}
