//! Why nothing comes out, asked of running queries.

use std::sync::Arc;

use headwater_core::clock::ManualClock;
use headwater_log::MemoryStorage;
use tokio::sync::Semaphore;

use super::{rows, schema};
use crate::{
    Clock, Diagnosis, Settings, connect::memory::MemoryStream, engine::diagnose::Cause, prelude::*,
};

/// What the documentation shows of it.
const DOCUMENTED: &str = include_str!("../../../../docs/diagnosis.md");

/// Two streams, `logs` and `other`, with watermarks as `l` and `r`; it is 1970-01-01T00:16:40Z.
struct World {
    clock: Arc<ManualClock>,
    logs: MemoryStream,
    other: MemoryStream,
    session: Session,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(1_000_000));
        let session = Session::builder()
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .settings(Settings {
                state_partitions: Some(2),
                ..Settings::default()
            })
            .build()
            .expect("a session");
        let stream = |name: &str| {
            let stream = MemoryStream::new(name, schema());
            session.register_memory_stream(&stream).expect("a name");
            stream
        };
        let (logs, other) = (stream("logs"), stream("other"));
        for (name, view) in [("logs", "l"), ("other", "r")] {
            let table = session.table(name).await.expect("a stream");
            let marked = table.with_watermark("time", "10 seconds").expect("a time");
            session.register_view(view, marked).expect("a view");
        }
        Self {
            clock,
            logs,
            other,
            session,
        }
    }

    async fn start(&self, text: &str, mode: OutputMode) -> StreamingQuery {
        let frame = self.session.sql(text).await.expect("a query");
        let writer = frame.write_stream().format("memory").query_name("q");
        writer.output_mode(mode).start(None).await.expect("started")
    }

    async fn windows(&self) -> StreamingQuery {
        self.start(WINDOWS, OutputMode::Append).await
    }
}

const WINDOWS: &str = "SELECT window(time, '10 minutes') AS w, count(*) AS n FROM l GROUP BY 1";

/// What the query says after everything that there is has been processed.
async fn asked(query: &StreamingQuery) -> Diagnosis {
    query.process_all_available().await.expect("it runs");
    query.diagnose()
}

fn causes(diagnosis: &Diagnosis) -> Vec<String> {
    diagnosis.causes.iter().map(ToString::to_string).collect()
}

/// The first event time, in seconds, that brings a watermark of ten seconds there.
fn seconds_after(needs_millis: i64) -> i64 {
    (needs_millis + 999).div_euclid(1_000) + 10
}

/// Whether the documentation shows what the query says after a while.
fn is_documented(world: &World, query: &StreamingQuery) {
    world.clock.advance(90_000);
    let text = query.diagnose().to_string();
    assert!(
        DOCUMENTED.contains(&text),
        "docs/diagnosis.md lacks\n{text}"
    );
}

#[tokio::test]
async fn a_query_without_input_says_since_when() {
    let world = World::new().await;
    let query = world
        .start("SELECT host FROM logs", OutputMode::Append)
        .await;
    let idle = "no new input: nothing from MemoryStream[logs] since";
    assert_eq!(
        causes(&asked(&query).await),
        [format!("{idle} the query started at 1970-01-01T00:16:40Z")]
    );
    world.clock.advance(60_000);
    world.logs.add_batch(rows(&[(1, "a", 1)])).expect("rows");
    query.process_all_available().await.expect("it runs");
    world.clock.advance(120_000);
    assert_eq!(
        causes(&asked(&query).await),
        [
            "rows do come out: 1 row in epoch 0 at 1970-01-01T00:17:40Z".to_owned(),
            format!("{idle} 1970-01-01T00:17:40Z"),
        ]
    );
    query.stop().await.expect("stopped");
    assert_eq!(query.diagnose().summary(), "the query has ended");
}

