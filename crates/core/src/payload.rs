//! The bytes of an object to be written, in pieces that need not lie next to each other in memory.
//!
//! What is written is often put together from many buffers. Handing them on as they are saves a copy of all of them,
//! and an allocation as large as the object.

use std::fmt;

use bytes::{Bytes, BytesMut};

/// Pieces smaller than this are copied together: to hand each on by itself would cost more.
const SMALL: usize = 8 << 10;

/// The bytes of an object to be written, piece after piece. Cloning it shares the pieces.
#[derive(Clone, Default)]
pub struct Payload {
    pieces: Vec<Bytes>,
    /// Small pieces that follow the others.
    tail: BytesMut,
}

impl Payload {
    /// No bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a piece at the end.
    pub fn push(&mut self, piece: Bytes) {
        if piece.len() < SMALL {
            self.push_copy(&piece);
        } else {
            self.end_tail();
            self.pieces.push(piece);
        }
    }

    /// Adds the bytes of a buffer at the end.
    pub fn push_buffer<T: AsRef<[u8]> + Send + 'static>(&mut self, buffer: T) {
        match buffer.as_ref() {
            small if small.len() < SMALL => self.push_copy(small),
            _ => self.push(Bytes::from_owner(buffer)),
        }
    }

    /// Adds a copy of these bytes at the end.
    pub fn push_copy(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        if self.tail.len() >= SMALL {
            self.end_tail();
        }
    }

    /// Adds all pieces of another payload at the end.
    pub fn append(&mut self, other: Self) {
        for piece in other.pieces {
            self.push(piece);
        }
        self.push_copy(&other.tail);
    }

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(self.tail.split().freeze());
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.slices().map(<[u8]>::len).sum()
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes in order; no slice is empty.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let tail = (!self.tail.is_empty()).then_some(self.tail.as_ref());
        self.pieces.iter().map(Bytes::as_ref).chain(tail)
    }

    /// The pieces in order.
    pub fn into_pieces(mut self) -> Vec<Bytes> {
        self.end_tail();
        self.pieces
    }

    /// The bytes in one piece; copied unless they are in one piece already.
    pub fn into_bytes(mut self) -> Bytes {
        self.end_tail();
        match self.pieces.as_slice() {
            [single] => single.clone(),
            several => several.concat().into(),
        }
    }

    /// Whether these are its bytes.
    pub fn is(&self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        let is_prefix = self.slices().all(|slice| match rest.strip_prefix(slice) {
            Some(after) => {
                rest = after;
                true
            }
            None => false,
        });
        is_prefix && rest.is_empty()
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        let mut payload = Self::new();
        if !bytes.is_empty() {
            payload.pieces.push(bytes);
        }
        payload
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("pieces", &self.slices().count())
            .field("bytes", &self.len())
            .finish()
    }
}

/// Payloads are equal if their bytes are, however they are cut.
impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.clone().into_bytes())
    }
}

impl Eq for Payload {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_joined_and_large_ones_shared() {
        let large = Bytes::from(vec![7; SMALL]);
        let mut payload = Payload::new();
        for piece in [
            "a".into(),
            "b".into(),
            large.clone(),
            "c".into(),
            "d".into(),
        ] {
            payload.push(piece);
        }
        let slices: Vec<&[u8]> = payload.slices().collect();
        assert_eq!(slices, [b"ab".as_ref(), large.as_ref(), b"cd"]);
        assert_eq!(slices[1].as_ptr(), large.as_ptr(), "it was copied");
        assert_eq!(payload.len(), SMALL + 4);
        let all = payload.clone().into_bytes();
        assert!(payload.is(&all) && !payload.is(&all[1..]) && !payload.is(&all[..SMALL]));
        assert_eq!(payload.clone().into_pieces().concat(), all);
        assert_eq!(Payload::from(all), payload);
    }

    #[test]
    fn payloads_follow_one_another() {
        let mut first = Payload::from(Bytes::from_static(b"one"));
        let mut second = Payload::new();
        assert!(second.is_empty() && second.is(b"") && !second.is(b"x"));
        second.push_copy(b" two");
        first.append(second);
        first.append(Payload::new());
        assert_eq!(first.into_bytes(), "one two");
    }
}
