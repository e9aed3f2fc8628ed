//! The bytes of a state file: a header and sections, end to end.
//!
//! Which section is which, and its checksum, stands in the [`StateFile`] of the manifest. `docs/formats-state.md`
//! draws the bytes.

use std::collections::BTreeMap;

use headwater_core::{Epoch, Error, Payload, Result, RunId};

use crate::{
    delta::DeltaBytes,
    manifest::{Section, StateFile},
};

const MAGIC: [u8; 8] = *b"HWSTATE\0";
const FORMAT: u16 = 1;
pub(crate) const HEADER: usize = 16;
/// Sections begin at multiples of this.
const ALIGN: usize = 16;

/// A section to be written: store, partition, bytes.
pub(crate) type Part = (String, u32, DeltaBytes);

/// Puts sections together, sharing their memory; the caller sets the path. Empty sections are left out.
///
/// # Errors
/// `Internal` if some sections are whole states and others changes, or a partition of a whole state is missing.
pub(crate) fn assemble(
    epoch: Epoch,
    partitions: u32,
    parts: &[Part],
) -> Result<(Payload, StateFile)> {
    check_parts(partitions, parts)?;
    let mut payload = Payload::new();
    payload.push_copy(&header());
    let mut size = HEADER;
    let mut sections = Vec::new();
    for (store, partition, delta) in parts.iter().filter(|(_, _, delta)| !delta.is_empty()) {
        let length = delta.bytes.len();
        sections.push(Section {
            store: store.clone(),
            partition: *partition,
            offset: size as u64,
            len: length as u64,
            crc32: crc32(&delta.bytes),
            rows: delta.rows,
        });
        payload.append(delta.bytes.clone());
        payload.push_copy(&[0; ALIGN][..length.next_multiple_of(ALIGN) - length]);
        size += length.next_multiple_of(ALIGN);
    }
    let mut live = BTreeMap::new();
    for (store, _, delta) in parts {
        *live.entry(store.clone()).or_default() += delta.live;
    }
    let file = StateFile {
        path: String::new(),
        epoch,
        size: size as u64,
        partitions,
        full: parts.iter().any(|(_, _, delta)| delta.full),
        since: None,
        sections,
        live,
    };
    Ok((payload, file))
}

fn crc32(payload: &Payload) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for slice in payload.slices() {
        hasher.update(slice);
    }
    hasher.finalize()
}

fn header() -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&FORMAT.to_le_bytes());
    header
}

/// Whether these are the bytes that every state file begins with.
pub(crate) fn is_header(bytes: &[u8]) -> bool {
    bytes == header()
}

fn check_parts(partitions: u32, parts: &[Part]) -> Result<()> {
    if let Some((store, partition, _)) = parts.iter().find(|(_, p, _)| *p >= partitions) {
        return Err(Error::internal(format!(
            "store {store} has a partition {partition} of {partitions}"
        )));
    }
    let full = parts.iter().filter(|(_, _, delta)| delta.full).count();
    if full == 0 {
        return Ok(());
    }
    let mut present: Vec<(&str, u32)> = parts
        .iter()
        .map(|(store, p, _)| (store.as_str(), *p))
        .collect();
    present.sort_unstable();
    present.dedup();
    let stores = present.chunk_by(|a, b| a.0 == b.0);
    let is_complete = stores
        .clone()
        .all(|store| store.len() == partitions as usize);
    if full < parts.len() || !is_complete || present.len() < parts.len() {
        return Err(Error::internal(format!(
            "whole state needs {partitions} partitions of each store, found {full} in {} sections of {} stores",
            parts.len(),
            stores.count()
        )));
    }
    Ok(())
}

/// Path of a file. Runs have names of their own and count their attempts, so that a replay or a retry never meets
/// what an earlier attempt left behind.
pub(crate) fn path(operator: &str, epoch: Epoch, run: RunId, attempt: u64, kind: &str) -> String {
    format!(
        "state/{}/{:020}-{}-{attempt}.{kind}",
        folder_name(operator),
        epoch.0,
        run.0.simple()
    )
}

/// The operator's id as one segment of a path; different ids give different names.
fn folder_name(operator: &str) -> String {
    let mut name = String::with_capacity(operator.len());
    for byte in operator.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            _ => name.push_str(&format!("={byte:02x}")),
        }
    }
    name
}
