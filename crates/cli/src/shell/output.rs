//! Rows as a script or a person reads them.

use datafusion::arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{DataType, Schema},
    json::writer::{LineDelimited, WriterBuilder},
    util::display::{ArrayFormatter, FormatOptions},
};

use crate::{
    args::RowFormat,
    exit::{self, Failure, Reader},
    table,
};

/// Prints the rows of one answer after another to standard output.
#[derive(Debug)]
pub(crate) struct Output {
    format: RowFormat,
    /// Whether plans are printed as they are: nobody asked for another form.
    plain_plans: bool,
    answers: usize,
    /// Rows of a table, whose columns are as wide as the widest of them.
    held: Vec<RecordBatch>,
}

impl Output {
    /// In this format; `auto` is a table where `is_terminal`, and CSV elsewhere.
    pub(crate) fn new(format: RowFormat, is_terminal: bool) -> Self {
        let plain_plans = matches!(format, RowFormat::Auto | RowFormat::Table);
        let format = match format {
            RowFormat::Auto if is_terminal => RowFormat::Table,
            RowFormat::Auto => RowFormat::Csv,
            other => other,
        };
        Self {
            format,
            plain_plans,
            answers: 0,
            held: Vec::new(),
        }
    }

    /// Begins an answer.
    ///
    /// # Errors
    /// `Failed` if standard output cannot be written.
    pub(crate) fn begin(&mut self, schema: &Schema) -> Result<Reader, Failure> {
        self.answers += 1;
        if self.plain_plans && is_plan(schema) {
            return Ok(Reader::Listens);
        }
        match self.format {
            RowFormat::Json => Ok(Reader::Listens),
            RowFormat::Csv => {
                let between = if self.answers > 1 { "\n" } else { "" };
                let names = schema.fields().iter().map(|field| field.name().as_str());
                let names: Vec<String> = names.map(quoted).collect();
                exit::print_on(&format!("{between}{}\n", names.join(",")))
            }
            RowFormat::Table | RowFormat::Auto => {
                self.held = vec![RecordBatch::new_empty(schema.clone().into())];
                Ok(Reader::Listens)
            }
        }
    }

    /// Some rows of the answer.
    ///
    /// # Errors
    /// `Failed` for values that have no form as text, and if standard output cannot be written.
    pub(crate) fn rows(&mut self, batch: &RecordBatch) -> Result<Reader, Failure> {
        if self.plain_plans && is_plan(&batch.schema()) {
            return exit::print_on(&plan(batch));
        }
        match self.format {
            RowFormat::Csv => exit::print_on(&csv(batch)?),
            RowFormat::Json => exit::print_on(&json(batch)?),
            RowFormat::Table | RowFormat::Auto => {
                self.held.push(batch.clone());
                Ok(Reader::Listens)
            }
        }
    }

    /// Ends the answer.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub(crate) fn end(&mut self) -> Result<Reader, Failure> {
        match self.format {
            RowFormat::Csv | RowFormat::Json => Ok(Reader::Listens),
            RowFormat::Table | RowFormat::Auto if self.held.is_empty() => Ok(Reader::Listens),
            RowFormat::Table | RowFormat::Auto => {
                exit::print_on(&table::draw(&std::mem::take(&mut self.held))?)
            }
        }
    }
}

/// Whether rows are lines of a plan, of one kind or of several: texts that are no table.
pub(crate) fn is_plan(schema: &Schema) -> bool {
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let are_texts = schema
        .fields()
        .iter()
        .all(|field| field.data_type() == &DataType::Utf8);
    are_texts && matches!(names[..], ["plan"] | ["plan_type", "plan"])
}

/// The lines of a plan.
pub(crate) fn plan(batch: &RecordBatch) -> String {
    let texts: Vec<_> = batch
        .columns()
        .iter()
        .filter_map(|column| column.as_string_opt::<i32>())
        .collect();
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        match texts[..] {
            [plan] => text.push_str(&format!("{}\n", plan.value(row).trim_end())),
            [kind, plan] => {
                let (kind, plan) = (kind.value(row), plan.value(row).trim_end());
                text.push_str(&format!("-- {kind}\n{plan}\n"));
            }
            _ => {}
        }
    }
    text
}

