//! What a user may ask of a file source, checked once when the source is named.

use headwater_core::{Error, Options, Result};

use super::{
    intake::{IntakeRules, Limits},
    rules::ListRules,
};
use crate::file::{
    FileFormat,
    flags::{flag, one_byte},
    place::Place,
};

/// Options of every file source.
const COMMON: &[&str] = &[
    "maxFilesPerTrigger",
    "maxBytesPerTrigger",
    "latestFirst",
    "maxFileAge",
    "cleanSource",
    "sourceArchiveDir",
    "pathGlobFilter",
    "recursiveFileLookup",
    "fileNameOnly",
    "metadataColumn",
    "pollInterval",
];

/// Options of formats whose rows can be malformed.
const RECORDS: &[&str] = &[
    "inferSchema",
    "mode",
    "columnNameOfCorruptRecord",
    "multiLine",
    "encoding",
    "charset",
];
const CSV: &[&str] = &[
    "sep",
    "delimiter",
    "header",
    "enforceSchema",
    "quote",
    "escape",
    "comment",
    "nullValue",
];
const TEXT: &[&str] = &["wholetext", "lineSep"];

/// What becomes of a row that cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ParseMode {
    /// Its unreadable columns are null, and its text is kept if the schema has a column for it.
    #[default]
    Permissive,
    /// It is left out.
    DropMalformed,
    /// The epoch fails.
    FailFast,
}

/// What becomes of a file that was read and committed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum CleanSource {
    /// It stays.
    #[default]
    Off,
    /// It moves to this place.
    Archive(Place),
    /// It is deleted.
    Delete,
}

/// How records of a CSV file are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CsvDialect {
    pub(crate) separator: u8,
    pub(crate) header: bool,
    /// Whether the header must name the columns of the schema.
    pub(crate) check_header: bool,
    pub(crate) quote: Option<u8>,
    /// Beside doubled quotes, which always work.
    pub(crate) escape: Option<u8>,
    pub(crate) comment: Option<u8>,
    /// A value that means null, beside nothing at all.
    pub(crate) null: Option<String>,
    /// Whether a quoted value may span lines.
    pub(crate) multi_line: bool,
}

/// Everything a user asked of one file source.
#[derive(Debug, Clone)]
pub(crate) struct SourceOptions {
    /// Of the service behind the place.
    pub(crate) service: Options,
    pub(crate) limits: Limits,
    pub(crate) intake: IntakeRules,
    pub(crate) list: ListRules,
    pub(crate) clean: CleanSource,
    pub(crate) poll_millis: i64,
    pub(crate) metadata_column: bool,
    pub(crate) infer_schema: bool,
    pub(crate) mode: ParseMode,
    pub(crate) corrupt_column: String,
    pub(crate) csv: CsvDialect,
    /// One row per file.
    pub(crate) whole_text: bool,
    /// `None`: a line ends with `\n` or `\r\n`.
    pub(crate) line_separator: Option<String>,
}

impl SourceOptions {
    /// Reads the options of a source of `format` over `place`.
    ///
    /// # Errors
    /// `Invalid`, with the known options or what to write instead.
    pub(crate) fn parse(format: FileFormat, place: &Place, options: &Options) -> Result<Self> {
        let owner = format!("source '{format}'");
        refuse_unsupported(&owner, format, options)?;
        let service = place.service_options(&owner, &known(format), options)?;
        let limits = Limits {
            files: positive(options, "maxFilesPerTrigger")?,
            bytes: bytes(options, "maxBytesPerTrigger")?,
        };
        let latest_first = flag(options, "latestFirst", false)?;
        let max_age = options
            .duration("maxFileAge")?
            .map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        Ok(Self {
            service,
            limits,
            intake: IntakeRules {
                latest_first,
                // Old files come last then; they must not be taken for forgotten ones.
                max_age: max_age.filter(|_| !(latest_first && limits != Limits::default())),
                name_only: flag(options, "fileNameOnly", false)?,
            },
            list: ListRules {
                glob: glob_filter(options)?,
                recursive: flag(options, "recursiveFileLookup", false)?,
                only: None,
            },
            clean: clean_source(options, place)?,
            poll_millis: options
                .duration("pollInterval")?
                .map_or(1_000, |interval| {
                    i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1)
                }),
            metadata_column: flag(options, "metadataColumn", false)?,
            infer_schema: flag(options, "inferSchema", false)?,
            mode: parse_mode(options)?,
            corrupt_column: options
                .get("columnNameOfCorruptRecord")
                .unwrap_or("_corrupt_record")
                .to_owned(),
            csv: csv_dialect(options)?,
            whole_text: flag(options, "wholetext", false)?,
            line_separator: options
                .get("lineSep")
                .map(|separator| {
                    if separator.is_empty() {
                        Err(Error::invalid("option 'lineSep' cannot be empty: write the characters that end a line"))
                    } else {
                        Ok(separator.to_owned())
                    }
                })
                .transpose()?,
        })
    }
}

