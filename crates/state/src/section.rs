//! The bytes of a section: the changes of one store of one partition, or all of its rows.
//!
//! This is the whole of the byte layout; `docs/formats-state.md` draws it. What the changes mean is left to
//! [`crate::delta`], where a section lies and its checksum to [`crate::manifest`].

use std::io::Cursor;

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
    ipc::{
        MetadataVersion,
        reader::StreamReader,
        writer::{IpcWriteOptions, StreamWriter},
    },
};
use bytes::Bytes;
use headwater_core::{Epoch, Error, Result};

use crate::{
    columns::{batch_bytes, compact_batch},
    delta::Change,
    layout::{Layout, flag},
};

/// What every section begins with.
const MAGIC: [u8; 4] = *b"HWSS";

/// The layout this code writes, and the only one it reads.
pub(crate) const FORMAT: u16 = 1;

const HEADER: usize = 32;
const ENTRY_HEADER: usize = 16;
/// Entries begin at multiples of this, so that Arrow can read aligned buffers in place.
const ALIGN: usize = 16;
/// About what Arrow writes of a batch beside its columns.
const ROOM_PER_BATCH: usize = 4_096;

/// Whether a section holds changes or everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Delta = 1,
    Snapshot = 2,
}

const PUT: u8 = 1;
const REMOVE: u8 = 2;
const EXPIRE: u8 = 3;
const MARK: u8 = 4;

/// A section taken apart.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) kind: Kind,
    pub(crate) version: Epoch,
    pub(crate) changes: Vec<Change>,
}

/// Encodes changes in order; runs of puts share one Arrow stream, and so do runs of removals.
pub(crate) fn encode(
    layout: &Layout,
    kind: Kind,
    version: Epoch,
    changes: &[Change],
) -> Result<Bytes> {
    // A large state that grew byte by byte would be copied a dozen times.
    let rows = changes.iter().filter_map(Change::rows);
    let expected: usize = rows.map(|rows| batch_bytes(rows) + ROOM_PER_BATCH).sum();
    let mut bytes = Vec::with_capacity(expected + ROOM_PER_BATCH);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&[kind as u8, layout.flags]);
    bytes.extend_from_slice(&version.0.to_le_bytes());
    bytes.resize(HEADER, 0);
    let same_kind = |a: &Change, b: &Change| a.tag() == b.tag();
    let mut entries = 0u32;
    for run in changes.chunk_by(same_kind) {
        entries += 1;
        let header = bytes.len();
        bytes.extend_from_slice(&[0; ENTRY_HEADER]);
        bytes[header] = run[0].tag();
        match &run[0] {
            Change::Put(_) => write_stream(&mut bytes, &layout.rows, run)?,
            Change::Remove(_) | Change::Mark(_) => write_stream(&mut bytes, &layout.named, run)?,
            Change::Expire(_) => {
                // Of several limits in a row the largest does what all of them do.
                let limit = run.iter().filter_map(Change::limit).max();
                bytes.extend_from_slice(&limit.unwrap_or(i64::MIN).to_le_bytes());
            }
        }
        let length = (bytes.len() - header - ENTRY_HEADER) as u64;
        bytes[header + 8..header + 16].copy_from_slice(&length.to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
    }
    let length = bytes.len() as u64;
    bytes[16..20].copy_from_slice(&entries.to_le_bytes());
    bytes[24..32].copy_from_slice(&length.to_le_bytes());
    Ok(bytes.into())
}

fn write_stream(bytes: &mut Vec<u8>, schema: &Schema, changes: &[Change]) -> Result<()> {
    let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)?;
    let mut writer = StreamWriter::try_new_with_options(bytes, schema, options)?;
    for batch in changes.iter().filter_map(Change::rows) {
        // Arrow writes all text that views point into, whoever it belongs to.
        writer.write(&compact_batch(batch)?)?;
    }
    Ok(writer.finish()?)
}

/// Takes the first section apart, checks that it is one of this store, and returns what follows it as well.
///
/// `picks` says where the key and value columns of the store lie in the section, if otherwise than in the layout.
///
/// # Errors
/// `Data`, saying what was expected and found.
pub(crate) fn decode<'a>(
    layout: &Layout,
    picks: Option<&[usize]>,
    bytes: &'a [u8],
) -> Result<(Section, &'a [u8])> {
    let (header, mut rest, after_section) = split_section(bytes)?;
    if header.flags != layout.flags {
        return Err(Error::data(format!(
            "the section's flags are {:#04x}, those of the store are {:#04x} (1: chained, 2: expires, \
             4: rows by key, 8: marks)",
            header.flags, layout.flags
        )));
    }
    let mut changes = Vec::new();
    for _ in 0..header.entries {
        let (tag, body, after) = split_entry(rest)?;
        match tag {
            PUT => changes.extend(
                read_stream(&layout.rows, picks, body)?
                    .into_iter()
                    .map(Change::Put),
            ),
            REMOVE => changes.extend(
                read_stream(&layout.named, None, body)?
                    .into_iter()
                    .map(Change::Remove),
            ),
            MARK if layout.flags & flag::MARKS != 0 => changes.extend(
                read_stream(&layout.named, None, body)?
                    .into_iter()
                    .map(Change::Mark),
            ),
            EXPIRE if body.len() == 8 => {
                changes.push(Change::Expire(u64_at(body, 0).cast_signed()))
            }
            _ => {
                return Err(Error::data(format!(
                    "unknown entry of kind {tag} with {} bytes",
                    body.len()
                )));
            }
        }
        rest = after;
    }
    if !rest.is_empty() {
        return Err(Error::data(format!(
            "{} bytes follow the last entry of the section",
            rest.len()
        )));
    }
    let section = Section {
        kind: header.kind,
        version: header.version,
        changes,
    };
    Ok((section, after_section))
}

