//! What is expected of which query.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use datafusion::arrow::{array::RecordBatch, datatypes::SchemaRef};
use headwater::{Options, core::nearest::nearest};

use super::{
    answer::Answer,
    compare::{Came, Expected},
    inference,
    recorded::RowReader,
    row_file::{self, RowFormat},
    rows,
};
use crate::exit::Failure;

/// A file of rows that an answer is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expectation {
    /// Of the query, or of its late rows.
    pub(crate) answer: String,
    pub(crate) file: PathBuf,
}

/// Which answers the files are about. `answers` are those that the pipeline can give, late rows after their query.
///
/// # Errors
/// `Wrong` if a name means none of them, two files are about one, or no name is given where there are several queries.
pub(crate) fn assigned(
    given: &[(Option<String>, PathBuf)],
    answers: &[String],
    queries: usize,
) -> Result<Vec<Expectation>, Failure> {
    let known = answers.join(", ");
    let mut all: Vec<Expectation> = Vec::new();
    for (name, file) in given {
        let answer = match name {
            None if queries == 1 => answers.first(),
            None => {
                let first = answers.first().map(String::as_str).unwrap_or("QUERY");
                return Err(Failure::wrong(format!(
                    "--expect {0}: the pipeline has {queries} queries, so say which one is meant: --expect {first}={0} (or {known})",
                    file.display()
                )));
            }
            Some(name) => answers
                .iter()
                .find(|answer| *answer == name)
                .or_else(|| answers.iter().find(|it| it.eq_ignore_ascii_case(name))),
        };
        let Some(answer) = answer else {
            let name = name.as_deref().unwrap_or_default();
            let hint = match nearest(name, answers.iter().map(String::as_str)) {
                Some(near) => format!("did you mean '{near}'? It has {known}"),
                None => format!("it has {known}"),
            };
            return Err(Failure::wrong(format!(
                "--expect {name}: the pipeline has no such query: {hint}"
            )));
        };
        if all.iter().any(|other| other.answer == *answer) {
            return Err(Failure::wrong(format!(
                "--expect: two files are given for {answer}: put their rows into one"
            )));
        }
        all.push(Expectation {
            answer: answer.clone(),
            file: file.clone(),
        });
    }
    Ok(all)
}

/// Reads what is expected of an answer.
///
/// # Errors
/// `Wrong` if the file cannot be read, or a row does not fit the columns of the answer.
pub(crate) async fn read(
    expectation: &Expectation,
    answer: &Answer,
) -> Result<(Expected, bool), Failure> {
    let file = &expectation.file;
    let schema = inference::nullable(&answer.schema);
    let owner = format!("the rows of {}", answer.name);
    let reader = RowReader::new(owner, Arc::clone(&schema), Options::new());
    let recorded = reader.read(file).await?;
    refuse_unknown_columns(expectation, &schema)?;
    let rows = |batches: &Vec<RecordBatch>| {
        rows::rows(&schema, batches).map_err(|error| Failure::failed(error.to_string()))
    };
    let epochs = recorded.epochs.iter().map(rows);
    let epochs: Vec<_> = epochs.collect::<Result<_, _>>()?;
    let expected = match recorded.is_divided {
        true => Expected::ByEpoch(epochs),
        false => Expected::AtTheEnd(epochs.concat()),
    };
    Ok((expected, recorded.is_divided))
}

/// The rows to compare with what is expected.
///
/// # Errors
/// `Failed` for types whose values cannot be compared.
pub(crate) fn came(answer: &Answer, expected: &Expected) -> Result<Vec<Came>, Failure> {
    let schema = inference::nullable(&answer.schema);
    let epochs = match expected {
        Expected::AtTheEnd(_) => answer.at_the_end(),
        Expected::ByEpoch(_) => answer.epochs.iter().collect(),
    };
    let mut all = Vec::new();
    for epoch in epochs {
        let rows = rows::rows(&schema, &epoch.rows);
        let rows = rows.map_err(|error| {
            Failure::failed(format!(
                "the rows of {} cannot be compared: {error}",
                answer.name
            ))
        })?;
        all.extend(rows.into_iter().map(|row| Came {
            row,
            epoch: epoch.epoch,
        }));
    }
    Ok(all)
}

/// A mistyped name in a JSON file would be a null in each row, and so would a column that a Parquet file lacks. The
/// header of a CSV file has been compared.
fn refuse_unknown_columns(expectation: &Expectation, schema: &SchemaRef) -> Result<(), Failure> {
    let file = &expectation.file;
    match RowFormat::of(file)? {
        RowFormat::Json => {}
        RowFormat::Parquet => return refuse_other_columns(expectation, schema),
        RowFormat::Csv | RowFormat::Text => return Ok(()),
    }
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|it| it.name().as_str())
        .collect();
    let known: HashSet<&str> = names.iter().copied().collect();
    for (number, line) in row_file::text(file)?.lines().enumerate() {
        let Ok(serde_json::Value::Object(row)) = serde_json::from_str(line) else {
            continue;
        };
        if let Some(unknown) = row.keys().find(|name| !known.contains(name.as_str())) {
            return Err(Failure::wrong(format!(
                "{}, line {}: {} has no column '{unknown}': it has {}",
                file.display(),
                number + 1,
                expectation.answer,
                names.join(", ")
            )));
        }
    }
    Ok(())
}

fn refuse_other_columns(expectation: &Expectation, schema: &SchemaRef) -> Result<(), Failure> {
    let found =
        inference::infer(&expectation.file).map_err(|error| Failure::wrong(error.to_string()))?;
    let sorted = |schema: &SchemaRef| {
        let mut names: Vec<String> = schema.fields().iter().map(|it| it.name().clone()).collect();
        names.sort();
        names
    };
    let (found, expected) = (sorted(&found), sorted(schema));
    match found == expected {
        true => Ok(()),
        false => Err(Failure::wrong(format!(
            "{} has the columns {}, but those of {} are {}",
            expectation.file.display(),
            found.join(", "),
            expectation.answer,
            expected.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned_to(given: &[(Option<&str>, &str)], answers: &[&str], queries: usize) -> String {
        let given: Vec<_> = given
            .iter()
            .map(|(name, file)| (name.map(str::to_owned), PathBuf::from(file)))
            .collect();
        let answers: Vec<String> = answers.iter().map(ToString::to_string).collect();
        match assigned(&given, &answers, queries) {
            Ok(all) => all
                .iter()
                .map(|it| format!("{}={} ", it.answer, it.file.display()))
                .collect(),
            Err(failure) => failure.to_string(),
        }
    }

    #[test]
    fn a_file_is_about_the_only_query_or_the_one_that_is_named() {
        let one = &["a", "a.late"][..];
        let two = &["a", "b"][..];
        for (given, answers, queries, expected) in [
            (&[(None, "f")][..], one, 1, "a=f "),
            (&[(Some("a.late"), "f")], one, 1, "a.late=f "),
            (&[(Some("B"), "f"), (Some("a"), "g")], two, 2, "b=f a=g "),
        ] {
            assert_eq!(assigned_to(given, answers, queries), expected);
        }
        for (given, message) in [
            (
                &[(None, "f")][..],
                "say which one is meant: --expect a=f (or a, b)",
            ),
            (&[(Some("sessions"), "f")], "no such query: it has a, b"),
            (
                &[(Some("a"), "f"), (Some("a"), "g")],
                "two files are given for a",
            ),
        ] {
            let said = assigned_to(given, two, 2);
            assert!(said.contains(message), "{said}");
        }
    }
}
