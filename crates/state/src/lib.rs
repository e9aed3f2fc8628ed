//! Keyed state, versioned by epoch.
