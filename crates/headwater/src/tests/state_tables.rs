//! State as tables: every kind of operator, live and stopped, at any version, and the changes between versions.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::assert_batches_sorted_eq;
use headwater_core::Storage;
use headwater_log::CountedStorage;

use super::{
    log,
    world::{Query, Row, World, shown},
};
use crate::{StateReader, prelude::*};

fn feed(world: &World, logs: &[Row]) -> Result<()> {
    world.logs.add_batch(super::rows(logs)).map(drop)
}

async fn state_of(world: &World) -> Result<StateReader> {
    world.session().await?.read_state_in(world.storage()).await
}

/// A query that ran over the log, and its state.
async fn after(query: Query, mode: OutputMode) -> Result<(World, StateReader)> {
    let world = World::new();
    feed(&world, &log())?;
    let other = [(5, "a", 1), (8, "b", 2), (70, "c", 3)];
    world.other.add_batch(super::rows(&other))?;
    world.run(query, mode).await?;
    let state = state_of(&world).await?;
    Ok((world, state))
}

const COUNTS: &str = "SELECT host, count(*) AS n, sum(status) AS s FROM logs GROUP BY host";

#[tokio::test]
async fn operators_are_listed_with_what_they_keep() -> Result<()> {
    let text = "SELECT host, count(*) AS n, count(DISTINCT status) AS d FROM logs GROUP BY host";
    let (_, state) = after(Query::Sql(text), OutputMode::Complete).await?;
    let frame = state.operators_frame()?;
    let names = frame
        .clone()
        .select(["operator", "kind", "store", "serves", "holds"])?;
    assert_batches_sorted_eq!(
        [
            "+-------------+-----------+------------+------------------------+----------------+",
            "| operator    | kind      | store      | serves                 | holds          |",
            "+-------------+-----------+------------+------------------------+----------------+",
            "| aggregate-0 | aggregate | distinct-1 | count(DISTINCT status) | a value by key |",
            "| aggregate-0 | aggregate | groups     |                        | a value by key |",
            "+-------------+-----------+------------+------------------------+----------------+",
        ],
        &names.collect().await?
    );
    let columns = frame
        .clone()
        .select(["store", "keys", "values", "expires"])?;
    assert_eq!(
        shown(&columns.collect().await?),
        [
            "distinct-1 host: Utf8, distinct value: Int64  ",
            "groups host: Utf8 count(*)[count]: Int64, count(DISTINCT status)[count]: Int64 ",
        ]
    );
    let numbers = [
        "store",
        "partitions",
        "rows",
        "bytes > 0",
        "first_version",
        "last_version",
    ];
    assert_eq!(
        shown(&frame.select_expr(numbers)?.collect().await?),
        ["distinct-1 2 3 true 0 0", "groups 2 2 true 0 0"]
    );
    let distinct = state
        .operator("aggregate-0")?
        .store("distinct-1")?
        .latest()
        .await?;
    let distinct = distinct.select_expr(["host", "`distinct value`", "expiry"])?;
    assert_eq!(
        shown(&distinct.collect().await?),
        ["a 200 ", "a 500 ", "b 503 "]
    );
    Ok(())
}

/// The content of a version, columns by these expressions.
async fn version(
    state: &StateReader,
    operator: &str,
    at: u64,
    columns: &[&str],
) -> Result<Vec<String>> {
    let frame = state.operator(operator)?.version(at).await?;
    Ok(shown(
        &frame
            .select_expr(columns.iter().copied())?
            .collect()
            .await?,
    ))
}

#[tokio::test]
async fn every_version_of_a_running_aggregation_is_what_came_out_then_also_while_the_query_runs()
-> Result<()> {
    let world = World::new();
    let (query, output) = world
        .start(Query::Sql(COUNTS), OutputMode::Complete)
        .await?;
    let columns = ["host", "`count(*)[count]`", "`sum(status)[sum]`"];
    for (epoch, row) in (0..).zip(log()) {
        feed(&world, &[row])?;
        query.process_all_available().await?;
        // Another program reads, through a storage that counts.
        let storage = CountedStorage::new(world.storage(), Arc::default());
        let counters = storage.counters();
        let state = world
            .session()
            .await?
            .read_state_in(Arc::new(storage))
            .await?;
        for past in 0..=epoch {
            let rows = version(&state, "aggregate-0", past, &columns).await?;
            assert_eq!(
                rows,
                output.lock().expect("not poisoned")[&past],
                "version {past}"
            );
        }
        let done = counters.snapshot();
        assert_eq!(
            (done.durable_calls(), done.deletes, done.bytes_written),
            (0, 0, 0)
        );
        assert!(done.reads > 0);
    }
    query.stop().await?;
    let state = state_of(&world).await?;
    // It is a table like any other.
    let session = world.session().await?;
    session.register_view("counts", state.operator("aggregate-0")?.latest().await?)?;
    let busy = session
        .sql("SELECT host FROM counts WHERE `count(*)[count]` > 1")
        .await?;
    assert_eq!(shown(&busy.collect().await?), ["a"]);
    let versions: Vec<u64> = state.versions().await?.iter().map(|it| it.0).collect();
    assert_eq!(versions, [0, 1, 2, 3, 4]);
    Ok(())
}

