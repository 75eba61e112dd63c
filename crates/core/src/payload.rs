//! What a publication carries, kept as it came in and converted where a receiver's protocol cannot hold it.

use bytes::Bytes;
use std::sync::Arc;

/// A publication's content. Cheap to clone.
///
/// `Text` and a JSON string are the same content: a dialect whose payloads are JSON turns one into the other, so that what was typed
/// into a raw connection reaches a JSON client as a string, and the reverse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A JSON value other than a string, as its publisher wrote it.
    Json(Arc<str>),
    /// Text.
    Text(Arc<str>),
    /// Bytes.
    Binary(Bytes),
}

impl Payload {
    /// The content's length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(text) | Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
