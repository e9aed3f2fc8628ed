//! Messages of one writer's schema as an array, each message for itself: one that is malformed leaves the others alone.

use std::sync::Arc;

use arrow_avro::reader::Decoder;
use datafusion::arrow::array::{
    Array, ArrayRef, RecordBatch, StructArray, UInt32Array, new_empty_array,
};
use datafusion::arrow::compute::{cast, concat, take};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::common::Result;

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
    mut malformed: impl FnMut(usize, String) -> Result<()>,
) -> Result<ArrayRef> {
    let mut parts: Vec<ArrayRef> = vec![];
    let mut indices: Vec<Option<u32>> = Vec::with_capacity(messages.len());
    let mut good = 0;
    let mut start = 0;
    while start < messages.len() {
        let mut decoder = writer.decoder(reader, messages.len() - start + 1)?;
        let mut at = start;
        let mut problem = None;
        while let Some(message) = messages.get(at) {
            if let Err(error) = one(&mut decoder, message) {
                problem = Some(error);
                break;
            }
            at += 1;
        }
        if problem.is_some() {
            // Half of the message is in the decoder: those before it are read again, by one that has not seen it.
            decoder = writer.decoder(reader, messages.len() - start + 1)?;
            for message in &messages[start..at] {
                one(&mut decoder, message)
                    .map_err(datafusion::common::DataFusionError::Execution)?;
            }
        }
        if let Some(batch) = decoder.flush().map_err(ArrowError::from)? {
            parts.push(value(batch, reader, data_type)?);
        }
        for _ in start..at {
            indices.push(Some(good));
            good += 1;
        }
        start = at;
        if let Some(problem) = problem {
            malformed(at, problem)?;
            indices.push(None);
            start += 1;
        }
    }
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    let read = match parts.as_slice() {
        [] => new_empty_array(data_type),
        parts => concat(parts)?,
    };
    if good as usize == messages.len() {
        return Ok(read);
    }
    Ok(take(&read, &UInt32Array::from(indices), None)?)
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