/// Values with commas between them, a row to a line. Null is nothing, an empty text is `""`.
fn csv(batch: &RecordBatch) -> Result<String, Failure> {
    let wrong = |error| Failure::failed(format!("cannot show the rows: {error}"));
    let options = FormatOptions::default();
    let columns = batch.columns().iter();
    let columns = columns.map(|column| ArrayFormatter::try_new(column, &options));
    let columns: Vec<_> = columns.collect::<Result<_, _>>().map_err(wrong)?;
    let mut lines = String::new();
    for row in 0..batch.num_rows() {
        for (number, column) in columns.iter().enumerate() {
            if number > 0 {
                lines.push(',');
            }
            if batch.column(number).is_valid(row) {
                let value = column.value(row).try_to_string().map_err(wrong)?;
                lines.push_str(&quoted(&value));
            }
        }
        lines.push('\n');
    }
    Ok(lines)
}

fn quoted(value: &str) -> String {
    match value.is_empty() || value.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", value.replace('"', "\"\"")),
        false => value.to_owned(),
    }
}

/// An object for each row, a line each.
fn json(batch: &RecordBatch) -> Result<String, Failure> {
    let wrong = |error| Failure::failed(format!("cannot show the rows: {error}"));
    let mut lines = Vec::new();
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, LineDelimited>(&mut lines);
    writer
        .write(batch)
        .and_then(|()| writer.finish())
        .map_err(wrong)?;
    drop(writer);
    Ok(String::from_utf8_lossy(&lines).into_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Int64Array, ListArray, StringArray};
    use datafusion::arrow::datatypes::Int64Type;

    use super::*;

    fn rows() -> RecordBatch {
        let texts = StringArray::from(vec![Some("a,b"), Some(""), None, Some("say \"x\"")]);
        let numbers = Int64Array::from(vec![Some(1), None, Some(3), Some(4)]);
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
            Some(vec![Some(1), Some(2)]),
            None,
            Some(vec![]),
            Some(vec![None]),
        ]);
        RecordBatch::try_from_iter_with_nullable([
            ("t", Arc::new(texts) as _, true),
            ("n", Arc::new(numbers) as _, true),
            ("xs", Arc::new(lists) as _, true),
        ])
        .expect("rows")
    }

    #[test]
    fn csv_tells_null_from_empty_text() {
        assert_eq!(
            csv(&rows()).expect("text"),
            "\"a,b\",1,\"[1, 2]\"\n\"\",,\n,3,[]\n\"say \"\"x\"\"\",4,[]\n"
        );
    }

    #[test]
    fn plans_are_texts() {
        let texts = |texts: [&str; 2]| Arc::new(StringArray::from(texts.to_vec())) as _;
        let kinds = texts(["logical_plan", "physical_plan"]);
        let plans = texts(["Projection\n  Scan\n", "Exec"]);
        let both = RecordBatch::try_from_iter([("plan_type", kinds), ("plan", plans)]);
        let both = both.expect("rows");
        assert!(is_plan(&both.schema()) && !is_plan(&rows().schema()));
        assert_eq!(
            plan(&both),
            "-- logical_plan\nProjection\n  Scan\n-- physical_plan\nExec\n"
        );
        let lines = both.project(&[1]).expect("a column");
        assert_eq!(plan(&lines), "Projection\n  Scan\nExec\n");
    }

    #[test]
    fn json_has_an_object_for_each_row() {
        assert_eq!(
            json(&rows()).expect("text"),
            "{\"t\":\"a,b\",\"n\":1,\"xs\":[1,2]}\n{\"t\":\"\",\"n\":null,\"xs\":null}\n\
             {\"t\":null,\"n\":3,\"xs\":[]}\n{\"t\":\"say \\\"x\\\"\",\"n\":4,\"xs\":[null]}\n"
        );
        let none = RecordBatch::new_empty(rows().schema());
        assert_eq!(json(&none).expect("text"), "");
    }
}
