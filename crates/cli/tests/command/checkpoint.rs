//! `headwater checkpoint`: shown, verified, damaged, and while the query runs.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use crate::{assert_ends, headwater, run, text, world};

const CHECKPOINT: &str = "checkpoints/errors/errors_by_host";

/// A query that has worked through its input.
fn ran() -> tempfile::TempDir {
    let folder = world();
    assert_ends(
        &run(folder.path(), &["run", "errors.sql", "--available-now"]),
        0,
    );
    folder
}

fn shown(folder: &Path, more: &[&str]) -> Output {
    run(folder, &[&["checkpoint", CHECKPOINT], more].concat())
}

fn out(output: &Output) -> &str {
    text(&output.stdout)
}

/// A file of the checkpoint whose path holds `part`, the last of them.
fn file(folder: &Path, part: &str) -> PathBuf {
    fn below(folder: &Path, all: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => below(&path, all),
                false => all.push(path),
            }
        }
    }
    let mut all = Vec::new();
    below(&folder.join(CHECKPOINT), &mut all);
    all.sort();
    let is_meant = |path: &&PathBuf| path.to_string_lossy().contains(part);
    all.iter().rfind(is_meant).cloned().expect(part)
}

#[test]
fn epochs_offsets_watermarks_and_state_are_shown() {
    let folder = ran();
    let overview = shown(folder.path(), &["--last", "2"]);
    assert_ends(&overview, 0);
    for words in [
        "layout version 1",
        "append, ",
        "sources    0: file json ./in",
        "sink       file parquet ./out",
        "epochs     30 is the last one committed; kept from 0 on",
        "| aggregate-0 | aggregate | groups: 3 |",
        "| 29    | published |",
        "| 29 → 30 |",
        "| 30    | committed |",
        "2024-01-01T00:29:20.000Z",
    ] {
        assert!(
            out(&overview).contains(words),
            "{words}\n{}",
            out(&overview)
        );
    }
    assert!(!out(&overview).contains("| 28    |"));
    let all = shown(folder.path(), &["--last", "0"]);
    assert!(out(&all).contains("| 0     | published |"), "{}", out(&all));
    assert!(out(&all).contains("| start → 1"), "{}", out(&all));
}

#[test]
fn a_whole_checkpoint_is_verified_and_json_says_the_same() {
    let folder = ran();
    let verified = shown(folder.path(), &["--verify"]);
    assert_ends(&verified, 0);
    let last = out(&verified).lines().last().expect("a line");
    assert!(
        last.starts_with("verified ") && last.ends_with(": all are whole"),
        "{last}"
    );
    let json = shown(folder.path(), &["--verify", "--json", "--last", "1"]);
    assert_ends(&json, 0);
    let json: serde_json::Value = serde_json::from_str(out(&json)).expect("JSON");
    assert_eq!(json["query"]["sources"][0], "file json ./in");
    assert_eq!(json["epochs"][0]["epoch"], 30);
    assert_eq!(json["operators"][0]["rows"]["groups"], 3);
    assert_eq!(json["verification"]["damaged"], serde_json::json!([]));
    let files = json["verification"]["files"].as_u64().expect("a number");
    assert!(last.contains(&format!("verified {files} files")), "{last}");
}

#[test]
fn damage_is_named_and_ends_with_1() {
    let folder = ran();
    let folder = folder.path();
    for (part, word, whys) in [
        (
            "metadata",
            "DAMAGED",
            &["identity of the query", "checksum"][..],
        ),
        ("runs/", "DAMAGED", &["record of start 0"]),
        (
            "plans/00000000000000000007",
            "DAMAGED",
            &["plan record of epoch 7", "checksum differs"],
        ),
        (
            "commits/00000000000000000007",
            "DAMAGED",
            &["commit record of epoch 7"],
        ),
        (
            "state/aggregate-0",
            "DAMAGED",
            &["state of aggregate-0", "at version ", "needed by epoch"],
        ),
        ("sources/0/seen/", "DAMAGED", &["kept by source 0"]),
    ] {
        let path = file(folder, part);
        let whole = fs::read(&path).expect("a file");
        let mut flipped = whole.clone();
        let at = flipped.len() - 8;
        flipped[at] ^= 1;
        fs::write(&path, &flipped).expect("a file");
        let found = shown(folder, &["--verify"]);
        assert_ends(&found, 1);
        let line = out(&found).lines().rfind(|line| line.starts_with(word));
        let line = line.unwrap_or_else(|| panic!("{part}: {}", out(&found)));
        for why in whys.iter().chain([&part]) {
            assert!(line.contains(why), "{why}: {line}");
        }
        assert!(
            text(&found.stderr).contains("is not whole"),
            "{}",
            text(&found.stderr)
        );
        // Cut, and gone.
        fs::write(&path, &whole[..whole.len() - 1]).expect("a file");
        assert_ends(&shown(folder, &["--verify", "--json"]), 1);
        fs::write(&path, &whole).expect("a file");
    }
    for (part, what) in [
        ("plans/00000000000000000003", "plan record of epoch 3"),
        ("commits/00000000000000000003", "commit record of epoch 3"),
        ("state/aggregate-0", "state of aggregate-0"),
        ("metadata", "identity of the query"),
    ] {
        let path = file(folder, part);
        let whole = fs::read(&path).expect("a file");
        fs::remove_file(&path).expect("removed");
        let found = shown(folder, &["--verify"]);
        assert_ends(&found, 1);
        let line = out(&found).lines().find(|line| line.starts_with("MISSING"));
        let line = line.unwrap_or_else(|| panic!("{part}: {}", out(&found)));
        assert!(line.contains(part) && line.contains(what), "{line}");
        fs::write(&path, &whole).expect("a file");
    }
    assert_ends(&shown(folder, &["--verify"]), 0);
}

#[test]
fn a_checkpoint_is_verified_while_the_query_runs() {
    let folder = world();
    let mut child = headwater(folder.path(), &["run", "errors.sql", "--progress", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command runs");
    let mut reports = BufReader::new(child.stdout.take().expect("it is caught")).lines();
    for _ in 0..5 {
        assert!(reports.next().is_some());
        let verified = shown(folder.path(), &["--verify"]);
        assert_ends(&verified, 0);
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    // As it was left behind.
    let verified = shown(folder.path(), &["--verify"]);
    assert_ends(&verified, 0);
}

/// Options, among which secrets are, are recorded nowhere.
#[test]
fn values_of_options_are_not_in_a_checkpoint() {
    let folder = world();
    let pipeline = fs::read_to_string(folder.path().join("errors.sql")).expect("a file");
    let pipeline = pipeline.replace(
        "'maxFilesPerTrigger' 1",
        "'maxFilesPerTrigger' 1, 'pathGlobFilter' '*${API_TOKEN}*'",
    );
    fs::write(folder.path().join("errors.sql"), pipeline).expect("a file");
    let ran = headwater(folder.path(), &["run", "errors.sql", "--available-now"])
        .env("API_TOKEN", "json")
        .output();
    assert_ends(&ran.expect("it runs"), 0);
    let json = shown(folder.path(), &["--json", "--last", "0"]);
    assert_ends(&json, 0);
    assert!(!out(&json).contains("*json*"), "{}", out(&json));
}

#[test]
fn what_is_no_checkpoint_is_told() {
    let folder = world();
    for place in ["in", "nowhere"] {
        let found = run(folder.path(), &["checkpoint", place]);
        assert_ends(&found, 2);
        let error = text(&found.stderr);
        assert!(error.contains("there is no checkpoint in"), "{error}");
    }
}
