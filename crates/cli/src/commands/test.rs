//! `headwater test`: recorded rows through a pipeline, and its answers compared with what is expected.

use std::sync::Arc;

use datafusion::{logical_expr::LogicalPlan, prelude::SessionConfig};
use headwater::{DataFrame, Pipeline, PipelineStep, Settings, StreamDefinition};

use crate::{
    args::TestArgs,
    exit::{self, Failure},
    pipeline::{self, Planned},
    pipeline_test::{
        answer::Answer,
        clock::VirtualClock,
        compare,
        expectation::{self, Expectation},
        report,
        row_file::RowFormat,
        run::{self, Timetable, late_name},
        streams::Streams,
        written::{self, Form},
    },
};

/// Runs the queries of a pipeline over recorded rows.
pub(crate) async fn test(args: TestArgs) -> Result<(), Failure> {
    let clock = Arc::new(VirtualClock::at(args.start));
    let one_partition = Settings {
        state_partitions: Some(1),
        ..Settings::default()
    };
    let config = SessionConfig::new()
        .with_information_schema(true)
        .with_target_partitions(1);
    let session = pipeline::builder(&args.pipeline.session)
        .clock(Arc::clone(&clock) as _)
        .settings(one_partition)
        .datafusion_config(config)
        .build()
        .map_err(|error| Failure::of_planning(&error))?;
    let streams = Arc::new(Streams::new(&args.inputs, &session)?);
    let fed = Arc::clone(&streams);
    let source = move |definition: &StreamDefinition| fed.source(definition).map(Some);
    let planned = pipeline::plan_over(&args.pipeline, session, Some(&source)).await?;
    let expectations = expected(&args, &planned)?;
    streams.feed().await?;
    let timetable = Timetable {
        start: args.start,
        step: args.step,
    };
    let answers = answers(&planned, &expectations, &clock, timetable).await?;
    if expectations.is_empty() {
        for answer in &answers {
            exit::print(&report::tables(answer)?)?;
        }
        return Ok(());
    }
    match args.update {
        true => update(&args, &expectations, &answers).await,
        false => judge(&args, &expectations, &answers).await,
    }
}

/// What is expected of which query; files are looked for before anything runs.
fn expected(args: &TestArgs, planned: &Planned) -> Result<Vec<Expectation>, Failure> {
    let queries = planned.pipeline.queries();
    if queries.is_empty() {
        return Err(Failure::wrong(format!(
            "{} has nothing to test: it has no INSERT INTO a sink and no CREATE STREAMING QUERY",
            planned.script.origin
        )));
    }
    let names = queries.iter().flat_map(|query| {
        let late = query.late_rows_sink().map(|_| late_name(query.name()));
        [Some(query.name().to_owned()), late].into_iter().flatten()
    });
    let names: Vec<String> = names.collect();
    let expectations = expectation::assigned(&args.expected, &names, queries.len())?;
    for expectation in &expectations {
        let file = &expectation.file;
        if RowFormat::of(file)? == RowFormat::Text {
            return Err(Failure::wrong(format!(
                "--expect {}: expected rows are in a .json, .csv or .parquet file",
                file.display()
            )));
        }
        if !args.update && !file.is_file() {
            return Err(Failure::wrong(format!(
                "there is no file {0} with the rows that are expected of {1}: --update writes it from what the run gives",
                file.display(),
                expectation.answer
            )));
        }
    }
    let shared = expectations
        .iter()
        .enumerate()
        .find_map(|(number, expectation)| {
            let before = &expectations[..number];
            before.iter().find(|other| other.file == expectation.file)
        });
    if let Some(shared) = shared.filter(|_| args.update) {
        return Err(Failure::wrong(format!(
            "--update: {} is to be written for {} and for another query: give each a file of its own",
            shared.file.display(),
            shared.answer
        )));
    }
    Ok(expectations)
}

