//! Statements without anybody at a terminal: carried out in their order until one fails.

use std::path::PathBuf;

use datafusion::arrow::datatypes::Schema;
use futures::{FutureExt, StreamExt};
use headwater::{DataFrame, Error, Trigger, connect::foreach::EpochRows};
use tokio::sync::mpsc;

use super::{
    conversation::{Answer, Conversation},
    input::Lines,
    output::Output,
    pieces::{Piece, Place, pieces},
    stream_answer::{self, NAME, Shape},
};
use crate::{
    exit::{Failure, Reader},
    script,
};

/// Epochs whose rows wait for being printed; then the query waits.
const EPOCHS_AHEAD: usize = 2;

/// Carries out the statements of a file; `-` is standard input.
///
/// # Errors
/// Of the first statement that fails, with file and line.
pub(crate) async fn file(
    conversation: &mut Conversation,
    output: &mut Output,
    file: &PathBuf,
) -> Result<Reader, Failure> {
    if file.as_os_str() == "-" {
        return input(conversation, output).await;
    }
    let text = script::read_file(file)?;
    let origin = file.display().to_string();
    let done = Box::pin(statements(conversation, output, &text)).await;
    done.map_err(|failure| failure.of_text(&origin))
}

/// Carries out the statements of a text; the last one needs no semicolon.
///
/// # Errors
/// Of the first statement that fails, with its line.
pub(crate) async fn statements(
    conversation: &mut Conversation,
    output: &mut Output,
    text: &str,
) -> Result<Reader, Failure> {
    let text = filled(conversation, text, 1)?;
    let cut = pieces(&text, Place::START, conversation.session.lexer());
    for piece in cut.complete.iter().chain(&cut.rest) {
        if statement(conversation, output, &text, piece).await? == Reader::Gone {
            return Ok(Reader::Gone);
        }
    }
    Ok(Reader::Listens)
}

/// Carries out what standard input says, each statement as soon as it is there.
///
/// # Errors
/// Of the first statement that fails, with its line.
pub(crate) async fn input(
    conversation: &mut Conversation,
    output: &mut Output,
) -> Result<Reader, Failure> {
    let done = Box::pin(input_lines(conversation, output)).await;
    done.map_err(|failure| failure.of_text("standard input"))
}

async fn input_lines(
    conversation: &mut Conversation,
    output: &mut Output,
) -> Result<Reader, Failure> {
    let mut lines = Lines::of_standard_input()?;
    let lexer = conversation.session.lexer();
    let (mut text, mut start) = (String::new(), Place::START);
    let mut number = 0;
    while let Some(line) = lines.next().await? {
        number += 1;
        text.push_str(&filled(conversation, &line, number)?);
        if !line.contains(';') {
            continue;
        }
        let cut = pieces(&text, start, lexer);
        for piece in &cut.complete {
            if statement(conversation, output, &text, piece).await? == Reader::Gone {
                return Ok(Reader::Gone);
            }
        }
        start = start.after(&text[..cut.end]);
        text.drain(..cut.end);
    }
    match pieces(&text, start, lexer).rest {
        Some(piece) => statement(conversation, output, &text, &piece).await,
        None => Ok(Reader::Listens),
    }
}

fn filled(conversation: &mut Conversation, text: &str, first: usize) -> Result<String, Failure> {
    let filled = conversation.values.fill(text);
    let filled = filled.map_err(|wrong| {
        let line = first - 1 + wrong.line;
        Failure::wrong(format!("line {line}: {}", wrong.message))
    });
    filled.map(|(text, _)| text)
}

async fn statement(
    conversation: &mut Conversation,
    output: &mut Output,
    text: &str,
    piece: &Piece,
) -> Result<Reader, Failure> {
    let done = async {
        let answer = conversation.carry_out(text, piece).await?;
        if matches!(answer, Answer::Rows(_) | Answer::Stream(_)) {
            conversation.queries_that_end().await;
            if let Some(failure) = conversation.failures().into_iter().next() {
                return Err(Failure::failed(failure));
            }
        }
        match answer {
            Answer::Done => Ok(Reader::Listens),
            Answer::Started(started) => {
                eprintln!("{}", started.in_words());
                Ok(Reader::Listens)
            }
            Answer::Rows(frame) => rows(output, frame)
                .await
                .map_err(|failure| failure.in_line(piece.place.line as u64)),
            Answer::Stream(frame) => what_is_there(conversation, output, frame)
                .await
                .map_err(|failure| failure.in_line(piece.place.line as u64)),
        }
    };
    let done = done.boxed_local().await;
    done.map_err(|failure| failure.without_secrets(&conversation.values))
}

/// Prints rows as they are computed.
///
/// # Errors
/// `Failed` if they cannot be computed or printed.
pub(crate) async fn rows(output: &mut Output, frame: DataFrame) -> Result<Reader, Failure> {
    let wrong = |error: Error| Failure::failed(error.to_string());
    let schema: Schema = frame.schema().as_arrow().clone();
    let mut stream = frame.batches().await.map_err(wrong)?;
    if output.begin(&schema)? == Reader::Gone {
        return Ok(Reader::Gone);
    }
    while let Some(batch) = stream.next().await {
        if output.rows(&batch.map_err(wrong)?)? == Reader::Gone {
            return Ok(Reader::Gone);
        }
    }
    output.end()
}

/// Answers a query over streams from what they hold now.
async fn what_is_there(
    conversation: &Conversation,
    output: &mut Output,
    frame: DataFrame,
) -> Result<Reader, Failure> {
    let (shape, mode) = stream_answer::shape(&conversation.session, &frame).await?;
    let schema: Schema = frame.schema().as_arrow().clone();
    let (send, mut epochs) = mpsc::channel::<EpochRows>(EPOCHS_AHEAD);
    let query = stream_answer::start(NAME, frame, mode, Trigger::AvailableNow, move |rows| {
        let send = send.clone();
        async move {
            let sent = send.send(rows).await;
            sent.map_err(|_| Error::unavailable("nobody reads the rows any more"))
        }
    })
    .await?;
    let mut reader = output.begin(&schema)?;
    let mut whole = Vec::new();
    while reader == Reader::Listens
        && let Some(epoch) = tokio::select! {
            biased;
            epoch = epochs.recv() => epoch,
            _ = query.await_termination() => epochs.try_recv().ok(),
        }
    {
        match shape {
            Shape::Whole => whole = epoch.batches,
            Shape::Growing => {
                for batch in &epoch.batches {
                    reader = output.rows(batch)?;
                    if reader == Reader::Gone {
                        break;
                    }
                }
            }
        }
    }
    if reader == Reader::Gone {
        drop(epochs);
        // It fails of its rows not being read, or ends.
        let _ = query.stop().await;
        return Ok(Reader::Gone);
    }
    query
        .await_termination()
        .await
        .map_err(|error| Failure::failed(error.to_string()))?;
    for batch in &whole {
        if output.rows(batch)? == Reader::Gone {
            return Ok(Reader::Gone);
        }
    }
    output.end()
}
