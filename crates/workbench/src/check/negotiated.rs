//! Compression as it was agreed: our messages compressed, the server's inflated. Owns the reading of our own offer; the rest is `ws-proto`'s.

use super::response::Response;
use super::script::Verdict;
use bytes::{Buf, Bytes, BytesMut};
use switchboard_ws_proto::deflate::{Agreed, Offer, Tuning};
use switchboard_ws_proto::{Config, Connection, Event, Limits, Message, Opcode, Role};

/// A client's side of a connection with compression.
#[derive(Debug)]
pub(crate) struct Negotiated {
    connection: Connection,
}

impl Negotiated {
    /// What the server's answer to an offer means: compression, or why there is none.
    pub(crate) fn of(offer: &str, response: &Response) -> Result<Self, Verdict> {
        let lines = response
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-extensions"))
            .map(|(_, value)| value.as_str());
        match parse_offer(offer).check(lines) {
            Ok(Some(params)) => {
                let tuning = Tuning { level: 6, message_bytes_min: 0 };
                let limits = Limits { message_bytes_max: 64 << 20, ..Limits::NONE };
                let config = Config::default().limits(limits).deflate(Some(Agreed { params, tuning }));
                // Nobody between us and the server is to be protected from what we send.
                Ok(Self { connection: Connection::new(Role::Client { mask_seed: [7; 32] }, config) })
            }
            Ok(None) => Err(Verdict::not_applicable("the server did not take the compression that was offered")),
            Err(error) => Err(Verdict::failed(format!("the answer to the offer is wrong: {error}"))),
        }
    }

    /// A message as the agreement has it.
    pub(crate) fn encode(&mut self, opcode: Opcode, payload: Bytes) -> Bytes {
        // Answers to what the server sent are not for this connection to give.
        let waiting = self.connection.transmit_len();
        self.connection.transmit().advance(waiting);
        let message = match opcode {
            Opcode::Text => String::from_utf8(payload.into()).map(Message::from).ok(),
            _ => Some(Message::from(payload)),
        };
        if let Some(message) = message {
            // An error is a connection that the server has ended, which is seen elsewhere.
            let _ = self.connection.send(message);
        }
        let length = self.connection.transmit_len();
        self.connection.transmit().copy_to_bytes(length)
    }

    /// The server's messages, inflated, or what is wrong with them.
    pub(crate) fn receive(&mut self, bytes: &[u8], mut take: impl FnMut(Opcode, Bytes)) -> Result<(), String> {
        self.connection.receive(BytesMut::from(bytes));
        while let Some(event) = self.connection.poll_event() {
            match event {
                Event::Message(Message::Text(text)) => take(Opcode::Text, Bytes::from(text)),
                Event::Message(Message::Binary(bytes)) => take(Opcode::Binary, bytes),
                Event::Failed(error) => return Err(format!("the server broke the protocol itself: {error}")),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Our own offers are well formed.
fn parse_offer(offer: &str) -> Offer {
    let mut parsed = Offer::default();
    for parameter in offer.split(';').skip(1).map(str::trim) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, "15"));
        let bits = value.parse().ok();
        match name {
            "server_no_context_takeover" => parsed.server_no_context_takeover = true,
            "client_no_context_takeover" => parsed.client_no_context_takeover = true,
            "server_max_window_bits" => parsed.server_max_window_bits = bits,
            "client_max_window_bits" => parsed.client_max_window_bits = bits,
            _ => {}
        }
    }
    parsed
}