/// Runs the queries of which something is expected, or all of them, each by itself.
async fn answers(
    planned: &Planned,
    expectations: &[Expectation],
    clock: &VirtualClock,
    timetable: Timetable,
) -> Result<Vec<Answer>, Failure> {
    let pipeline: &Pipeline = &planned.pipeline;
    let mut answers = Vec::new();
    for step in pipeline.steps() {
        let query = match step {
            PipelineStep::Query(number) => &pipeline.queries()[*number],
            PipelineStep::Rows(frame, line) => {
                let filled = fill(frame).await;
                filled.map_err(|failure| failure.in_line(*line).of(&planned.script))?;
                continue;
            }
        };
        let late = late_name(query.name());
        let is_asked =
            |expectation: &Expectation| [query.name(), &late].contains(&&*expectation.answer);
        if !expectations.is_empty() && !expectations.iter().any(is_asked) {
            continue;
        }
        let ran = Box::pin(run::run(query, clock, timetable)).await;
        answers.extend(ran.map_err(|error| {
            let failure = Failure::of_planning(&error);
            failure.in_line(query.line()).of(&planned.script)
        })?);
    }
    Ok(answers)
}

/// Carries out `INSERT INTO` a table, which queries below may join. Other statements with rows are for people who look,
/// or write somewhere, and are left out.
async fn fill(frame: &DataFrame) -> Result<(), Failure> {
    let (_, plan) = frame.clone().into_inner().into_parts();
    let LogicalPlan::Dml(statement) = &plan else {
        return Ok(());
    };
    let table = datafusion::datasource::source_as_provider(&statement.target);
    let is_in_memory = table.is_ok_and(|table| table.is::<datafusion::datasource::MemTable>());
    if !is_in_memory {
        return Ok(());
    }
    let filled = frame.clone().collect().await;
    filled
        .map(drop)
        .map_err(|error| Failure::of_planning(&error))
}

/// Compares, and says for each query what came of it.
async fn judge(
    args: &TestArgs,
    expectations: &[Expectation],
    answers: &[Answer],
) -> Result<(), Failure> {
    let mut failed = Vec::new();
    for (expectation, answer) in matched(expectations, answers) {
        let (expected, _) = expectation::read(expectation, answer).await?;
        let came = expectation::came(answer, &expected)?;
        let differences = compare::differences(&expected, &came, args.ordered);
        if differences.is_empty() {
            exit::print(&report::passed(answer))?;
        } else {
            failed.push(answer.name.as_str());
            let file = expectation.file.display().to_string();
            exit::print(&report::failed(answer, &file, &differences))?;
        }
    }
    match failed.as_slice() {
        [] => Ok(()),
        failed => Err(Failure::failed(format!(
            "{} of {} not as expected: {}; --update takes what came for what is expected",
            failed.len(),
            expectations.len(),
            failed.join(", ")
        ))),
    }
}

/// Writes what came into the expected files. A file that is divided by epoch stays so, and a new one is.
async fn update(
    args: &TestArgs,
    expectations: &[Expectation],
    answers: &[Answer],
) -> Result<(), Failure> {
    for (expectation, answer) in matched(expectations, answers) {
        let file = &expectation.file;
        let format = RowFormat::of(file)?;
        let is_divided = match format {
            RowFormat::Parquet => false,
            _ => !file.exists() || crate::pipeline_test::sections::is_divided(file)?,
        };
        let form = Form {
            format,
            is_divided,
            ordered: args.ordered,
        };
        let cannot = |why: &dyn std::fmt::Display| {
            Failure::wrong(format!(
                "the rows of {} cannot be written as {}: {why}: expect them in a file of another format (.json, \
                 .parquet)",
                answer.name,
                format.name()
            ))
        };
        let bytes = written::bytes(answer, form).map_err(|error| cannot(&error))?;
        let before = std::fs::read(file).ok();
        let is_new = written::write(file, &bytes)?;
        let (expected, _) = expectation::read(expectation, answer).await?;
        let came = expectation::came(answer, &expected)?;
        if !compare::differences(&expected, &came, args.ordered).is_empty() {
            let undone = match before {
                Some(before) => std::fs::write(file, before),
                None => std::fs::remove_file(file),
            };
            undone.map_err(|error| cannot(&error))?;
            return Err(cannot(&"it does not keep all values as they are"));
        }
        let what = if is_new { "wrote" } else { "unchanged" };
        exit::print(&format!(
            "{what} {}: {}, {}\n",
            file.display(),
            answer.name,
            report::extent(answer)
        ))?;
    }
    Ok(())
}

/// Each expectation with its answer.
fn matched<'a>(
    expectations: &'a [Expectation],
    answers: &'a [Answer],
) -> impl Iterator<Item = (&'a Expectation, &'a Answer)> {
    expectations.iter().filter_map(|expectation| {
        let answer = answers.iter().find(|it| it.name == expectation.answer)?;
        Some((expectation, answer))
    })
}
