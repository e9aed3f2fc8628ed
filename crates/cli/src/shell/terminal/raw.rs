//! The terminal's mode while somebody types: each key comes at once, and nothing is echoed.

use crate::exit::Failure;

/// What ends what the shell may have switched on: pasted text in brackets, a hidden cursor.
#[cfg(unix)]
const SWITCHED_OFF: &str = "\x1b[?2004l\x1b[?25h";
#[cfg(unix)]
const SWITCHED_ON: &str = "\x1b[?2004h";

/// While this lives keys come one by one, Ctrl-C among them. The mode before comes back when it is dropped, at a panic
/// too.
#[derive(Debug)]
pub(crate) struct RawTerminal {
    #[cfg(unix)]
    before: rustix::termios::Termios,
}

/// Whether somebody can type here, and see what is drawn.
pub(crate) fn is_possible() -> bool {
    use std::io::IsTerminal;
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    cfg!(unix) && !is_dumb && std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

impl RawTerminal {
    /// Begins it.
    ///
    /// # Errors
    /// `Failed` if standard input is no terminal.
    #[cfg(unix)]
    pub(crate) fn begin() -> Result<Self, Failure> {
        use rustix::termios::{
            InputModes, LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr,
        };
        let refused = |error| Failure::failed(format!("cannot set the terminal's mode: {error}"));
        let input = rustix::stdio::stdin();
        let before = tcgetattr(input).map_err(refused)?;
        let mut raw = before.clone();
        raw.local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN);
        raw.input_modes
            .remove(InputModes::ICRNL | InputModes::INLCR | InputModes::IGNCR | InputModes::IXON);
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(input, OptionalActions::Now, &raw).map_err(refused)?;
        switch(SWITCHED_ON);
        Ok(Self { before })
    }

    /// Not here.
    #[cfg(not(unix))]
    pub(crate) fn begin() -> Result<Self, Failure> {
        Err(Failure::failed("the terminal's mode cannot be set here"))
    }
}

#[cfg(unix)]
impl Drop for RawTerminal {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        switch(SWITCHED_OFF);
        // Nobody to tell.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(unix)]
fn switch(sequence: &str) {
    // A terminal that cannot be written to has nothing switched on.
    let _ = crate::exit::print(sequence);
}
