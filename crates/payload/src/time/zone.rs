//! The session's time zone, and the way between instants and what clocks on the wall show.
//!
//! Instants are microseconds since 1970-01-01T00:00:00Z. A local time that a clock change skips counts with the offset
//! before the change, one that it repeats is the earlier instant, as in Java.

use chrono::{DateTime, Duration, LocalResult, NaiveDate, NaiveDateTime, Offset, TimeZone, Utc};
use datafusion::arrow::array::timezone::Tz;
use datafusion::common::{Result, exec_datafusion_err, exec_err};
use datafusion::config::ConfigOptions;

/// A time zone; `UTC` is told apart because it is by far the most frequent and needs no tables.
#[derive(Debug, Clone, Copy)]
pub struct Zone(Option<Tz>);

impl Zone {
    /// The zone of instants.
    pub const UTC: Self = Self(None);

    /// Whether its clocks show UTC.
    pub fn is_utc(self) -> bool {
        self.0.is_none()
    }

    /// The zone of the session (`datafusion.execution.time_zone`); UTC if none is set.
    pub fn of(config: &ConfigOptions) -> Result<Self> {
        match config.execution.time_zone.as_deref() {
            Some(name) => Self::named(name),
            None => Ok(Self::UTC),
        }
    }

    /// A zone by name, `Europe/Paris`, or by offset, `+02:00`.
    pub fn named(name: &str) -> Result<Self> {
        if matches!(name, "UTC" | "Z" | "GMT" | "+00:00" | "Etc/UTC" | "UT") {
            return Ok(Self::UTC);
        }
        // `UTC+1` and `GMT-02:30` are offsets; offsets may lack the zero in front.
        let offset = name
            .strip_prefix("UTC")
            .or_else(|| name.strip_prefix("GMT"))
            .or_else(|| name.strip_prefix("UT"));
        let offset = match offset {
            Some(rest) if rest.starts_with(['+', '-']) => rest,
            _ => name,
        };
        let padded = pad_offset(offset);
        padded
            .as_deref()
            .unwrap_or(name)
            .parse::<Tz>()
            .map(|tz| Self(Some(tz)))
            .map_err(|_| exec_datafusion_err!("unknown time zone `{name}`: use a name like Europe/Paris or an offset like +02:00"))
    }

    /// What a clock in this zone shows at an instant.
    pub fn local(self, micros: i64) -> Result<NaiveDateTime> {
        let Some(utc) = DateTime::<Utc>::from_timestamp_micros(micros) else {
            return exec_err!("timestamp {micros} is out of range");
        };
        Ok(match self.0 {
            None => utc.naive_utc(),
            Some(tz) => utc.with_timezone(&tz).naive_local(),
        })
    }

    /// Seconds that clocks in this zone are ahead of UTC at an instant.
    pub fn offset_seconds(self, micros: i64) -> i32 {
        match (self.0, DateTime::<Utc>::from_timestamp_micros(micros)) {
            (Some(tz), Some(utc)) => utc.with_timezone(&tz).offset().fix().local_minus_utc(),
            _ => 0,
        }
    }

    /// The instant at which a clock in this zone shows `local`.
    pub fn instant(self, local: NaiveDateTime) -> i64 {
        let naive = local.and_utc().timestamp_micros();
        let Some(tz) = self.0 else { return naive };
        match tz.from_local_datetime(&local) {
            LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => time.timestamp_micros(),
            LocalResult::None => {
                // In the hour that a clock change skips: the offset before the change.
                let before = local - Duration::hours(24);
                let offset = match tz.from_local_datetime(&before) {
                    LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => {
                        time.offset().fix().local_minus_utc()
                    }
                    LocalResult::None => 0,
                };
                naive - i64::from(offset) * 1_000_000
            }
        }
    }

    /// The instant at which a day begins here.
    pub fn midnight(self, days: i32) -> Result<i64> {
        Ok(self.instant(date(days)?.and_time(chrono::NaiveTime::MIN)))
    }
}

fn pad_offset(text: &str) -> Option<String> {
    let sign = text.chars().next().filter(|c| matches!(c, '+' | '-'))?;
    let rest = &text[1..];
    let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "00"));
    if hours.is_empty()
        || hours.len() > 2
        || !hours
            .bytes()
            .chain(minutes.bytes())
            .all(|b| b.is_ascii_digit())
    {
        return None;
    }
    Some(format!("{sign}{hours:0>2}:{minutes:0>2}"))
}

/// The date that is `days` after 1970-01-01.
pub fn date(days: i32) -> Result<NaiveDate> {
    NaiveDate::default()
        .checked_add_signed(Duration::days(i64::from(days)))
        .ok_or_else(|| exec_datafusion_err!("date {days} is out of range"))
}

/// Days from 1970-01-01 to `date`.
pub fn days(date: NaiveDate) -> i32 {
    i32::try_from((date - NaiveDate::default()).num_days()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> NaiveDateTime {
        text.parse().expect(text)
    }

    #[test]
    fn clock_changes_follow_java() {
        let zone = Zone::named("America/New_York").expect("a zone");
        let instant = |text| zone.instant(at(text)) / 1_000_000;
        // Skipped: 02:30 on 10 March 2024 is 03:30 EDT.
        assert_eq!(
            instant("2024-03-10T02:30:00"),
            instant("2024-03-10T03:30:00")
        );
        // Repeated: 01:30 on 3 November 2024 is the first one, EDT.
        assert_eq!(
            zone.instant(at("2024-11-03T01:30:00")),
            Zone::UTC.instant(at("2024-11-03T05:30:00"))
        );
        let noon = Zone::UTC.instant(at("2024-07-01T12:00:00"));
        assert_eq!(
            zone.local(noon).expect("in range"),
            at("2024-07-01T08:00:00")
        );
        assert_eq!(zone.offset_seconds(noon), -4 * 3600);
    }

    #[test]
    fn zones_have_names_or_offsets() {
        let noon = Zone::UTC.instant(at("2024-01-01T12:00:00"));
        for (name, hour) in [
            ("UTC", "12"),
            ("+2", "14"),
            ("UTC-03:30", "08"),
            ("Europe/Paris", "13"),
        ] {
            let local = Zone::named(name).and_then(|z| z.local(noon)).expect(name);
            assert_eq!(local.format("%H").to_string(), hour, "{name}");
        }
        assert!(Zone::named("Nowhere/City").is_err());
    }
}
