//! Built-in sources and sinks: what reads and writes the outside world for a query, one module each.
//!
//! Each implements the contracts of [`headwater_core::source`] and [`headwater_core::sink`]; whatever a connector
//! needs to be asked twice (a range of rows, a publication) is its own affair. Which of them survive a crash of the
//! process, and which only help at the desk, their modules say.

mod counting;
mod pending;
mod seconds;
mod user_code;

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
pub mod console;
pub mod file;
pub mod foreach;
pub mod generator;
pub mod kept;
pub mod memory;
pub mod nexmark;
pub mod noop;
pub mod rate;
pub mod registry;
pub mod socket;

#[cfg(test)]
mod contracts;
#[cfg(test)]
mod test_support;
