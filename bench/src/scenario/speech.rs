//! How the clients of a scenario speak: what they say to subscribe, how messages are found in what comes, and what must be in them.

use std::io::{self, Read, Write};

use anyhow::{Context, Result, bail, ensure};

use super::Target;
use crate::{
    client::{Opened, Shaking, open, open_events},
    events::next_event,
    sys::receive_stamped,
    transport::Transport,
    wire::{Message, OPCODE_TEXT, mask_key, put_header},
};

/// How a subscriber is spoken to.
#[derive(Debug)]
pub(super) struct Speech {
    /// What it says to subscribe, if its address does not.
    pub(super) subscribe: Option<&'static str>,
    /// What is in the answer.
    pub(super) subscribed: &'static str,
    connect: fn(&Target, usize) -> Result<Opened>,
    next: Next,
    /// Whether what comes is a publication. What must not come is an error.
    is_publication: fn(&[u8]) -> Result<bool>,
}

/// Finds the first message in what has been read, if it is whole.
type Next = fn(&[u8]) -> Result<Option<Message<'_>>>;

pub(super) const NATIVE: Speech = Speech {
    subscribe: Some(r#"{"type":"subscribe","id":1,"channel":"bench"}"#),
    subscribed: r#""type":"ok""#,
    connect: connect_websocket,
    next: next_frame,
    is_publication: is_native_publication,
};

const PUSHER: Speech = Speech {
    subscribe: Some(r#"{"event":"pusher:subscribe","data":{"channel":"bench"}}"#),
    subscribed: "subscription_succeeded",
    is_publication: |_| Ok(true),
    ..NATIVE
};

const EVENTS: Speech = Speech {
    subscribe: None,
    subscribed: r#""type":"subscribed""#,
    connect: open_events,
    next: next_event,
    is_publication: |_| Ok(true),
};

impl Speech {
    pub(super) fn at(path: &str) -> Result<&'static Self> {
        match path {
            path if path.starts_with("/ws") => Ok(&NATIVE),
            path if path.starts_with("/app/") => Ok(&PUSHER),
            path if path.starts_with("/sse?channel=bench") => Ok(&EVENTS),
            path => bail!("nothing is known of how to subscribe at {path}"),
        }
    }
}

fn connect_websocket(target: &Target, number: usize) -> Result<Opened> {
    open(target, number, "")
}

/// The server breaks silence and ends replays with messages of its own; a refusal is what must not come.
fn is_native_publication(message: &[u8]) -> Result<bool> {
    if message.starts_with(br#"{"type":"message""#) {
        return Ok(true);
    }
    let is_other =
        [r#"{"type":"ping""#, r#"{"type":"caught_up""#].iter().any(|kind| message.starts_with(kind.as_bytes()));
    ensure!(is_other, "the server says {}", String::from_utf8_lossy(message));
    Ok(false)
}

/// A message's payload: what stands in it stands in no other.
pub(super) fn text(number: u64, size: usize) -> String {
    format!("{:a>size$}", format!("#{number:09}#"))
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) socket: Transport,
    pub(super) reader: Reader,
}

/// Finds messages in what comes, however it is cut.
#[derive(Debug)]
pub(super) struct Reader {
    next: Next,
    is_publication: fn(&[u8]) -> Result<bool>,
    size: usize,
    /// The beginning of a message.
    rest: Vec<u8>,
    pub(super) received: u64,
    pub(super) checked: bool,
}

impl Reader {
    pub(super) fn take(&mut self, chunk: &[u8]) -> Result<()> {
        let joined = (!self.rest.is_empty()).then(|| [core::mem::take(&mut self.rest), chunk.to_vec()].concat());
        let mut bytes = joined.as_deref().unwrap_or(chunk);
        while let Some(message) = (self.next)(bytes)? {
            bytes = &bytes[message.len..];
            if !(self.is_publication)(message.payload)? {
                continue;
            }
            if self.checked {
                let expected = text(self.received, self.size);
                ensure!(
                    has(message.payload, expected.as_bytes()),
                    "message {} is not what was published",
                    self.received
                );
            }
            self.received += 1;
        }
        self.rest = bytes.to_vec();
        Ok(())
    }
}

impl Client {
    pub(super) fn connect(target: &Target, number: usize, speech: &Speech, size: usize) -> Result<Self> {
        Ok(Self::new((speech.connect)(target, number)?, speech, size))
    }

    fn new((socket, _, rest): Opened, speech: &Speech, size: usize) -> Self {
        let Speech { next, is_publication, .. } = *speech;
        Self { socket, reader: Reader { next, is_publication, size, rest, received: 0, checked: true } }
    }

    /// Subscribes by the native protocol, and returns the position in the answer.
    pub(super) fn subscribe(&mut self, channel: &str) -> Result<String> {
        self.ask_to_subscribe(channel, None)?;
        self.subscribed(false)
    }

    /// Asks for it, `since` a position in the protocol's words.
    pub(super) fn ask_to_subscribe(&mut self, channel: &str, since: Option<&str>) -> Result<()> {
        let since = since.map_or(String::new(), |since| format!(r#","since":{since}"#));
        self.send(&format!(r#"{{"type":"subscribe","id":1,"channel":"{channel}"{since}}}"#))
    }

    /// The position in the answer; `resumes` if what was missed must come behind it.
    pub(super) fn subscribed(&mut self, resumes: bool) -> Result<String> {
        let answer = self.wait_for(NATIVE.subscribed)?;
        ensure!(!resumes || answer.contains(r#""recovered":true"#), "what was missed is not all there: {answer}");
        let position = answer.split_once(r#""position":"#).and_then(|(_, rest)| rest.split_inclusive('}').next());
        Ok(position.with_context(|| format!("no position in {answer}"))?.to_owned())
    }

    /// Publishes by the native protocol, unanswered: the message with this number.
    pub(super) fn publish(&mut self, channel: &str, number: u64) -> Result<()> {
        let text = text(number, self.reader.size);
        self.send(&format!(r#"{{"type":"publish","channel":"{channel}","data":"{text}"}}"#))
    }

    /// The same, to be answered under the same number.
    pub(super) fn publish_with_id(&mut self, channel: &str, number: u64) -> Result<()> {
        let text = text(number, self.reader.size);
        self.send(&format!(r#"{{"type":"publish","id":{number},"channel":"{channel}","data":"{text}"}}"#))
    }

    /// Waits until the server has taken what was sent before: so many messages are on the channel then.
    pub(super) fn wait_until_published(&mut self, channel: &str, messages: u64) -> Result<()> {
        self.send(&format!(r#"{{"type":"history","id":1,"channel":"{channel}","limit":1}}"#))?;
        let answer = self.wait_for(r#""type":"ok""#)?;
        ensure!(answer.contains(&format!(r#""offset":{messages}}}"#)), "not all is published: {answer}");
        Ok(())
    }

    /// Reads (from a socket that blocks) until so many messages have come.
    pub(super) fn read_messages(&mut self, messages: u64) -> Result<()> {
        let mut chunk = [0; 4096];
        // What came together with an answer.
        self.reader.take(&[])?;
        while self.reader.received < messages {
            let count = self.socket.read(&mut chunk).context("cannot read from the server")?;
            ensure!(count > 0, "the server closed a connection");
            self.reader.take(&chunk[..count])?;
        }
        ensure!(self.reader.received == messages, "a client got {} messages, not {messages}", self.reader.received);
        Ok(())
    }

    pub(super) fn send(&mut self, text: &str) -> Result<()> {
        let (mut frame, key) = (Vec::with_capacity(text.len() + 14), mask_key(0));
        put_header(&mut frame, OPCODE_TEXT, text.len(), 0x80);
        frame.extend_from_slice(&key);
        frame.extend(text.bytes().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        self.socket.write_all(&frame).context("cannot write to the server")
    }

    /// The first message of those that are there and have a text in them. What is behind it stays.
    pub(super) fn find(&mut self, text: &str) -> Result<Option<String>> {
        while let Some(message) = (self.reader.next)(&self.reader.rest)? {
            let found = has(message.payload, text.as_bytes());
            let found = found.then(|| String::from_utf8_lossy(message.payload).into_owned());
            let len = message.len;
            self.reader.rest.drain(..len);
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Reads messages until one has a text in it, and returns that one. What is behind it stays.
    pub(super) fn wait_for(&mut self, text: &str) -> Result<String> {
        let mut chunk = [0; 4096];
        loop {
            if let Some(found) = self.find(text)? {
                return Ok(found);
            }
            let n = self.socket.read(&mut chunk).context("cannot read from the server")?;
            ensure!(n > 0, "the server closed a connection");
            self.reader.rest.extend_from_slice(&chunk[..n]);
        }
    }

    /// Reads all that is there, and tells with each piece when the last of it has come and which messages it has completed: those with numbers from
    /// the first to before the last. Only from a socket that [is stamped](crate::sys::stamp_received).
    pub(super) fn read_stamped(&mut self, scratch: &mut [u8], mut told: impl FnMut(u64, u64, u64)) -> Result<()> {
        loop {
            match receive_stamped(self.socket.tcp(), scratch) {
                Ok((0, _)) => bail!("the server closed a connection"),
                Ok((count, stamp)) => {
                    let before = self.reader.received;
                    self.reader.take(&scratch[..count])?;
                    told(stamp.context("the kernel does not stamp what comes")?, before, self.reader.received);
                    if count < scratch.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot read from the server"),
            }
        }
    }

    /// Reads all that is there, and leaves it for [`find`](Self::find).
    pub(super) fn read_aside(&mut self, scratch: &mut [u8]) -> Result<()> {
        loop {
            match self.socket.read(scratch) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(count) => {
                    self.reader.rest.extend_from_slice(&scratch[..count]);
                    if self.socket.is_drained(count, scratch.len()) {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot read from the server"),
            }
        }
    }

    /// Reads all that is there.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> Result<()> {
        loop {
            match self.socket.read(scratch) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(n) => {
                    self.reader.take(&scratch[..n])?;
                    if self.socket.is_drained(n, scratch.len()) {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot read from the server"),
            }
        }
    }
}

/// A client whose handshake is on its way.
#[derive(Debug)]
pub(super) struct Arriving(Shaking);

impl Arriving {
    pub(super) fn begin(target: &Target, number: usize) -> Result<Self> {
        Shaking::begin(target, number).map(Self)
    }

    pub(super) fn finish(self, speech: &Speech, size: usize) -> Result<Client> {
        Ok(Client::new(self.0.finish()?, speech, size))
    }
}

/// The first frame of what a server sent, if it is whole: text, in one piece, and no larger than 64 KiB.
fn next_frame(bytes: &[u8]) -> Result<Option<Message<'_>>> {
    let (head, size) = match bytes {
        [0x81, size @ 0..126, ..] => (2, usize::from(*size)),
        [0x81, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        [0x81, 127, ..] => bail!("a frame is larger than 64 KiB"),
        [] | [0x81] | [0x81, 126, ..] => return Ok(None),
        [first, ..] => bail!("a frame begins with {first:#x}"),
    };
    Ok(bytes.get(head..head + size).map(|payload| Message { payload, len: head + size }))
}

fn has(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_one_after_the_other_and_only_if_they_are_whole() {
        let mut bytes = vec![0x81, 2, b'a', b'b', 0x81, 126, 0, 126];
        bytes.extend([b'x'; 126]);
        let first = next_frame(&bytes).unwrap().unwrap();
        assert_eq!((first.payload, first.len), (&b"ab"[..], 4));
        let second = next_frame(&bytes[4..]).unwrap().unwrap();
        assert_eq!((second.payload.len(), second.len), (126, 130));
        for cut in 4..bytes.len() {
            assert!(next_frame(&bytes[4..cut]).unwrap().is_none(), "{cut}");
        }
        assert!(next_frame(&[0x88, 2, 3, 0xe8]).is_err());
    }

    fn events(numbers: impl Iterator<Item = u64>) -> Vec<u8> {
        numbers.flat_map(|n| format!("id: 7f:{n}\ndata: {}\n\n", text(n, 32)).into_bytes()).collect()
    }

    fn reader(checked: bool) -> Reader {
        let Speech { next, is_publication, .. } = EVENTS;
        Reader { next, is_publication, size: 32, rest: Vec::new(), received: 0, checked }
    }

    #[test]
    fn events_are_counted_wherever_they_are_cut() {
        let stream = events(0..12);
        for cut in 0..=stream.len() {
            let mut reader = reader(true);
            reader.take(&stream[..cut]).unwrap();
            let whole = stream[..cut].windows(2).filter(|pair| *pair == b"\n\n").count();
            assert_eq!(reader.received, whole as u64, "{cut}");
            reader.take(&stream[cut..]).unwrap();
            assert_eq!((reader.received, reader.rest.len()), (12, 0), "{cut}");
        }
    }

    #[test]
    fn an_event_that_is_not_the_next_one_is_found() {
        let order = events([0, 2, 1].into_iter());
        let mut damaged = events(0..3);
        let at = damaged.iter().rposition(|byte| *byte == b'a').unwrap();
        damaged[at] = b'b';
        for (stream, right) in [(order, 1), (damaged, 2)] {
            let mut checking = reader(true);
            assert!(checking.take(&stream).is_err());
            assert_eq!(checking.received, right);
            let mut counting = reader(false);
            counting.take(&stream).unwrap();
            assert_eq!(counting.received, 3);
        }
    }
}
