//! The native protocol as its reference describes it, read by a client that was written from that page and not from the server.

use crate::truth::number_in;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Any message of the server. Members that it does not know are ignored, as the protocol wants it.
#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    pub(crate) id: Option<u64>,
    pub(crate) channel: Option<&'a str>,
    #[serde(borrow)]
    pub(crate) position: Option<Position<'a>>,
    pub(crate) recovered: Option<bool>,
    #[serde(borrow)]
    pub(crate) users: Option<Vec<User<'a>>>,
    #[serde(borrow)]
    pub(crate) publications: Option<Vec<Published<'a>>>,
    pub(crate) more: Option<bool>,
    pub(crate) connections: Option<u64>,
    pub(crate) duplicate: Option<bool>,
    #[serde(borrow)]
    pub(crate) code: Option<Code<'a>>,
    pub(crate) user: Option<&'a str>,
    pub(crate) session: Option<&'a str>,
    pub(crate) from: Option<u64>,
    pub(crate) to: Option<u64>,
    #[serde(borrow)]
    pub(crate) data: Option<&'a RawValue>,
    pub(crate) offset: Option<u64>,
    #[serde(borrow)]
    pub(crate) messages: Option<Vec<&'a RawValue>>,
}

/// An error's code is a word, a disconnect's a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Code<'a> {
    Word(&'a str),
    Number(#[expect(dead_code, reason = "that it is a number is all that is checked")] u16),
}

#[derive(Debug, Deserialize)]
pub(crate) struct Position<'a> {
    epoch: &'a str,
    pub(crate) offset: u64,
}

impl Position<'_> {
    pub(crate) fn epoch(&self) -> Option<u64> {
        u64::from_str_radix(self.epoch, 16).ok()
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct User<'a> {
    pub(crate) user: &'a str,
    pub(crate) connections: u64,
}

/// A publication in an answer to `history`.
#[derive(Debug, Deserialize)]
pub(crate) struct Published<'a> {
    #[serde(borrow)]
    pub(crate) data: &'a RawValue,
    pub(crate) offset: u64,
    encoding: Option<&'a str>,
}

impl Published<'_> {
    pub(crate) fn number(&self) -> Option<u64> {
        let text = self.data.get();
        match self.encoding {
            None => number_in(text.as_bytes()),
            Some("base64") => number_in(&decode_base64(text.trim_matches('"'))?),
            Some(_) => None,
        }
    }
}

/// The header and the payload of a binary frame.
pub(crate) fn split_binary(frame: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = frame.split_first_chunk::<2>()?;
    let (header, payload) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((core::str::from_utf8(header).ok()?, payload))
}

/// RFC 4648 §4.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| -> Option<u32> {
        Some(u32::from(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        }))
    };
    let mut bytes = Vec::new();
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let mut bits = 0;
        for byte in group {
            bits = bits << 6 | value(*byte)?;
        }
        bits <<= 6 * (4 - group.len());
        bytes.extend_from_slice(bits.to_be_bytes().get(1..group.len())?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn base64_of_the_rfc() {
        for (text, bytes) in [("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"), ("", "")] {
            assert_eq!(decode_base64(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(decode_base64("!"), None);
    }

    #[test]
    fn a_number_stands_at_the_beginning() {
        assert_eq!((number_in(b"[12,\"x\"]"), number_in(b"\"7:x\""), number_in(b"3:")), (Some(12), Some(7), Some(3)));
        assert_eq!((number_in(b"xx1"), number_in(b"")), (None, None));
    }
}