const WINDOWS: &str = "SELECT window.start AS start, host, count(*) AS n, avg(status) AS mean FROM l GROUP BY \
     window(time, '10 seconds'), host";

#[tokio::test]
async fn windows_are_there_until_the_watermark_passes_their_end() -> Result<()> {
    let world = World::new();
    let (query, output) = world.start(Query::Sql(WINDOWS), OutputMode::Update).await?;
    for row in log().into_iter().chain([(71, "b", 7), (95, "a", 9)]) {
        feed(&world, &[row])?;
        query.process_all_available().await?;
    }
    query.stop().await?;
    let state = state_of(&world).await?;
    let newest = state.versions().await?.len() as u64;
    let columns = [
        "window_start",
        "host",
        "`count(*)[count]`",
        "`avg(status)[sum]` / `avg(status)[count]` AS m",
    ];
    let watermarks = query.recent_progress();
    let output = output.lock().expect("not poisoned").clone();
    let mut model: BTreeMap<String, String> = BTreeMap::new();
    for epoch in 0..newest {
        for row in &output[&epoch] {
            let (window, _) = row.split_once(' ').expect("several columns");
            let host = row.split(' ').nth(1).expect("a host");
            model.insert(format!("{window} {host}"), row.clone());
        }
        // Texts of times sort as times do: a window of ten seconds is past if its end is.
        let progress = watermarks
            .iter()
            .find(|it| it.batch_id == epoch)
            .expect("a report");
        let watermark = progress
            .event_time
            .get("watermark")
            .cloned()
            .unwrap_or_default();
        let seconds = |text: &str| -> i64 {
            let [minutes, seconds] =
                [&text[14..16], &text[17..19]].map(|it| it.parse::<i64>().unwrap_or(0));
            minutes * 60 + seconds
        };
        let is_past = |row: &str| seconds(&row[..20]) + 10 <= seconds(&watermark);
        model.retain(|_, row| !is_past(row));
        let expected: Vec<String> = model.values().cloned().collect();
        assert_eq!(
            version(&state, "aggregate-0", epoch, &columns).await?,
            expected,
            "version {epoch}"
        );
    }
    let frame = state.operator("aggregate-0")?.latest().await?;
    let rows = frame
        .select_expr(["host", "window_start", "expiry"])?
        .collect()
        .await?;
    assert_eq!(
        shown(&rows),
        ["a 1970-01-01T00:01:30Z 1970-01-01T00:01:40Z"],
        "a window goes when the watermark, 85 s, has reached its end"
    );
    let text = state.operators()[0].stores()[0].layout().expires.clone();
    assert_eq!(text.as_deref(), Some("window_start + 10 s"));
    Ok(())
}

#[tokio::test]
async fn sessions_duplicates_and_limits() -> Result<()> {
    let text = "SELECT session_window.start AS start, host, count(*) AS n FROM l GROUP BY session_window(time, '5 \
                seconds'), host";
    let (_, state) = after(Query::Sql(text), OutputMode::Append).await?;
    let columns = [
        "host",
        "session_start",
        "session_end",
        "`count(*)[count]`",
        "expiry",
        "row",
    ];
    // Before the watermark rises, and after.
    assert_eq!(
        version(&state, "session-0", 0, &columns[..5]).await?,
        [
            "a 1970-01-01T00:00:01Z 1970-01-01T00:00:06Z 1 1970-01-01T00:00:06Z",
            "a 1970-01-01T00:00:08Z 1970-01-01T00:00:17Z 2 1970-01-01T00:00:17Z",
            "a 1970-01-01T00:01:00Z 1970-01-01T00:01:05Z 1 1970-01-01T00:01:05Z",
            "b 1970-01-01T00:00:07Z 1970-01-01T00:00:12Z 1 1970-01-01T00:00:12Z",
        ]
    );
    let left = version(&state, "session-0", 1, &columns[..3]).await?;
    assert_eq!(left, ["a 1970-01-01T00:01:00Z 1970-01-01T00:01:05Z"]);

    let by_host = Query::Frame(|logs| logs.drop_duplicates(&["host"]));
    let (_, state) = after(by_host, OutputMode::Append).await?;
    let keys = version(&state, "dedup-0", 0, &["host", "expiry"]).await?;
    assert_eq!(keys, ["a ", "b "]);

    let within = Query::Frame(|logs| {
        logs.with_watermark("time", "10 seconds")?
            .drop_duplicates_within_watermark(&["host"])
    });
    let (_, state) = after(within, OutputMode::Append).await?;
    let keys = version(&state, "dedup-0", 0, &["host", "expiry"]).await?;
    assert_eq!(keys, ["a 1970-01-01T00:00:11Z", "b 1970-01-01T00:00:17Z"]);
    assert_eq!(version(&state, "dedup-0", 1, &["host"]).await?, [""; 0]);

    let (_, state) = after(Query::Sql("SELECT * FROM logs LIMIT 3"), OutputMode::Append).await?;
    assert_eq!(
        version(&state, "limit-0", 0, &["partition", "rows"]).await?,
        ["0 3"]
    );
    Ok(())
}

