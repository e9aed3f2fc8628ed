//! Messages of one writer's schema as an array, each message for itself: one that is malformed leaves the others alone.

use std::ops::Range;
use std::sync::Arc;

use arrow_avro::reader::Decoder;
use datafusion::arrow::array::{
    Array, ArrayRef, RecordBatch, StructArray, UInt32Array, new_empty_array,
};
use datafusion::arrow::compute::{cast, concat, take};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, Result};

use super::schema::{FRAME, Schema};

/// Reads `messages`, written with `writer`, as `reader`: an entry for each, null where one is malformed; `malformed` is
/// told of it first.
///
/// # Errors
/// What `malformed` gives, and when the schemas do not fit each other.
pub(super) fn decode(
    messages: &[&[u8]],
    writer: &Schema,
    reader: &Schema,
    data_type: &DataType,
    malformed: impl FnMut(usize, String) -> Result<()>,
) -> Result<ArrayRef> {
    let mut reading = Reading {
        messages,
        writer,
        reader,
        data_type,
        malformed,
        parts: vec![],
        indices: Vec::with_capacity(messages.len()),
        good: 0,
    };
    let mut start = 0;
    while start < messages.len() {
        start = reading.from(start)?;
    }
    reading.end()
}

/// Messages that are being read.
struct Reading<'a, F> {
    messages: &'a [&'a [u8]],
    writer: &'a Schema,
    reader: &'a Schema,
    data_type: &'a DataType,
    malformed: F,
    parts: Vec<ArrayRef>,
    /// Of each message so far, its place among the good ones.
    indices: Vec<Option<u32>>,
    good: u32,
}

impl<F: FnMut(usize, String) -> Result<()>> Reading<'_, F> {
    /// Reads messages up to the first that is malformed, and says where to go on behind it.
    fn from(&mut self, start: usize) -> Result<usize> {
        let mut decoder = self.decoder(self.messages.len() - start)?;
        for (at, message) in self.messages.iter().enumerate().skip(start) {
            if let Err(problem) = one(&mut decoder, message) {
                // Half of the message is in the decoder: those before it are read again, by one that has not seen it.
                self.range(start..at)?;
                self.bad(at, problem)?;
                return Ok(at + 1);
            }
        }
        let end = self.messages.len();
        if self.flush(&mut decoder, end - start).is_err() {
            self.range(start..end)?;
        }
        Ok(end)
    }

    /// Reads messages whose bytes have a meaning each. Whether they are texts and numbers of an enum is only looked at when
    /// all are flushed: then the range is halved until those are found that are not.
    fn range(&mut self, range: Range<usize>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let mut decoder = self.decoder(range.len())?;
        for message in &self.messages[range.clone()] {
            one(&mut decoder, message).map_err(DataFusionError::Execution)?;
        }
        match self.flush(&mut decoder, range.len()) {
            Ok(()) => Ok(()),
            Err(problem) if range.len() == 1 => self.bad(range.start, problem.to_string()),
            Err(_) => {
                let middle = range.start + range.len() / 2;
                self.range(range.start..middle)?;
                self.range(middle..range.end)
            }
        }
    }

    fn decoder(&self, rows: usize) -> Result<Decoder> {
        self.writer.decoder(self.reader, rows + 1)
    }

    fn flush(&mut self, decoder: &mut Decoder, rows: usize) -> Result<()> {
        if let Some(batch) = decoder.flush().map_err(ArrowError::from)? {
            self.parts.push(value(batch, self.reader, self.data_type)?);
        }
        for _ in 0..rows {
            self.indices.push(Some(self.good));
            self.good += 1;
        }
        Ok(())
    }

    fn bad(&mut self, at: usize, problem: String) -> Result<()> {
        (self.malformed)(at, problem)?;
        self.indices.push(None);
        Ok(())
    }

    fn end(self) -> Result<ArrayRef> {
        let parts: Vec<&dyn Array> = self.parts.iter().map(AsRef::as_ref).collect();
        let read = match parts.as_slice() {
            [] => new_empty_array(self.data_type),
            parts => concat(parts)?,
        };
        if self.good as usize == self.messages.len() {
            return Ok(read);
        }
        Ok(take(&read, &UInt32Array::from(self.indices), None)?)
    }
}

/// Reads one message, all of it.
fn one(decoder: &mut Decoder, message: &[u8]) -> Result<(), String> {
    let framed = [&FRAME, message].concat();
    let before = decoder.capacity();
    let read = decoder.decode(&framed).map_err(|error| error.to_string())?;
    let rows = before - decoder.capacity();
    if rows != 1 {
        return Err(format!(
            "it is shorter or longer than its schema says ({} bytes)",
            message.len()
        ));
    }
    match framed.len() - read {
        0 => Ok(()),
        more => Err(format!("{more} bytes are left behind its end")),
    }
}

/// The values of a batch, in the type that is given out.
fn value(batch: RecordBatch, reader: &Schema, data_type: &DataType) -> Result<ArrayRef> {
    let values: ArrayRef = match (reader.wrapped, batch.columns()) {
        (true, [only]) => Arc::clone(only),
        _ => Arc::new(StructArray::from(batch)),
    };
    Ok(cast(&values, data_type)?)
}
