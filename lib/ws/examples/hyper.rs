//! A hyper server that greets on every path but `/echo`, where it is a WebSocket: `hyper [ADDRESS]`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::convert::Infallible;

use anyhow::Result;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use switchboard_ws::AcceptOptions;
use switchboard_ws::hyper::{UpgradeFuture, rejection, upgrade};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9002".into());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(connection.with_upgrades());
    }
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != "/echo" {
        return Ok(Response::new(Full::from("hello\n")));
    }
    match upgrade(&mut request, &AcceptOptions::default()) {
        Ok((response, upgraded)) => {
            tokio::spawn(async move {
                if let Err(error) = echo(upgraded).await {
                    eprintln!("{error}");
                }
            });
            Ok(response)
        }
        Err(error) => Ok(rejection(&error).map(Full::from)),
    }
}

async fn echo(upgraded: UpgradeFuture) -> Result<()> {
    let mut socket = upgraded.await?;
    while let Some(message) = socket.recv().await {
        socket.feed(message?).await?;
    }
    Ok(())
}
