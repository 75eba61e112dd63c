//! An echo server and its client over plain blocking sockets: the protocol needs no runtime.
//!
//! ```text
//! cargo run -p switchboard-ws-proto --example blocking
//! ```
#![allow(clippy::print_stdout)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this shows what a driver does, with sockets and threads"
)]

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use bytes::{Buf, BytesMut};
use switchboard_ws_proto::handshake::{ClientHandshake, ClientRequest, ServerHandshake};
use switchboard_ws_proto::{CloseCode, Config, Connection, Event, Message, Role};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || -> Outcome<()> {
        let (stream, _) = listener.accept()?;
        serve(stream)
    });

    let mut stream = TcpStream::connect(address)?;
    let mut connection = connect(&mut stream, &address.to_string())?;
    connection.send(Message::from("hello"))?;
    while let Some(event) = next_event(&mut stream, &mut connection)? {
        println!("{event:?}");
        if let Event::Message(_) = event {
            connection.close(CloseCode::NORMAL, "thank you")?;
        }
    }
    server.join().map_err(|_| "the server has panicked")?
}

/// Sends back what comes, until the client closes.
fn serve(mut stream: TcpStream) -> Outcome<()> {
    let mut handshake = ServerHandshake::new();
    let mut buffer = [0; 1024];
    let request = loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err("the client went away during its request".into());
        }
        match handshake.receive(buffer.get(..count).unwrap_or_default()) {
            Ok(Some(request)) => break request,
            Ok(None) => {}
            Err(rejection) => {
                stream.write_all(&rejection.response())?;
                return Err(rejection.to_string().into());
            }
        }
    };
    stream.write_all(&request.accept(None, &[])?)?;
    let mut connection = Connection::new(Role::Server, Config::default());
    connection.receive(handshake.into_leftover());
    while let Some(event) = next_event(&mut stream, &mut connection)? {
        if let Event::Message(message) = event {
            connection.send(message)?;
        }
    }
    Ok(())
}

fn connect(stream: &mut TcpStream, host: &str) -> Outcome<Connection> {
    // A real client draws the key and the seed at random (RFC 6455 §4.1, §5.3).
    let mut handshake = ClientHandshake::new(ClientRequest::new(host, "/"), [1; 16])?;
    stream.write_all(&handshake.request())?;
    let mut received = BytesMut::new();
    while handshake.receive(&mut received)?.is_none() {
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err("the server went away during its response".into());
        }
        received.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
    let mut connection = Connection::new(Role::Client { mask_seed: [2; 32] }, Config::default());
    connection.receive(received);
    Ok(connection)
}

/// The next event; `None` when the connection is over. Writes what is queued before it waits.
fn next_event(stream: &mut TcpStream, connection: &mut Connection) -> Outcome<Option<Event>> {
    loop {
        if let Some(event) = connection.poll_event() {
            return Ok(Some(event));
        }
        while connection.transmit_len() > 0 {
            let count = stream.write(connection.transmit().chunk())?;
            connection.transmit().advance(count);
        }
        if connection.is_finished() {
            return Ok(None);
        }
        let mut buffer = connection.reclaim_input().unwrap_or_default();
        buffer.resize(4096, 0);
        let count = stream.read(&mut buffer)?;
        buffer.truncate(count);
        if count == 0 {
            connection.receive_eof();
        } else {
            connection.receive(buffer);
        }
    }
}
