//! Messages: text and binary over shared bytes. Owns [`Utf8Bytes`], the one place that relies on text having been checked.

use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;
use core::ops::Deref;
use core::str::FromStr;

use bytes::Bytes;

use crate::utf8;

/// A message. Cloning counts a reference and copies nothing.
///
/// ```
/// use switchboard_ws_proto::Message;
///
/// let message = Message::from("hello");
/// assert_eq!(message.as_text(), Some("hello"));
/// assert_eq!(message.as_bytes(), b"hello");
/// assert_eq!(Message::from(vec![1, 2]).as_text(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// UTF-8.
    Text(Utf8Bytes),
    /// Any bytes.
    Binary(Bytes),
}

impl Message {
    /// The payload.
    ///
    /// ```
    /// assert_eq!(switchboard_ws_proto::Message::from("a").as_bytes(), b"a");
    /// ```
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The text, if it is one.
    ///
    /// ```
    /// assert_eq!(switchboard_ws_proto::Message::from("a").as_text(), Some("a"));
    /// ```
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The payload itself.
    ///
    /// ```
    /// assert_eq!(switchboard_ws_proto::Message::from("a").into_bytes(), "a");
    /// ```
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Bytes of payload.
    ///
    /// ```
    /// assert_eq!(switchboard_ws_proto::Message::from("é").len(), 2);
    /// ```
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty.
    ///
    /// ```
    /// assert!(switchboard_ws_proto::Message::from("").is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// A copy that owns its bytes.
    ///
    /// A received message is a piece of the buffer that it was read into, and keeps all of that buffer (64 KiB with the usual driver) from
    /// being used again. To hold a small message for long, hold its compact copy.
    ///
    /// ```
    /// use switchboard_ws_proto::Message;
    ///
    /// let message = Message::from("kept for long");
    /// assert_eq!(message.to_compact(), message);
    /// ```
    #[must_use]
    pub fn to_compact(&self) -> Self {
        match self {
            Self::Text(text) => Self::Text(Utf8Bytes(Bytes::copy_from_slice(text.as_bytes()))),
            Self::Binary(bytes) => Self::Binary(Bytes::copy_from_slice(bytes)),
        }
    }
}

impl From<&'static str> for Message {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

/// Copied nowhere.
impl From<&'static [u8]> for Message {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Binary(Bytes::from_static(bytes))
    }
}

impl<const N: usize> From<&'static [u8; N]> for Message {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self::Binary(Bytes::from_static(bytes))
    }
}

impl From<Message> for Bytes {
    fn from(message: Message) -> Self {
        message.into_bytes()
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Utf8Bytes> for Message {
    fn from(text: Utf8Bytes) -> Self {
        Self::Text(text)
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

/// Shared bytes that are known to be UTF-8.
///
/// ```
/// use bytes::Bytes;
/// use switchboard_ws_proto::Utf8Bytes;
///
/// let text = Utf8Bytes::from(String::from("héllo"));
/// assert_eq!(text.chars().count(), 5);
/// assert!(Utf8Bytes::try_from(Bytes::from_static(b"\xff")).is_err());
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utf8Bytes(Bytes);

impl Utf8Bytes {
    /// Without allocating.
    ///
    /// ```
    /// assert_eq!(switchboard_ws_proto::Utf8Bytes::from_static("a"), "a");
    /// ```
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// The caller has seen that `bytes` are UTF-8.
    pub(crate) const fn from_checked(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The text.
    ///
    /// ```
    /// assert_eq!(switchboard_ws_proto::Utf8Bytes::from("a").as_str(), "a");
    /// ```
    #[allow(unsafe_code)]
    pub fn as_str(&self) -> &str {
        debug_assert!(utf8::is_utf8(&self.0));
        // SAFETY: every way to make one starts from a `str` or `String`, or from bytes that were checked: `TryFrom<Bytes>` checks them itself, and
        // `from_checked` is called only behind `utf8::is_utf8`, a look at every byte that found ASCII alone, or a `Utf8Stream` that found whole
        // characters in exactly these bytes. `Bytes` are immutable. `tests/api/texts.rs` and `closing.rs` go all these ways, under Miri too.
        unsafe { core::str::from_utf8_unchecked(&self.0) }
    }

    /// The bytes of the text.
    ///
    /// ```
    /// assert_eq!(switchboard_ws_proto::Utf8Bytes::from("a").into_bytes(), "a");
    /// ```
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl Deref for Utf8Bytes {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Utf8Bytes {
    fn as_ref(&self) -> &str {
        self
    }
}

impl AsRef<[u8]> for Utf8Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&'static str> for Utf8Bytes {
    fn from(text: &'static str) -> Self {
        Self::from_static(text)
    }
}

impl From<String> for Utf8Bytes {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl From<Utf8Bytes> for String {
    fn from(text: Utf8Bytes) -> Self {
        text.as_str().into()
    }
}

impl FromStr for Utf8Bytes {
    type Err = Infallible;

    /// A copy, for text that is only borrowed.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Bytes::copy_from_slice(text.as_bytes())))
    }
}

impl From<Utf8Bytes> for Bytes {
    fn from(text: Utf8Bytes) -> Self {
        text.0
    }
}

impl TryFrom<Bytes> for Utf8Bytes {
    /// The bytes, unchanged.
    type Error = Bytes;

    fn try_from(bytes: Bytes) -> Result<Self, Bytes> {
        if utf8::is_utf8(&bytes) { Ok(Self(bytes)) } else { Err(bytes) }
    }
}

impl PartialEq<str> for Utf8Bytes {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Utf8Bytes {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Debug for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}
