//! Our client over HTTP/2 against a server of others (interop/connect/http2_node_server.mjs). Knows nothing of which server it is.

use std::io::ErrorKind;

use anyhow::{Context, Result, ensure};
use switchboard_ws::http2::{Http2Connection, Http2Stream};
use switchboard_ws::{CloseCode, ConnectError, Connector, Error, Message, Opcode, WebSocket, handshake};

use crate::told;

type Socket = WebSocket<Http2Stream>;

/// Runs the checks over one connection; how many failed.
pub(crate) async fn run(address: &str, connector: &Connector) -> Result<u32> {
    let connection = connector.connect_http2(address).await?;
    let mut failures = 0;
    failures += told("text and binary", text_and_binary(&connection)).await;
    failures += told("one MiB", one_mib(&connection)).await;
    failures += told("many WebSockets on one connection", many(&connection)).await;
    failures += told("a thousand in flight", a_thousand_in_flight(&connection)).await;
    failures += told("fragmented by us", fragmented_by_us(&connection)).await;
    failures += told("subprotocol", subprotocol(&connection, connector)).await;
    failures += told("a refusal names its status", refusal(&connection)).await;
    failures += told("fragmented by the server, with a ping between", fragmented_by_the_server(&connection)).await;
    failures += told("close codes of ours", close_codes_of_ours(&connection)).await;
    failures += told("close codes of the server's", close_codes_of_the_servers(&connection)).await;
    failures += told("a reset is an error of one WebSocket", reset(&connection)).await;
    failures += told("a server that goes away", going_away(&connection)).await;
    Ok(failures)
}

async fn open(connection: &Http2Connection, path: &str) -> Result<Socket> {
    Ok(connection.open(path).await?.0)
}

async fn next(socket: &mut Socket) -> Result<Message> {
    Ok(socket.recv().await.context("closed instead of a message")??)
}

async fn echoed(socket: &mut Socket, message: Message) -> Result<()> {
    socket.send(message.clone()).await?;
    let reply = next(socket).await?;
    ensure!(reply == message, "sent {} bytes, got {} others back", message.len(), reply.len());
    Ok(())
}

async fn closed(mut socket: Socket) -> Result<()> {
    socket.close(CloseCode::NORMAL, "").await?;
    ensure!(socket.recv().await.is_none(), "something came after the close");
    Ok(())
}

async fn text_and_binary(connection: &Http2Connection) -> Result<()> {
    let mut socket = open(connection, "/echo").await?;
    for text in ["κόσμε — 🌍", "", "\u{0}\u{7f}"] {
        echoed(&mut socket, text.to_owned().into()).await?;
    }
    for size in [0, 1, 125, 126, 65_535, 65_536] {
        echoed(&mut socket, vec![7; size].into()).await?;
    }
    closed(socket).await
}

async fn one_mib(connection: &Http2Connection) -> Result<()> {
    let mut socket = open(connection, "/echo").await?;
    echoed(&mut socket, vec![9; 1 << 20].into()).await?;
    closed(socket).await
}

async fn many(connection: &Http2Connection) -> Result<()> {
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(open(connection, "/echo").await?);
    }
    for size in [10, 100_000] {
        for (number, socket) in (0..).zip(&mut sockets) {
            socket.send(vec![number; size]).await?;
        }
        for (number, socket) in (0..).zip(&mut sockets) {
            ensure!(next(socket).await? == vec![number; size].into(), "another's message");
        }
    }
    for socket in sockets {
        closed(socket).await?;
    }
    Ok(())
}

async fn a_thousand_in_flight(connection: &Http2Connection) -> Result<()> {
    let mut socket = open(connection, "/echo").await?;
    for number in 0..1_000 {
        socket.feed(number.to_string()).await?;
    }
    for number in 0..1_000 {
        let message = next(&mut socket).await?;
        ensure!(message.as_text() == Some(&*number.to_string()), "{message:?} instead of {number}");
    }
    closed(socket).await
}

async fn fragmented_by_us(connection: &Http2Connection) -> Result<()> {
    let mut socket = open(connection, "/echo").await?;
    socket.feed_fragment(Opcode::Text, false, "one ").await?;
    socket.feed_fragment(Opcode::Continuation, false, "").await?;
    socket.feed_fragment(Opcode::Continuation, true, "two").await?;
    socket.flush().await?;
    ensure!(next(&mut socket).await?.as_text() == Some("one two"), "another text");
    closed(socket).await
}

async fn subprotocol(connection: &Http2Connection, connector: &Connector) -> Result<()> {
    let connector = connector.clone().subprotocols(["first", "second", "third"]);
    let (socket, response) = connection.open_with(&connector, "/echo").await?;
    ensure!(response.subprotocol.as_deref() == Some("second"), "{:?}", response.subprotocol);
    closed(socket).await
}

async fn refusal(connection: &Http2Connection) -> Result<()> {
    match connection.open("/refuse").await {
        Err(ConnectError::Handshake(handshake::HandshakeError::Refused { status: 403, .. })) => Ok(()),
        other => anyhow::bail!("{:?}", other.map(|_| "it opened")),
    }
}

async fn fragmented_by_the_server(connection: &Http2Connection) -> Result<()> {
    let mut socket = open(connection, "/fragments").await?;
    let message = next(&mut socket).await?;
    ensure!(message.as_text() == Some("one two — 🌍"), "{message:?}");
    ensure!(socket.recv().await.is_none(), "no close");
    Ok(())
}

async fn close_codes_of_ours(connection: &Http2Connection) -> Result<()> {
    for (code, reason) in [(1000, ""), (1001, "bye"), (3000, "κόσμε"), (4999, "x")] {
        let mut socket = open(connection, "/echo").await?;
        socket.close(CloseCode::new(code), reason).await?;
        // It counts as closed there when our end has come too, which nothing orders with the next request.
        let mut saw = String::new();
        for _ in 0..100 {
            saw = next(&mut open(connection, "/closed").await?).await?.as_text().unwrap_or_default().to_owned();
            if saw == format!("{code} {reason}") {
                break;
            }
        }
        ensure!(saw == format!("{code} {reason}"), "{saw:?}");
    }
    Ok(())
}

async fn close_codes_of_the_servers(connection: &Http2Connection) -> Result<()> {
    for code in [1000, 1011, 4000] {
        let mut socket = open(connection, &format!("/close/{code}/bye")).await?;
        ensure!(socket.recv().await.is_none(), "no close");
        let frame = socket.close_frame().context("no code")?;
        ensure!((frame.code.as_u16(), &*frame.reason) == (code, "bye"), "{frame:?}");
    }
    Ok(())
}

async fn reset(connection: &Http2Connection) -> Result<()> {
    let mut other = open(connection, "/echo").await?;
    let mut socket = open(connection, "/reset").await?;
    next(&mut socket).await?;
    socket.send("now").await?;
    match socket.recv().await {
        Some(Err(Error::Io(error))) if error.kind() == ErrorKind::ConnectionReset => {}
        other => anyhow::bail!("{other:?} instead of a reset"),
    }
    echoed(&mut other, "still here".to_owned().into()).await?;
    closed(other).await
}

async fn going_away(connection: &Http2Connection) -> Result<()> {
    let mut socket = open(connection, "/goaway").await?;
    echoed(&mut socket, "still here".to_owned().into()).await?;
    match connection.open("/echo").await {
        Err(ConnectError::Io(_)) => {}
        other => anyhow::bail!("{:?} after a GOAWAY", other.map(|_| "it opened")),
    }
    echoed(&mut socket, "and on".to_owned().into()).await?;
    closed(socket).await
}
