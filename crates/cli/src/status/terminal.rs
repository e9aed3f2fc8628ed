//! The terminal's own writing, kept out of the status.

/// While this lives the terminal does not write `^C` where the cursor is when somebody presses Ctrl-C: behind the last
/// line of the status, which would then be two lines.
#[derive(Debug)]
pub(super) struct WithoutControls {
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

#[cfg(unix)]
impl WithoutControls {
    /// Begins it, where standard input is a terminal.
    pub(super) fn begin() -> Self {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let input = rustix::stdio::stdin();
        let before = tcgetattr(input).ok();
        if let Some(mut now) = before.clone() {
            now.local_modes.remove(LocalModes::ECHOCTL);
            // A terminal that refuses shows ^C, which is no harm.
            let _ = tcsetattr(input, OptionalActions::Now, &now);
        }
        Self { before }
    }
}

#[cfg(unix)]
impl Drop for WithoutControls {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        if let Some(before) = &self.before {
            // Nobody to tell, and little lost.
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
        }
    }
}

#[cfg(not(unix))]
impl WithoutControls {
    /// Nothing to do here.
    pub(super) fn begin() -> Self {
        Self {}
    }
}
