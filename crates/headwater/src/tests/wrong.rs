//! Statements that are wrong, and what is said of each, word by word.
//!
//! `wrong.txt` holds them: first the definitions that all share, then one case after the other, each with its exact
//! message and, where the message says what to write instead, with such a text, which must be accepted. With
//! `HEADWATER_UPDATE=1` in the environment the messages are written anew, to be read in the difference.

use std::fmt::Write as _;

use super::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/wrong.txt");

/// What nobody who writes SQL should have to read.
const INTERNAL: &[&str] = &[
    "__",
    "not implemented",
    "Error during planning",
    "Schema error",
    "External error",
    "Internal error",
    "sql parser error",
    "ParserError",
    "DataFusion",
    "LogicalPlan",
    "Arrow error",
    "Utf8",
    "Int64",
    "with_watermark(",
    "write_stream",
    "option(",
    "load(",
    "start(",
    "call load",
    "query_name(",
    "partition_by(",
    "datafusion.public",
];

struct Case {
    title: String,
    wrong: String,
    message: String,
    instead: Option<String>,
}

/// The shared definitions and the cases.
fn read(file: &str) -> (String, Vec<Case>) {
    let (setup, cases) = file.split_once("\n=== ").expect("cases behind definitions");
    let cases = cases.split("\n=== ").map(|case| {
        let (title, rest) = case.split_once('\n').expect("a title");
        let (wrong, rest) = rest.split_once("\n--- message\n").expect("a message");
        let (message, instead) = match rest.split_once("\n--- instead\n") {
            Some((message, instead)) => (message, Some(instead.trim_end().to_owned())),
            None => (rest, None),
        };
        Case {
            title: title.to_owned(),
            wrong: wrong.to_owned(),
            message: message.trim_end().to_owned(),
            instead,
        }
    });
    (setup.to_owned(), cases.collect())
}

async fn world(setup: &str) -> Session {
    let session = Session::new();
    session.pipeline(setup).await.expect("definitions");
    session
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_place_and_with_what_to_write_instead() {
    let file = std::fs::read_to_string(FILE).expect("the cases");
    let (setup, cases) = read(&file);
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let update = std::env::var_os("HEADWATER_UPDATE").is_some();
    let mut written = setup.clone();
    let mut problems = Vec::new();
    for case in &cases {
        let title = &case.title;
        let found = match world(&setup).await.pipeline(&case.wrong).await {
            Ok(_) => {
                problems.push(format!("{title}: accepted"));
                "(accepted)".to_owned()
            }
            Err(error) => error.to_string(),
        };
        if found != case.message && !update {
            problems.push(format!(
                "{title}:\nexpected {}\nfound    {found}",
                case.message
            ));
        }
        let internal = INTERNAL.iter().filter(|word| {
            // The excerpt shows the user's own words.
            let message = found.lines().next().unwrap_or_default();
            message.contains(**word)
        });
        for word in internal {
            problems.push(format!(
                "{title}: `{word}` means nothing to a user: {found}"
            ));
        }
        if !found.starts_with("line ") || !found.contains('^') {
            problems.push(format!("{title}: no place: {found}"));
        }
        if let Some(instead) = &case.instead
            && let Err(error) = world(&setup).await.pipeline(instead).await
        {
            problems.push(format!("{title}: the remedy is refused: {error}"));
        }
        let _ = write!(
            written,
            "\n=== {title}\n{}\n--- message\n{found}",
            case.wrong
        );
        if let Some(instead) = &case.instead {
            let _ = write!(written, "\n--- instead\n{instead}");
        }
        written.push('\n');
    }
    if update {
        std::fs::write(FILE, written).expect("written");
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}