fn known(format: FileFormat) -> Vec<&'static str> {
    let own: &[&[&str]] = match format {
        FileFormat::Json => &[RECORDS],
        FileFormat::Csv => &[RECORDS, CSV],
        FileFormat::Text => &[TEXT],
        FileFormat::Parquet | FileFormat::Arrow => &[],
    };
    [COMMON]
        .iter()
        .chain(own)
        .flat_map(|names| names.iter().copied())
        .collect()
}

/// Options that users know from elsewhere and that cannot be had here: the answer says what to do instead.
fn refuse_unsupported(owner: &str, format: FileFormat, options: &Options) -> Result<()> {
    let records: &[(&str, &str)] = &[
        (
            "dateFormat",
            "dates are read as 2024-12-31: read the column as text and use to_date(column, format)",
        ),
        (
            "timestampFormat",
            "timestamps are read as RFC 3339 or 2024-12-31 23:59:59: read the column as text and use to_timestamp(column, format)",
        ),
        (
            "timestampNTZFormat",
            "timestamps are read as RFC 3339 or 2024-12-31 23:59:59: read the column as text and use to_timestamp(column, format)",
        ),
    ];
    let parquet: &[(&str, &str)] = &[(
        "mergeSchema",
        "give the schema: columns that a file lacks are null in its rows",
    )];
    let refused = match format {
        FileFormat::Json | FileFormat::Csv => records,
        FileFormat::Parquet => parquet,
        FileFormat::Text | FileFormat::Arrow => &[],
    };
    for (name, remedy) in refused {
        if options.get(name).is_some() {
            return Err(Error::invalid(format!(
                "{owner} does not support the option '{name}': {remedy}"
            )));
        }
    }
    if format == FileFormat::Json && flag(options, "multiLine", false)? {
        return Err(Error::invalid(format!(
            "{owner} does not support 'multiLine': write one JSON object a line"
        )));
    }
    for name in ["encoding", "charset"] {
        if let Some(value) = options.get(name)
            && !value.eq_ignore_ascii_case("utf-8")
            && !value.eq_ignore_ascii_case("utf8")
        {
            return Err(Error::invalid(format!(
                "{owner} reads UTF-8 only, not '{value}': convert the files"
            )));
        }
    }
    Ok(())
}

fn glob_filter(options: &Options) -> Result<Option<glob::Pattern>> {
    options
        .get("pathGlobFilter")
        .map(|pattern| {
            glob::Pattern::new(pattern).map_err(|error| {
                Error::invalid(format!(
                    "option 'pathGlobFilter' cannot be '{pattern}' (it is matched against file names, such as *.json)"
                ))
                .with_source(error)
            })
        })
        .transpose()
}

fn clean_source(options: &Options, place: &Place) -> Result<CleanSource> {
    let archive = options.get("sourceArchiveDir");
    let wanted = options
        .get("cleanSource")
        .unwrap_or("off")
        .to_ascii_lowercase();
    match wanted.as_str() {
        "off" => Ok(CleanSource::Off),
        "delete" => Ok(CleanSource::Delete),
        "archive" => {
            let Some(archive) = archive else {
                return Err(Error::invalid(
                    "option 'cleanSource' is 'archive' but no archive is named: set 'sourceArchiveDir' to a folder outside the input",
                ));
            };
            let target = Place::parse(archive)?;
            let same_kind = matches!(
                (place, &target),
                (Place::Local(_), Place::Local(_)) | (Place::Remote(_), Place::Remote(_))
            );
            if !same_kind {
                return Err(Error::invalid(format!(
                    "'sourceArchiveDir' {target} and the input {place} are not of one kind: archive local files locally and remote ones remotely"
                )));
            }
            if place.contains(&target) || target.contains(place) {
                return Err(Error::invalid(format!(
                    "'sourceArchiveDir' {target} overlaps the input {place}, its files would be read again: name a folder outside"
                )));
            }
            Ok(CleanSource::Archive(target))
        }
        _ => Err(Error::invalid(format!(
            "option 'cleanSource' cannot be '{wanted}': write off, archive or delete"
        ))),
    }
}

fn parse_mode(options: &Options) -> Result<ParseMode> {
    let Some(mode) = options.get("mode") else {
        return Ok(ParseMode::default());
    };
    match mode.to_ascii_uppercase().as_str() {
        "PERMISSIVE" => Ok(ParseMode::Permissive),
        "DROPMALFORMED" => Ok(ParseMode::DropMalformed),
        "FAILFAST" => Ok(ParseMode::FailFast),
        _ => Err(Error::invalid(format!(
            "option 'mode' cannot be '{mode}': write PERMISSIVE, DROPMALFORMED or FAILFAST"
        ))),
    }
}

