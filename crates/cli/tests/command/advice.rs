//! What messages say to write instead is accepted by the command; what they are about is not.

use std::fs;

use crate::{assert_ends, run, text};

/// Cases as the tests of the library hold them: a title, what is wrong, its message and, in some, what to write instead.
const CASES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../headwater/src/tests/wrong.txt"
);

#[test]
fn what_is_advised_is_accepted_and_what_is_wrong_is_refused_at_its_line() {
    let file = fs::read_to_string(CASES).expect("the cases");
    let (setup, cases) = file.split_once("\n=== ").expect("cases behind definitions");
    let folder = tempfile::tempdir().expect("a folder");
    let check = |statements: &str| {
        let pipeline = format!("{}\n{statements}\n", setup.trim_end());
        fs::write(folder.path().join("pipeline.sql"), pipeline).expect("written");
        run(folder.path(), &["check", "pipeline.sql"])
    };
    let before = setup.trim_end().lines().count();
    let (mut wrong, mut advised) = (0, 0);
    for case in cases.split("\n=== ") {
        let (title, rest) = case.split_once('\n').expect("a title");
        let (statement, rest) = rest.split_once("\n--- message\n").expect("a message");
        let (message, instead) = match rest.split_once("\n--- instead\n") {
            Some((message, instead)) => (message, Some(instead)),
            None => (rest, None),
        };
        let refused = check(statement);
        assert_eq!(refused.status.code(), Some(2), "{title}");
        let (place, first) = message.split_once(": ").expect("a place");
        let said = text(&refused.stderr);
        let first = first.lines().next().expect("a line");
        assert!(said.contains(first), "{title}: {said}");
        if let Some(line) = place
            .strip_prefix("line ")
            .and_then(|p| p.split(',').next())
        {
            let line: usize = line.parse().expect("a number");
            assert!(
                said.contains(&format!("line {}", line + before)),
                "{title}: {said}"
            );
        }
        wrong += 1;
        if let Some(instead) = instead {
            assert_ends(&check(instead), 0);
            advised += 1;
        }
    }
    assert!(
        wrong >= 100 && advised >= 60,
        "{wrong} wrong, {advised} advised"
    );
}
