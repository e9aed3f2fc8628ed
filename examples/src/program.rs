//! What the programs share: where they read and write, and what they say when they are done.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use headwater::prelude::*;

/// Where a program reads and writes.
#[derive(Debug, PartialEq, Eq)]
pub struct Places {
    input: String,
    output: PathBuf,
}

impl Places {
    /// Reads the command line, `NAME [OUTPUT] [--input FOLDER]`. Without it the data is `examples/data/{data}` and the
    /// output goes to `target/{name}`.
    ///
    /// # Errors
    /// `Invalid` with the usage if there is anything else on the command line.
    pub fn from_arguments(name: &str, data: &str) -> Result<Self> {
        Self::parse(name, data, std::env::args().skip(1))
    }

    fn parse(name: &str, data: &str, arguments: impl Iterator<Item = String>) -> Result<Self> {
        let wrong = |what: String| {
            Error::invalid(format!(
                "{what}; the program is called as {name} [OUTPUT] [--input FOLDER]"
            ))
        };
        let mut arguments = arguments;
        let (mut input, mut output) = (None, None);
        while let Some(argument) = arguments.next() {
            if argument == "--input" {
                let folder = arguments.next();
                input = Some(folder.ok_or_else(|| wrong("--input needs a folder".to_owned()))?);
            } else if argument.starts_with('-') {
                return Err(wrong(format!("there is no option {argument}")));
            } else if let Some(output) = output.replace(PathBuf::from(argument)) {
                let output = output.display();
                return Err(wrong(format!("there is an output already, {output}")));
            }
        }
        Ok(Self {
            input: input.unwrap_or_else(|| crate::data(data)),
            output: output.unwrap_or_else(|| PathBuf::from("target").join(name)),
        })
    }

    /// The folder with the input.
    pub fn input(&self) -> &str {
        &self.input
    }

    /// A folder or file below the output.
    pub fn output(&self, part: &str) -> String {
        self.output.join(part).display().to_string()
    }
}

/// What a query has done, in a few lines: how many `rows` it has read, how long it took, what it keeps for later.
pub fn summary(query: &StreamingQuery, rows: &str) -> String {
    let reports = query.recent_progress();
    let Some(last) = reports.last() else {
        return format!("nothing new since the last run: no {rows} read");
    };
    let read: u64 = reports.iter().map(|report| report.num_input_rows).sum();
    let written: u64 = reports
        .iter()
        .map(|report| report.sink.num_output_rows)
        .sum();
    let millis: u64 = reports.iter().map(|report| report.batch_duration).sum();
    let mut lines = vec![
        format!(
            "read       {read} {rows}, in {} epochs (numbers {} to {}) and {millis} ms",
            reports.len(),
            reports[0].batch_id,
            last.batch_id,
        ),
        format!("gave out   {written} rows"),
    ];
    if let Some(watermark) = last.event_time.get("watermark") {
        lines.push(format!("watermark  {watermark}"));
    }
    for (place, operator) in last.state_operators.iter().enumerate() {
        let late: u64 = reports
            .iter()
            .filter_map(|report| report.state_operators.get(place))
            .map(|operator| operator.num_rows_dropped_by_watermark)
            .sum();
        lines.push(format!(
            "state      {} rows in {}, {late} came too late for it",
            operator.num_rows_total, operator.operator_name
        ));
    }
    lines.join("\n")
}

/// Prints a line. Whoever reads the output may stop reading (`| head`).
///
/// # Errors
/// `Unavailable` if the output cannot be written.
pub fn say(line: &str) -> Result<()> {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::unavailable("cannot write to the output").with_source(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Places> {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        Places::parse("weather", "weather", arguments)
    }

    #[test]
    fn a_command_line_is_read() {
        let places = parse(&[]).expect("a good command line");
        assert_eq!(places.input(), crate::data("weather"));
        let places = parse(&["out", "--input", "in"]).expect("a good command line");
        assert_eq!(
            (places.input(), places.output("a")),
            ("in", "out/a".to_owned())
        );
    }

    #[test]
    fn a_wrong_command_line_is_refused_with_the_usage() {
        for (arguments, what) in [
            (&["--inptu", "in"][..], "no option --inptu"),
            (&["--input"], "--input needs a folder"),
            (&["out", "out2"], "an output already, out"),
        ] {
            let error = parse(arguments).expect_err("refused").to_string();
            assert!(error.contains(what), "{error}");
            assert!(error.contains("weather [OUTPUT]"), "{error}");
        }
    }
}
