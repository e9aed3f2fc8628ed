//! Plays the recorded scenarios of `scenarios/` and compares every epoch.
//!
//! Catches any change of rows, watermarks, state sizes, late rows and refusals. What it cannot see: row order inside an
//! epoch, sources and sinks other than memory.

use std::path::PathBuf;

use headwater_sim::{
    conformance::{Verdict, run_file, scenario_files},
    listed,
};

/// The page may list what differs in a SQL function, not excuse the engine.
const MOST_LISTED: usize = 9;

#[tokio::test(flavor = "multi_thread")]
async fn recorded_scenarios_pass() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("traces/scenarios");
    let files = scenario_files(&[folder]).expect("the scenarios can be listed");
    assert!(files.len() >= 180, "only {} scenarios", files.len());
    let listed = listed::parse(listed::DIFFERENCES).expect("the page of differences can be read");
    assert!(
        listed.len() <= MOST_LISTED,
        "{} scenarios are listed",
        listed.len()
    );
    let mut failed = Vec::new();
    for file in &files {
        let run = run_file(file).await;
        if !matches!(run.verdict, Verdict::Passed) && !listed.contains_key(&run.name) {
            failed.push(format!("{}: {}", run.name, run.verdict));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {} differ:\n{}",
        failed.len(),
        files.len(),
        failed.join("\n")
    );
}