const JOIN: &str = "SELECT l.host, l.status, r.status AS other FROM l LEFT JOIN r ON l.host = r.host AND r.time >= \
     l.time AND r.time <= l.time + INTERVAL '20 seconds'";

#[tokio::test]
async fn both_sides_of_a_join_and_which_rows_have_found_a_match() -> Result<()> {
    let (_, state) = after(Query::Sql(JOIN), OutputMode::Append).await?;
    let join = state.operator("join-0")?;
    let names: Vec<&str> = join.stores().iter().map(|store| store.name()).collect();
    assert_eq!(names, ["left", "right"]);
    let error = join.version(0).await.expect_err("two stores");
    assert_eq!(
        error.message(),
        "operator 'join-0' has several stores, left, right: choose one with store(…)"
    );
    let left = join.store("left")?.version(0).await?;
    let left = left
        .select_expr(["host", "status", "marked", "expiry"])?
        .collect()
        .await?;
    assert_eq!(
        shown(&left),
        [
            "a 200 false 1970-01-01T00:00:28.001Z",
            "a 500 false 1970-01-01T00:00:32.001Z",
            "a 500 false 1970-01-01T00:01:20.001Z",
            "a 500 true 1970-01-01T00:00:21.001Z",
            "b 503 true 1970-01-01T00:00:27.001Z",
        ]
    );
    let right = join
        .store("right")?
        .version(0)
        .await?
        .select(["host", "status"])?;
    assert_eq!(shown(&right.collect().await?), ["a 1", "b 2", "c 3"]);
    let after = join
        .store("left")?
        .latest()
        .await?
        .select(["host", "time"])?;
    assert_eq!(shown(&after.collect().await?), ["a 1970-01-01T00:01:00Z"]);
    Ok(())
}

/// Applies changes of rows `host status marked expiry`, found by their number, to those of a version.
fn applied(rows: Vec<String>, changes: &[String]) -> Vec<String> {
    let split = |row: &str, at: usize| -> (String, String) {
        let key: Vec<&str> = row.splitn(at + 1, ' ').collect();
        (key[..at].join(" "), key[at].to_owned())
    };
    let mut content: BTreeMap<String, String> = rows.iter().map(|row| split(row, 2)).collect();
    for change in changes {
        let mut words = change.splitn(3, ' ');
        let (_, kind, row) = (words.next(), words.next(), words.next().unwrap_or_default());
        let (key, rest) = split(row, 2);
        match kind {
            Some("insert") => assert_eq!(content.insert(key, rest), None),
            Some("upsert") => assert!(content.insert(key, rest).is_some()),
            Some("delete") => assert_eq!(content.remove(&key), Some(rest)),
            other => panic!("unknown change {other:?}"),
        }
    }
    content
        .into_iter()
        .map(|(key, rest)| format!("{key} {rest}"))
        .collect()
}

