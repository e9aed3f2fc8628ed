//! The figures of `docs`: a file for each picture that measurements make.
//!
//! The same lines give the same bytes, so that a change of a figure is a change of what was measured. The lines that
//! the figures were drawn from lie beside them.

use std::path::PathBuf;

use clap::Args;
use headwater_core::Result;

use super::{draw, nothing_to_draw, panel, read, write};

/// What to draw, and where to.
#[derive(Debug, Args)]
pub struct FiguresArguments {
    /// Files of JSON lines that `compare --json` and `curve` wrote; other lines in them are passed over.
    #[arg(long = "in", value_name = "FILE", required = true, num_args = 1..)]
    input: Vec<PathBuf>,
    /// The folder for the SVG files, made if it is not there.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

/// Draws a file for the throughput, one for the time of small triggers, and one for each curve; the files written.
///
/// # Errors
/// `Unavailable` if a file cannot be read or written; `Data` if a line is not what is expected, with its place;
/// `Invalid` if there is nothing to draw.
pub fn run(arguments: &FiguresArguments) -> Result<Vec<PathBuf>> {
    let pictures = panel::pictures(&read(&arguments.input)?);
    if pictures.is_empty() {
        return Err(nothing_to_draw());
    }
    let mut written = Vec::new();
    for (name, panels) in pictures {
        let path = arguments.out.join(format!("{}.svg", file_name(&name)));
        write(&path, &draw::svg(&panels)?)?;
        written.push(path);
    }
    Ok(written)
}

/// A curve's name without what means something in a path.
fn file_name(curve: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    curve.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, path::Path};

    use super::*;

    const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
    const PAGES: [&str; 2] = ["benchmarks.md", "performance.md"];
    /// Bytes of the largest figure that a page may have.
    const MOST: usize = 30_000;

    /// The files of a folder that end so, by name.
    fn files(folder: &Path, end: &str) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if name.ends_with(end) {
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
        files
    }

    /// With `HEADWATER_UPDATE=1` in the environment they are drawn anew.
    #[test]
    fn the_figures_of_the_docs_are_those_of_the_lines_beside_them() {
        let folder = Path::new(DOCS).join("figures");
        let drawn = tempfile::tempdir().unwrap();
        let update = std::env::var_os("HEADWATER_UPDATE").is_some();
        let lines = files(&folder, ".jsonl");
        run(&FiguresArguments {
            input: lines.keys().map(|name| folder.join(name)).collect(),
            out: if update {
                folder.clone()
            } else {
                drawn.path().to_owned()
            },
        })
        .unwrap();
        let figures = files(&folder, ".svg");
        let again =
            "draw them again: headwater-bench figures --in docs/figures/*.jsonl --out docs/figures";
        let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
        if !update {
            let drawn = files(drawn.path(), ".svg");
            assert_eq!(names(&figures), names(&drawn), "{again}");
            for (name, svg) in &figures {
                assert!(svg == &drawn[name], "{name} is another one: {again}");
            }
        }
        let pages = PAGES.map(|page| fs::read_to_string(Path::new(DOCS).join(page)).unwrap());
        for (name, svg) in &figures {
            assert!(svg.len() < MOST, "{name} has {} bytes", svg.len());
            let link = format!("](figures/{name})");
            assert!(pages.concat().contains(&link), "no page shows {name}");
        }
        let links = pages.iter().map(|page| page.matches("](figures/").count());
        assert_eq!(
            links.sum::<usize>(),
            figures.len(),
            "a page shows what is not there"
        );
    }

    #[test]
    fn a_name_stays_in_the_folder() {
        assert_eq!(file_name("epoch-keys"), "epoch-keys");
        assert_eq!(file_name("../a/b c.d"), "---a-b-c-d");
    }
}
