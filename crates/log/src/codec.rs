//! Records as bytes: one header line, then JSON.
//!
//! ```text
//! headwater plan v1 crc32=3610a686 len=97⏎
//! {"epoch":0,…}⏎
//! ```
//!
//! The line says what the file is, which version of the format, and the CRC-32 and length of everything after it, so
//! that a damaged or cut file is told from one of a newer version, and both from someone else's file. A person can read
//! a record with `cat`.

use bytes::Bytes;
use headwater_core::{Error, Result};
use serde::{Serialize, de::DeserializeOwned};

/// A thing that is stored as one file.
pub trait Record: Serialize + DeserializeOwned {
    /// What the header calls it.
    const KIND: &'static str;
    /// The newest version of its format, which is the one that is written. Fields may be added without a new version
    /// if readers may ignore them and do without.
    const VERSION: u32 = 1;
}

/// Why bytes are not the record they should be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
enum Damage {
    #[error("it has no header line 'headwater {kind} v… crc32=… len=…'")]
    NoHeader { kind: &'static str },
    #[error("it is a {found} record, expected a {expected} record")]
    OtherKind {
        expected: &'static str,
        found: String,
    },
    #[error("it has version {found}, this build reads up to version {newest}: use a newer build")]
    UnknownVersion { newest: u32, found: u32 },
    #[error(
        "it is truncated or was appended to: expected {expected} bytes after the header, found {found}"
    )]
    Length { expected: usize, found: usize },
    #[error("its checksum differs: expected {expected:08x}, found {found:08x}")]
    Checksum { expected: u32, found: u32 },
    #[error("its JSON is not a {kind} record: {why}")]
    Json { kind: &'static str, why: String },
}

/// The bytes of a record.
///
/// # Errors
/// [`headwater_core::ErrorKind::Internal`] if the record has no JSON form (a map with keys that are not text).
pub fn encode<T: Record>(record: &T) -> Result<Bytes> {
    let mut body = serde_json::to_vec(record).map_err(|error| {
        Error::internal(format!("a {} record has no JSON form", T::KIND)).with_source(error)
    })?;
    body.push(b'\n');
    let mut bytes = header(T::KIND, T::VERSION, crc32fast::hash(&body), body.len()).into_bytes();
    bytes.append(&mut body);
    Ok(bytes.into())
}

/// The record in these bytes.
///
/// # Errors
/// [`headwater_core::ErrorKind::Data`], naming `file` and what is wrong with it.
pub fn decode<T: Record>(file: &str, bytes: &[u8]) -> Result<T> {
    parse(bytes).map_err(|damage| Error::data(format!("'{file}' is damaged: {damage}")))
}

/// The version that the header of a record says, whatever follows; `None` if it has no header.
pub fn version_of(bytes: &[u8]) -> Option<u32> {
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let is_ours = words.next() == Some("headwater");
    let version = words.nth(1)?.strip_prefix('v')?.parse().ok()?;
    is_ours.then_some(version)
}

fn header(kind: &str, version: u32, crc32: u32, length: usize) -> String {
    format!("headwater {kind} v{version} crc32={crc32:08x} len={length}\n")
}

fn parse<T: Record>(bytes: &[u8]) -> Result<T, Damage> {
    let no_header = || Damage::NoHeader { kind: T::KIND };
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(no_header)?;
    let (line, body) = bytes.split_at(end + 1);
    let line = std::str::from_utf8(line).map_err(|_| no_header())?;
    let mut words = line.trim_end_matches('\n').split(' ');
    let mut word = |prefix: &str| words.next().and_then(|word| word.strip_prefix(prefix));
    word("headwater").ok_or_else(no_header)?;
    let kind = word("").ok_or_else(no_header)?;
    let version = word("v")
        .and_then(|v| v.parse().ok())
        .ok_or_else(no_header)?;
    if kind != T::KIND {
        return Err(Damage::OtherKind {
            expected: T::KIND,
            found: kind.to_owned(),
        });
    }
    if version == 0 || version > T::VERSION {
        return Err(Damage::UnknownVersion {
            newest: T::VERSION,
            found: version,
        });
    }
    let crc32 = word("crc32=")
        .and_then(|hex| u32::from_str_radix(hex, 16).ok())
        .ok_or_else(no_header)?;
    let length = word("len=")
        .and_then(|n| n.parse().ok())
        .ok_or_else(no_header)?;
    // There is one way to write a header, so that no flipped byte of it goes unnoticed.
    if header(kind, version, crc32, length) != line {
        return Err(no_header());
    }
    if body.len() != length {
        return Err(Damage::Length {
            expected: length,
            found: body.len(),
        });
    }
    let found = crc32fast::hash(body);
    if found != crc32 {
        return Err(Damage::Checksum {
            expected: crc32,
            found,
        });
    }
    serde_json::from_slice(body).map_err(|error| Damage::Json {
        kind: T::KIND,
        why: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    struct Sample {
        text: String,
    }

    impl Record for Sample {
        const KIND: &'static str = "sample";
    }

    fn sample() -> Bytes {
        let text = "a line\nand another".to_owned();
        encode(&Sample { text }).unwrap()
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed() {
        let bytes = sample();
        assert!(decode::<Sample>("f", &bytes).is_ok());
        for at in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[at / 8] ^= 1 << (at % 8);
            assert!(decode::<Sample>("f", &damaged).is_err(), "bit {at}");
        }
    }

    #[test]
    fn no_cut_or_appended_file_goes_unnoticed() {
        let bytes = sample();
        for length in 0..bytes.len() {
            assert!(decode::<Sample>("f", &bytes[..length]).is_err(), "{length}");
        }
        assert!(decode::<Sample>("f", &[&bytes[..], b"\n"].concat()).is_err());
    }

    #[test]
    fn an_error_names_the_file_and_what_is_wrong() {
        let text = String::from_utf8(sample().to_vec()).unwrap();
        let cases = [
            (
                "hello".to_owned(),
                "'plans/7' is damaged: it has no header line 'headwater sample v… crc32=… len=…'",
            ),
            (
                text.replace("sample", "plan"),
                "it is a plan record, expected a sample record",
            ),
            (
                text.replace(" v1 ", " v2 "),
                "it has version 2, this build reads up to version 1: use a newer build",
            ),
            (
                text[..text.len() - 5].to_owned(),
                "expected 31 bytes after the header, found 26",
            ),
            (
                text.replace("another", "anOther"),
                "its checksum differs: expected ",
            ),
        ];
        for (text, expected) in cases {
            let error = decode::<Sample>("plans/7", text.as_bytes()).expect_err(expected);
            assert!(error.message().contains(expected), "{error}");
        }
        let body = b"{\"other\":1}\n";
        let line = header("sample", 1, crc32fast::hash(body), body.len());
        let error = decode::<Sample>("f", &[line.as_bytes(), body].concat()).expect_err("no text");
        assert!(error.message().contains("missing field `text`"), "{error}");
    }
}
