//! The driver over real plans: one trigger at a time, across restarts, crashes and failures.

mod begun;
mod crash;
mod read_ahead;
mod recovery;
mod steps;
mod supervision;