/// What a section begins with.
struct Header {
    kind: Kind,
    flags: u8,
    version: Epoch,
    entries: u32,
}

/// The header of the first section, its entries, and what follows it.
fn split_section(bytes: &[u8]) -> Result<(Header, &[u8], &[u8])> {
    let too_short = || {
        Error::data(format!(
            "a section is cut short: only {} bytes are left",
            bytes.len()
        ))
    };
    let header = bytes.get(..HEADER).ok_or_else(too_short)?;
    if header[..4] != MAGIC {
        return Err(Error::data(format!(
            "not a section of state: it begins with {:?}, expected {MAGIC:?}",
            &header[..4]
        )));
    }
    let format = u16::from_le_bytes([header[4], header[5]]);
    if format != FORMAT {
        return Err(Error::data(format!(
            "the section is of format version {format}, this build reads version {FORMAT}"
        )));
    }
    let kind = match header[6] {
        1 => Kind::Delta,
        2 => Kind::Snapshot,
        other => return Err(Error::data(format!("unknown kind of section: {other}"))),
    };
    let length = usize::try_from(u64_at(header, 24)).map_err(|_| too_short())?;
    let (section, after) = bytes.split_at_checked(length).ok_or_else(too_short)?;
    let entries = section.get(HEADER..).ok_or_else(too_short)?;
    let header = Header {
        kind,
        flags: header[7],
        version: Epoch(u64_at(header, 8)),
        entries: u64_at(header, 16) as u32,
    };
    Ok((header, entries, after))
}

/// Kind and body of the first entry, and what follows it.
fn split_entry(bytes: &[u8]) -> Result<(u8, &[u8], &[u8])> {
    let cut_short = || Error::data("the section ends in the middle of an entry");
    let (header, rest) = bytes.split_at_checked(ENTRY_HEADER).ok_or_else(cut_short)?;
    let length = usize::try_from(u64_at(header, 8)).map_err(|_| cut_short())?;
    let body = rest.get(..length).ok_or_else(cut_short)?;
    let after = rest
        .get(length.next_multiple_of(ALIGN)..)
        .ok_or_else(cut_short)?;
    Ok((header[0], body, after))
}

/// Eight bytes at an offset that is known to be in range.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

fn read_stream(
    schema: &SchemaRef,
    picks: Option<&[usize]>,
    bytes: &[u8],
) -> Result<Vec<RecordBatch>> {
    let reader = StreamReader::try_new(Cursor::new(bytes), None)?;
    let found = reader.schema();
    let picks = picks.map(|picks| with_trailing(picks, schema.fields().len(), &found));
    match &picks {
        None => check_columns(schema, &found)?,
        Some(picks) => check_columns(schema, &found.project(picks)?)?,
    }
    let mut batches = Vec::new();
    for batch in reader {
        // Names and metadata may differ, types do not.
        let mut batch = batch?;
        if let Some(picks) = &picks {
            batch = batch.project(picks)?;
        }
        batches.push(crate::spec::batch_of(
            schema,
            batch.columns().to_vec(),
            batch.num_rows(),
        )?);
    }
    Ok(batches)
}

/// These columns, and those that follow keys and values: number, expiry and mark, as many as there are.
fn with_trailing(picks: &[usize], columns: usize, found: &Schema) -> Vec<usize> {
    let all = found.fields().len();
    let trailing = all.saturating_sub(columns.saturating_sub(picks.len()))..all;
    picks.iter().copied().chain(trailing).collect()
}

/// The columns of the first rows put in some sections; none if there are none.
///
/// # Errors
/// `Data` if the bytes are no sections.
pub(crate) fn columns_put(bytes: &[u8]) -> Result<Option<SchemaRef>> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (header, entries, after) = split_section(rest)?;
        let mut rest_of_entries = entries;
        for _ in 0..header.entries {
            let (tag, body, after) = split_entry(rest_of_entries)?;
            if tag == PUT {
                let reader = StreamReader::try_new(Cursor::new(body), None)?;
                return Ok(Some(reader.schema()));
            }
            rest_of_entries = after;
        }
        rest = after;
    }
    Ok(None)
}

fn check_columns(expected: &Schema, found: &Schema) -> Result<()> {
    let types = |schema: &Schema| {
        let fields = schema.fields().iter();
        let columns: Vec<_> = fields
            .map(|f| format!("{} {}", f.name(), f.data_type()))
            .collect();
        columns.join(", ")
    };
    let same = expected.fields().len() == found.fields().len()
        && std::iter::zip(expected.fields(), found.fields())
            .all(|(expected, found)| expected.data_type() == found.data_type());
    if same {
        return Ok(());
    }
    Err(Error::data(format!(
        "the stored rows have columns ({}), the store has ({})",
        types(found),
        types(expected)
    )))
}

impl Change {
    fn tag(&self) -> u8 {
        match self {
            Self::Put(_) => PUT,
            Self::Remove(_) => REMOVE,
            Self::Expire(_) => EXPIRE,
            Self::Mark(_) => MARK,
        }
    }

    fn limit(&self) -> Option<i64> {
        match self {
            Self::Expire(limit) => Some(*limit),
            _ => None,
        }
    }
}
