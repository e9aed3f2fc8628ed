//! What it takes a source to find a new file in a folder of many that it has read.

use std::{fs, path::Path, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema};
use headwater::connect::file::{FileFormat, FileSourceProvider};
use headwater_core::{
    Admission, Clock, Discovery, Error, Offset, OffsetRange, Options as SourceOptions, Result,
    Source, SourceContext, SourceProvider, SystemClock,
};
use headwater_log::gc::DEFAULT_RETAINED;
use headwater_log::store::LocalStorage;

use super::{Finding, Measured, Options, Point, Target, median};
use crate::verdict::spread;

/// How much longer the largest folder may take than the smallest.
const FLAT: f64 = 1.5;

pub(super) fn measure(options: &Options, clock: &dyn Clock) -> Result<Measured> {
    let sizes: &[usize] = options.pick(&[1_000, 10_000, 100_000], &[10, 20]);
    let triggers = options.pick(100, 2);
    let mut listed = Vec::new();
    for files in sizes {
        let millis = super::runtime()?.block_on(find(*files, triggers, clock))?;
        listed.push((*files, millis));
    }
    Ok(judge(&listed))
}

/// Median milliseconds until a trigger knows the one file that is new beside `files` others.
async fn find(files: usize, triggers: usize, clock: &dyn Clock) -> Result<f64> {
    let (folder, own) = (super::folder()?, super::folder()?);
    for number in 0..files {
        add(folder.path(), number)?;
    }
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    let place = folder.path().to_string_lossy();
    let provider =
        FileSourceProvider::try_new(FileFormat::Json, Some(schema), &place, SourceOptions::new())?;
    let context = SourceContext {
        source_id: 0,
        storage: Arc::new(LocalStorage::open(own.path())?),
        clock: Arc::new(SystemClock::default()),
        retained: DEFAULT_RETAINED,
    };
    let source = provider.create(context).await?;
    let mut end = None;
    step(source.as_ref(), &mut end, files).await?;
    let mut times = Vec::new();
    for number in files..files + triggers {
        add(folder.path(), number)?;
        let start = clock.monotonic();
        let range = discover(source.as_ref(), end.as_ref()).await?;
        times.push((clock.monotonic() - start).as_secs_f64() * 1_000.0);
        expect(&range, number + 1)?;
        source.acknowledge(&range).await?;
        end = Some(range.end);
    }
    Ok(median(times))
}

async fn step(source: &dyn Source, end: &mut Option<Offset>, files: usize) -> Result<()> {
    let range = discover(source, end.as_ref()).await?;
    expect(&range, files)?;
    source.acknowledge(&range).await?;
    *end = Some(range.end);
    Ok(())
}

async fn discover(source: &dyn Source, start: Option<&Offset>) -> Result<OffsetRange> {
    match source.discover(start, Admission::Configured).await? {
        Discovery::Increment(found) => Ok(OffsetRange {
            start: start.cloned(),
            end: found.end,
            detail: found.detail,
        }),
        Discovery::Nothing => Err(Error::internal("a new file was not found")),
    }
}

fn expect(range: &OffsetRange, files: usize) -> Result<()> {
    if range.end.as_count() == Some(files as u64) {
        return Ok(());
    }
    Err(Error::internal(format!(
        "the source is at file {}, expected {files}",
        range.end
    )))
}

/// A file of one row, which appears whole.
fn add(folder: &Path, number: usize) -> Result<()> {
    let hidden = folder.join(format!("_{number}"));
    let whole = folder.join(format!("part-{number:06}.json"));
    fs::write(&hidden, format!("{{\"n\":{number}}}\n"))
        .and_then(|()| fs::rename(&hidden, &whole))
        .map_err(|e| Error::unavailable(format!("cannot write {}", whole.display())).with_source(e))
}

fn judge(listed: &[(usize, f64)]) -> Measured {
    let points = listed.iter().map(|(files, millis)| Point {
        curve: "listing",
        series: "find one new file".to_owned(),
        x: *files as f64,
        x_unit: "files read",
        y: *millis,
        y_unit: "ms",
    });
    Measured {
        points: points.collect(),
        findings: vec![Finding::new(
            "largest folder over smallest",
            spread(listed.iter().map(|(_, millis)| *millis)),
            "×",
            Target::AtMost(FLAT),
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_that_grows_with_the_folder_is_not_flat() {
        let measured = judge(&[(1_000, 0.4), (100_000, 40.0)]);
        assert_eq!(measured.findings[0].is_met(), Some(false));
        let measured = judge(&[(1_000, 0.4), (100_000, 0.5)]);
        assert_eq!(measured.findings[0].is_met(), Some(true));
    }
}
