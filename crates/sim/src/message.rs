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
    #[serde(borrow)]
    pub(crate) from: Option<Origin<'a>>,
    pub(crate) to: Option<u64>,
    #[serde(borrow)]
    pub(crate) data: Option<&'a RawValue>,
    pub(crate) offset: Option<u64>,
    pub(crate) encoding: Option<&'a str>,
    pub(crate) conflated: Option<u64>,
    pub(crate) cached: Option<bool>,
    pub(crate) sessions: Option<u64>,
    #[serde(borrow)]
    pub(crate) messages: Option<Vec<&'a RawValue>>,
}

/// An error's code is a word, a disconnect's a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Code<'a> {
    Word(&'a str),
    Number(u16),
}

/// Of a gap it is an offset, of a signal who sent it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Origin<'a> {
    Offset(u64),
    Sender { session: &'a str },
}

impl Origin<'_> {
    pub(crate) fn offset(self) -> Option<u64> {
        match self {
            Self::Offset(offset) => Some(offset),
            Self::Sender { .. } => None,
        }
    }
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
        number(self.data, self.encoding)
    }
}

impl Message<'_> {
    /// The number in what was published.
    pub(crate) fn number(&self) -> Option<u64> {
        number(self.data?, self.encoding)
    }
}

fn number(data: &RawValue, encoding: Option<&str>) -> Option<u64> {
    let text = data.get();
    match encoding {
        None => number_in(text.as_bytes()),
        Some("base64") => number_in(&decode_base64(text.trim_matches('"'))?),
        Some(_) => None,
    }
}

/// A cursor as the reference describes it: where a client stands on each of its channels, in their order.
pub(crate) fn parse_cursor(cursor: &str) -> Option<Vec<Option<(u64, u64)>>> {
    let mut epochs = Vec::new();
    let parse = |part: &str| {
        if part.is_empty() {
            return Some(None);
        }
        let (epoch, offset) = part.split_once(':')?;
        let epoch = match epoch.strip_prefix('.') {
            Some(number) => *epochs.get(number.parse::<usize>().ok()?)?,
            None => {
                epochs.push(u64::from_str_radix(epoch, 16).ok()?);
                *epochs.last()?
            }
        };
        Some(Some((epoch, offset.parse().ok()?)))
    };
    cursor.split(',').map(parse).collect()
}

/// The header and the payload of a binary frame.
pub(crate) fn split_binary(frame: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = frame.split_first_chunk::<2>()?;
    let (header, payload) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((core::str::from_utf8(header).ok()?, payload))
}

/// RFC 4648 §4.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
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
    fn cursors_of_the_reference() {
        assert_eq!(
            parse_cursor("5f0c2a:13,.0:4,,e1:0"),
            Some(vec![Some((0x5f_0c2a, 13)), Some((0x5f_0c2a, 4)), None, Some((0xe1, 0))])
        );
        assert_eq!((parse_cursor(".0:1"), parse_cursor("x")), (None, None));
    }

    #[test]
    fn a_number_stands_at_the_beginning() {
        assert_eq!((number_in(b"[12,\"x\"]"), number_in(b"\"7:x\""), number_in(b"3:")), (Some(12), Some(7), Some(3)));
        assert_eq!((number_in(b"xx1"), number_in(b"")), (None, None));
    }
}
