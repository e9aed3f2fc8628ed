//! Keys as they are pressed, while other things go on.

use std::{collections::VecDeque, time::Duration};

use tokio::{sync::mpsc, time::timeout};

use super::keys::{Decoder, Key};
use crate::exit::Failure;

/// How long the rest of a sequence may take behind its Escape.
const REST_WITHIN: Duration = Duration::from_millis(50);

/// The keyboard of the terminal that standard input is.
#[derive(Debug)]
pub(crate) struct Keyboard {
    bytes: mpsc::UnboundedReceiver<Vec<u8>>,
    decoder: Decoder,
    keys: VecDeque<Key>,
}

impl Keyboard {
    /// Reads in a thread of its own, which cannot be cancelled and ends with the process. There can be only one.
    ///
    /// # Errors
    /// `Failed` if there can be no thread.
    pub(crate) fn open() -> Result<Self, Failure> {
        let (send, bytes) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name("keyboard".to_owned())
            .spawn(move || read_all(&send))
            .map_err(|error| Failure::failed(format!("cannot read the keyboard: {error}")))?;
        Ok(Self {
            bytes,
            decoder: Decoder::default(),
            keys: VecDeque::new(),
        })
    }

    /// The next key; none if the terminal has gone away. Nothing is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> Option<Key> {
        loop {
            if let Some(key) = self.keys.pop_front() {
                return Some(key);
            }
            let read = match self.decoder.is_waiting() {
                false => self.bytes.recv().await,
                true => match timeout(REST_WITHIN, self.bytes.recv()).await {
                    Ok(read) => read,
                    Err(_) => {
                        self.keys.extend(self.decoder.give_up());
                        continue;
                    }
                },
            };
            self.keys.extend(self.decoder.push(&read?));
        }
    }

    /// Whether a key is there already.
    pub(crate) fn has_more(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Gives keys back, to come again before all others.
    pub(crate) fn put_back(&mut self, keys: Vec<Key>) {
        for key in keys.into_iter().rev() {
            self.keys.push_front(key);
        }
    }
}

#[cfg(unix)]
fn read_all(send: &mpsc::UnboundedSender<Vec<u8>>) {
    let mut bytes = [0; 1_024];
    loop {
        match rustix::io::read(rustix::stdio::stdin(), &mut bytes) {
            Ok(0) => return,
            Ok(read) => {
                if send.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

#[cfg(not(unix))]
fn read_all(_: &mpsc::UnboundedSender<Vec<u8>>) {}
