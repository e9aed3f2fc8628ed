//! The batch oracle: recorded streaming queries, planned and run at once over all their rows, without an engine.
//!
//! It catches what is wrong with the grammar, the names, the types and the functions. It cannot say anything about
//! epochs: watermarks are dropped, so of a query that emits window by window only those rows are compared that no
//! lateness could have touched.

mod json;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionConfig, SessionContext};
use headwater_sql::{BatchHooks, SqlFrontEnd, checked_arithmetic};
use serde_json::Value;

use json::text;

struct Scenario(Value);

/// What the recorded rows say about the rows of the batch answer.
#[derive(Debug, PartialEq, Eq)]
enum Expectation {
    /// They are the same rows.
    Same(Vec<Value>),
    /// Every row of the answer was emitted at some time.
    Among(Vec<Value>),
    /// Every row emitted is in the answer.
    Contains(Vec<Value>),
    /// Planning or running fails.
    Fails,
    /// It must be possible to plan it; the rows depend on the stream.
    Plans,
}

impl Scenario {
    fn load_all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/traces/scenarios");
        let mut files: Vec<_> = std::fs::read_dir(&folder)
            .expect("the folder of scenarios")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|e| e == "json"))
            .collect();
        files.sort();
        let read = |path| std::fs::read_to_string(path).expect("a file");
        files
            .iter()
            .map(|path| Self(serde_json::from_str(&read(path)).expect("JSON")))
            .collect()
    }

    fn name(&self) -> &str {
        text(&self.0["name"])
    }

    fn sql(&self) -> Option<&str> {
        self.0["query"]["sql"].as_str()
    }

    fn rows_of(&self, stream: &str) -> Vec<Value> {
        let steps = self.0["steps"].as_array().expect("steps");
        let blocks = steps.iter().filter(|step| step["stream"] == stream);
        blocks
            .flat_map(|step| step["rows"].as_array().expect("rows").clone())
            .collect()
    }

    fn batches(&self) -> Vec<&Value> {
        let triggers = self.0["expected"]["triggers"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let all = triggers
            .iter()
            .flat_map(|t| t["batches"].as_array().expect("batches"));
        // A batch that ran again after its commit was lost counts once.
        let by_id: BTreeMap<i64, &Value> = all
            .map(|b| (b["batch_id"].as_i64().expect("an id"), b))
            .collect();
        by_id.into_values().collect()
    }

    fn failed_in_analysis(&self) -> bool {
        let exception = self.0["expected"]["error"]["exception"].as_str();
        exception.is_some_and(|name| name.ends_with("AnalysisException"))
    }

    fn has_null_keys(&self) -> bool {
        let steps = self.0["steps"].as_array().into_iter().flatten();
        let mut rows = steps.flat_map(|step| step["rows"].as_array().into_iter().flatten());
        rows.any(|row| row["k"].is_null())
    }

    fn expectation(&self) -> Expectation {
        let sql = self.sql().unwrap_or_default();
        let batches = self.batches();
        let rows = |batch: &Value| batch["rows"].as_array().expect("rows").clone();
        let all: Vec<Value> = batches.iter().flat_map(|b| rows(b)).collect();
        match text(&self.0["expected"]["result"]) {
            "rejected" => return Expectation::Plans,
            // What only a stream cannot do was noticed while the query ran.
            "failed" if self.failed_in_analysis() => return Expectation::Plans,
            "failed" => return Expectation::Fails,
            _ => {}
        }
        // The record joins null keys with each other there, which SQL does not.
        if sql.contains("FULL OUTER JOIN") && self.has_null_keys() {
            return Expectation::Plans;
        }
        // Rows that depend on when they came, or on windows that only the streaming planner can assign.
        if [
            "current_",
            "LIMIT",
            "'5 seconds')",
            "'2 seconds')",
            "'3 seconds')",
            "'4 seconds')",
            "'20 seconds', ",
        ]
        .iter()
        .any(|part| sql.contains(part))
        {
            return Expectation::Plans;
        }
        let late = |b: &&Value| {
            b["state"]
                .as_array()
                .expect("states")
                .iter()
                .any(|s| s["dropped_by_watermark"] != 0)
        };
        let aggregates = batches
            .iter()
            .any(|b| b["state"].as_array().is_some_and(|s| !s.is_empty()));
        match text(&self.0["output_mode"]) {
            "complete" => Expectation::Same(batches.last().map(|b| rows(b)).unwrap_or_default()),
            _ if !aggregates => Expectation::Same(all),
            _ if batches.iter().any(late) => Expectation::Plans,
            "update" if !sql.contains("HAVING") => Expectation::Among(all),
            "append" => Expectation::Contains(all),
            _ => Expectation::Plans,
        }
    }

    /// The answer over all rows at once.
    async fn answer(&self, sql: &str) -> Result<Vec<Value>> {
        let front_end = SqlFrontEnd::new(Arc::new(BatchHooks));
        let mut config = SessionConfig::new().with_target_partitions(1);
        if let Some(zone) = self.0["conf"]["spark.sql.session.timeZone"].as_str() {
            config.options_mut().execution.time_zone = Some(zone.to_owned());
        }
        let builder = SessionStateBuilder::new()
            .with_config(config)
            .with_default_features();
        let context = SessionContext::new_with_state(front_end.configure(builder).build());
        for stream in self.0["streams"].as_array().expect("streams") {
            let mut rows = self.rows_of(text(&stream["name"]));
            if sql.contains("window(") {
                // A row without a time is in no window, which the streaming planner sees to.
                rows.retain(|row| {
                    row.get("ts").is_none_or(|ts| !ts.is_null()) || row.get("t").is_some()
                });
            }
            register(&context, stream, &rows)?;
        }
        for table in self.0["tables"].as_array().expect("tables") {
            register(&context, table, table["rows"].as_array().expect("rows"))?;
        }
        let state = context.state();
        let plan = front_end.plan(&state, sql).await?;
        let plan = state.create_physical_plan(&plan).await?;
        let batches: Vec<RecordBatch> =
            collect(checked_arithmetic(plan)?, context.task_ctx()).await?;
        Ok(batches.iter().flat_map(json::rows).collect())
    }
}

