//! WebSockets, over whatever carries them.

use super::{Ability, Listener, Refusal, Transport, Wish};
use crate::tls::tls;
use arc_swap::ArcSwap;
use core::net::SocketAddr;
use serde_json::{Value, json};
use std::sync::Arc;
use switchboard_net::{Server, Settings};
use switchboard_ws::handshake::HandshakeError;
use switchboard_ws::http2::{Http2Connection, Http2Stream};
use switchboard_ws::{ConnectError, Connector, MaybeTls, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};

/// What carries it.
pub(super) trait Carrier: Sized {
    const ABILITIES: &'static [Ability];
    type Stream: AsyncRead + AsyncWrite + Unpin;

    /// What is needed, and how to connect.
    fn prepare(settings: &mut Settings) -> Connector;

    async fn reach(connector: &Connector, address: SocketAddr) -> Self;

    async fn open(&self, connector: &Connector, path: &str) -> Result<WebSocket<Self::Stream>, ConnectError>;
}

pub(super) struct Over<C> {
    connector: Connector,
    carrier: Option<C>,
}

impl<C: Carrier> Transport for Over<C> {
    const DIALECT: &'static str = "native";
    const ABILITIES: &'static [Ability] = C::ABILITIES;
    type Client = Client<C::Stream>;

    fn new(settings: &mut Settings) -> Self {
        Self { connector: C::prepare(settings), carrier: None }
    }

    async fn reach(&mut self, server: &Server) {
        self.carrier = Some(C::reach(&self.connector, server.local_addr()).await);
    }

    async fn open(&mut self, wish: &Wish) -> Result<Self::Client, Refusal> {
        let mut connector = self.connector.clone();
        if let Some(token) = wish.token {
            connector = connector.bearer_token(token);
        }
        if let Some(origin) = wish.origin {
            connector = connector.origin(origin);
        }
        let path = wish.app.map_or("/ws".to_owned(), |app| format!("/ws/{app}"));
        let socket = match self.carrier.as_ref().unwrap().open(&connector, &path).await {
            Ok(socket) => socket,
            Err(ConnectError::Handshake(HandshakeError::Refused { status, .. })) => {
                return Err(Refusal::Status(status));
            }
            Err(ConnectError::Io(_) | ConnectError::Eof) => return Err(Refusal::HungUp),
            Err(error) => panic!("{error}"),
        };
        let mut client = Client { socket, subscribed: Value::Null };
        assert_eq!(client.hear().await["type"], "welcome");
        let mut request = json!({ "type": "subscribe", "id": 1, "channel": wish.channel });
        if let Some((epoch, offset)) = wish.since.as_deref().and_then(|since| since.split_once(':')) {
            request["since"] = json!({ "epoch": epoch, "offset": offset.parse::<u64>().unwrap() });
        }
        client.socket.send(request.to_string()).await.unwrap();
        client.subscribed = client.hear().await;
        match &client.subscribed {
            refused if refused["type"] == "error" => Err(Refusal::Answer(refused["code"].as_str().unwrap().to_owned())),
            _ => Ok(client),
        }
    }
}

pub(super) struct Client<S> {
    socket: WebSocket<S>,
    subscribed: Value,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Listener for Client<S> {
    fn subscribed(&self) -> &Value {
        &self.subscribed
    }

    async fn hear(&mut self) -> Value {
        loop {
            let told = match self.socket.recv().await {
                Some(message) => serde_json::from_str(message.unwrap().as_text().unwrap()).unwrap(),
                None => json!({ "type": "close", "code": self.socket.close_frame().map(|close| close.code.as_u16()) }),
            };
            if told["type"] != "ping" {
                return told;
            }
        }
    }

    async fn publish(&mut self, channel: &str, text: &str) {
        let request = json!({ "type": "publish", "channel": channel, "data": text });
        self.socket.send(request.to_string()).await.unwrap();
    }
}

/// A connection whose kernel takes little, and which ends with a reset.
async fn dial(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4_096)?;
    let stream = socket.connect(address).await?;
    stream.set_zero_linger()?;
    Ok(stream)
}

async fn open(
    connector: &Connector,
    url: &str,
    to: SocketAddr,
) -> Result<WebSocket<MaybeTls<TcpStream>>, ConnectError> {
    Ok(connector.connect_through(url, async |_: &str, _: u16| dial(to).await).await?.0)
}

pub(super) struct Plain(SocketAddr);

impl Carrier for Plain {
    const ABILITIES: &'static [Ability] = &[Ability::Publish, Ability::Later, Ability::GoesOn, Ability::Overload];
    type Stream = MaybeTls<TcpStream>;

    fn prepare(_: &mut Settings) -> Connector {
        Connector::new()
    }

    async fn reach(_: &Connector, address: SocketAddr) -> Self {
        Self(address)
    }

    async fn open(&self, connector: &Connector, path: &str) -> Result<WebSocket<Self::Stream>, ConnectError> {
        open(connector, &format!("ws://{}{path}", self.0), self.0).await
    }
}

pub(super) struct Tls(SocketAddr);

impl Carrier for Tls {
    const ABILITIES: &'static [Ability] = &[Ability::Publish, Ability::Later, Ability::GoesOn];
    type Stream = MaybeTls<TcpStream>;

    fn prepare(settings: &mut Settings) -> Connector {
        let (config, connector) = tls();
        settings.tls = Some(Arc::new(ArcSwap::from_pointee(config)));
        connector
    }

    async fn reach(_: &Connector, address: SocketAddr) -> Self {
        Self(address)
    }

    async fn open(&self, connector: &Connector, path: &str) -> Result<WebSocket<Self::Stream>, ConnectError> {
        open(connector, &format!("wss://{}{path}", self.0), self.0).await
    }
}

pub(super) struct Http2(Http2Connection);

impl Carrier for Http2 {
    const ABILITIES: &'static [Ability] =
        &[Ability::Publish, Ability::Later, Ability::GoesOn, Ability::Shares, Ability::Overload];
    type Stream = Http2Stream;

    fn prepare(_: &mut Settings) -> Connector {
        Connector::new()
    }

    async fn reach(connector: &Connector, address: SocketAddr) -> Self {
        Self(connector.connect_http2(&format!("ws://{address}")).await.unwrap())
    }

    async fn open(&self, connector: &Connector, path: &str) -> Result<WebSocket<Self::Stream>, ConnectError> {
        Ok(self.0.open_with(connector, path).await?.0)
    }
}
