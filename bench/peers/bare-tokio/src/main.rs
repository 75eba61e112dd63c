//! The floor: an echo server without a library. One read, all replies in one write; it checks only what it needs to find the
//! frames, and joins no fragments.

use std::io;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

fn main() -> io::Result<()> {
    bench_peer::serve(|socket| async {
        // A peer that goes away is no news.
        let _ = echo(socket).await;
    })
}

async fn echo(mut socket: TcpStream) -> io::Result<()> {
    let mut input = Vec::with_capacity(READ_BYTES);
    shake_hands(&mut socket, &mut input).await?;
    let mut output = Vec::with_capacity(READ_BYTES);
    loop {
        let mut used = 0;
        let mut open = true;
        while open && let Some(frame) = Frame::find(&mut input[used..]) {
            open = frame.opcode != CLOSE;
            frame.reply(&mut output);
            used += frame.len;
        }
        input.drain(..used);
        if !output.is_empty() {
            socket.write_all(&output).await?;
            output.clear();
        }
        if !open {
            return Ok(());
        }
        input.reserve(READ_BYTES);
        if socket.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

const READ_BYTES: usize = 4096;
const CLOSE: u8 = 8;

async fn shake_hands(socket: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<()> {
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
    socket.write_all(response.as_bytes()).await
}

struct Frame<'a> {
    opcode: u8,
    payload: &'a [u8],
    len: usize,
}

impl<'a> Frame<'a> {
    /// The first whole frame, unmasked in place.
    fn find(input: &'a mut [u8]) -> Option<Self> {
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

    fn reply(&self, output: &mut Vec<u8>) {
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
