//! What sources keep for themselves in a checkpoint, looked at from outside: whether it is what they will want to find.
//!
//! Known are the list of files read of the file source (`seen/…`), and when a source that follows the clock (`rate`, `nexmark`) first started (`start.json`).

use headwater_core::Condition;

use crate::{file::source::seen_log as lists, seconds::is_first_start};

/// Whether an object is what it should be; `None` if nobody knows what it is. `path` is relative to the source's folder.
pub fn condition(path: &str, bytes: &[u8]) -> Option<Condition> {
    let is_whole = match lists::is_list(path) {
        true => lists::is_whole(bytes),
        false => is_first_start(path, bytes)?,
    };
    Some(match is_whole {
        true => Condition::Whole {
            bytes: bytes.len() as u64,
        },
        false => Condition::Damaged(
            "its checksum or its form differs from what the source wrote, or it is of a newer version"
                .to_owned(),
        ),
    })
}

/// What is missing between the objects of a source: the path of the object behind the gap, and what lacks there. `paths`
/// are relative to the source's folder.
pub fn missing<'a>(paths: impl IntoIterator<Item = &'a str>) -> Option<(String, String)> {
    let (path, from, to) = lists::gap(paths)?;
    let why = format!("the list of files read lacks those numbered {from} to {to} before it");
    Some((path, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "{\"version\":1,\"names\":2,\"crc32\":2668225370}\n[\"day=1/a.json\",1700000000000]\n[\"b\",5]\n";

    fn seen(start: u64, end: u64) -> String {
        format!("seen/{start:020}-{end:020}.0")
    }

    #[test]
    fn lists_and_starts_are_known_and_nothing_else_is() {
        let list = condition(&seen(0, 2), LIST.as_bytes());
        let whole = Condition::Whole {
            bytes: LIST.len() as u64,
        };
        assert_eq!(list, Some(whole));
        let damaged = LIST.replace("\"b\"", "\"c\"");
        for damaged in [damaged.as_bytes(), b"", &LIST.as_bytes()[..LIST.len() - 8]] {
            let found = condition(&seen(0, 2), damaged);
            assert!(matches!(found, Some(Condition::Damaged(_))), "{found:?}");
        }
        let start = br#"{"version":1,"startMillis":5}"#;
        assert!(matches!(
            condition("start.json", start),
            Some(Condition::Whole { .. })
        ));
        assert!(matches!(
            condition("start.json", b"{}"),
            Some(Condition::Damaged(_))
        ));
        assert_eq!(condition("offsets/1", b"x"), None);
    }

    #[test]
    fn a_gap_between_lists_is_told() {
        let gap = |ranges: &[(u64, u64)]| {
            let paths: Vec<String> = ranges
                .iter()
                .map(|(start, end)| seen(*start, *end))
                .collect();
            missing(paths.iter().map(String::as_str))
        };
        assert_eq!(gap(&[]), None);
        assert_eq!(gap(&[(0, 2), (2, 5)]), None);
        // Left over from a merge.
        assert_eq!(gap(&[(0, 5), (0, 2), (2, 5)]), None);
        let (path, why) = gap(&[(0, 2), (4, 5)]).expect("a gap");
        assert_eq!(path, seen(4, 5));
        assert!(why.contains("numbered 2 to 4"), "{why}");
    }
}