fn csv_dialect(options: &Options) -> Result<CsvDialect> {
    let separator = match options.get("sep").or_else(|| options.get("delimiter")) {
        Some("\\t") => b'\t',
        Some(separator) => one_byte("sep", separator)?,
        None => b',',
    };
    // An empty value switches the character off.
    let optional = |name: &str, default: Option<u8>| match options.get(name) {
        Some("") => Ok(None),
        Some(value) => one_byte(name, value).map(Some),
        None => Ok(default),
    };
    Ok(CsvDialect {
        separator,
        header: flag(options, "header", false)?,
        check_header: !flag(options, "enforceSchema", true)?,
        quote: optional("quote", Some(b'"'))?,
        escape: optional("escape", None)?,
        comment: optional("comment", None)?,
        null: options
            .get("nullValue")
            .filter(|null| !null.is_empty())
            .map(str::to_owned),
        multi_line: flag(options, "multiLine", false)?,
    })
}

/// A number of at least one.
fn positive(options: &Options, name: &str) -> Result<Option<usize>> {
    match options.parse::<usize>(name)? {
        Some(0) => Err(Error::invalid(format!(
            "option '{name}' cannot be 0: write 1 or more, or leave it out for no limit"
        ))),
        other => Ok(other),
    }
}

/// A number of bytes, such as `1048576`, `512k`, `10MB` or `1g`.
fn bytes(options: &Options, name: &str) -> Result<Option<u64>> {
    let Some(text) = options.get(name) else {
        return Ok(None);
    };
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(lower.len());
    let shift = match lower[digits..]
        .trim()
        .trim_end_matches('b')
        .trim_end_matches('i')
    {
        "" => Some(0),
        "k" => Some(10),
        "m" => Some(20),
        "g" => Some(30),
        "t" => Some(40),
        _ => None,
    };
    let parsed = shift
        .and_then(|shift| {
            lower[..digits]
                .parse::<u64>()
                .ok()?
                .checked_mul(1_u64 << shift)
        })
        .filter(|bytes| *bytes > 0);
    match parsed {
        Some(bytes) => Ok(Some(bytes)),
        None => Err(Error::invalid(format!(
            "option '{name}' cannot be '{text}': write a number of bytes of at least 1, such as 1048576, 512k or 10m"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(format: FileFormat, options: &[(&str, &str)]) -> Result<SourceOptions> {
        let options: Options = options.iter().copied().collect();
        SourceOptions::parse(format, &Place::parse("/data/in")?, &options)
    }

    #[test]
    fn sizes_have_units() {
        for (text, expected) in [
            ("1048576", 1 << 20),
            ("512k", 512 << 10),
            ("10MB", 10 << 20),
            ("2GiB", 2 << 30),
        ] {
            let options = parse(FileFormat::Json, &[("maxBytesPerTrigger", text)]).expect(text);
            assert_eq!(options.limits.bytes, Some(expected), "{text}");
        }
        assert!(parse(FileFormat::Json, &[("maxBytesPerTrigger", "many")]).is_err());
    }

    #[test]
    fn what_cannot_be_had_is_refused_with_what_to_do_instead() {
        for (format, option, remedy) in [
            (
                FileFormat::Json,
                ("maxFilesPerTriger", "1"),
                "its options are maxFilesPerTrigger",
            ),
            (FileFormat::Csv, ("timestampFormat", "yyyy"), "to_timestamp"),
            (
                FileFormat::Json,
                ("multiLine", "true"),
                "one JSON object a line",
            ),
            (
                FileFormat::Parquet,
                ("header", "true"),
                "does not know the option 'header'",
            ),
            (FileFormat::Csv, ("sep", "||"), "one ASCII character"),
            (
                FileFormat::Json,
                ("mode", "STRICT"),
                "PERMISSIVE, DROPMALFORMED or FAILFAST",
            ),
            (
                FileFormat::Text,
                ("cleanSource", "archive"),
                "sourceArchiveDir",
            ),
            (FileFormat::Text, ("maxFilesPerTrigger", "0"), "1 or more"),
        ] {
            let error = parse(format, &[option]).expect_err(option.0);
            assert!(error.message().contains(remedy), "{error}");
        }
    }

    #[test]
    fn an_archive_inside_the_input_is_refused() {
        let options = [
            ("cleanSource", "archive"),
            ("sourceArchiveDir", "/data/in/done"),
        ];
        let error = parse(FileFormat::Text, &options).expect_err("overlaps");
        assert!(error.message().contains("overlaps"), "{error}");
    }

    #[test]
    fn latest_first_with_a_limit_ignores_the_maximum_age() {
        let all = [("latestFirst", "TRUE"), ("maxFileAge", "1 day")];
        let options = parse(FileFormat::Text, &all).expect("options");
        assert!(options.intake.max_age.is_some());
        let limited = [all[0], all[1], ("maxFilesPerTrigger", "1")];
        let options = parse(FileFormat::Text, &limited).expect("options");
        assert!(options.intake.max_age.is_none());
    }
}
