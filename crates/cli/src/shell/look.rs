//! A query over streams, looked at: its answer is drawn in place until a key is pressed.

use std::{future::ready, sync::Arc, time::Duration};

use headwater::{DataFrame, StreamingQuery, Trigger};
use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;

use super::{
    conversation::Conversation,
    live::Answer,
    stream_answer::{self, NAME},
    terminal::{Mode, any_key},
};
use crate::{
    exit::Failure,
    interrupt::Interrupts,
    screen::{Screen, Size},
    status::{
        lines,
        log::{self, Drawn},
    },
};

/// How often it is drawn.
const EVERY: Duration = Duration::from_millis(100);

const HOW_TO_END: &str = "any key ends it";

/// Shows the answer until a key is pressed; the last one stays on the terminal. Whether the shell goes on.
///
/// # Errors
/// `Wrong` if the query cannot run, `Failed` if it fails.
pub(crate) async fn look(
    conversation: &mut Conversation,
    interrupts: &mut Interrupts,
    screen: &Screen,
    frame: DataFrame,
) -> Result<bool, Failure> {
    let name = conversation.free_name(NAME);
    conversation.board.forget(&name);
    let starting = interrupts.or(start(conversation, &name, frame));
    let (query, answer) = starting
        .await
        .unwrap_or_else(|| Err(Failure::failed("interrupted")))?;
    let shown = Shown {
        conversation,
        query,
        name,
        answer,
        screen,
    };
    let before = log::above(Some(Drawn::Screen(screen.clone())));
    let goes_on = shown.until_key(interrupts).await;
    let ended = shown.end(interrupts).await;
    log::above(before);
    ended?;
    goes_on
}

async fn start(
    conversation: &Conversation,
    name: &str,
    frame: DataFrame,
) -> Result<(StreamingQuery, Arc<Mutex<Answer>>), Failure> {
    let (shape, mode) = stream_answer::shape(&conversation.session, &frame).await?;
    let schema = frame.schema().as_arrow().clone();
    let answer = Arc::new(Mutex::new(Answer::new(shape, schema)));
    let into = Arc::clone(&answer);
    let receive = move |rows| {
        into.lock().add(rows);
        ready(Ok(()))
    };
    let query = stream_answer::start(name, frame, mode, Trigger::Default, receive).await?;
    Ok((query, answer))
}

struct Shown<'a> {
    conversation: &'a Conversation,
    query: StreamingQuery,
    name: String,
    answer: Arc<Mutex<Answer>>,
    screen: &'a Screen,
}

impl Shown<'_> {
    /// Whether the shell goes on: the terminal is there, and nobody asked the process to end.
    async fn until_key(&self, interrupts: &mut Interrupts) -> Result<bool, Failure> {
        let _raw = Mode::raw()?;
        let mut key = std::pin::pin!(any_key());
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                is_there = &mut key => return Ok(is_there),
                () = interrupts.next() => return Ok(false),
                _ = self.query.await_termination() => return Ok(true),
                _ = ticks.tick() => {
                    let rows = self.lines(&self.status());
                    self.screen.draw(rows);
                }
            }
        }
    }

    fn lines(&self, status: &[String]) -> Vec<String> {
        self.answer.lock().draw(status, Size::now())
    }

    /// What the query is at, and while no rows come out, why.
    fn status(&self) -> Vec<String> {
        let board = &self.conversation.board;
        let totals = board.totals(&self.name);
        let rates = totals.rates(board.now());
        let mut status = vec![lines::below(&totals, rates)];
        status.push(match rates.1 == 0.0 {
            true => format!("{} · {HOW_TO_END}", self.query.diagnose().summary()),
            false => HOW_TO_END.to_owned(),
        });
        status
    }

    /// Stops the query and leaves what it has answered on the terminal.
    async fn end(self, interrupts: &mut Interrupts) -> Result<(), Failure> {
        let is_long = [String::from(
            "stopping: the running epoch is finished first; Ctrl-C leaves it to itself",
        )];
        self.screen.draw(self.lines(&is_long));
        // Its error is told below; an epoch that is left to itself ends beside the shell.
        let _ = interrupts.or(self.query.stop()).await;
        let totals = self.conversation.board.totals(&self.name);
        self.screen.draw(self.lines(&[lines::summary(&totals)]));
        self.screen.leave();
        match self.query.exception() {
            Some(error) => Err(Failure::failed(error.to_string())),
            None => Ok(()),
        }
    }
}