#[tokio::test]
async fn changes_lead_from_one_version_to_another() -> Result<()> {
    let mut world = World::new();
    let (query, _) = world.start(Query::Sql(JOIN), OutputMode::Append).await?;
    let other = [
        (5, "z", 1),
        (9, "a", 2),
        (12, "b", 3),
        (75, "a", 4),
        (90, "a", 5),
    ];
    for (log, other) in log().into_iter().zip(other) {
        feed(&world, &[log])?;
        world.other.add_batch(super::rows(&[other]))?;
        query.process_all_available().await?;
    }
    query.stop().await?;
    let state = state_of(&world).await?;
    let left = state.operator("join-0")?.store("left")?;
    let newest = state.versions().await?.len() as u64 - 1;
    let columns = ["partition", "row", "host", "status", "marked", "expiry"];
    let of_changes = [&["epoch", "change"], &columns[..]].concat();
    let read = |frame: DataFrame, columns: Vec<&'static str>| async move {
        frame.select_expr(columns)?.collect().await
    };
    let mut kinds = std::collections::BTreeSet::new();
    for from in 0..newest {
        let rows = shown(&read(left.version(from).await?, columns.to_vec()).await?);
        for to in from..=newest {
            let changes = read(left.changes(from, to).await?, of_changes.clone()).await?;
            // In their order, not sorted.
            let changes: Vec<String> = changes
                .iter()
                .flat_map(|batch| (0..batch.num_rows()).map(|row| batch.slice(row, 1)))
                .flat_map(|row| shown(&[row]))
                .collect();
            kinds.extend(
                changes
                    .iter()
                    .filter_map(|it| it.split(' ').nth(1).map(str::to_owned)),
            );
            let expected = shown(&read(left.version(to).await?, columns.to_vec()).await?);
            assert_eq!(
                applied(rows.clone(), &changes),
                expected,
                "from {from} to {to}"
            );
        }
    }
    assert_eq!(Vec::from_iter(kinds), ["delete", "insert", "upsert"]);
    let error = left.changes(2, 1).await.expect_err("backwards");
    assert_eq!(
        error.message(),
        "changes go forward: version 1 is before version 2"
    );
    // With another number of partitions the state is written as a whole: no row has changed for that.
    world.settings.state_partitions = Some(3);
    feed(&world, &[(100, "z", 1)])?;
    world.run(Query::Sql(JOIN), OutputMode::Append).await?;
    let changes = state
        .operator("join-0")?
        .store("left")?
        .changes(newest, newest + 1)
        .await?;
    let changes = changes
        .select(["change", "host", "status"])?
        .collect()
        .await?;
    assert_eq!(shown(&changes), ["insert z 1"]);
    Ok(())
}

#[tokio::test]
async fn a_version_that_is_gone_is_told_with_those_there_are() -> Result<()> {
    let mut world = World::new();
    world.settings.min_batches_to_retain = 2;
    let (query, _) = world
        .start(Query::Sql(COUNTS), OutputMode::Complete)
        .await?;
    feed(&world, &[(0, "a", 1)])?;
    query.process_all_available().await?;
    let state = state_of(&world).await?;
    let early = state.operator("aggregate-0")?.version(0).await?;
    // Enough for the first changes to be merged with others.
    for row in 1..45 {
        feed(&world, &[(row, "a", 1)])?;
        query.process_all_available().await?;
    }
    query.stop().await?;
    let versions = state.versions().await?;
    let (first, last) = (versions[0].0, versions[versions.len() - 1].0);
    assert!(first > 35 && last == 44, "{versions:?}");
    let gone = format!(
        "version 0 of the state is gone: in memory there are versions {first} to {last}; min_batches_to_retain says how \
         many are kept"
    );
    let error = state
        .operator("aggregate-0")?
        .version(0)
        .await
        .expect_err("gone");
    assert_eq!(error.message(), gone);
    let error = early.collect().await.expect_err("gone");
    assert!(error.to_string().contains(&gone), "{error}");
    let error = state
        .operator("aggregate-0")?
        .version(45)
        .await
        .expect_err("not there");
    assert!(
        error
            .message()
            .starts_with("there is no version 45 of the state yet"),
        "{error}"
    );
    // Files that are merged or written anew in the background hold the same.
    let rows = version(&state, "aggregate-0", last, &["host", "`count(*)[count]`"]).await?;
    assert_eq!(rows, ["a 45"]);
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_told() -> Result<()> {
    let (_, state) = after(Query::Sql(COUNTS), OutputMode::Complete).await?;
    let error = state.operator("join-0").expect_err("none");
    assert!(error.message().ends_with("it has aggregate-0"), "{error}");
    let error = state
        .operator("aggregate-0")?
        .store("left")
        .expect_err("none");
    assert_eq!(
        error.message(),
        "operator 'aggregate-0' has no store 'left': it has groups"
    );
    let empty: Arc<dyn Storage> = Arc::new(headwater_log::MemoryStorage::new());
    let error = Session::new()
        .read_state_in(empty)
        .await
        .expect_err("no checkpoint");
    assert!(
        error
            .message()
            .starts_with("there is no checkpoint in memory"),
        "{error}"
    );
    Ok(())
}
