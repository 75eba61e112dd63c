//! Our client against a server of others, which does what the path says (interop/connect/). Arguments: `--http2` for WebSockets over HTTP/2, the
//! server's address and, for wss://, the file of the authority to trust. Prints one line a check, as the runner reads it. Knows nothing of which server it is.

mod http2;

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use switchboard_ws::{
    CloseCode, Config, ConnectError, Connector, Limits, MaybeTls, Message, Opcode, WebSocket, handshake,
};
use tokio::time::timeout;

type Socket = WebSocket<MaybeTls<tokio::net::TcpStream>>;

const CHECK_SECONDS_MAX: u64 = 30;
const MIB: usize = 1 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1).peekable();
    let http2 = arguments.next_if(|argument| argument == "--http2");
    let address = arguments.next().context("the first argument is the server's address")?;
    let peer = Peer { address, connector: connector(arguments.next().as_deref())? };
    if http2.is_some() {
        let failures = http2::run(&peer.address, &peer.connector).await?;
        return Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut failures = 0;
    failures += told("text", text(&peer)).await;
    failures += told("binary", binary(&peer)).await;
    failures += told("length edges", length_edges(&peer)).await;
    failures += told("fragmented by us", fragmented_by_us(&peer)).await;
    failures += told("fragmented by the server, with a ping between", fragmented_by_the_server(&peer)).await;
    failures += told("one MiB", one_mib(&peer)).await;
    failures += told("a thousand in flight", a_thousand_in_flight(&peer)).await;
    failures += told("ping by us", ping_by_us(&peer)).await;
    failures += told("ping by the server", ping_by_the_server(&peer)).await;
    failures += told("close codes of ours", close_codes_of_ours(&peer)).await;
    failures += told("close codes of the server's", close_codes_of_the_servers(&peer)).await;
    failures += told("subprotocol", subprotocol(&peer)).await;
    failures += told("no subprotocol in common", no_subprotocol_in_common(&peer)).await;
    failures += told("a refusal names its status", refusal(&peer)).await;
    failures += told("a message above our limit", above_our_limit(&peer)).await;
    if peer.address.starts_with("wss:") {
        failures += told("an authority that we do not trust", untrusted(&peer)).await;
    }
    Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints how a check went; 1 if it failed.
async fn told(name: &str, check: impl Future<Output = Result<()>>) -> u32 {
    let outcome = timeout(Duration::from_secs(CHECK_SECONDS_MAX), check).await;
    match outcome.unwrap_or_else(|_| bail!("not done within {CHECK_SECONDS_MAX} s")) {
        Ok(()) => {
            println!("ok {name}");
            0
        }
        Err(error) => {
            println!("not ok {name}: {}", format!("{error:#}").replace('\n', " "));
            1
        }
    }
}

/// The server under test and how we connect to it.
struct Peer {
    address: String,
    connector: Connector,
}

impl Peer {
    async fn open(&self, path: &str) -> Result<Socket> {
        Ok(self.connector.connect(&format!("{}{path}", self.address)).await?.0)
    }

    /// The code and the reason that the server saw when our last connection to /echo closed.
    async fn saw(&self) -> Result<String> {
        let mut socket = self.open("/closed").await?;
        let message = next(&mut socket).await?;
        Ok(message.as_text().context("not a text")?.to_owned())
    }
}

fn connector(authority: Option<&str>) -> Result<Connector> {
    let Some(file) = authority else { return Ok(Connector::new()) };
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file)?)?;
    Ok(Connector::new().tls(Arc::new(tls(roots)?)))
}

fn tls(roots: rustls::RootCertStore) -> Result<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

async fn next(socket: &mut Socket) -> Result<Message> {
    Ok(socket.recv().await.context("closed instead of a message")??)
}

async fn echoed(socket: &mut Socket, message: Message) -> Result<()> {
    socket.send(message.clone()).await?;
    let reply = next(socket).await?;
    let same = reply.as_bytes() == message.as_bytes() && reply.as_text().is_some() == message.as_text().is_some();
    ensure!(same, "sent {} bytes, got {} others back", message.len(), reply.len());
    Ok(())
}

async fn closed(mut socket: Socket) -> Result<()> {
    socket.close(CloseCode::NORMAL, "").await?;
    ensure!(socket.recv().await.is_none(), "something came after the close");
    Ok(())
}

async fn text(peer: &Peer) -> Result<()> {
    let mut socket = peer.open("/echo").await?;
    for text in ["κόσμε — 🌍", "", "\u{0}\u{7f}\u{2028}"] {
        echoed(&mut socket, text.to_owned().into()).await?;
    }
    closed(socket).await
}

async fn binary(peer: &Peer) -> Result<()> {
    let mut socket = peer.open("/echo").await?;
    for bytes in [(0..=255).collect(), vec![]] {
        echoed(&mut socket, bytes.into()).await?;
    }
    closed(socket).await
}

async fn length_edges(peer: &Peer) -> Result<()> {
    let mut socket = peer.open("/echo").await?;
    for length in [1, 125, 126, 127, 4095, 4096, 65_535, 65_536, 65_537] {
        echoed(&mut socket, pattern(length).into()).await?;
    }
    closed(socket).await
}

async fn fragmented_by_us(peer: &Peer) -> Result<()> {
    let mut socket = peer.open("/echo").await?;
    socket.feed_fragment(Opcode::Text, false, "one ").await?;
    socket.ping(b"between").await?;
    socket.feed_fragment(Opcode::Continuation, false, "").await?;
    socket.feed_fragment(Opcode::Continuation, true, "two — 🌍").await?;
    let reply = next(&mut socket).await?;
    ensure!(reply.as_text() == Some("one two — 🌍"), "got {reply:?}");
    closed(socket).await
}

