//! Where the shell remembers what was typed.

use std::{ffi::OsString, path::PathBuf};

/// The file: in the folder for what programs remember, as the XDG base directory specification names it. Nowhere if nobody
/// has a home.
pub(crate) fn place(state: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let state = state.and_then(absolute);
    let home = home.and_then(absolute);
    let state = state.or_else(|| home.map(|home| home.join(".local").join("state")));
    state.map(|state| state.join("headwater").join("history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_states_goes_before_home() {
        let place = |state: Option<&str>, home: Option<&str>| {
            let place = place(state.map(OsString::from), home.map(OsString::from));
            place.map(|place| place.display().to_string())
        };
        let in_home = Some("/h/.local/state/headwater/history".to_owned());
        assert_eq!(place(None, Some("/h")), in_home);
        assert_eq!(place(Some("relative"), Some("/h")), in_home);
        assert_eq!(
            place(Some("/s"), Some("/h")),
            Some("/s/headwater/history".to_owned())
        );
        assert_eq!(place(None, None), None);
    }
}
