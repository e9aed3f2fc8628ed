//! Whether a state file holds what the manifest says: every byte of it.
//!
//! The header, the checksum of each section and the zeros between them are looked at piece by piece, so that a file
//! that is larger than memory can be checked too. What the sections mean is not read: their bytes are those that were
//! written.

use std::ops::Range;

use headwater_core::{Condition, Result, Storage};

use crate::{file, manifest::StateFile};

/// How much of a file is read at once, unless a section is larger.
const PIECE: u64 = 8 << 20;

/// A stretch of a file, and what must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stretch {
    range: Range<u64>,
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Header,
    Zeros,
    /// The section of this number.
    Section(usize),
}

impl StateFile {
    /// Checks the file in the checkpoint whose root is `storage`. `size` is its length there, if it was listed.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn check(&self, storage: &dyn Storage, size: Option<u64>) -> Result<Condition> {
        if let Some(size) = size
            && size != self.size
        {
            return Ok(Condition::Damaged(format!(
                "it has {size} bytes, expected {}",
                self.size
            )));
        }
        let stretches = match stretches(self) {
            Ok(stretches) => stretches,
            Err(why) => return Ok(Condition::Damaged(why)),
        };
        for piece in pieces(&stretches, PIECE) {
            let range = piece[0].range.start..piece[piece.len() - 1].range.end;
            let Some(bytes) = storage.read_range(&self.path, range.clone()).await? else {
                return Ok(Condition::Missing);
            };
            if bytes.len() as u64 != range.end - range.start {
                return Ok(Condition::Damaged(format!(
                    "it ends before byte {}, expected {} bytes",
                    range.end, self.size
                )));
            }
            for stretch in piece {
                let at = |byte: u64| usize::try_from(byte - range.start).unwrap_or(usize::MAX);
                let stretch_bytes = bytes.get(at(stretch.range.start)..at(stretch.range.end));
                if let Some(why) = self.misfit(stretch, stretch_bytes.unwrap_or_default()) {
                    return Ok(Condition::Damaged(why));
                }
            }
        }
        Ok(Condition::Whole { bytes: self.size })
    }

    /// What is wrong with the bytes of a stretch.
    fn misfit(&self, stretch: &Stretch, bytes: &[u8]) -> Option<String> {
        match stretch.content {
            Content::Header => (!file::is_header(bytes))
                .then(|| "it does not begin like a state file that this build reads".to_owned()),
            Content::Zeros => bytes.iter().any(|byte| *byte != 0).then(|| {
                format!(
                    "the bytes from {} to {}, between sections, are not zeros",
                    stretch.range.start, stretch.range.end
                )
            }),
            Content::Section(number) => {
                let section = &self.sections[number];
                let found = crc32fast::hash(bytes);
                (found != section.crc32).then(|| {
                    format!(
                        "the checksum of store '{}', partition {}, differs: expected {:08x}, found {found:08x}",
                        section.store, section.partition, section.crc32
                    )
                })
            }
        }
    }
}

/// All bytes of a file in order, or why its sections cannot lie in it.
fn stretches(file: &StateFile) -> Result<Vec<Stretch>, String> {
    let mut stretches = vec![Stretch {
        range: 0..file::HEADER as u64,
        content: Content::Header,
    }];
    let mut end = file::HEADER as u64;
    let mut fill = |end: u64, start: u64, content: Option<(Content, u64)>| {
        if end < start {
            stretches.push(Stretch {
                range: end..start,
                content: Content::Zeros,
            });
        }
        if let Some((content, end)) = content {
            stretches.push(Stretch {
                range: start..end,
                content,
            });
        }
    };
    for (number, section) in file.sections.iter().enumerate() {
        let section_end = section.offset.saturating_add(section.len);
        if section.offset < end || section_end > file.size {
            return Err(format!(
                "section {number} at {} with {} bytes does not lie in it",
                section.offset, section.len
            ));
        }
        fill(
            end,
            section.offset,
            Some((Content::Section(number), section_end)),
        );
        end = section_end;
    }
    fill(end, file.size, None);
    Ok(stretches)
}

