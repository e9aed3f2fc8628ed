//! Measurements that have a process to themselves.
//!
//! The program starts itself with a request, a line of JSON as argument, and reads the answer, a line of JSON, from
//! its standard output.

use std::path::PathBuf;

use headwater_core::{Clock, Error, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{memory, threads};
use crate::child;

/// What to measure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Part {
    /// The memory of so many keys.
    Memory {
        /// Keys in state.
        keys: i64,
        /// Tiny: do not wait for the background to come to rest.
        smoke: bool,
    },
    /// A query on so many threads.
    Threads {
        /// The data set.
        data: PathBuf,
        /// Worker threads, and partitions of everything.
        threads: usize,
        /// Files of each table that an epoch reads.
        files_per_trigger: u32,
    },
}

impl Part {
    /// Measures here; the answer as a line of JSON.
    ///
    /// # Errors
    /// `Invalid` if the request is not one; whatever what is measured fails with.
    pub fn answer(request: &str, clock: &dyn Clock) -> Result<String> {
        let part: Self = serde_json::from_str(request).map_err(|error| {
            Error::invalid(format!("{request} is no part of a curve")).with_source(error)
        })?;
        match part {
            Self::Memory { keys, smoke } => {
                let used = super::runtime()?.block_on(memory::use_of(keys, smoke, clock))?;
                Ok(serde_json::to_string(&used)?)
            }
            Self::Threads {
                data,
                threads,
                files_per_trigger,
            } => {
                let seconds = threads::run(&data, threads, files_per_trigger, clock)?;
                Ok(serde_json::to_string(&seconds)?)
            }
        }
    }

    /// Measures in a child.
    pub(super) fn ask<A: DeserializeOwned>(&self) -> Result<A> {
        child::ask("curve-part", &serde_json::to_string(self)?)
            .map_err(|error| error.context(format!("measuring {self:?}")))
    }
}

#[cfg(test)]
mod tests {
    use headwater_core::SystemClock;
    use serde_json::Value;

    use super::*;
    use crate::data::{self, DataSize};

    fn answer(part: &Part) -> Value {
        let request = serde_json::to_string(part).unwrap();
        let answer = Part::answer(&request, &SystemClock::default()).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_is_measured_on_request() {
        let used = answer(&Part::Memory {
            keys: 4_000,
            smoke: true,
        });
        assert_eq!(used["keys"], 4_000);
        assert!(used["reported_bytes"].as_u64() > Some(4_000 * 8), "{used}");
        // The 32 bytes of a key's columns are written narrow; some more come for each file.
        let per_key =
            used["delta_bytes"].as_f64().unwrap() / used["changed_keys"].as_f64().unwrap();
        assert!((2.0..32.0).contains(&per_key), "{used}");
    }

    #[test]
    fn a_query_runs_on_the_threads_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let size = DataSize {
            events: 20_000,
            files: 2,
        };
        data::write(folder.path(), size).unwrap();
        let seconds = answer(&Part::Threads {
            data: folder.path().to_owned(),
            threads: 1,
            files_per_trigger: 1,
        });
        assert!(seconds.as_f64() > Some(0.0), "{seconds}");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let error = Part::answer("{}", &SystemClock::default()).unwrap_err();
        assert!(error.message().contains("no part of a curve"), "{error}");
    }
}
