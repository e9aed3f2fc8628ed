//! What becomes of a query that is changed between two runs: it goes on and gives the answer that is documented in
//! `docs/upgrades.md`, or it is refused, naming what differs. Each line of that document is a case here.

use super::{
    log,
    world::{Output, Query, Row, World, answer},
};
use crate::prelude::*;

mod aggregations;
mod joins;
mod rows;
mod windows;

/// What a changed query does.
enum Expected {
    /// Goes on: what comes out then is the answer of this query over the tables `logs_first`, `logs_second`,
    /// `logs_both`, `other_first`, … .
    Goes(&'static str),
    /// Is refused with a message that has all of these texts.
    Refused(&'static [&'static str]),
}
use Expected::{Goes, Refused};

fn logs_second() -> Vec<Row> {
    vec![
        (61, "a", 100),
        (62, "b", 503),
        (70, "c", 500),
        (120, "b", 1),
    ]
}

const OTHER_FIRST: &[Row] = &[(5, "a", 1), (8, "b", 2)];
const OTHER_SECOND: &[Row] = &[(15, "a", 3), (20, "b", 4), (65, "a", 5)];

async fn feed(world: &World, first: bool) -> Result<()> {
    let (logs, other) = match first {
        true => (log(), OTHER_FIRST),
        false => (logs_second(), OTHER_SECOND),
    };
    world.logs.add_batch(super::rows(&logs))?;
    world.other.add_batch(super::rows(other))?;
    Ok(())
}

async fn expected_rows(text: &str) -> Result<Vec<String>> {
    let (first, second) = (log(), logs_second());
    let both = [first.clone(), second.clone()].concat();
    let other = [OTHER_FIRST, OTHER_SECOND].concat();
    let tables: [(&str, &[Row]); 6] = [
        ("logs_first", &first),
        ("logs_second", &second),
        ("logs_both", &both),
        ("other_first", OTHER_FIRST),
        ("other_second", OTHER_SECOND),
        ("other_both", &other),
    ];
    answer(&tables, text).await
}

/// What counts of an output: in complete mode the last one, else all.
fn counted(output: Output, mode: OutputMode) -> Vec<String> {
    if mode == OutputMode::Complete {
        return output.into_values().next_back().unwrap_or_default();
    }
    let mut rows: Vec<String> = output.into_values().flatten().collect();
    rows.sort();
    rows
}

/// Runs `before` over the first rows and `after` over the second ones, on the same checkpoint.
async fn check(
    name: &str,
    (before, mode_before): (Query, OutputMode),
    (after, mode_after): (Query, OutputMode),
    expected: &Expected,
) -> Result<()> {
    let world = World::new();
    feed(&world, true).await?;
    let context = |error: Error| error.context(name);
    world.run(before, mode_before).await.map_err(context)?;
    let recorded = files(&world).await?;
    feed(&world, false).await?;
    let changed = world.run(after, mode_after).await;
    match expected {
        Goes(text) => {
            let rows = counted(changed.map_err(context)?, mode_after);
            assert_eq!(rows, expected_rows(text).await?, "{name}");
        }
        Refused(texts) => {
            let error = match changed {
                Ok(output) => panic!("{name}: went on with {output:?}"),
                Err(error) => error,
            };
            assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error}");
            let message = error.to_string();
            for text in *texts {
                assert!(
                    message.contains(text),
                    "{name}: {text:?} is not in: {message}"
                );
            }
            assert_eq!(files(&world).await?, recorded, "{name}: nothing is written");
            // The query as it was goes on.
            world.run(before, mode_before).await.map_err(context)?;
        }
    }
    Ok(())
}

async fn files(world: &World) -> Result<Vec<String>> {
    let files = world.storage().list("").await?.into_iter();
    Ok(files.map(|file| file.path).collect())
}

/// Cases of one recorded query.
async fn check_all(
    before: Query,
    mode: OutputMode,
    cases: &[(&str, Query, Expected)],
) -> Result<()> {
    for (name, after, expected) in cases {
        check(name, (before, mode), (*after, mode), expected).await?;
    }
    Ok(())
}

use Query::{Frame, Sql};

const COUNTS: &str = "SELECT host, count(*) AS n, sum(status) AS s FROM logs GROUP BY host";

#[tokio::test]
async fn what_was_dropped_cannot_be_had_back() -> Result<()> {
    let world = World::new();
    let mode = OutputMode::Complete;
    feed(&world, true).await?;
    world.run(Sql(COUNTS), mode).await?;
    feed(&world, false).await?;
    world
        .run(
            Sql("SELECT host, sum(status) AS s FROM logs GROUP BY host"),
            mode,
        )
        .await?;
    let error = world.run(Sql(COUNTS), mode).await.expect_err("refused");
    let text = "operator 'aggregate-0' store 'groups' column 'count(*)[count]' is new: Int64";
    assert!(error.to_string().contains(text), "{error}");
    Ok(())
}

#[tokio::test]
async fn another_sink_is_refused() -> Result<()> {
    let world = World::new();
    feed(&world, true).await?;
    world.run(Sql(COUNTS), OutputMode::Complete).await?;
    let session = world.session().await?;
    let query = session
        .sql(COUNTS)
        .await?
        .write_stream()
        .output_mode(OutputMode::Complete);
    let started = query
        .checkpoint(world.storage())
        .format("noop")
        .start(None)
        .await;
    let error = started.expect_err("refused");
    let text = "the sink was 'foreach_batch' and is 'noop'";
    assert!(error.to_string().contains(text), "{error}");
    Ok(())
}