fn register(context: &SessionContext, table: &Value, rows: &[Value]) -> Result<()> {
    let schema = json::schema(&table["schema"]);
    let batch = json::batch(&schema, rows);
    context.register_table(
        text(&table["name"]),
        Arc::new(MemTable::try_new(schema, vec![vec![batch]])?),
    )?;
    Ok(())
}

/// A row in a form in which equal rows are equal texts: doubles to nine digits, fractions of seconds without zeros.
fn canonical(value: &Value) -> String {
    match value {
        Value::Number(n) if n.is_f64() => {
            let n = n.as_f64().expect("a double");
            if n == 0.0 {
                "0".to_owned()
            } else if n.fract() == 0.0 && n.abs() < 1e15 {
                format!("{n:.0}")
            } else {
                format!("{n:.8e}")
            }
        }
        Value::String(s) if s.ends_with('Z') && s.contains('.') => {
            format!(
                "{}Z",
                s.trim_end_matches('Z')
                    .trim_end_matches('0')
                    .trim_end_matches('.')
            )
        }
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(canonical).collect::<Vec<_>>().join(",")
        ),
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().map(|(k, v)| (k, canonical(v))).collect();
            format!("{sorted:?}")
        }
        other => other.to_string(),
    }
}

fn canonical_rows(rows: &[Value]) -> Vec<String> {
    let mut rows: Vec<String> = rows.iter().map(canonical).collect();
    rows.sort();
    rows
}

fn check(expectation: &Expectation, found: Result<Vec<Value>>) -> Result<(), String> {
    let found = match (found, expectation) {
        (Err(_), Expectation::Fails) => return Ok(()),
        (Err(error), _) => return Err(error.strip_backtrace()),
        (Ok(_), Expectation::Fails) => return Err("expected an error".to_owned()),
        (Ok(rows), _) => canonical_rows(&rows),
    };
    let missing =
        |from: &[String], rows: &[String]| from.iter().find(|row| !rows.contains(row)).cloned();
    let differs = match expectation {
        Expectation::Same(rows) => {
            let rows = canonical_rows(rows);
            (rows != found).then(|| (missing(&rows, &found), missing(&found, &rows)))
        }
        Expectation::Among(rows) => {
            missing(&found, &canonical_rows(rows)).map(|row| (None, Some(row)))
        }
        Expectation::Contains(rows) => {
            missing(&canonical_rows(rows), &found).map(|row| (Some(row), None))
        }
        Expectation::Fails | Expectation::Plans => None,
    };
    match differs {
        Some((expected, surplus)) => Err(format!(
            "not found: {expected:?}\n     not expected: {surplus:?}\n     found: {found:#?}"
        )),
        None => Ok(()),
    }
}

/// Errors of planning and running that only say that a part is not this crate's.
const NOT_HERE: [&str; 1] = ["must be rewritten by the planner"];

#[tokio::test]
async fn recorded_queries_give_the_batch_answer() {
    let mut failures = vec![];
    let mut compared = 0;
    for scenario in Scenario::load_all() {
        let Some(sql) = scenario.sql() else { continue };
        let expectation = scenario.expectation();
        let found = scenario.answer(sql).await;
        let rejected = scenario.0["expected"]["result"] == "rejected";
        if let Err(error) = &found
            && (rejected || NOT_HERE.iter().any(|part| error.to_string().contains(part)))
        {
            continue;
        }
        compared += usize::from(expectation != Expectation::Plans);
        if let Err(difference) = check(&expectation, found) {
            failures.push(format!(
                "{}\n     {sql}\n     {difference}",
                scenario.name()
            ));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {compared} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(compared > 80, "only {compared} scenarios were compared");
}
