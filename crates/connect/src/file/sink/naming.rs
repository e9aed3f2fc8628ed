//! Names of output files: they say which epoch of which query a file belongs to.
//!
//! `part-{epoch}-{partition}-{run}-{query}.{ending}`: the run makes every attempt's names its own, so that two attempts
//! at one epoch never write the same file; the query tells apart queries that share a folder.

use headwater_core::{PartWrite, QueryId};

use crate::file::FileFormat;

/// The first eight hexadecimal digits of a query's id.
pub(super) fn short(query: QueryId) -> String {
    query.0.simple().to_string()[..8].to_owned()
}

/// The name of a partition's file.
pub(super) fn file_name(part: &PartWrite, format: FileFormat, gzip: bool) -> String {
    let zipped = if gzip { ".gz" } else { "" };
    format!(
        "part-{:05}-{:05}-{}-{}.{}{zipped}",
        part.write.epoch.0,
        part.partition,
        part.write.run.short(),
        short(part.write.query),
        format.extension()
    )
}

/// Epoch and query of an output file; none for a file that is no sink's.
pub(super) fn epoch_and_query(path: &str) -> Option<(u64, &str)> {
    let name = path.rsplit('/').next()?;
    let (stem, _) = name.strip_prefix("part-")?.split_once('.')?;
    let mut pieces = stem.split('-');
    let epoch = pieces.next()?.parse().ok()?;
    let query = pieces.nth(2)?;
    (query.len() == 8 && pieces.next().is_none()).then_some((epoch, query))
}

#[cfg(test)]
mod tests {
    use headwater_core::{Epoch, EpochWrite, OutputMode, RunId};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_name_tells_epoch_and_query() {
        let query = QueryId(Uuid::from_u128(0xabcd_1234 << 96));
        let part = PartWrite {
            write: EpochWrite {
                query,
                run: RunId(Uuid::from_u128(0x1234_5678 << 96)),
                epoch: Epoch(17),
                mode: OutputMode::Append,
            },
            partition: 3,
        };
        let name = file_name(&part, FileFormat::Json, true);
        assert_eq!(name, "part-00017-00003-12345678-abcd1234.json.gz");
        assert_eq!(
            epoch_and_query(&format!("day=1/{name}")),
            Some((17, "abcd1234"))
        );
        assert_eq!(epoch_and_query("part-00017-00003-12345678.json"), None);
        assert_eq!(epoch_and_query("other.json"), None);
    }
}
