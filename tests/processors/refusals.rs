//! What is refused, with what to write instead.

use datafusion::{
    arrow::{
        array::RecordBatch,
        datatypes::{DataType, Field, TimeUnit},
    },
    scalar::ScalarValue,
};
use headwater::{
    ErrorKind, OutputMode, Session, StatefulOptions,
    prelude::{Result, col, count, lit},
    processor::{
        Output, ProcessorInput, ProcessorSpec, State, StateVariable, StatefulProcessor, TimeMode,
    },
};
use headwater_sim::processors::{play_processor, register};

use super::input::{case, groups, step, transform};

/// Declares its count as text.
pub(super) struct TextCount;

impl StatefulProcessor for TextCount {
    fn declare(&self, _input: &ProcessorInput) -> Result<ProcessorSpec> {
        Ok(
            ProcessorSpec::new([("k", DataType::Utf8), ("n", DataType::Int64)])
                .with(StateVariable::value("c", [("n", DataType::Utf8)])),
        )
    }

    fn handle_rows(
        &self,
        _key: &[ScalarValue],
        _rows: &RecordBatch,
        state: &mut State<'_>,
        _output: &mut Output,
    ) -> Result<()> {
        // Of the wrong type, to be refused.
        state.value("c")?.update((1_i64,))
    }
}

/// Gives out the latest time of the rows of each key, less a span.
pub(super) struct Latest {
    pub(super) behind_millis: i64,
}

impl StatefulProcessor for Latest {
    fn declare(&self, _input: &ProcessorInput) -> Result<ProcessorSpec> {
        let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        Ok(ProcessorSpec::new([
            Field::new("k", DataType::Utf8, true),
            Field::new("at", time, true),
        ]))
    }

    fn handle_rows(
        &self,
        key: &[ScalarValue],
        rows: &RecordBatch,
        _state: &mut State<'_>,
        output: &mut Output,
    ) -> Result<()> {
        use datafusion::arrow::{
            array::AsArray, compute::max, datatypes::TimestampMicrosecondType,
        };
        let times = rows.column(0).as_primitive::<TimestampMicrosecondType>();
        let latest = max(times).map(|micros| micros / 1_000 - self.behind_millis);
        let at = ScalarValue::TimestampMillisecond(latest, Some("UTC".into()));
        output.row((key[0].clone(), at))
    }
}

/// Why playing a case failed.
async fn why(case: headwater_sim::processors::ProcessorCase) -> String {
    let error = play_processor(&case).await.expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    error.to_string()
}

fn one_row() -> Vec<headwater_sim::processors::ProcessorStep> {
    vec![
        step(&[(100, Some("a"), 1)]),
        step(&[(50, Some("b"), 1), (200, Some("a"), 1)]),
    ]
}

#[tokio::test]
async fn a_name_that_is_not_registered_or_of_the_other_kind_is_named() {
    let text = why(transform("nobody", TimeMode::None, "0 seconds", one_row())).await;
    assert!(
        text.contains("'nobody' is registered") && text.contains("register_processor"),
        "{text}"
    );
    let text = why(transform(
        "running_count",
        TimeMode::None,
        "0 seconds",
        one_row(),
    ))
    .await;
    assert!(text.contains("use it with map_groups_with_state"), "{text}");
    let text = why(groups(
        "value_count",
        TimeMode::None,
        "0 seconds",
        one_row(),
    ))
    .await;
    assert!(text.contains("use it with transform_with_state"), "{text}");
}

#[tokio::test]
async fn a_wrong_use_of_state_names_processor_key_and_what_is_declared() {
    let mut wrong = transform("text", TimeMode::None, "0 seconds", one_row());
    wrong.register = Box::new(|session| {
        session.register_processor("text", TextCount);
        Ok(())
    });
    let text = why(wrong).await;
    for part in [
        "processor 'text'",
        "key (a)",
        "column 'n' of state 'c' is declared as Utf8",
        "Int64",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // A processor with timers that runs without a time.
    let text = why(transform(
        "event_timer",
        TimeMode::None,
        "0 seconds",
        one_row(),
    ))
    .await;
    assert!(text.contains("TimeMode::EventTime"), "{text}");
    // A function that gives no row where exactly one is due.
    let text = why(case("three", OutputMode::Update, one_row(), |_, events| {
        events
            .group_by_key(["k"])?
            .map_groups_with_state("three_then_remove", TimeMode::None)
    }))
    .await;
    assert!(text.contains("use flat_map_groups_with_state"), "{text}");
}

#[tokio::test]
async fn rows_behind_the_watermark_do_not_come_out_under_an_event_time() {
    let text = why(case(
        "latest",
        OutputMode::Append,
        one_row(),
        |session, events| {
            session.register_processor(
                "latest",
                Latest {
                    behind_millis: 1_000_000,
                },
            );
            events
                .with_watermark("ts", "0 seconds")?
                .group_by_key(["k"])?
                .transform_with_state(
                    "latest",
                    StatefulOptions::new(TimeMode::None).event_time("at"),
                )
        },
    ))
    .await;
    assert!(
        text.contains("event time 'at'") && text.contains("before the current watermark"),
        "{text}"
    );
}

#[tokio::test]
async fn what_stands_above_or_below_follows_the_output_mode() {
    let above = |mode| {
        case("count above", mode, one_row(), |_, events| {
            events
                .group_by_key(["k"])?
                .transform_with_state("value_count", TimeMode::None)?
                .group_by([col("n")])?
                .agg([count(lit(1)).alias("c")])
        })
    };
    let text = why(above(OutputMode::Update)).await;
    assert!(
        text.contains("above arbitrary state needs append mode"),
        "{text}"
    );
    let text = why(above(OutputMode::Append)).await;
    assert!(text.contains("these groups never end"), "{text}");
    let text = why(above(OutputMode::Complete)).await;
    assert!(text.contains("complete mode"), "{text}");
}

#[tokio::test]
async fn an_event_time_column_must_be_one_and_have_a_watermark() {
    let with = |column: &'static str, watermark: bool| {
        case(
            "latest",
            OutputMode::Append,
            one_row(),
            move |session, events| {
                session.register_processor("latest", Latest { behind_millis: 0 });
                let events = match watermark {
                    true => events.with_watermark("ts", "0 seconds")?,
                    false => events,
                };
                events.group_by_key(["k"])?.transform_with_state(
                    "latest",
                    StatefulOptions::new(TimeMode::None).event_time(column),
                )
            },
        )
    };
    assert!(why(with("k", true)).await.contains("not a timestamp"));
    assert!(why(with("gone", true)).await.contains("no column 'gone'"));
    assert!(why(with("at", false)).await.contains("with_watermark"));
}

#[tokio::test]
async fn a_static_table_and_a_streaming_initial_state_are_refused() -> Result<()> {
    let session = Session::new();
    register(&session)?;
    session.register_batch("t", super::input::block(&[(1, Some("a"), 1)]))?;
    let frame = session.table("t").await?.group_by_key(["k"])?;
    let frame = frame.transform_with_state("value_count", TimeMode::None)?;
    let error = frame.collect().await.expect_err("no stream");
    assert!(
        error.to_string().contains("runs over streams only"),
        "{error}"
    );
    let text = why(case(
        "initial",
        OutputMode::Append,
        one_row(),
        |_, events| {
            let initial = events.clone().group_by_key(["k"])?;
            events.group_by_key(["k"])?.transform_with_state(
                "ledger",
                StatefulOptions::new(TimeMode::None).initial_state(initial),
            )
        },
    ))
    .await;
    assert!(text.contains("must be a static table"), "{text}");
    Ok(())
}
