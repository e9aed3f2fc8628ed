//! The durable list of files read and acknowledged, so that a restart does not read them again once the query's own
//! log has let go of their records.
//!
//! One small object for some acknowledged increments, `seen/{start}-{end}.{level}`, named by the numbers of its files. When
//! [`FAN_IN`] neighbours of one level have come together they are merged into one of the next level, so a name is
//! rewritten a logarithmic number of times and an append never rewrites what is there. An object whose range lies
//! within another's is a leftover of a merge.

use std::{fmt::Write as _, sync::Arc};

use bytes::Bytes;
use headwater_core::{Error, Result, Storage};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// How many objects of one level are merged into one of the next.
const FAN_IN: usize = 32;

/// The version this program writes.
const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    start: u64,
    end: u64,
    level: u32,
}

impl Segment {
    fn path(&self) -> String {
        format!("seen/{:020}-{:020}.{}", self.start, self.end, self.level)
    }

    fn parse(path: &str) -> Option<Self> {
        let (range, level) = path.strip_prefix("seen/")?.rsplit_once('.')?;
        let (start, end) = range.split_once('-')?;
        Some(Self {
            start: start.parse().ok()?,
            end: end.parse().ok()?,
            level: level.parse().ok()?,
        })
    }
}

/// First line of every object; one `["name",modified]` a line follows.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    version: u32,
    names: usize,
    crc32: u32,
}

/// Names of files and when they were last written, in milliseconds since 1970.
pub(crate) type Names = Vec<(String, i64)>;

/// The list, open for appending.
#[derive(Debug)]
pub(crate) struct SeenLog {
    storage: Arc<dyn Storage>,
    /// Without gaps, in order. Held only to look or to exchange neighbours: a merge and an append may overlap.
    segments: Mutex<Vec<Segment>>,
}

impl SeenLog {
    /// Reads the list: the log and the names in it.
    pub(crate) async fn open(storage: Arc<dyn Storage>) -> Result<(Self, Names)> {
        // A run that is just ending may merge objects while they are read: then they have other names now.
        let mut attempts = 3;
        loop {
            let segments = Self::segments(&storage).await?;
            attempts -= 1;
            match read_all(&*storage, &segments).await? {
                Ok(names) => {
                    let segments = Mutex::new(segments);
                    return Ok((Self { storage, segments }, names));
                }
                Err(missing) if attempts == 0 => {
                    return Err(Error::data(format!(
                        "the list of files read {missing} in {storage} is missing"
                    )));
                }
                Err(_) => {}
            }
        }
    }

    async fn segments(storage: &Arc<dyn Storage>) -> Result<Vec<Segment>> {
        let mut found = Vec::new();
        for object in storage.list("seen").await? {
            match Segment::parse(&object.path) {
                Some(segment) => found.push(segment),
                None => {
                    return Err(Error::data(format!(
                        "{} in {storage} is not a list of files read",
                        object.path
                    )));
                }
            }
        }
        let (segments, leftovers) = in_a_row(found).map_err(|gap| {
            Error::data(format!(
                "the list of files read in {storage} has a gap: files {} to {} are missing before {}",
                gap.from,
                gap.behind.start,
                gap.behind.path()
            ))
        })?;
        let leftovers: Vec<String> = leftovers.iter().map(Segment::path).collect();
        if !leftovers.is_empty() {
            storage.delete(&leftovers).await?;
        }
        Ok(segments)
    }

    /// Number of files in the list.
    pub(crate) fn count(&self) -> u64 {
        self.segments.lock().last().map_or(0, |last| last.end)
    }

    /// Appends the names of the files numbered from `start`; those that are in the list already are not written again.
    /// One call at a time.
    pub(crate) async fn append(&self, start: u64, names: Names) -> Result<()> {
        let segment = Segment {
            start,
            end: start + names.len() as u64,
            level: 0,
        };
        if segment.end <= self.count() {
            return Ok(());
        }
        if start != self.count() {
            return Err(Error::internal(format!(
                "files numbered from {start} were acknowledged, but only {} are known as read",
                self.count()
            )));
        }
        self.storage
            .create(&segment.path(), encode(&names)?)
            .await?;
        self.segments.lock().push(segment);
        Ok(())
    }

    /// Whether [`Self::merge`] has something to do.
    pub(crate) fn can_merge(&self) -> bool {
        full_run(&self.segments.lock()).is_some()
    }

    /// Merges objects until nowhere [`FAN_IN`] neighbours are of one level, dropping names older than
    /// `remembered_from`. One call at a time; a failure leaves the list as it was.
    pub(crate) async fn merge(&self, remembered_from: i64) -> Result<()> {
        while let Some((parts, merged)) = self.next_merge() {
            let mut names = read_all(&*self.storage, &parts).await?.map_err(|missing| {
                Error::data(format!(
                    "the list of files read {missing} in {} is missing",
                    self.storage
                ))
            })?;
            names.retain(|(_, modified)| *modified >= remembered_from);
            self.storage.create(&merged.path(), encode(&names)?).await?;
            {
                let mut segments = self.segments.lock();
                let at = segments.partition_point(|segment| segment.start < merged.start);
                segments.splice(at..at + parts.len(), [merged]);
            }
            let old: Vec<String> = parts.iter().map(Segment::path).collect();
            self.storage.delete(&old).await?;
        }
        Ok(())
    }

