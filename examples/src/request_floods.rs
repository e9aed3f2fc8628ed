//! Request floods: clients that ask too often within a minute, found in the log of a web server while it is written.

use std::path::PathBuf;

use datafusion::arrow::json::LineDelimitedWriter;
use headwater::prelude::*;

/// The requests in lines of a log in the format that most web servers write; other lines are left out.
pub fn requests(lines: DataFrame) -> Result<DataFrame> {
    let fields = "regexp_match(value, '^([^ ]+) [^ ]+ [^ ]+ .([0-9]{2}/[A-Za-z]+/[0-9:]+ [+-][0-9]{4}). \"([A-Z]+) ([^ \"]+)[^\"]*\" ([0-9]{3}) ') AS fields";
    lines
        .select_expr([fields])?
        .filter_expr("fields IS NOT NULL")?
        .select_expr([
            "to_timestamp_micros(fields[2], '%d/%b/%Y:%H:%M:%S %z') AS time",
            "fields[1] AS client",
            "fields[4] AS path",
            "CAST(fields[5] AS INT) AS status",
        ])
}

/// Each client and minute with more than `limit` requests; a minute begins every ten seconds. The same for a stream and
/// for a table.
pub fn floods(requests: DataFrame, limit: i64) -> Result<DataFrame> {
    requests
        .with_watermark("time", "1 minute")?
        .group_by([
            window(col("time"), "1 minute").slide("10 seconds"),
            col("client"),
        ])?
        .agg_expr(["count(*) AS requests", "max(path) AS path"])?
        .filter(col("requests").gt(lit(limit)))?
        .select_expr([
            "window.start AS start",
            "window.end AS until",
            "client",
            "requests",
            "path",
        ])
}

/// Runs over everything that is in `input` and goes on from `checkpoint` if it was run before. In update mode an alert comes
/// as soon as a minute has too many requests, not only when the minute is over.
///
/// Alerts are one JSON file for each epoch that has some, with one line a client. An epoch that comes again after a crash
/// writes the same file again, so each alert is there once.
pub async fn run(
    input: &str,
    limit: i64,
    alerts: &str,
    checkpoint: &str,
) -> Result<StreamingQuery> {
    let session = Session::new();
    let lines = session
        .read_stream()
        .option("maxFilesPerTrigger", "1")
        .text(input)?;
    let folder = PathBuf::from(alerts);
    let query = floods(requests(lines)?, limit)?
        .write_stream()
        .query_name("floods")
        .output_mode(OutputMode::Update)
        .foreach_batch(move |floods, epoch| {
            let file = folder.join(format!("alerts-{:06}.json", epoch.0));
            async move {
                let clients = floods.group_by(["client"])?.agg_expr([
                    "min(start) AS since",
                    "max(until) AS until",
                    "max(requests) AS requests_a_minute",
                    "max(path) AS path",
                ])?;
                write_json(&clients.collect().await?, file).await
            }
        })
        .option("checkpointLocation", checkpoint)
        .trigger(Trigger::available_now())
        .start(None)
        .await?;
    query.await_termination().await?;
    Ok(query)
}

