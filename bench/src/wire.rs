//! Owns the bytes that go over the wire: the handshake (RFC 6455 §4), masked client frames and the server frames expected in
//! return (§5.2), all prepared before the clock starts. Knows nothing of sockets.

use anyhow::{Context, Result, ensure};

/// The key of RFC 6455 §1.3; its accept value is known, so the generator needs no SHA-1.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const RESPONSE_HEAD_MAX: usize = 16 * 1024;

pub const OPCODE_TEXT: u8 = 1;
pub const OPCODE_BINARY: u8 = 2;
/// Close 1000, masked with a zero key.
pub const CLOSE_FRAME: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];

/// `headers` are more lines, each with its end.
pub fn request(path: &str, host: &str, headers: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
    .into_bytes()
}

/// `None` while the head is incomplete; then the number of bytes that it took, if it is a correct 101.
pub fn check_response(bytes: &[u8]) -> Result<Option<usize>> {
    let Some((head, len)) = response_head(bytes)? else { return Ok(None) };
    ensure!(head.starts_with("HTTP/1.1 101"), "the server refused: {head}");
    let accept = head.lines().filter_map(|line| line.split_once(':'));
    let accept =
        accept.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-accept")).map(|(_, value)| value.trim());
    ensure!(accept.eq([ACCEPT]), "wrong Sec-WebSocket-Accept: {head}");
    Ok(Some(len))
}

/// The head of an answer without the empty line at its end, and its length with that; `None` while it is incomplete.
pub fn response_head(bytes: &[u8]) -> Result<Option<(&str, usize)>> {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        ensure!(bytes.len() < RESPONSE_HEAD_MAX, "the server's response head exceeds {RESPONSE_HEAD_MAX} bytes");
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).context("the server's response head is not text")?;
    Ok(Some((head, end + 4)))
}

/// What a server sent a subscriber, at the beginning of what has been read.
#[derive(Debug)]
pub struct Message<'a> {
    pub payload: &'a [u8],
    /// With all that is around the payload.
    pub len: usize,
}

/// An endless stream of messages that repeats every `period` messages, as the client sends it and as the server returns it.
/// A position in the stream says which byte belongs there, in both directions: that is the order check as well.
#[derive(Debug)]
pub struct Script {
    frame_len: usize,
    reply_len: usize,
    period: usize,
    /// The period twice over, so that up to a whole period is one contiguous slice from any message on.
    frames: Vec<u8>,
    replies: Vec<u8>,
}

impl Script {
    /// `depth` is the largest number of messages that are sent in one write.
    pub fn new(opcode: u8, size: usize, depth: usize) -> Self {
        let period = if size > 64 * 1024 { depth.max(2) } else { depth.max(8) };
        let (mut frames, mut replies) = (Vec::new(), Vec::new());
        for index in 0..period {
            let payload = payload(index, size);
            let key = mask_key(index);
            put_header(&mut frames, opcode, size, 0x80);
            frames.extend_from_slice(&key);
            frames.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
            put_header(&mut replies, opcode, size, 0);
            replies.extend_from_slice(&payload);
        }
        let (frame_len, reply_len) = (frames.len() / period, replies.len() / period);
        frames.extend_from_within(..);
        replies.extend_from_within(..);
        Self { frame_len, reply_len, period, frames, replies }
    }

    pub fn frame_len(&self) -> u64 {
        self.frame_len as u64
    }

    pub fn reply_len(&self) -> u64 {
        self.reply_len as u64
    }

    /// What to send from byte `from` of the stream up to byte `to`; at most one period, so possibly shorter.
    pub fn outgoing(&self, from: u64, to: u64) -> &[u8] {
        let start = (from % (self.frame_len * self.period) as u64) as usize;
        let len = ((to - from) as usize).min(self.frame_len * self.period);
        &self.frames[start..start + len]
    }

    /// Whether `received` is what the server has to send from byte `from` of its stream on.
    pub fn matches(&self, from: u64, received: &[u8]) -> bool {
        let round = self.reply_len * self.period;
        let mut start = (from % round as u64) as usize;
        let mut rest = received;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(round));
            if self.replies[start..start + now.len()] != *now {
                return false;
            }
            start = (start + now.len()) % round;
            rest = later;
        }
        true
    }
}

/// Printable, so that it may travel as text as well; every message of a period differs in its first bytes where it has any.
fn payload(index: usize, size: usize) -> Vec<u8> {
    let mut payload: Vec<u8> = (0..size).map(|at| b' ' + ((at * 7 + index * 13) % 95) as u8).collect();
    let label = format!("{index:04}");
    for (byte, digit) in payload.iter_mut().zip(label.bytes()) {
        *byte = digit;
    }
    payload
}

/// §5.3: every frame has a key of its own.
pub fn mask_key(index: usize) -> [u8; 4] {
    (0x9e37_79b9_u32.wrapping_mul(index as u32 + 1) | 0x0101_0101).to_be_bytes()
}

pub fn put_header(out: &mut Vec<u8>, opcode: u8, size: usize, mask_bit: u8) {
    out.push(0x80 | opcode);
    match size {
        0..126 => out.push(mask_bit | size as u8),
        126..65_536 => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(size as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_unmask_to_what_the_replies_carry() {
        for size in [0, 5, 20, 125, 126, 65_535, 65_536] {
            let script = Script::new(OPCODE_TEXT, size, 3);
            let header = script.reply_len - size;
            let frame = script.outgoing(0, script.frame_len());
            assert_eq!(frame[0], 0x81);
            assert_eq!(frame[1] & 0x80, 0x80);
            let key = &frame[header..header + 4];
            let clear: Vec<u8> =
                frame[header + 4..].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
            assert_eq!(clear, script.replies[header..script.reply_len]);
            assert!(std::str::from_utf8(&clear).is_ok());
        }
    }

    #[test]
    fn a_reply_out_of_order_or_damaged_is_seen() {
        let script = Script::new(OPCODE_BINARY, 20, 16);
        let stream: Vec<u8> = script.replies.iter().copied().cycle().take(22 * 40).collect();
        assert!(script.matches(0, &stream));
        assert!(script.matches(22 * 3 + 5, &stream[22 * 3 + 5..]));
        assert!(!script.matches(22, &stream));
        let mut damaged = stream;
        damaged[22 * 39 + 21] ^= 1;
        assert!(!script.matches(0, &damaged));
    }

    #[test]
    fn a_slice_to_send_never_exceeds_what_is_allowed() {
        let script = Script::new(OPCODE_BINARY, 20, 16);
        let frame = script.frame_len();
        assert_eq!(script.outgoing(15 * frame, 31 * frame).len() as u64, 16 * frame);
        assert_eq!(script.outgoing(7, 9).len(), 2);
        assert_eq!(script.outgoing(5, 5), b"");
    }

    #[test]
    fn only_a_correct_101_is_accepted() {
        let good = format!("HTTP/1.1 101 X\r\nsec-websocket-accept: {ACCEPT}\r\n\r\nrest");
        assert_eq!(check_response(good.as_bytes()).unwrap(), Some(good.len() - 4));
        assert_eq!(check_response(b"HTTP/1.1 101 X\r\nsec").unwrap(), None);
        assert!(check_response(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(check_response(b"HTTP/1.1 101 X\r\nsec-websocket-accept: nonsense\r\n\r\n").is_err());
        assert!(check_response(&[b'x'; RESPONSE_HEAD_MAX]).is_err());
    }
}
