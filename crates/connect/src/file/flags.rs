//! Values of options that source and sink read alike.

use headwater_core::{Error, Options, Result};

/// A yes or no, in any case.
pub(crate) fn flag(options: &Options, name: &str, default: bool) -> Result<bool> {
    let Some(value) = options.get(name) else {
        return Ok(default);
    };
    match value.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Error::invalid(format!(
            "option '{name}' cannot be '{value}': write true or false"
        ))),
    }
}

/// One ASCII character.
pub(crate) fn one_byte(name: &str, value: &str) -> Result<u8> {
    match value.as_bytes() {
        [byte] => Ok(*byte),
        _ => Err(Error::invalid(format!(
            "option '{name}' cannot be '{value}': write one ASCII character"
        ))),
    }
}
