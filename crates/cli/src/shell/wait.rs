//! Waiting for something that Ctrl-C may end.

use std::future::Future;

use super::terminal::{keyboard::Keyboard, keys::Key};
use crate::interrupt::Interrupts;

/// The keys and signals of whoever sits at the terminal.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) keyboard: Keyboard,
    pub(crate) interrupts: Interrupts,
}

impl Person {
    /// What a future gives, or nothing if Ctrl-C was pressed, or the process is asked to end. Other keys that were
    /// pressed meanwhile come afterwards.
    pub(crate) async fn unless_interrupted<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = std::pin::pin!(work);
        let mut typed = Vec::new();
        let done = loop {
            tokio::select! {
                biased;
                done = &mut work => break Some(done),
                () = self.interrupts.next() => break None,
                key = self.keyboard.next() => match key {
                    Some(Key::Ctrl('c')) => break None,
                    Some(key) => typed.push(key),
                    // Nobody is there who could interrupt.
                    None => break Some(work.await),
                },
            }
        };
        self.keyboard.put_back(typed);
        done
    }
}
