//! What a user may ask of a file sink, checked once when the sink is named.

use headwater_core::{Error, Options, Result};
use parquet::{
    basic::{Compression, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties},
};

use crate::file::{
    FileFormat,
    flags::{flag, one_byte},
    place::Place,
};

/// Rows of a Parquet row group, unless `rowGroupRows` says otherwise.
const ROW_GROUP_ROWS: usize = 1 << 20;

/// How records of a CSV file are written.
#[derive(Debug, Clone)]
pub(crate) struct CsvStyle {
    pub(crate) separator: u8,
    pub(crate) header: bool,
    pub(crate) quote: u8,
    /// Instead of doubling quotes.
    pub(crate) escape: Option<u8>,
    pub(crate) null: String,
}

/// Everything a user asked of one file sink.
#[derive(Debug, Clone)]
pub(crate) struct SinkOptions {
    /// Of the service behind the place.
    pub(crate) service: Options,
    pub(crate) parquet: WriterProperties,
    /// Compress text formats as a whole.
    pub(crate) gzip: bool,
    pub(crate) csv: CsvStyle,
    /// Leave null members of JSON objects out.
    pub(crate) ignore_null_fields: bool,
    pub(crate) line_separator: String,
}

impl SinkOptions {
    /// Reads the options of a sink of `format` into `place`.
    ///
    /// # Errors
    /// `Invalid`, with the known options or what to write instead.
    pub(crate) fn parse(format: FileFormat, place: &Place, options: &Options) -> Result<Self> {
        let owner = format!("sink '{format}'");
        for name in ["dateFormat", "timestampFormat", "timestampNTZFormat"] {
            if options.get(name).is_some() {
                return Err(Error::invalid(format!(
                    "{owner} does not support the option '{name}': turn the column into text with to_char(column, format)"
                )));
            }
        }
        let service = place.service_options(&owner, known(format), options)?;
        let compression = options.get("compression").map(str::to_ascii_lowercase);
        Ok(Self {
            service,
            parquet: parquet(format, compression.as_deref(), options)?,
            gzip: gzip(format, compression.as_deref())?,
            csv: CsvStyle {
                separator: match options.get("sep").or_else(|| options.get("delimiter")) {
                    Some("\\t") => b'\t',
                    Some(separator) => one_byte("sep", separator)?,
                    None => b',',
                },
                header: flag(options, "header", false)?,
                quote: options
                    .get("quote")
                    .map_or(Ok(b'"'), |quote| one_byte("quote", quote))?,
                escape: options
                    .get("escape")
                    .map(|escape| one_byte("escape", escape))
                    .transpose()?,
                null: options.get("nullValue").unwrap_or("").to_owned(),
            },
            ignore_null_fields: flag(options, "ignoreNullFields", true)?,
            line_separator: options.get("lineSep").unwrap_or("\n").to_owned(),
        })
    }
}

fn known(format: FileFormat) -> &'static [&'static str] {
    match format {
        FileFormat::Parquet => &["compression", "rowGroupRows"],
        FileFormat::Json => &["compression", "ignoreNullFields"],
        FileFormat::Csv => &[
            "compression",
            "header",
            "sep",
            "delimiter",
            "quote",
            "escape",
            "nullValue",
        ],
        FileFormat::Text => &["compression", "lineSep"],
        FileFormat::Arrow => &["compression"],
    }
}

fn parquet(
    format: FileFormat,
    compression: Option<&str>,
    options: &Options,
) -> Result<WriterProperties> {
    let rows = options
        .parse::<usize>("rowGroupRows")?
        .unwrap_or(ROW_GROUP_ROWS);
    if rows == 0 {
        return Err(Error::invalid(
            "option 'rowGroupRows' cannot be 0: write 1 or more rows",
        ));
    }
    let codec = match compression {
        _ if format != FileFormat::Parquet => Compression::UNCOMPRESSED,
        None | Some("snappy") => Compression::SNAPPY,
        Some("zstd") => Compression::ZSTD(ZstdLevel::default()),
        Some("lz4" | "lz4_raw") => Compression::LZ4_RAW,
        Some("none" | "uncompressed") => Compression::UNCOMPRESSED,
        Some(other) => return Err(no_compression(format, other, "snappy, zstd, lz4 or none")),
    };
    Ok(WriterProperties::builder()
        .set_compression(codec)
        .set_max_row_group_row_count(Some(rows))
        // Statistics per row group are what readers prune by; those per page cost as much again to make.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by(concat!("headwater ", env!("CARGO_PKG_VERSION")).to_owned())
        .build())
}

fn gzip(format: FileFormat, compression: Option<&str>) -> Result<bool> {
    match (format, compression) {
        (FileFormat::Parquet, _) | (_, None | Some("none" | "uncompressed")) => Ok(false),
        (FileFormat::Arrow, Some(other)) => Err(no_compression(format, other, "none")),
        (_, Some("gzip" | "gz")) => Ok(true),
        (_, Some(other)) => Err(no_compression(format, other, "gzip or none")),
    }
}

fn no_compression(format: FileFormat, found: &str, instead: &str) -> Error {
    Error::invalid(format!(
        "sink '{format}' cannot compress with '{found}': set 'compression' to {instead}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(format: FileFormat, options: &[(&str, &str)]) -> Result<SinkOptions> {
        let options: Options = options.iter().copied().collect();
        SinkOptions::parse(format, &Place::parse("/data/out")?, &options)
    }

    #[test]
    fn what_cannot_be_had_is_refused_with_what_to_do_instead() {
        for (format, option, remedy) in [
            (
                FileFormat::Parquet,
                ("compression", "gzip"),
                "snappy, zstd, lz4 or none",
            ),
            (FileFormat::Json, ("compression", "zstd"), "gzip or none"),
            (FileFormat::Arrow, ("compression", "zstd"), "to none"),
            (FileFormat::Csv, ("timestampFormat", "yyyy"), "to_char"),
            (FileFormat::Parquet, ("rowGroupRows", "0"), "1 or more"),
            (
                FileFormat::Text,
                ("header", "true"),
                "its options are compression, lineSep",
            ),
        ] {
            let error = parse(format, &[option]).expect_err(option.0);
            assert!(error.message().contains(remedy), "{error}");
        }
    }
}
