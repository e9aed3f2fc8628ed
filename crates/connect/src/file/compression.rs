//! Compression of whole text files (`.gz`): a property of the file, told by its name.
//!
//! Parquet compresses inside the file and does not use this.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use headwater_core::{Error, Result};

/// Whether a file of this name holds gzip bytes.
pub(crate) fn is_gzip(path: &str) -> bool {
    path.len() > 3 && path.as_bytes()[path.len() - 3..].eq_ignore_ascii_case(b".gz")
}

/// Gives the text inside a gzip file piece by piece.
pub(crate) struct Gunzip {
    decoder: MultiGzDecoder<bytes::buf::Reader<Bytes>>,
}

impl Gunzip {
    pub(crate) fn new(compressed: Bytes) -> Self {
        use bytes::Buf;
        Self {
            decoder: MultiGzDecoder::new(compressed.reader()),
        }
    }

    /// The next piece of about `size` bytes; empty at the end.
    pub(crate) fn next(&mut self, size: usize, path: &str) -> Result<Bytes> {
        let mut piece = Vec::with_capacity(size);
        (&mut self.decoder)
            .take(size as u64)
            .read_to_end(&mut piece)
            .map_err(|error| {
                Error::data(format!("file {path} is not a whole gzip file")).with_source(error)
            })?;
        Ok(piece.into())
    }
}

/// Compresses the text of one file as it is written.
pub(crate) struct Gzip {
    encoder: GzEncoder<Vec<u8>>,
}

impl Gzip {
    pub(crate) fn new() -> Self {
        Self {
            encoder: GzEncoder::new(Vec::new(), Compression::default()),
        }
    }

    /// Takes text in; gives what is compressed so far.
    pub(crate) fn push(&mut self, text: &[u8]) -> Result<Vec<u8>> {
        self.encoder.write_all(text).map_err(failed)?;
        Ok(std::mem::take(self.encoder.get_mut()))
    }

    /// The rest of the file.
    pub(crate) fn finish(self) -> Result<Vec<u8>> {
        self.encoder.finish().map_err(failed)
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::internal("gzip could not compress into memory").with_source(error)
}