    fn next_merge(&self) -> Option<(Vec<Segment>, Segment)> {
        let segments = self.segments.lock();
        let run = full_run(&segments)?;
        let parts = segments[run..run + FAN_IN].to_vec();
        let merged = Segment {
            start: parts.first()?.start,
            end: parts.last()?.end,
            level: parts.first()?.level + 1,
        };
        Some((parts, merged))
    }
}

/// Files that no object of the list names.
#[derive(Debug)]
struct Gap {
    /// The first of them.
    from: u64,
    /// The object after them.
    behind: Segment,
}

/// The objects that make up the list, in order, and those that are left over from a merge.
fn in_a_row(mut found: Vec<Segment>) -> std::result::Result<(Vec<Segment>, Vec<Segment>), Gap> {
    // At each start the longest first: it covers those it was merged from.
    found.sort_by_key(|segment| (segment.start, std::cmp::Reverse(segment.end)));
    let mut segments: Vec<Segment> = Vec::new();
    let mut leftovers = Vec::new();
    for segment in found {
        let end = segments.last().map_or(0, |last| last.end);
        if segment.start == end && segment.end > end {
            segments.push(segment);
        } else if segment.end <= end {
            leftovers.push(segment);
        } else {
            return Err(Gap {
                from: end,
                behind: segment,
            });
        }
    }
    Ok((segments, leftovers))
}

/// Whether an object of a source is part of the list.
pub(crate) fn is_list(path: &str) -> bool {
    Segment::parse(path).is_some()
}

/// Whether the bytes of an object of the list are as they were written.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    decode(bytes).is_some()
}

/// The first gap in the list: the object behind it, and the numbers of the files that are missing, the last one not
/// included.
pub(crate) fn gap<'a>(paths: impl IntoIterator<Item = &'a str>) -> Option<(String, u64, u64)> {
    let found = paths.into_iter().filter_map(Segment::parse).collect();
    let gap = in_a_row(found).err()?;
    Some((gap.behind.path(), gap.from, gap.behind.start))
}

/// Where the first [`FAN_IN`] neighbours of one level begin.
fn full_run(segments: &[Segment]) -> Option<usize> {
    segments
        .windows(FAN_IN)
        .position(|run| run.iter().all(|segment| segment.level == run[0].level))
}

fn encode(names: &Names) -> Result<Bytes> {
    let mut body = String::new();
    for name in names {
        body.push_str(&serde_json::to_string(name)?);
        body.push('\n');
    }
    let header = Header {
        version: VERSION,
        names: names.len(),
        crc32: crc32fast::hash(body.as_bytes()),
    };
    let mut text = serde_json::to_string(&header)?;
    let _ = write!(text, "\n{body}");
    Ok(text.into())
}

/// The names in some objects of the list, or the path of one that is not there.
async fn read_all(
    storage: &dyn Storage,
    segments: &[Segment],
) -> Result<std::result::Result<Names, String>> {
    let mut names = Vec::new();
    for segment in segments {
        let path = segment.path();
        let Some(bytes) = storage.read(&path).await? else {
            return Ok(Err(path));
        };
        let read = decode(&bytes).ok_or_else(|| {
            Error::data(format!(
                "the list of files read {path} in {storage} is damaged or of a newer version than {VERSION}"
            ))
        })?;
        names.extend(read);
    }
    Ok(Ok(names))
}

fn decode(bytes: &[u8]) -> Option<Names> {
    let line_end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (header, body) = (&bytes[..line_end], &bytes[line_end + 1..]);
    let header: Header = serde_json::from_slice(header).ok()?;
    if header.version != VERSION || header.crc32 != crc32fast::hash(body) {
        return None;
    }
    let names: Names = serde_json::Deserializer::from_slice(body)
        .into_iter()
        .collect::<std::result::Result<_, _>>()
        .ok()?;
    (names.len() == header.names).then_some(names)
}

#[cfg(test)]
mod tests {
    use headwater_log::MemoryStorage;

    use super::*;

    #[test]
    fn the_bytes_of_an_object_are_those_of_the_formats_page() {
        let names = vec![
            ("day=1/a.json".to_owned(), 1_700_000_000_000),
            ("b".to_owned(), 5),
        ];
        let bytes = encode(&names).expect("encoded");
        assert_eq!(
            std::str::from_utf8(&bytes).expect("text"),
            "{\"version\":1,\"names\":2,\"crc32\":2668225370}\n[\"day=1/a.json\",1700000000000]\n[\"b\",5]\n"
        );
        assert_eq!(decode(&bytes), Some(names));
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let names = vec![("a".to_owned(), 1), ("b".to_owned(), 2)];
        let bytes = encode(&names).expect("encoded").to_vec();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x20;
            assert!(
                decode(&flipped).is_none_or(|read| read == names),
                "byte {at}"
            );
            assert!(decode(&bytes[..at]).is_none(), "cut at {at}");
        }
    }

    #[tokio::test]
    async fn a_name_is_rewritten_a_logarithmic_number_of_times() {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let (log, names) = SeenLog::open(Arc::clone(&storage))
            .await
            .expect("an empty list");
        assert!(names.is_empty());
        for number in 0..2_000 {
            log.append(number, vec![(format!("{number}"), 1)])
                .await
                .expect("appended");
            log.merge(i64::MIN).await.expect("merged");
        }
        // 2,000 = 1 × 1,024 + 30 × 32 + 16.
        assert_eq!(
            storage.list("seen").await.expect("a listing").len(),
            1 + 30 + 16
        );
        let (log, names) = SeenLog::open(storage).await.expect("the list");
        assert_eq!((log.count(), names.len()), (2_000, 2_000));
    }
}
