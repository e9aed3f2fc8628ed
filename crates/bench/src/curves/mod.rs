//! Curves: how a cost grows with what should not matter, or matter only so much.
//!
//! Each curve measures in one place, `measure`, and judges in another, a pure function over what was measured. A point
//! is a line of JSON; a [`Finding`] compares a figure with its target. What must not share a process with other work
//! (resident memory, a number of threads) runs in a child ([`part`]). `docs/performance.md` keeps the results.

mod durability;
mod epoch_keys;
mod listing;
mod memory;
pub mod part;
mod process;
mod restore;
mod startup;
mod threads;
mod totals;
mod tumbling;

use std::path::PathBuf;

use headwater_core::{Clock, Error, Result};
use serde::Serialize;

use crate::{
    data::{self, DataSize},
    report::{median, round},
    verdict::{Finding, Target},
};

/// A measured point, as a line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// The curve it belongs to.
    pub curve: &'static str,
    /// Which line of the curve.
    pub series: String,
    /// Where on the line.
    pub x: f64,
    /// What `x` counts.
    pub x_unit: &'static str,
    /// What was measured there.
    pub y: f64,
    /// What `y` counts.
    pub y_unit: &'static str,
}

/// What a curve came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// The points, line by line.
    pub points: Vec<Point>,
    /// What they say about the targets.
    pub findings: Vec<Finding>,
}

/// How to measure.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Tiny sizes, to see that everything runs. The figures mean nothing.
    pub smoke: bool,
    /// A folder written by `headwater-bench data` whose files hold 460,000 bids each; one is made if none is given.
    pub data: Option<PathBuf>,
    /// The `headwater` command; the one beside this program if none is given.
    pub headwater: Option<PathBuf>,
}

impl Options {
    /// `full`, or `tiny` in a smoke run.
    fn pick<T>(&self, full: T, tiny: T) -> T {
        if self.smoke { tiny } else { full }
    }

    /// The data set to run over, and the folder that goes with it when it is dropped, if it was made here.
    fn data_set(&self) -> Result<(PathBuf, Option<tempfile::TempDir>)> {
        if let Some(data) = &self.data {
            return Ok((data.clone(), None));
        }
        let folder = folder()?;
        let size = DataSize {
            // Of 50 events 46 are bids: 460,000 a file.
            events: self.pick(10_000_000, 20_000),
            files: self.pick(20, 4),
        };
        data::write(folder.path(), size)?;
        Ok((folder.path().to_owned(), Some(folder)))
    }
}

/// A curve that can be measured.
#[derive(Debug, Clone, Copy)]
pub struct Curve {
    /// The name on the command line.
    pub name: &'static str,
    /// What its picture shows.
    pub title: &'static str,
    measure: fn(&Options, &dyn Clock) -> Result<Measured>,
}

/// All curves, in the order in which they run.
pub const CURVES: [Curve; 7] = [
    curve(
        "epoch-keys",
        "An epoch of 1,000 rows beside keys that it does not touch",
        epoch_keys::measure,
    ),
    curve(
        "memory",
        "Memory of a key, and what a changed key adds to the checkpoint",
        memory::measure,
    ),
    curve(
        "restore",
        "From a start on a checkpoint to the first commit",
        restore::measure,
    ),
    curve(
        "durability",
        "An epoch of tumbling windows with the checkpoint on disk and in memory",
        durability::measure,
    ),
    curve(
        "listing",
        "Finding one new file in a folder",
        listing::measure,
    ),
    curve(
        "threads",
        "Tumbling windows with one worker thread and with two",
        threads::measure,
    ),
    curve(
        "startup",
        "From the start of the process to its first commit",
        startup::measure,
    ),
];

const fn curve(
    name: &'static str,
    title: &'static str,
    measure: fn(&Options, &dyn Clock) -> Result<Measured>,
) -> Curve {
    Curve {
        name,
        title,
        measure,
    }
}

impl Curve {
    /// Measures it. Blocks; must not be called from within a runtime.
    ///
    /// # Errors
    /// Whatever what is measured fails with.
    pub fn measure(&self, options: &Options, clock: &dyn Clock) -> Result<Measured> {
        let measured = (self.measure)(options, clock);
        let mut measured =
            measured.map_err(|error| error.context(format!("curve {}", self.name)))?;
        for point in &mut measured.points {
            point.y = round(point.y);
        }
        Ok(measured)
    }
}

/// The curves of these names, in that order; all if none is named.
///
/// # Errors
/// `Invalid` if there is no curve of a name.
pub fn select(names: &[String]) -> Result<Vec<Curve>> {
    if names.is_empty() {
        return Ok(CURVES.to_vec());
    }
    let find = |name: &String| {
        let found = CURVES.into_iter().find(|curve| curve.name == name);
        found.ok_or_else(|| {
            let known = CURVES.map(|curve| curve.name).join(", ");
            Error::invalid(format!("no curve is named {name}: use one of {known}"))
        })
    };
    names.iter().map(find).collect()
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::unavailable("cannot start the worker threads").with_source(e))
}

fn folder() -> Result<tempfile::TempDir> {
    tempfile::tempdir().map_err(|e| Error::unavailable("cannot create a folder").with_source(e))
}

#[cfg(test)]
mod tests {
    use headwater_core::SystemClock;

    use super::*;

    const SMOKE: Options = Options {
        smoke: true,
        data: None,
        headwater: None,
    };

    /// Curves that need no other program. Nothing is said of times; the others are tried by the smoke run.
    #[test]
    fn curves_measured_in_this_process_run_on_tiny_sizes() {
        for name in ["epoch-keys", "restore", "durability", "listing"] {
            let curve = select(&[name.to_owned()]).unwrap()[0];
            let measured = curve.measure(&SMOKE, &SystemClock::default()).unwrap();
            assert!(measured.points.len() >= 2, "{measured:?}");
            assert!(!measured.findings.is_empty(), "{measured:?}");
            assert!(measured.points.iter().all(|point| point.curve == name));
            let positive = |point: &Point| point.x > 0.0 && point.y > 0.0;
            assert!(measured.points.iter().all(positive), "{measured:?}");
        }
    }

    #[test]
    fn an_unknown_curve_is_answered_with_the_known_ones() {
        let error = select(&["memroy".to_owned()]).unwrap_err();
        assert!(error.message().contains("memory"), "{error}");
        assert_eq!(select(&[]).unwrap().len(), CURVES.len());
    }
}
