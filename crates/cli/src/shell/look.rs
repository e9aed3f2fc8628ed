//! A query over streams, looked at: its answer is drawn in place until a key is pressed.

use std::{future::ready, sync::Arc, time::Duration};

use headwater::{DataFrame, StreamingQuery, Trigger};
use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;

use super::{
    conversation::Conversation,
    live::Answer,
    stream_answer::{self, NAME},
    wait::Person,
};
use crate::{
    exit::Failure,
    screen::{Frame, Screen, Size},
    status::lines,
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
    person: &mut Person,
    screen: &Screen,
    frame: DataFrame,
) -> Result<bool, Failure> {
    let name = conversation.free_name(NAME);
    conversation.board.forget(&name);
    let starting = person.unless_interrupted(start(conversation, &name, frame));
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
    let goes_on = shown.until_key(person).await;
    shown.end(person).await?;
    Ok(goes_on)
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
    async fn until_key(&self, person: &mut Person) -> bool {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                key = person.keyboard.next() => return key.is_some(),
                () = person.interrupts.next() => return false,
                _ = self.query.await_termination() => return true,
                _ = ticks.tick() => {
                    let rows = self.lines(&self.status());
                    self.screen.draw(Frame { rows, cursor: None });
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
    async fn end(self, person: &mut Person) -> Result<(), Failure> {
        let is_long = [String::from(
            "stopping: the running epoch is finished first; Ctrl-C leaves it to itself",
        )];
        self.screen.draw(Frame {
            rows: self.lines(&is_long),
            cursor: None,
        });
        // Its error is told below; an epoch that is left to itself ends beside the shell.
        let _ = person.unless_interrupted(self.query.stop()).await;
        let totals = self.conversation.board.totals(&self.name);
        self.screen.draw(Frame {
            rows: self.lines(&[lines::summary(&totals)]),
            cursor: None,
        });
        self.screen.leave();
        match self.query.exception() {
            Some(error) => Err(Failure::failed(error.to_string())),
            None => Ok(()),
        }
    }
}
