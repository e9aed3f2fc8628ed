//! The built-in processors under every interruption, and their rows against models.

use std::collections::BTreeMap;

use headwater::{
    Error, OutputMode, Session, StatefulOptions,
    prelude::{Result, col, count, lit, window},
    processor::TimeMode,
};
use headwater_sim::{
    cell::{self, Cell, Row, display_row},
    processors::{ProcessorStep, check_processor, play_processor},
};

use super::input::{block, case, groups, random_steps, schema, step, transform};

const SEEDS: u64 = 2;
const STEPS: usize = 6;

#[tokio::test]
async fn a_running_count_is_the_batch_answer_and_no_interruption_changes_it() -> Result<()> {
    for seed in 0..SEEDS {
        let steps = random_steps(seed, STEPS);
        let expected = batch_counts(&steps).await?;
        for case in [
            transform("value_count", TimeMode::None, "0 seconds", steps.clone()),
            groups("running_count", TimeMode::None, "0 seconds", steps),
        ] {
            let played = play_processor(&case).await?;
            let mut last = BTreeMap::new();
            for row in played.steps.concat() {
                last.insert(display_row(&row[..1].to_vec()), row);
            }
            let found: Vec<String> = last.values().map(display_row).collect();
            assert_eq!(found, expected, "seed {seed}, {}", case.name);
            check_processor(&case).await?;
        }
    }
    Ok(())
}

/// Key and count of all rows, by DataFusion.
async fn batch_counts(steps: &[ProcessorStep]) -> Result<Vec<String>> {
    let session = Session::new();
    let blocks: Vec<_> = steps.iter().flat_map(|step| step.blocks.clone()).collect();
    let all = datafusion::arrow::compute::concat_batches(&schema(), &blocks)?;
    session.register_batch("events", all)?;
    let rows = session
        .sql("SELECT k, count(*) AS n FROM events GROUP BY k")
        .await?
        .collect()
        .await?;
    let rows: Vec<Row> = rows
        .iter()
        .map(cell::rows)
        .collect::<Result<Vec<_>>>()?
        .concat();
    let mut by_key: Vec<(String, String)> = rows
        .iter()
        .map(|row| (display_row(&row[..1].to_vec()), display_row(row)))
        .collect();
    by_key.sort();
    Ok(by_key.into_iter().map(|(_, row)| row).collect())
}

#[tokio::test]
async fn every_kind_of_state_and_timer_survives_every_interruption() -> Result<()> {
    // Each query is started as often as it writes to its checkpoint, and a few times more.
    let steps = random_steps(100, STEPS);
    let event = TimeMode::EventTime;
    let clock = TimeMode::ProcessingTime;
    for case in [
        transform("ledger", event, "2 seconds", steps.clone()),
        transform("short_memory", clock, "2 seconds", steps.clone()),
        transform("event_timer", event, "0 seconds", steps.clone()),
        transform("value_ttl", clock, "0 seconds", steps.clone()),
        groups("event_timeout", event, "5 seconds", steps.clone()),
        groups("processing_timeout", clock, "0 seconds", steps),
    ] {
        check_processor(&case).await?;
    }
    Ok(())
}

#[tokio::test]
async fn each_timer_fires_once() -> Result<()> {
    // Timers are ten seconds after the latest row of a key in an epoch: as many as there are such times.
    let steps: Vec<ProcessorStep> = (0..8)
        .map(|n| {
            step(&[
                (n * 3 + 1, Some("a"), 1),
                (n * 3 + 2, Some("b"), 1),
                (n * 3 + 1, Some("a"), 1),
            ])
        })
        .chain([step(&[(1_000, Some("z"), 1)])])
        .collect();
    let case = transform("event_timer", TimeMode::EventTime, "0 seconds", steps);
    let played = play_processor(&case).await?;
    let fired = played.steps.concat().into_iter().filter(|row| {
        // A timer gives out the count as a negative number, or zero.
        row[1].same(&Cell::int(0)) || display_row(row).contains('-')
    });
    assert_eq!(fired.count(), 16);
    check_processor(&case).await
}

#[tokio::test]
async fn other_state_under_the_same_name_is_refused() -> Result<()> {
    let mut case = transform(
        "value_count",
        TimeMode::None,
        "0 seconds",
        vec![step(&[(1, Some("a"), 1)])],
    );
    case.with_other_state = Some((
        Box::new(|session| {
            session.register_processor("value_count", super::refusals::TextCount);
            Ok(())
        }),
        "state c".to_owned(),
    ));
    check_processor(&case).await
}

