//! Paths of objects: relative, `/`-separated, and never able to leave the root or to reach into the staging folder.

use headwater_core::{Error, Result};

use super::STAGING;

/// Refuses what is not the path of an object that users of a storage may name.
pub(super) fn check_object(path: &str) -> Result<()> {
    check_segments(path)?;
    if is_staged(path) {
        return Err(Error::invalid(format!(
            "'{path}' lies in {STAGING}, which holds what is not visible yet: choose another name"
        )));
    }
    Ok(())
}

/// Refuses what is not a folder; the empty path is the root.
pub(super) fn check_folder(path: &str) -> Result<()> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(());
    }
    check_segments(path)
}

fn check_segments(path: &str) -> Result<()> {
    let wrong = path
        .split('/')
        .any(|segment| matches!(segment, "" | "." | "..") || segment.contains('\0'));
    if wrong {
        return Err(Error::invalid(format!(
            "'{path}' is not the path of an object: write names separated by single '/', without '.' and '..'"
        )));
    }
    Ok(())
}

/// Refuses an owner that could not be part of a file name.
pub(super) fn check_owner(owner: &str) -> Result<()> {
    let fits = !owner.is_empty()
        && owner
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if fits {
        Ok(())
    } else {
        Err(Error::invalid(format!(
            "'{owner}' cannot own prepared objects: write letters, digits, '-' and '_' only"
        )))
    }
}

/// Whether the path lies in the staging folder.
pub(super) fn is_staged(path: &str) -> bool {
    path.strip_prefix(STAGING)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether `path` lies below the folder `prefix` (empty: everything does).
pub(super) fn is_below(path: &str, prefix: &str) -> bool {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    prefix.is_empty()
        || path
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// The folder an object lies in; empty for the root.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_cannot_leave_the_root_or_reach_into_staging() {
        for bad in [
            "",
            "/a",
            "a//b",
            "a/../b",
            "./a",
            "a/",
            "_headwater/staging/x",
        ] {
            assert!(check_object(bad).is_err(), "{bad}");
        }
        for good in [
            "a",
            "a/b.parquet",
            "_headwater/manifest",
            "_headwater/staging2",
            "k=v %2F/x",
        ] {
            assert!(check_object(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_folder_is_not_a_prefix_of_its_neighbours() {
        assert!(is_below("plans/1", "plans"));
        assert!(is_below("plans/1", "plans/"));
        assert!(!is_below("plans2/1", "plans"));
        assert!(is_below("x", ""));
    }
}
