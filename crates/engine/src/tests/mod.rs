//! The driver over real plans: one trigger at a time, across restarts, crashes and failures.

mod crash;
mod recovery;
mod steps;
mod supervision;