async fn fragmented_by_the_server(peer: &Peer) -> Result<()> {
    let mut socket = peer.open("/fragments").await?;
    let message = next(&mut socket).await?;
    ensure!(message.as_text() == Some("one two — 🌍"), "got {message:?}");
    ensure!(socket.recv().await.is_none(), "something came after the message");
    Ok(())
}

async fn one_mib(peer: &Peer) -> Result<()> {
    let mut socket = peer.open("/echo").await?;
    echoed(&mut socket, pattern(MIB).into()).await?;
    echoed(&mut socket, "🌍 ".repeat(MIB / 5).into()).await?;
    closed(socket).await
}

async fn a_thousand_in_flight(peer: &Peer) -> Result<()> {
    let mut socket = peer.open("/echo").await?;
    for i in 0..1000 {
        socket.feed(format!("message {i}")).await?;
    }
    for i in 0..1000 {
        let reply = next(&mut socket).await?;
        ensure!(reply.as_text() == Some(&*format!("message {i}")), "{i} came back as {reply:?}");
    }
    closed(socket).await
}

/// The pong is taken silently: what shows is that the server did not mind, and that what follows is in step.
async fn ping_by_us(peer: &Peer) -> Result<()> {
    let mut socket = peer.open("/echo").await?;
    for payload in [&b""[..], b"mark", &[7; 125]] {
        socket.ping(payload).await?;
        echoed(&mut socket, "after the ping".into()).await?;
    }
    closed(socket).await
}

async fn ping_by_the_server(peer: &Peer) -> Result<()> {
    let mut socket = peer.open("/ping").await?;
    let message = next(&mut socket).await?;
    ensure!(message.as_text() == Some("pong"), "got {message:?}");
    closed(socket).await
}

async fn close_codes_of_ours(peer: &Peer) -> Result<()> {
    let long = "reason ".repeat(17);
    for (code, reason) in [(1000, ""), (1001, "away"), (3000, "—"), (4999, &*long)] {
        let mut socket = peer.open("/echo").await?;
        socket.close(CloseCode::new(code), reason).await?;
        ensure!(socket.recv().await.is_none(), "something came after the close");
        let answer = socket.close_frame().context("the server sent no Close")?.code;
        ensure!(answer.as_u16() == code, "closed with {code}, answered with {answer:?}");
        let (saw, expected) = (peer.saw().await?, format!("{code} {reason}"));
        ensure!(saw == expected, "the server saw {saw:?}, not {expected:?}");
    }
    Ok(())
}

async fn close_codes_of_the_servers(peer: &Peer) -> Result<()> {
    for (code, reason) in [(1000, "bye"), (1001, "away"), (1011, "—"), (3999, "fertig"), (4000, "x")] {
        let mut socket = peer.open(&format!("/close/{code}/{}", encoded(reason))).await?;
        ensure!(socket.recv().await.is_none(), "something came instead of the close");
        let frame = socket.close_frame().context("no Close came")?;
        let found = (frame.code.as_u16(), &*frame.reason);
        ensure!(found == (code, reason), "closed with {found:?} instead of {:?}", (code, reason));
    }
    Ok(())
}

async fn subprotocol(peer: &Peer) -> Result<()> {
    let connector = peer.connector.clone().subprotocols(["first", "second"]);
    let (socket, response) = connector.connect(&format!("{}/echo", peer.address)).await?;
    ensure!(response.subprotocol.as_deref() == Some("second"), "got {:?}", response.subprotocol);
    closed(socket).await
}

/// Either the server goes on without one, or it refuses; a subprotocol that we did not offer would be wrong.
async fn no_subprotocol_in_common(peer: &Peer) -> Result<()> {
    let connector = peer.connector.clone().subprotocols(["first"]);
    match connector.connect(&format!("{}/echo", peer.address)).await {
        Ok((_, response)) => ensure!(response.subprotocol.is_none(), "got {:?}", response.subprotocol),
        Err(ConnectError::Handshake(handshake::HandshakeError::Refused { status, .. })) => {
            ensure!(status == 400, "refused with {status}");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn refusal(peer: &Peer) -> Result<()> {
    match peer.connector.connect(&format!("{}/refuse", peer.address)).await {
        Err(ConnectError::Handshake(handshake::HandshakeError::Refused { status, .. })) => {
            ensure!(status == 403, "refused with {status}");
            Ok(())
        }
        Err(error) => Err(error).context("another error than the refusal"),
        Ok(_) => bail!("connected"),
    }
}

async fn above_our_limit(peer: &Peer) -> Result<()> {
    let limits = Limits { message_bytes_max: 1000, ..Limits::default() };
    let connector = peer.connector.clone().config(Config::default().limits(limits));
    let (mut socket, _) = connector.connect(&format!("{}/echo", peer.address)).await?;
    socket.send(pattern(1001)).await?;
    ensure!(matches!(socket.recv().await, Some(Err(_))), "the message was taken");
    drop(socket);
    // The server learns why.
    let saw = peer.saw().await?;
    ensure!(saw.starts_with("1009 "), "the server saw {saw:?}, not 1009");
    Ok(())
}

async fn untrusted(peer: &Peer) -> Result<()> {
    let trusts_nobody = Connector::new().tls(Arc::new(tls(rustls::RootCertStore::empty())?));
    ensure!(trusts_nobody.connect(&format!("{}/echo", peer.address)).await.is_err(), "connected");
    Ok(())
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 % 251) as u8).collect()
}

/// Percent-encodes a reason for a path.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