#[tokio::test]
async fn an_initial_state_is_taken_once_before_any_row() -> Result<()> {
    let steps = vec![
        step(&[(1, Some("a"), 1)]),
        step(&[(2, Some("a"), 2), (2, Some("c"), 5)]),
        step(&[(3, Some("b"), 3)]),
    ];
    let case = case("ledger", OutputMode::Update, steps, |session, events| {
        let rows = block(&[
            (0, Some("a"), 100),
            (0, Some("b"), 200),
            (0, Some("a"), 300),
        ]);
        let initial = session.context().read_batch(rows);
        let initial = initial.map_err(|error| Error::internal(error.to_string()))?;
        let initial = headwater::DataFrame::from(initial).group_by_key(["k"])?;
        events
            .with_watermark("ts", "0 seconds")?
            .group_by_key(["k"])?
            .transform_with_state(
                "ledger",
                StatefulOptions::new(TimeMode::EventTime).initial_state(initial),
            )
    });
    let played = play_processor(&case).await?;
    assert_eq!(
        super::input::shown(&played),
        [
            vec![r#"("a", "rows", 1, 401, 1)"#],
            vec![r#"("a", "rows", 2, 403, 2)"#, r#"("c", "rows", 1, 5, 1)"#],
            vec![r#"("b", "rows", 1, 203, 1)"#],
        ]
    );
    check_processor(&case).await
}

#[tokio::test]
async fn windows_stand_above_a_processor_that_carries_event_time_on() -> Result<()> {
    let steps = vec![
        step(&[(1, Some("a"), 1), (2, Some("b"), 1)]),
        step(&[(12, Some("a"), 1)]),
        step(&[(25, Some("b"), 1)]),
        step(&[(60, Some("z"), 1)]),
    ];
    let case = case("latest", OutputMode::Append, steps, |session, events| {
        session.register_processor("latest", super::refusals::Latest { behind_millis: 0 });
        events
            .with_watermark("ts", "0 seconds")?
            .group_by_key(["k"])?
            .transform_with_state(
                "latest",
                StatefulOptions::new(TimeMode::EventTime).event_time("at"),
            )?
            .group_by([window(col("at"), "10 seconds")])?
            .agg([count(lit(1)).alias("n")])?
            .select_expr(["cast(window.start as bigint) / 1000 AS start", "n"])
    });
    let played = play_processor(&case).await?;
    assert_eq!(
        super::input::shown(&played),
        [vec![], vec!["(0, 2)"], vec!["(10, 1)"], vec!["(20, 1)"],]
    );
    Ok(())
}

#[tokio::test]
async fn a_processor_stands_above_windows_and_sees_each_of_them_when_it_closes() -> Result<()> {
    let steps = vec![
        step(&[(1, Some("a"), 1), (2, Some("a"), 1)]),
        step(&[(12, Some("a"), 1)]),
        step(&[(25, Some("b"), 1)]),
        step(&[(60, Some("z"), 1)]),
    ];
    let case = case("above windows", OutputMode::Append, steps, |_, events| {
        events
            .with_watermark("ts", "0 seconds")?
            .group_by([window(col("ts"), "10 seconds"), col("k")])?
            .agg([count(lit(1)).alias("rows")])?
            .group_by_key(["k"])?
            .transform_with_state("value_count", TimeMode::EventTime)
    });
    let played = play_processor(&case).await?;
    assert_eq!(
        super::input::shown(&played),
        [
            vec![],
            vec![r#"("a", 1)"#],
            vec![r#"("a", 2)"#],
            vec![r#"("b", 1)"#],
        ]
    );
    check_processor(&case).await
}

#[tokio::test]
async fn keys_may_be_computed_and_the_processor_sees_the_columns_as_they_are() -> Result<()> {
    let steps = vec![
        step(&[(1, Some("a"), 1), (1, None, 2)]),
        step(&[(2, Some("A"), 3), (2, None, 4), (2, None, 5)]),
    ];
    let case = case("computed key", OutputMode::Update, steps, |_, events| {
        let key = events.expr("lower(coalesce(k, 'nobody'))")?;
        events
            .group_by_key([key])?
            .transform_with_state("value_count", TimeMode::None)
    });
    let played = play_processor(&case).await?;
    assert_eq!(
        super::input::shown(&played),
        [
            vec![r#"("a", 1)"#, r#"("nobody", 1)"#],
            vec![r#"("a", 2)"#, r#"("nobody", 3)"#],
        ]
    );
    check_processor(&case).await
}