/// Writes the rows as a file that is there as a whole or not at all; no rows make no file.
async fn write_json(rows: &[RecordBatch], file: PathBuf) -> Result<()> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write_batches(&rows.iter().collect::<Vec<_>>())?;
    writer.finish()?;
    let text = writer.into_inner();
    if text.is_empty() {
        return Ok(());
    }
    let written = async {
        if let Some(folder) = file.parent() {
            tokio::fs::create_dir_all(folder).await?;
        }
        let unfinished = file.with_extension("unfinished");
        tokio::fs::write(&unfinished, text).await?;
        tokio::fs::rename(&unfinished, &file).await
    };
    written.await.map_err(|error| {
        Error::unavailable(format!("cannot write {}", file.display())).with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;
    use crate::testing::{Arriving, shown, sorted_rows};

    const LIMIT: i64 = 40;
    const SECOND: i64 = 1000;

    /// Client and time in milliseconds of each request, read from the text by its position.
    fn by_hand(folder: &str) -> Vec<(String, i64)> {
        let mut requests = Vec::new();
        for file in fs::read_dir(folder).expect("a folder") {
            let text = fs::read_to_string(file.expect("an entry").path()).expect("a file");
            for line in text.lines().filter(|line| line.contains("HTTP/1.1")) {
                let (client, rest) = line.split_once(' ').expect("a client");
                let (_, rest) = rest.split_once('[').expect("a time");
                let (time, _) = rest.split_once(']').expect("a time");
                let time = chrono::DateTime::parse_from_str(time, "%d/%b/%Y:%H:%M:%S %z");
                let time = time.expect("a time").timestamp_millis();
                requests.push((client.to_owned(), time));
            }
        }
        requests
    }

    /// Start, client and number of requests of each minute with too many.
    fn floods_by_hand(folder: &str) -> Vec<String> {
        let mut minutes: BTreeMap<(i64, String), i64> = BTreeMap::new();
        for (client, time) in by_hand(folder) {
            let last = time - time % (10 * SECOND);
            for step in 0..6 {
                *minutes
                    .entry((last - step * 10 * SECOND, client.clone()))
                    .or_default() += 1;
            }
        }
        let floods = minutes
            .into_iter()
            .filter(|(_, requests)| *requests > LIMIT);
        floods
            .map(|((start, client), requests)| format!("{}|{client}|{requests}", shown(start)))
            .collect()
    }

    #[tokio::test]
    async fn a_table_gives_the_minutes_with_too_many_requests() -> Result<()> {
        let session = Session::new();
        let folder = crate::data("requests");
        let lines = session.read().text(&folder).await?;
        let found = floods(requests(lines)?, LIMIT)?.select(["start", "client", "requests"])?;
        let expected = floods_by_hand(&folder);
        assert!(expected.len() > 10, "{}", expected.len());
        assert_eq!(sorted_rows(found).await?, expected);
        Ok(())
    }

    /// All lines of all alerts, in order of the epochs.
    fn alerts(folder: &str) -> String {
        let mut files: Vec<_> = fs::read_dir(folder)
            .expect("a folder")
            .map(|file| file.expect("an entry").path())
            .collect();
        files.sort();
        let texts = files
            .iter()
            .map(|file| fs::read_to_string(file).expect("a file"));
        texts.collect()
    }

    #[tokio::test]
    async fn alerts_are_the_same_with_and_without_a_restart() -> Result<()> {
        let log = Arriving::of("requests");
        log.bring_first_half();
        run(
            &log.input(),
            LIMIT,
            &log.path("alerts"),
            &log.path("checkpoint"),
        )
        .await?;
        log.bring_second_half();
        run(
            &log.input(),
            LIMIT,
            &log.path("alerts"),
            &log.path("checkpoint"),
        )
        .await?;
        let with_restart = alerts(&log.path("alerts"));
        // A third run has nothing to say.
        run(
            &log.input(),
            LIMIT,
            &log.path("alerts"),
            &log.path("checkpoint"),
        )
        .await?;
        assert_eq!(alerts(&log.path("alerts")), with_restart);

        run(
            &log.input(),
            LIMIT,
            &log.path("alerts-2"),
            &log.path("checkpoint-2"),
        )
        .await?;
        assert_eq!(alerts(&log.path("alerts-2")), with_restart);
        // Update mode tells the last number of each minute, so that the worst minute of a client is known.
        let mut worst: BTreeMap<String, i64> = BTreeMap::new();
        for flood in floods_by_hand(&log.input()) {
            let cells: Vec<&str> = flood.split('|').collect();
            let requests: i64 = cells[2].parse().expect("a number");
            let known = worst.entry(cells[1].to_owned()).or_default();
            *known = requests.max(*known);
        }
        assert_eq!(worst.len(), 2);
        for (client, requests) in worst {
            let line = |line: &&str| {
                line.contains(&format!("\"client\":\"{client}\""))
                    && line.contains(&format!("\"requests_a_minute\":{requests},"))
            };
            assert!(
                with_restart.lines().any(|text| line(&text)),
                "{client} {requests}: {with_restart}"
            );
        }
        Ok(())
    }
}
