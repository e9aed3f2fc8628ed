//! Measurements as pictures: bars of who is how fast, and curves.
//!
//! What is drawn is data: lines of JSON, as `compare` and the curves print them. [`panel`] says which pictures they
//! make, [`axis`] where the marks of an axis are, [`draw`] makes SVG of both; [`figures`] are those of `docs`.

pub mod axis;
pub mod draw;
pub mod figures;
pub mod panel;

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use headwater_core::{Error, Result};

/// What to draw, and where to.
#[derive(Debug, Args)]
pub struct PlotArguments {
    /// Files of JSON lines: what `compare --json` wrote, or points with `curve`, `series`, `x`, `y` and their units.
    #[arg(long = "in", value_name = "FILE", required = true, num_args = 1..)]
    input: Vec<PathBuf>,
    /// The SVG file to write; its folder is created.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Of the curves, only these, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    curve: Vec<String>,
}

/// Draws all panels that the files have, one below the other.
///
/// # Errors
/// `Unavailable` if a file cannot be read or written; `Data` if a line is not what is expected, with its place;
/// `Invalid` if there is nothing to draw.
pub fn run(arguments: &PlotArguments) -> Result<()> {
    let panels = panel::panels(&read(&arguments.input)?, &arguments.curve);
    if panels.is_empty() {
        return Err(nothing_to_draw());
    }
    write(&arguments.out, &draw::svg(&panels)?)
}

fn nothing_to_draw() -> Error {
    Error::invalid(
        "there is nothing to draw: give lines that `compare` or `curve` printed, and curves that are among them",
    )
}

fn read(files: &[PathBuf]) -> Result<Vec<panel::Input>> {
    let mut lines = Vec::new();
    for path in files {
        let text = fs::read_to_string(path).map_err(|e| {
            Error::unavailable(format!("cannot read {}", path.display())).with_source(e)
        })?;
        lines.extend(
            panel::parse(&text).map_err(|e| e.context(format!("file {}", path.display())))?,
        );
    }
    Ok(lines)
}

fn write(out: &Path, svg: &str) -> Result<()> {
    let failed = |e| Error::unavailable(format!("cannot write {}", out.display())).with_source(e);
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(out, svg).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(lines: &str, curve: &[&str]) -> Result<String> {
        let dir = tempfile::tempdir().unwrap();
        let (input, out) = (dir.path().join("lines"), dir.path().join("a/b.svg"));
        fs::write(&input, lines).unwrap();
        run(&PlotArguments {
            input: vec![input],
            out: out.clone(),
            curve: curve.iter().map(|&name| name.to_owned()).collect(),
        })?;
        Ok(fs::read_to_string(out).unwrap())
    }

    const LINES: &str = r#"
        {"comparison": "join", "engine": "headwater-0.1.0", "rows_per_s": 2500000}
        {"comparison": "join", "engine": "spark-4.3.0-hdfs", "rows_per_s": 250000}
        {"curve": "keys", "series": "join", "x": 1000, "x_unit": "keys", "y": 2.5, "y_unit": "ms"}
        {"curve": "keys", "series": "join", "x": 100000, "x_unit": "keys", "y": 2.7, "y_unit": "ms"}
        "#;

    #[test]
    fn what_was_measured_is_in_the_picture() {
        let svg = plot(LINES, &[]).unwrap();
        for text in [
            "<svg",
            "headwater",
            "Spark",
            "2.5 M",
            "250 k",
            "keys",
            "100 k",
            "</svg>",
        ] {
            assert!(svg.contains(text), "{text} in {svg}");
        }
        assert!(!svg.contains("DataFusion batch"));
    }

    #[test]
    fn nothing_to_draw_is_refused() {
        assert!(plot("", &[]).is_err());
        let error = plot("{\"comparison\": 3}", &[]).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
    }

    #[test]
    fn curves_can_be_chosen() {
        let both = plot(LINES, &[]).unwrap();
        let none = plot(LINES, &["other"]).unwrap();
        assert!(both.len() > none.len());
        let unit = "\nkeys (logarithmic)\n";
        assert!(both.contains(unit) && !none.contains(unit));
    }
}
