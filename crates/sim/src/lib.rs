//! Scenario runner, crash sweeps and oracle.
