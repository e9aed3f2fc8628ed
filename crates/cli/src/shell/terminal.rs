//! The terminal's mode, and a key that ends what is looked at.

use crate::exit::Failure;

/// Whether somebody can type here, and see what is drawn.
pub(crate) fn is_possible() -> bool {
    use std::io::IsTerminal;
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    cfg!(unix) && !is_dumb && std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

#[cfg(unix)]
pub(crate) use unix::{Mode, any_key};

#[cfg(unix)]
mod unix {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use nix::{
        errno::Errno,
        poll::{PollFd, PollFlags, poll},
    };
    use rustix::{
        stdio::stdin,
        termios::{
            InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr,
            tcsetattr,
        },
    };

    use super::Failure;

    /// How often whoever waits for a key looks whether it is still wanted, in milliseconds.
    const LOOK_EVERY: u8 = 50;

    /// Whatever was drawn may have hidden it.
    const SHOW_CURSOR: &str = "\x1b[?25h";

    /// The mode that the terminal has now. It comes back when this is dropped, at a panic too.
    #[derive(Debug)]
    pub(crate) struct Mode {
        before: Termios,
    }

    impl Mode {
        /// Remembers the mode.
        ///
        /// # Errors
        /// `Failed` if standard input is no terminal.
        pub(crate) fn remembered() -> Result<Self, Failure> {
            let before = tcgetattr(stdin()).map_err(refused)?;
            Ok(Self { before })
        }

        /// From now on keys come one by one, Ctrl-C among them, and are not echoed.
        ///
        /// # Errors
        /// `Failed` if standard input is no terminal.
        pub(crate) fn raw() -> Result<Self, Failure> {
            let mode = Self::remembered()?;
            let mut raw = mode.before.clone();
            raw.local_modes.remove(
                LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN,
            );
            raw.input_modes.remove(
                InputModes::ICRNL | InputModes::INLCR | InputModes::IGNCR | InputModes::IXON,
            );
            raw.special_codes[SpecialCodeIndex::VMIN] = 1;
            raw.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(stdin(), OptionalActions::Now, &raw).map_err(refused)?;
            Ok(mode)
        }
    }

    impl Drop for Mode {
        fn drop(&mut self) {
            // Nobody to tell.
            let _ = crate::exit::print(SHOW_CURSOR);
            let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
        }
    }

    fn refused(error: rustix::io::Errno) -> Failure {
        Failure::failed(format!("cannot set the terminal's mode: {error}"))
    }

    /// Waits for a key in raw mode; whether there was one, and not the end of the terminal. What one key sends is read
    /// as one. Nothing is read any more once the future is dropped, or at most what comes within [`LOOK_EVERY`].
    pub(crate) async fn any_key() -> bool {
        let wanted = Wanted(Arc::new(AtomicBool::new(true)));
        let still = Arc::clone(&wanted.0);
        let waiting = tokio::task::spawn_blocking(move || {
            while still.load(Ordering::Relaxed) {
                match poll(&mut [PollFd::new(stdin(), PollFlags::POLLIN)], LOOK_EVERY) {
                    Ok(0) | Err(Errno::EINTR) => {}
                    Ok(_) => {
                        let mut bytes = [0; 256];
                        return rustix::io::read(stdin(), &mut bytes).is_ok_and(|read| read > 0);
                    }
                    Err(_) => return false,
                }
            }
            true
        });
        waiting.await.unwrap_or(false)
    }

    /// Tells whoever reads when nobody waits any more.
    struct Wanted(Arc<AtomicBool>);

    impl Drop for Wanted {
        fn drop(&mut self) {
            self.0.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(not(unix))]
pub(crate) use elsewhere::{Mode, any_key};

#[cfg(not(unix))]
mod elsewhere {
    use super::Failure;

    /// Not here.
    #[derive(Debug)]
    pub(crate) struct Mode;

    impl Mode {
        pub(crate) fn remembered() -> Result<Self, Failure> {
            Err(Failure::failed("the terminal's mode cannot be set here"))
        }

        pub(crate) fn raw() -> Result<Self, Failure> {
            Self::remembered()
        }
    }

    pub(crate) async fn any_key() -> bool {
        std::future::pending().await
    }
}
