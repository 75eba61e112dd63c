//! Owns what of Server-Sent Events (HTML, "Server-sent events") goes over the wire: the request for a stream, the head of its answer, and where an event
//! ends. Knows nothing of sockets.

use anyhow::{Context, Result, ensure};

use crate::wire::{Message, response_head};

pub fn request(path: &str, host: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n").into_bytes()
}

/// `None` while the head is incomplete; then the number of bytes that it took, if a stream follows that goes on to the end of the connection.
pub fn check_response(bytes: &[u8]) -> Result<Option<usize>> {
    let Some((head, len)) = response_head(bytes)? else { return Ok(None) };
    ensure!(head.starts_with("HTTP/1.1 200"), "the server refused: {head}");
    let head = head.to_ascii_lowercase();
    ensure!(head.contains("\r\ncontent-type: text/event-stream"), "the answer is no event stream: {head}");
    // The lines of chunks would stand between those of the events.
    ensure!(!head.contains("\r\ntransfer-encoding:"), "the stream is in chunks: {head}");
    Ok(Some(len))
}

/// The first event, if it is whole: its data, which has to be one line. What has none is no event to a reader: the next one's length includes it.
pub fn next_event(bytes: &[u8]) -> Result<Option<Message<'_>>> {
    let (mut rest, mut data) = (bytes, None);
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).context("a line has no end")?;
        if let Some(value) = line.strip_prefix(b"data: ") {
            ensure!(data.replace(value).is_none(), "an event has more than one line of data");
        } else if line.is_empty()
            && let Some(payload) = data
        {
            return Ok(Some(Message { payload, len: bytes.len() - rest.len() }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_ends_with_its_empty_line() {
        let stream = b":\n\nretry: 2000\nid: 7f:1\ndata: one\n\nid: 7f:2\nevent: score\ndata: two\n\n";
        let first = next_event(stream).unwrap().unwrap();
        assert_eq!(first.payload, b"one");
        let second = next_event(&stream[first.len..]).unwrap().unwrap();
        assert_eq!((second.payload, first.len + second.len), (&b"two"[..], stream.len()));
        for cut in 0..first.len {
            assert!(next_event(&stream[..cut]).unwrap().is_none(), "{cut}");
        }
        assert!(next_event(b"data: one\ndata: two\n\n").is_err());
    }

    #[test]
    fn only_a_stream_without_chunks_is_accepted() {
        let good = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 1\n";
        assert_eq!(check_response(good).unwrap(), Some(good.len() - 9));
        assert_eq!(check_response(b"HTTP/1.1 200 OK\r\nContent-Ty").unwrap(), None);
        assert!(check_response(b"HTTP/1.1 401 X\r\nContent-Type: text/event-stream\r\n\r\n").is_err());
        assert!(check_response(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n").is_err());
        let chunks = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(check_response(chunks).is_err());
    }
}