/// Neighbours that are read at once: as many as have `most` bytes, at least one.
fn pieces(stretches: &[Stretch], most: u64) -> Vec<&[Stretch]> {
    let mut pieces = Vec::new();
    let mut first = 0;
    for next in 1..=stretches.len() {
        let is_full = stretches
            .get(next)
            .is_none_or(|stretch| stretch.range.end - stretches[first].range.start > most);
        if is_full {
            pieces.push(&stretches[first..next]);
            first = next;
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use futures::executor::block_on;
    use headwater_core::Epoch;
    use headwater_log::MemoryStorage;

    use super::*;
    use crate::delta::DeltaBytes;

    const PATH: &str = "state/x/1.delta";

    /// A file with sections of these lengths, and its bytes.
    fn file(sections: &[usize]) -> (StateFile, Vec<u8>) {
        let parts: Vec<file::Part> = sections
            .iter()
            .zip(0..)
            .map(|(length, partition)| {
                let bytes = DeltaBytes {
                    bytes: Bytes::from(vec![7; *length]).into(),
                    rows: 1,
                    live: 1,
                    full: false,
                };
                ("groups".to_owned(), partition, bytes)
            })
            .collect();
        let (bytes, file) = file::assemble(Epoch(1), 9, &parts).expect("a file");
        let file = StateFile {
            path: PATH.to_owned(),
            ..file
        };
        (file, bytes.into_bytes().to_vec())
    }

    fn condition(file: &StateFile, bytes: &[u8], is_listed: bool) -> Condition {
        let storage = Arc::new(MemoryStorage::new());
        let size = is_listed.then_some(bytes.len() as u64);
        block_on(async {
            storage
                .create(PATH, Bytes::copy_from_slice(bytes))
                .await
                .expect("stored");
            file.check(storage.as_ref(), size).await.expect("an answer")
        })
    }

    #[test]
    fn a_file_as_it_was_written_is_whole() {
        for sections in [&[][..], &[16], &[1, 17, 32, 5]] {
            let (file, bytes) = file(sections);
            let whole = Condition::Whole { bytes: file.size };
            assert_eq!(condition(&file, &bytes, true), whole);
            assert_eq!(condition(&file, &bytes, false), whole);
        }
    }

    #[test]
    fn no_flipped_byte_and_no_other_length_goes_unnoticed() {
        let (file, bytes) = file(&[1, 17, 32, 5]);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            let found = condition(&file, &flipped, true);
            assert!(
                matches!(found, Condition::Damaged(_)),
                "byte {at}: {found:?}"
            );
            let cut = condition(&file, &bytes[..at], true);
            assert!(matches!(cut, Condition::Damaged(_)), "cut at {at}: {cut:?}");
        }
        let longer = [&bytes[..], b"\0"].concat();
        assert!(matches!(
            condition(&file, &longer, true),
            Condition::Damaged(_)
        ));
    }

    #[test]
    fn a_file_that_is_gone_is_missing() {
        let (file, _) = file(&[16]);
        let storage = MemoryStorage::new();
        let found = block_on(file.check(&storage, None)).expect("an answer");
        assert_eq!(found, Condition::Missing);
    }

    #[test]
    fn large_files_are_read_in_pieces() {
        let (file, _) = file(&[100, 100, 100, 100]);
        let stretches = stretches(&file).expect("they fit");
        for (most, count) in [(1, stretches.len()), (250, 2), (1_000, 1)] {
            let pieces = pieces(&stretches, most);
            assert_eq!(pieces.len(), count, "{most}");
            assert_eq!(pieces.concat(), stretches);
        }
    }

    #[test]
    fn sections_that_cannot_be_there_are_damage() {
        let (mut file, bytes) = file(&[16, 16]);
        file.sections[1].offset = 20;
        assert!(matches!(
            condition(&file, &bytes, true),
            Condition::Damaged(_)
        ));
        file.sections[1].offset = u64::MAX;
        assert!(matches!(
            condition(&file, &bytes, true),
            Condition::Damaged(_)
        ));
    }
}
