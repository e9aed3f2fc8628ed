//! What source and sink have in common: how a client of the broker is set up, and what its troubles are called.

mod context;
pub(crate) mod event_hubs;
mod failure;
mod jaas;
mod java;
mod settings;

pub(crate) use context::{Context, Trouble};
pub(crate) use failure::{failed, is_passing};
pub(crate) use settings::{ClientSettings, Role, is_of_client};
