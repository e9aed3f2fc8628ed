//! The pipelines of `examples/pipelines`, run as README says.

use std::path::Path;

use crate::{assert_ends, headwater, text};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

#[test]
fn the_first_command_of_the_readme_shows_the_busiest_windows_however_often_it_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = format!("OUTPUT={}", folder.path().display());
    let pipeline = [
        "run",
        "examples/pipelines/http_errors.sql",
        "--set",
        &output,
    ];
    let run = || {
        let mut command = headwater(Path::new(ROOT), &pipeline);
        command.output().expect("the command runs")
    };
    let first = run();
    assert_ends(&first, 0);
    let busiest = "| 2026-03-14T10:45:00Z | www-3.example.org | 50     |";
    assert!(
        text(&first.stdout).contains(busiest),
        "{}",
        text(&first.stdout)
    );
    assert!(
        text(&first.stderr).contains("5 epochs, 13,935 rows in, 213 out"),
        "{}",
        text(&first.stderr)
    );
    let second = run();
    assert_ends(&second, 0);
    assert_eq!(text(&second.stdout), text(&first.stdout));
    assert!(
        text(&second.stderr).contains("0 epochs"),
        "{}",
        text(&second.stderr)
    );
}

#[test]
fn every_example_is_right_and_shown_in_the_readme_as_it_is() {
    let readme = std::fs::read_to_string(format!("{ROOT}/README.md")).expect("README");
    let first = std::fs::read_to_string(format!("{ROOT}/examples/pipelines/http_errors.sql"));
    for statement in first.expect("a pipeline").split("\n\n") {
        let lines = statement.lines().filter(|line| !line.starts_with("--"));
        let statement: Vec<&str> = lines.collect();
        assert!(
            readme.contains(statement.join("\n").trim()),
            "{statement:?} is not in README.md"
        );
    }
    let folder = std::fs::read_dir(format!("{ROOT}/examples/pipelines")).expect("pipelines");
    let mut checked = 0;
    for file in folder {
        let path = file.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            let check = ["check", path.to_str().expect("UTF-8")];
            let mut command = headwater(Path::new(ROOT), &check);
            assert_ends(&command.output().expect("the command runs"), 0);
            checked += 1;
        }
    }
    assert!(checked >= 2, "{checked} pipelines");
}
