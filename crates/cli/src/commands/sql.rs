//! `headwater sql`: one statement after another, at a terminal or without one.

use std::io::{self, IsTerminal};

use crate::{
    args::{RowFormat, SqlArgs},
    exit::{Failure, Reader},
    interrupt::Interrupts,
    shell::{batch, conversation::Conversation, interactive, output::Output, terminal},
};

/// Carries out files, then the statements of the command line, else those that are typed, or come from standard input.
pub(crate) async fn sql(args: SqlArgs) -> Result<(), Failure> {
    let mut conversation = Conversation::new(&args.session, args.checkpoint.clone())?;
    let mut output = Output::new(args.format, io::stdout().is_terminal());
    let mut interrupts = Interrupts::listen()?;
    if args.command.is_none() && terminal::is_possible() {
        let output = (args.format != RowFormat::Auto).then_some(output);
        let talk = interactive::converse(&mut conversation, interrupts, &args.files, output);
        return Box::pin(talk).await;
    }
    let done = tokio::select! {
        biased;
        done = all(&args, &mut conversation, &mut output) => done,
        () = interrupts.next() => Err(Failure::broken_off()),
    };
    let stopped = tokio::select! {
        biased;
        stopped = leave(&mut conversation) => stopped,
        () = interrupts.next() => return Err(Failure::interrupted()),
    };
    done.and(stopped)
}

async fn all(
    args: &SqlArgs,
    conversation: &mut Conversation,
    output: &mut Output,
) -> Result<(), Failure> {
    for file in &args.files {
        if batch::file(conversation, output, file).await? == Reader::Gone {
            return Ok(());
        }
    }
    let reader = match &args.command {
        Some(text) => Box::pin(batch::statements(conversation, output, text)).await?,
        None => batch::input(conversation, output).await?,
    };
    if reader == Reader::Listens {
        conversation.queries_that_end().await;
    }
    Ok(())
}

/// Stops what still runs, and tells what has failed.
async fn leave(conversation: &mut Conversation) -> Result<(), Failure> {
    for line in conversation.stop().await {
        eprintln!("{line}");
    }
    match conversation.failures().first() {
        Some(failure) => Err(Failure::failed(failure.clone())),
        None => Ok(()),
    }
}
