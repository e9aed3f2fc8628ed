//! How the times in messages are written: in ISO 8601 as CAST reads it, or by patterns that the options give.

use super::iso;
use super::pattern::Pattern;
use super::text::{parse_date, parse_local_timestamp, parse_timestamp};
use super::zone::Zone;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Formats of timestamps, of timestamps without a zone and of dates.
#[derive(Debug, Clone)]
pub(crate) struct TimeFormats {
    /// The zone of times that name none, and in which instants are shown.
    pub(crate) zone: Zone,
    pub(crate) timestamp: Option<Pattern>,
    pub(crate) local: Option<Pattern>,
    pub(crate) date: Option<Pattern>,
}

impl TimeFormats {
    /// The instant in a text, in microseconds.
    pub(crate) fn timestamp(&self, text: &str) -> Option<i64> {
        if let Some(pattern) = &self.timestamp {
            return pattern.parse(text, self.zone);
        }
        match iso::parse(text.as_bytes()) {
            Some((micros, true)) => Some(micros),
            Some((micros, false)) if self.zone.is_utc() => Some(micros),
            _ => parse_timestamp(text, self.zone),
        }
    }

    /// The local time in a text, in microseconds; none if the text names a zone.
    pub(crate) fn local_timestamp(&self, text: &str) -> Option<i64> {
        if let Some(pattern) = &self.local {
            return pattern.parse(text, Zone::UTC);
        }
        match iso::parse(text.as_bytes()) {
            Some((micros, false)) => Some(micros),
            Some(_) => None,
            None => parse_local_timestamp(text),
        }
    }

    /// The days from 1970-01-01 to the date in a text.
    pub(crate) fn date(&self, text: &str) -> Option<i32> {
        match &self.date {
            Some(pattern) => {
                let micros = pattern.parse(text, Zone::UTC)?;
                i32::try_from(micros.div_euclid(MICROS_PER_DAY)).ok()
            }
            None => parse_date(text),
        }
    }

    /// Writes an instant: `2024-01-02T03:04:05.678Z` unless there is a pattern.
    pub(crate) fn write_timestamp(
        &self,
        micros: i64,
        out: &mut Vec<u8>,
    ) -> datafusion::common::Result<()> {
        if let Some(pattern) = &self.timestamp {
            out.extend_from_slice(pattern.format(micros, self.zone)?.as_bytes());
            return Ok(());
        }
        let offset = self.zone.offset_seconds(micros);
        iso::write(micros.saturating_add(i64::from(offset) * 1_000_000), out);
        iso::write_offset(offset, out);
        Ok(())
    }

    /// Writes a local time: `2024-01-02T03:04:05.678` unless there is a pattern.
    pub(crate) fn write_local_timestamp(
        &self,
        micros: i64,
        out: &mut Vec<u8>,
    ) -> datafusion::common::Result<()> {
        match &self.local {
            Some(pattern) => out.extend_from_slice(pattern.format(micros, Zone::UTC)?.as_bytes()),
            None => iso::write(micros, out),
        }
        Ok(())
    }

    /// Writes a date: `2024-01-02` unless there is a pattern.
    pub(crate) fn write_date(
        &self,
        days: i32,
        out: &mut Vec<u8>,
    ) -> datafusion::common::Result<()> {
        match &self.date {
            Some(pattern) => {
                let micros = i64::from(days).saturating_mul(MICROS_PER_DAY);
                out.extend_from_slice(pattern.format(micros, Zone::UTC)?.as_bytes());
            }
            None => iso::write_date(i64::from(days), out),
        }
        Ok(())
    }
}
