//! The bytes of a section: the changes of one store of one partition, or all of its rows.
//!
//! This is the whole of the byte layout; `docs/formats-state.md` draws it. What the changes mean is left to
//! [`crate::delta`], where a section lies and its checksum to [`crate::manifest`].

use arrow::datatypes::SchemaRef;
use headwater_core::{Epoch, Error, Payload, Result};

use crate::{
    delta::Change,
    layout::{Layout, flag},
    stream::{Columns, read_batches, read_columns, write_streams},
};

/// What every section begins with.
const MAGIC: [u8; 4] = *b"HWSS";

/// The layout this code writes.
pub(crate) const FORMAT: u16 = 2;

/// The layout before columns were narrowed; it is read too.
const WIDE_FORMAT: u16 = 1;

const HEADER: usize = 32;
const ENTRY_HEADER: usize = 16;
/// Entries begin at multiples of this, so that Arrow can read aligned buffers in place.
const ALIGN: usize = 16;

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

/// Encodes changes in order. Small batches that follow one another with the same kind of change are united.
pub(crate) fn encode(
    layout: &Layout,
    kind: Kind,
    version: Epoch,
    changes: &[Change],
) -> Result<Payload> {
    let same_kind = |a: &Change, b: &Change| a.tag() == b.tag();
    let mut entries: Vec<(u8, Payload)> = Vec::new();
    for run in changes.chunk_by(same_kind) {
        let tag = run[0].tag();
        if let Change::Expire(_) = &run[0] {
            // Of several limits in a row the largest does what all of them do.
            let limit = run.iter().filter_map(Change::limit).max();
            let mut body = Payload::new();
            body.push_copy(&limit.unwrap_or(i64::MIN).to_le_bytes());
            entries.push((tag, body));
        } else {
            let streams = write_streams(run.iter().filter_map(Change::rows))?;
            entries.extend(streams.into_iter().map(|stream| (tag, stream)));
        }
    }
    let sizes = entries
        .iter()
        .map(|(_, body)| ENTRY_HEADER + body.len().next_multiple_of(ALIGN));
    let length = (HEADER + sizes.sum::<usize>()) as u64;
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&MAGIC);
    header[4..6].copy_from_slice(&FORMAT.to_le_bytes());
    header[6..8].copy_from_slice(&[kind as u8, layout.flags]);
    header[8..16].copy_from_slice(&version.0.to_le_bytes());
    header[16..20].copy_from_slice(&(entries.len() as u32).to_le_bytes());
    header[24..32].copy_from_slice(&length.to_le_bytes());
    let mut section = Payload::new();
    section.push_copy(&header);
    for (tag, body) in entries {
        let length = body.len();
        let mut header = [0; ENTRY_HEADER];
        header[0] = tag;
        header[8..16].copy_from_slice(&(length as u64).to_le_bytes());
        section.push_copy(&header);
        section.append(body);
        section.push_copy(&[0; ALIGN][..length.next_multiple_of(ALIGN) - length]);
    }
    Ok(section)
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
                read_batches(&layout.rows, header.columns, picks, body)?
                    .into_iter()
                    .map(Change::Put),
            ),
            REMOVE => changes.extend(
                read_batches(&layout.named, header.columns, None, body)?
                    .into_iter()
                    .map(Change::Remove),
            ),
            MARK if layout.flags & flag::MARKS != 0 => changes.extend(
                read_batches(&layout.named, header.columns, None, body)?
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
    columns: Columns,
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
    let columns = match format {
        FORMAT => Columns::Narrow,
        WIDE_FORMAT => Columns::Wide,
        _ => {
            return Err(Error::data(format!(
                "the section is of format version {format}, this build reads versions {WIDE_FORMAT} and {FORMAT}"
            )));
        }
    };
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
        columns,
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
                return read_columns(header.columns, body).map(Some);
            }
            rest_of_entries = after;
        }
        rest = after;
    }
    Ok(None)
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
