//! Processors and group functions that judge arbitrary state: those of the recorded scenarios, written out by name, and
//! more for the other tests.

mod groups;
mod programs;
mod samples;
mod suite;
mod transforms;

pub use programs::{build, is_program};
pub use suite::{Played, ProcessorCase, ProcessorStep, check_processor, play_processor};

use headwater::Session;
use headwater_core::Result;

/// Registers all of them with a session.
///
/// # Errors
/// None as long as the declarations in this folder make sense.
pub fn register(session: &Session) -> Result<()> {
    groups::register(session)?;
    transforms::register(session);
    samples::register(session);
    Ok(())
}