#[tokio::test]
async fn an_open_window_says_which_event_closes_it() {
    let world = World::new().await;
    let query = world.windows().await;
    world
        .logs
        .add_batch(rows(&[(30, "a", 1), (420, "a", 1)]))
        .expect("rows");
    let open = asked(&query).await;
    assert_eq!(
        open.summary(),
        "the window 1970-01-01T00:00:00Z – 1970-01-01T00:10:00Z of aggregate-0 closes when the watermark, now \
         1970-01-01T00:06:50Z, reaches 1970-01-01T00:10:00Z: 'time' of MemoryStream[logs] must reach \
         1970-01-01T00:10:10Z (the newest so far is 1970-01-01T00:07:00Z, 3 min 10 s to go)"
    );
    is_documented(&world, &query);
    // One second less is not enough, and that one is.
    world.logs.add_batch(rows(&[(609, "a", 1)])).expect("rows");
    assert!(asked(&query).await.summary().ends_with("1 s to go)"));
    world.logs.add_batch(rows(&[(610, "a", 1)])).expect("rows");
    let closed = asked(&query).await;
    assert_eq!(
        closed.summary(),
        "rows do come out: 1 row in epoch 5 at 1970-01-01T00:18:10Z"
    );
    query.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_silent_side_of_a_union_is_named() {
    let world = World::new().await;
    let query = world
        .start(
            "SELECT window(time, '10 seconds') AS w, count(*) AS n \
             FROM (SELECT time FROM l UNION ALL SELECT time FROM r) GROUP BY 1",
            OutputMode::Append,
        )
        .await;
    world
        .logs
        .add_batch(rows(&[(5, "a", 1), (700, "a", 1)]))
        .expect("rows");
    let held = asked(&query).await;
    assert_eq!(
        held.summary(),
        "the slowest input holds the watermark at 1970-01-01T00:00:00Z: 'time' of MemoryStream[other] has given no row \
         in this run; without it, the watermark would be 1970-01-01T00:11:30Z"
    );
    is_documented(&world, &query);
    world.other.add_batch(rows(&[(15, "a", 1)])).expect("rows");
    let held = asked(&query).await;
    assert_eq!(
        held.summary(),
        "the slowest input holds the watermark at 1970-01-01T00:00:05Z: 'time' of MemoryStream[other] is 11 min 25 s \
         behind, its newest event time is 1970-01-01T00:00:15Z; without it, the watermark would be 1970-01-01T00:11:30Z"
    );
    world.other.add_batch(rows(&[(20, "a", 1)])).expect("rows");
    let closed = asked(&query).await;
    assert!(matches!(
        closed.causes[0],
        Cause::RowsComeOut { rows: 1, .. }
    ));
    query.stop().await.expect("stopped");
}

#[tokio::test]
async fn one_row_from_the_future_is_named_when_all_others_are_late() {
    let world = World::new().await;
    let query = world.windows().await;
    let blocks = [(30, 420), (100_000, 60), (90, 120)];
    for (first, second) in blocks {
        let block = rows(&[(first, "a", 1), (second, "a", 1)]);
        world.logs.add_batch(block).expect("rows");
        query.process_all_available().await.expect("it runs");
    }
    // The watermark that was in force one epoch ago counts.
    world
        .logs
        .add_batch(rows(&[(150, "a", 1), (180, "a", 1)]))
        .expect("rows");
    let late = asked(&query).await;
    assert_eq!(
        late.summary(),
        "aggregate-0 dropped 2 rows as late of 2 read: the watermark was 1970-01-02T03:46:30Z, their newest event time \
         1970-01-01T00:03:00Z; it follows 'time' of MemoryStream[logs], whose newest event time 1970-01-02T03:46:40Z \
         came in epoch 2 (the newest before was 1970-01-01T00:07:00Z) and lies 1 d 3 h in the future"
    );
    is_documented(&world, &query);
    query.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_join_that_keeps_rows_for_ever_says_so() {
    let world = World::new().await;
    let query = world
        .start(
            "SELECT l.host FROM l JOIN r ON l.host = r.host",
            OutputMode::Append,
        )
        .await;
    world.logs.add_batch(rows(&[(5, "a", 1)])).expect("rows");
    world.other.add_batch(rows(&[(5, "b", 1)])).expect("rows");
    let told = causes(&asked(&query).await);
    assert_eq!(
        told[0],
        "no recent row of join-0 found a match; it holds 2 rows"
    );
    for side in ["left", "right"] {
        let grows = format!(
            "the state of join-0 grows without bound: rows of the {side} stream are kept for ever"
        );
        assert!(told.iter().any(|it| it.starts_with(&grows)), "{told:?}");
    }
    query.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_row_of_an_outer_join_waits_for_the_other_side() {
    let world = World::new().await;
    let query = world
        .start(
            "SELECT l.host, r.status FROM l LEFT JOIN r ON l.host = r.host \
             AND r.time BETWEEN l.time AND l.time + INTERVAL 5 SECONDS",
            OutputMode::Append,
        )
        .await;
    world.logs.add_batch(rows(&[(20, "a", 1)])).expect("rows");
    world.other.add_batch(rows(&[(26, "b", 1)])).expect("rows");
    let open = asked(&query).await;
    let needs = open.causes.iter().find_map(|cause| match cause {
        Cause::NotClosed { needs_millis, .. } => Some(*needs_millis),
        _ => None,
    });
    // What the diagnosis asks for is what it takes, to the second.
    let needed = seconds_after(needs.expect("a row waits"));
    let more = |time| rows(&[(time, "c", 1)]);
    world.logs.add_batch(more(needed)).expect("rows");
    world.other.add_batch(more(needed - 1)).expect("rows");
    let open = asked(&query).await;
    assert!(matches!(open.causes[0], Cause::HeldBack { .. }), "{open}");
    assert!(matches!(open.causes[1], Cause::NotClosed { .. }), "{open}");
    world.other.add_batch(more(needed)).expect("rows");
    let gone = asked(&query).await;
    assert!(
        matches!(gone.causes[0], Cause::RowsComeOut { rows: 1, .. }),
        "{gone}"
    );
    query.stop().await.expect("stopped");
}

#[tokio::test]
async fn an_aggregation_above_an_outer_join_waits_for_its_lag() {
    let world = World::new().await;
    let query = world
        .start(
            "SELECT window(t, '10 seconds') AS w, count(*) AS n FROM (SELECT l.time AS t FROM l LEFT JOIN r \
             ON l.host = r.host AND r.time BETWEEN l.time AND l.time + INTERVAL 20 SECONDS) GROUP BY 1",
            OutputMode::Append,
        )
        .await;
    world.logs.add_batch(rows(&[(5, "a", 1)])).expect("rows");
    world.other.add_batch(rows(&[(6, "a", 1)])).expect("rows");
    let open = asked(&query).await;
    let operators = &open.facts.operators;
    let next = operators[0].next.expect("a window is open");
    assert_eq!(operators[0].kind, "aggregate");
    assert_eq!(next.at_millis, 10_000, "the window's end");
    assert!(next.needs_millis > 10_000, "{open}");
    let needed = seconds_after(next.needs_millis);
    for (time, comes_out) in [(needed - 1, false), (needed, true)] {
        for stream in [&world.logs, &world.other] {
            stream.add_batch(rows(&[(time, "c", 1)])).expect("rows");
        }
        let told = asked(&query).await;
        let flows = matches!(told.causes[0], Cause::RowsComeOut { .. });
        assert_eq!(flows, comes_out, "{time}: {told}");
    }
    query.stop().await.expect("stopped");
}

#[tokio::test]
async fn rows_that_are_filtered_out_are_told_from_rows_that_wait() {
    let world = World::new().await;
    let filtered = [
        ("SELECT host FROM logs WHERE status > 500", "the sink"),
        (
            "SELECT window(time, '10 minutes') AS w, count(*) AS n FROM l WHERE status > 500 GROUP BY 1",
            "aggregate-0",
        ),
    ];
    world
        .logs
        .add_batch(rows(&[(30, "a", 200), (60, "a", 404)]))
        .expect("rows");
    for (text, place) in filtered {
        let query = world.start(text, OutputMode::Append).await;
        assert_eq!(
            asked(&query).await.summary(),
            format!("none of the last 2 rows read got past the conditions of the query to {place}")
        );
        query.stop().await.expect("stopped");
    }
    let query = world
        .start(
            "SELECT host, count(*) AS n FROM logs GROUP BY host HAVING count(*) > 5",
            OutputMode::Update,
        )
        .await;
    assert_eq!(
        asked(&query).await.summary(),
        "aggregate-0 gave out rows, but none got past the conditions behind it to the sink"
    );
    query.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_limit_that_has_let_all_rows_through_says_so() {
    let world = World::new().await;
    let query = world
        .start("SELECT host FROM logs LIMIT 2", OutputMode::Append)
        .await;
    for _ in 0..2 {
        let block = rows(&[(1, "a", 1), (2, "a", 1)]);
        world.logs.add_batch(block).expect("rows");
        query.process_all_available().await.expect("it runs");
    }
    assert_eq!(
        query.diagnose().summary(),
        "the LIMIT limit-0 has let all of its rows through: no other will ever come out"
    );
    query.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_sink_that_fails_ends_the_query_and_its_error_is_told() {
    let world = World::new().await;
    let frame = world.session.table("logs").await.expect("a stream");
    let query = frame
        .write_stream()
        .query_name("q")
        .checkpoint(Arc::new(MemoryStorage::new()))
        .foreach_batch(|_, _| async { Err(Error::unavailable("the warehouse does not answer")) })
        .start(None)
        .await
        .expect("started");
    world.logs.add_batch(rows(&[(1, "a", 1)])).expect("rows");
    query.await_termination().await.expect_err("the sink fails");
    let told = query.diagnose().summary();
    assert!(told.starts_with("the query has failed: "), "{told}");
    assert!(told.contains("the warehouse does not answer"), "{told}");
    assert!(
        told.ends_with(
            "(the cause may pass, but nothing is tried again by itself; started again on its checkpoint, the query goes \
             on with epoch 0 and loses nothing)"
        ),
        "{told}"
    );
}

#[tokio::test]
async fn an_epoch_that_hangs_says_in_which_phase() {
    let world = World::new().await;
    let frame = world.session.table("logs").await.expect("a stream");
    let (reached, open) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let gates = (Arc::clone(&reached), Arc::clone(&open));
    let query = frame
        .write_stream()
        .query_name("q")
        .foreach_batch(move |_, _| {
            let (reached, open) = gates.clone();
            async move {
                reached.add_permits(1);
                let opened = open.acquire().await;
                opened.map(drop).map_err(|_| Error::internal("closed"))
            }
        })
        .start(None)
        .await
        .expect("started");
    world.logs.add_batch(rows(&[(1, "a", 1)])).expect("rows");
    let _reached = reached.acquire().await.expect("the sink is called");
    world.clock.advance(90_000);
    let told = query.diagnose().summary();
    let expected = "epoch 0 has been running for 1 min 30 s, for 1 min 30 s of it ";
    assert!(told.starts_with(expected), "{told}");
    open.add_permits(1);
    assert!(matches!(
        asked(&query).await.causes[0],
        Cause::RowsComeOut { rows: 1, .. }
    ));
    query.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_trigger_with_an_interval_says_when_it_fires() {
    let world = World::new().await;
    let frame = world.session.table("logs").await.expect("a stream");
    let query = frame
        .write_stream()
        .format("memory")
        .query_name("q")
        .trigger(Trigger::processing_time(std::time::Duration::from_secs(60)))
        .start(None)
        .await
        .expect("started");
    let told = causes(&asked(&query).await);
    assert_eq!(
        told[1],
        "the trigger fires next at 1970-01-01T00:17:00Z, in 20 s"
    );
    query.stop().await.expect("stopped");
}
