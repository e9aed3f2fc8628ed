//! Functions that turn the bytes of messages into columns and back.
