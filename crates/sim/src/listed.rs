//! The scenarios whose record is known not to be matched, with the reasons, as `docs/differences.md` lists them.
//!
//! The list is the table of that page: one row per scenario, its name in backticks in the first column and the reason
//! in the second. A reason is obligatory.

use std::collections::BTreeMap;

use headwater_core::{Error, Result};

/// The page as it was when the runner was built.
pub const DIFFERENCES: &str = include_str!("../../../docs/differences.md");

/// Names and reasons in a page.
///
/// # Errors
/// `Data` for a row without a reason, or a name that is listed twice.
pub fn parse(page: &str) -> Result<BTreeMap<String, String>> {
    let mut listed = BTreeMap::new();
    for line in page.lines() {
        let mut cells = line.trim().trim_matches('|').split('|').map(str::trim);
        let Some(name) = cells
            .next()
            .and_then(|cell| cell.strip_prefix('`')?.strip_suffix('`'))
        else {
            continue;
        };
        if !line.trim_start().starts_with('|') {
            continue;
        }
        let reason = cells.next().unwrap_or_default();
        if reason.is_empty() {
            return Err(Error::data(format!(
                "the list of differences gives no reason for '{name}'"
            )));
        }
        if listed.insert(name.to_owned(), reason.to_owned()).is_some() {
            return Err(Error::data(format!(
                "the list of differences has '{name}' twice"
            )));
        }
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_of_a_table_that_begin_with_a_name_are_listed() {
        let page = "# Text\n`not_this`\n| scenario | reason |\n|---|---|\n| `a_b` | rounds up |\n";
        let listed = parse(page).expect("a good page");
        assert_eq!(listed.len(), 1);
        assert_eq!(listed["a_b"], "rounds up");
    }

    #[test]
    fn a_row_without_a_reason_is_an_error() {
        assert!(parse("| `a` | |").is_err());
        assert!(parse("| `a` | x |\n| `a` | y |").is_err());
    }

    #[test]
    fn the_page_of_this_repository_is_well_formed_and_short() {
        assert!(parse(DIFFERENCES).expect("a good page").len() < 10);
    }
}
