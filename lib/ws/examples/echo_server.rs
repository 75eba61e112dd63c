//! An echo server: `echo_server [--listen ADDRESS] [--deflate]`, printing the address on which it listens. With `--deflate` it compresses for
//! those who offer it, with context takeover.
//!
//! One thread. `feed` instead of `send`, so that the answers to all that one read brought leave in one write.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use anyhow::{Context, Result, bail};
use switchboard_ws::deflate::Policy;
use switchboard_ws::{AcceptOptions, Config, Error, Limits, WebSocket, accept_with};
use tokio::net::{TcpListener, TcpStream};

const MESSAGE_BYTES_MAX: usize = 64 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let (listen, deflate) = arguments()?;
    let limits = Limits { message_bytes_max: MESSAGE_BYTES_MAX, fragments_max: 1 << 20, ..Limits::default() };
    let options = AcceptOptions::default().config(Config::default().limits(limits)).deflate(deflate);
    let listener = TcpListener::bind(listen).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, options.clone()))),
            // Too many open files, for instance: those that are connected go on.
            Err(error) => eprintln!("cannot accept: {error}"),
        }
    }
}

fn arguments() -> Result<(String, Option<Policy>)> {
    let (mut listen, mut deflate) = ("127.0.0.1:9001".into(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--listen" => listen = arguments.next().context("--listen needs an address")?,
            "--deflate" => deflate = Some(Policy::default().context_takeover(true).peer_context_takeover(true)),
            _ => bail!("usage: echo_server [--listen ADDRESS] [--deflate]"),
        }
    }
    Ok((listen, deflate))
}

async fn serve(stream: TcpStream, options: AcceptOptions) {
    if let Err(error) = try_serve(stream, &options).await {
        eprintln!("{error}");
    }
}

async fn try_serve(stream: TcpStream, options: &AcceptOptions) -> Result<()> {
    stream.set_nodelay(true)?;
    let socket = accept_with(stream, options).await?;
    Ok(echo(socket).await?)
}

async fn echo(mut socket: WebSocket<TcpStream>) -> Result<(), Error> {
    while let Some(message) = socket.recv().await {
        socket.feed(message?).await?;
    }
    Ok(())
}
