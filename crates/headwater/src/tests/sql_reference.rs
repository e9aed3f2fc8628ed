//! The examples of `docs/sql.md`, run in order in one session.

use super::*;

const PAGE: &str = include_str!("../../../../docs/sql.md");

/// The blocks of SQL, and whether each is a single statement that only a session takes.
fn examples() -> Vec<(bool, String)> {
    let mut blocks = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        let single = match line {
            "```sql" => false,
            "```sql session" => true,
            _ => continue,
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push((single, block.join("\n")));
    }
    blocks
}

#[tokio::test]
async fn every_example_of_the_reference_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().to_str().expect("text");
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/");
    let session = Session::new();
    let impressions = format!(
        "CREATE STREAM impressions (shown_at TIMESTAMP, id STRING) USING csv OPTIONS (header true) \
         LOCATION '{data}ads/impressions'"
    );
    session.sql(&impressions).await.expect("defined");
    let options = StartOptions {
        checkpoint_root: Some(format!("{place}/checkpoints")),
        trigger: Some(Trigger::AvailableNow),
    };
    let examples = examples();
    assert!(examples.len() >= 10, "{}", examples.len());
    let mut rows = 0;
    for (single, text) in examples {
        let text = text
            .replace("'examples/data/", &format!("'{data}"))
            .replace("'out/", &format!("'{place}/out/"));
        if single {
            let frame = session
                .sql(&text)
                .await
                .unwrap_or_else(|error| panic!("{error}"));
            frame.collect().await.expect("rows");
            continue;
        }
        let pipeline = session
            .pipeline(&text)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        for step in pipeline.steps() {
            match step {
                crate::PipelineStep::Query(number) => {
                    let query = pipeline.queries()[*number].start(&options).await;
                    let query = query.unwrap_or_else(|error| panic!("{error}"));
                    query.await_termination().await.expect("it works");
                }
                crate::PipelineStep::Rows(frame, _) => {
                    let found = frame.clone().collect().await.expect("rows");
                    rows += found.iter().map(RecordBatch::num_rows).sum::<usize>();
                }
            }
        }
    }
    assert!(rows > 20, "{rows} rows");
    let errors = session.read().parquet(format!("{place}/out/errors")).await;
    let errors = errors.expect("files").collect().await.expect("rows");
    assert!(errors.iter().map(RecordBatch::num_rows).sum::<usize>() > 0);
}
