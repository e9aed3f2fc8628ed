//! The page `docs/tutorial.md`, followed by a reader.

use std::{fs, path::Path};

use crate::{assert_ends, headwater, text};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The blocks of the page that a reader follows, in order.
enum Block {
    /// To be put into a file, whose name stands in its first line.
    File(String, String),
    /// To be typed, and lines that are seen then, from their beginning on.
    Command(String, Vec<String>),
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```").filter(|kind| !kind.is_empty()) else {
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match (
            kind,
            block.first().and_then(|line| line.strip_prefix("-- ")),
        ) {
            ("sql", Some(name)) => blocks.push(Block::File(name.to_owned(), block.join("\n"))),
            ("json", Some(name)) => {
                blocks.push(Block::File(name.to_owned(), block[1..].join("\n")));
            }
            ("console", _) => {
                for line in block {
                    match (line.strip_prefix("$ headwater "), blocks.last_mut()) {
                        (Some(typed), _) => {
                            blocks.push(Block::Command(typed.to_owned(), Vec::new()));
                        }
                        (None, Some(Block::Command(_, seen))) => seen.push(line.to_owned()),
                        (None, _) => unreachable!("a command before what it prints"),
                    }
                }
            }
            _ => {}
        }
    }
    blocks
}

/// The words of a command line; some stand in double quotes.
fn words(typed: &str) -> Vec<&str> {
    let pieces = typed.split('"').enumerate();
    let words = pieces.flat_map(|(number, piece)| match number % 2 {
        0 => piece.split_whitespace().collect(),
        _ => vec![piece],
    });
    words.collect()
}

/// A line without the blanks that columns are filled up with.
fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_step_of_the_tutorial_prints_what_the_page_shows() {
    let page = fs::read_to_string(format!("{ROOT}/docs/tutorial.md")).expect("the page");
    let folder = tempfile::tempdir().expect("a folder");
    let examples = Path::new(ROOT).join("examples");
    std::os::unix::fs::symlink(
        examples.canonicalize().expect("a path"),
        folder.path().join("examples"),
    )
    .expect("a link");
    let mut commands = 0;
    for block in blocks(&page) {
        match block {
            Block::File(name, text) => {
                fs::write(folder.path().join(name), text + "\n").expect("written");
            }
            Block::Command(typed, seen) => {
                let output = headwater(folder.path(), &words(&typed)).output();
                let output = output.expect("the command runs");
                assert_ends(&output, 0);
                let printed: Vec<String> = text(&output.stdout).lines().map(squeezed).collect();
                for line in seen {
                    let is_there = printed
                        .iter()
                        .any(|found| found.starts_with(&squeezed(&line)));
                    assert!(is_there, "{typed}: no line {line:?} in {printed:#?}");
                }
                commands += 1;
            }
        }
    }
    assert!(commands >= 8, "{commands} commands");
}
