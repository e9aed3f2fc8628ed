//! Cases by their numbers, as many as the gate has time for; more with the variable `HEADWATER_ORACLE_CASES`, from
//! another first one with `HEADWATER_ORACLE_SEED`.

use headwater_core::Result;

/// How many random cases the gate runs.
const CASES: u64 = 150;

/// Checks the cases of all seeds, and fails with all that fail.
pub(super) async fn check_seeds(check: impl AsyncFn(u64) -> Result<()>) {
    let number = |name: &str, otherwise: u64| {
        let set = std::env::var(name).ok();
        set.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let cases = number("HEADWATER_ORACLE_CASES", CASES);
    let first = number("HEADWATER_ORACLE_SEED", 0);
    let mut failures = Vec::new();
    for seed in first..first + cases {
        if let Err(error) = check(seed).await {
            failures.push(error.to_string());
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
