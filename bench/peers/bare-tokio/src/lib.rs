//! As much of the protocol as a server needs that trusts its client: it checks only what it needs to find the frames, and joins
//! no fragments. What is built on it is the floor, not a library.

use std::io;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub const READ_BYTES: usize = 4096;
pub const CLOSE: u8 = 8;

/// Reads the request and answers it; bytes that came after it stay in `input`.
pub async fn shake_hands<S>(socket: &mut S, input: &mut Vec<u8>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let end = loop {
        if socket.read_buf(input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = input.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8_lossy(&input[..end]);
    let key = head.lines().filter_map(|line| line.split_once(": "));
    let key = key.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key")).map(|(_, value)| value).next();
    let mut hash = Sha1::new();
    hash.update(key.ok_or(io::ErrorKind::InvalidData)?);
    hash.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(hash.finalize());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    input.drain(..end);
    socket.write_all(response.as_bytes()).await?;
    socket.flush().await
}

/// A frame that lies whole in the input.
#[derive(Debug)]
pub struct Frame<'a> {
    pub opcode: u8,
    pub payload: &'a [u8],
    /// Bytes of the input that it took.
    pub len: usize,
}

impl<'a> Frame<'a> {
    /// The first whole frame, unmasked in place.
    pub fn find(input: &'a mut [u8]) -> Option<Self> {
        let opcode = *input.first()? & 0x0f;
        let (at, size) = match *input.get(1)? & 0x7f {
            126 => (4, u64::from(u16::from_be_bytes(input.get(2..4)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(input.get(2..10)?.try_into().ok()?)),
            short => (2, u64::from(short)),
        };
        let key: [u8; 4] = input.get(at..at + 4)?.try_into().ok()?;
        let len = (at + 4).checked_add(usize::try_from(size).ok()?)?;
        let payload = input.get_mut(at + 4..len)?;
        let wide = u64::from_ne_bytes({
            let [a, b, c, d] = key;
            [a, b, c, d, a, b, c, d]
        });
        let mut words = payload.chunks_exact_mut(8);
        for word in &mut words {
            let clear = u64::from_ne_bytes((&*word).try_into().ok()?) ^ wide;
            word.copy_from_slice(&clear.to_ne_bytes());
        }
        for (byte, key) in words.into_remainder().iter_mut().zip(key.iter().cycle()) {
            *byte ^= key;
        }
        Some(Self { opcode, payload, len })
    }

    /// The same message as a server sends it.
    pub fn reply(&self, output: &mut Vec<u8>) {
        output.push(0x80 | self.opcode);
        match self.payload.len() {
            size @ 0..126 => output.push(size as u8),
            size @ 126..65_536 => {
                output.push(126);
                output.extend_from_slice(&(size as u16).to_be_bytes());
            }
            size => {
                output.push(127);
                output.extend_from_slice(&(size as u64).to_be_bytes());
            }
        }
        output.extend_from_slice(self.payload);
    }
}
