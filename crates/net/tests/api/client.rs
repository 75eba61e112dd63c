//! A client made of the protocol's state machine and a socket, which can also misbehave.

use bytes::{Buf, BytesMut};
use switchboard_ws_proto::deflate::{Agreed, Params, Policy};
use switchboard_ws_proto::handshake::{ClientHandshake, ClientRequest};
use switchboard_ws_proto::{CloseFrame, Config, Connection, Event, Limits, Message, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) ws: Connection,
    pub(crate) agreed: Option<Params>,
    /// Bytes that came behind the handshake.
    pub(crate) read: usize,
}

impl Client {
    pub(crate) async fn connect(server: &switchboard_net::Server, path: &str) -> Self {
        Self::connect_with(server, path, &[]).await.unwrap_or_else(|refusal| panic!("refused: {refusal}"))
    }

    /// Connects, or returns the head of the answer that refused it.
    pub(crate) async fn connect_with(
        server: &switchboard_net::Server,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, String> {
        let stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::handshake(stream, path, headers).await
    }

    /// A client whose kernel takes little on its behalf.
    pub(crate) async fn connect_narrow(server: &switchboard_net::Server, path: &str) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let stream = socket.connect(server.local_addr()).await.unwrap();
        Self::handshake(stream, path, &[]).await.unwrap()
    }

    /// A client that offers compression; what was agreed is in `agreed`.
    pub(crate) async fn connect_compressing(server: &switchboard_net::Server, path: &str, policy: Policy) -> Self {
        let stream = TcpStream::connect(server.local_addr()).await.unwrap();
        let mut request = ClientRequest::new("127.0.0.1", path);
        request.deflate = Some(policy.offer());
        Self::begin(stream, request).await.unwrap()
    }

    async fn handshake(stream: TcpStream, path: &str, headers: &[(&str, &str)]) -> Result<Self, String> {
        let mut request = ClientRequest::new("127.0.0.1", path);
        request.headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::begin(stream, request).await
    }

    async fn begin(mut stream: TcpStream, request: ClientRequest) -> Result<Self, String> {
        let mut handshake = ClientHandshake::new(request, [7; 16]).unwrap();
        stream.write_all(&handshake.request()).await.unwrap();
        let mut buffer = BytesMut::new();
        let agreed = loop {
            match handshake.receive(&mut buffer) {
                Ok(Some(response)) => break response.deflate,
                Ok(None) => {}
                Err(error) => return Err(error.to_string()),
            }
            assert_ne!(stream.read_buf(&mut buffer).await.unwrap(), 0, "the server hung up");
        };
        let config = Config::default().limits(Limits::default()).deflate(agreed.map(Agreed::new));
        let mut ws = Connection::new(Role::Client { mask_seed: [1; 32] }, config);
        let read = buffer.len();
        ws.receive(buffer);
        Ok(Self { stream, ws, agreed, read })
    }

    pub(crate) async fn flush(&mut self) {
        while self.ws.transmit_len() > 0 {
            let chunk = self.ws.transmit().chunk().to_vec();
            self.stream.write_all(&chunk).await.unwrap();
            self.ws.transmit().advance(chunk.len());
        }
    }

    pub(crate) async fn send(&mut self, message: impl Into<Message>) {
        self.ws.send(message.into()).unwrap();
        self.flush().await;
    }

    /// The next event; `None` at the end of the stream.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ws.poll_event() {
                return Some(event);
            }
            self.flush().await;
            let mut buffer = BytesMut::with_capacity(16 * 1024);
            match self.stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => {
                    self.read += count;
                    self.ws.receive(buffer);
                }
            }
        }
    }

    pub(crate) async fn message(&mut self) -> Message {
        loop {
            match self.event().await {
                Some(Event::Message(message)) => return message,
                // On a busy machine a test may outlast a heartbeat.
                Some(Event::Ping(_)) => {}
                other => panic!("{other:?} instead of a message"),
            }
        }
    }

    pub(crate) async fn text(&mut self) -> String {
        self.message().await.as_text().expect("text").to_string()
    }

    /// Reads up to the Close frame, and to the end of the stream.
    pub(crate) async fn close_frame(&mut self) -> Option<CloseFrame> {
        let mut frame = None;
        while let Some(event) = self.event().await {
            if let Event::Close(close) = event {
                frame = close;
            }
        }
        frame
    }
}
