//! Files of any size, a message each, of which neither side holds more than a piece:
//!
//! ```sh
//! cargo run --example streaming -- serve [ADDRESS] [FOLDER]
//! cargo run --example streaming -- put FILE ws://127.0.0.1:9005/NAME
//! cargo run --example streaming -- get ws://127.0.0.1:9005/NAME FILE
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use switchboard_ws::{CloseCode, Config, Connector, Limits, WebSocket, read_request};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, copy_buf};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => serve("127.0.0.1:9005", ".").await,
        ["serve", address] => serve(address, ".").await,
        ["serve", address, folder] => serve(address, folder).await,
        ["put", file, url] => put(file, url).await,
        ["get", url, file] => get(url, file).await,
        _ => bail!("usage: streaming serve [ADDRESS] [FOLDER] | put FILE URL | get URL FILE"),
    }
}

async fn put(file: &str, url: &str) -> Result<()> {
    let (mut socket, _) = Connector::new().connect(&format!("{url}?put")).await?;
    send_file(&mut socket, Path::new(file)).await?;
    let answer = socket.recv().await.context("the server said nothing")??;
    println!("{}", answer.as_text().unwrap_or_default());
    Ok(socket.close(CloseCode::NORMAL, "").await?)
}

async fn get(url: &str, file: &str) -> Result<()> {
    let (mut socket, _) = Connector::new().config(lifted()).connect(url).await?;
    println!("{} bytes", receive_file(&mut socket, Path::new(file)).await?);
    Ok(socket.close(CloseCode::NORMAL, "").await?)
}

async fn serve(address: &str, folder: &str) -> Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let folder = PathBuf::from(folder);
        tokio::spawn(async move {
            if let Err(error) = answer(stream, &folder).await {
                eprintln!("{error}");
            }
        });
    }
}

async fn answer(stream: TcpStream, folder: &Path) -> Result<()> {
    let mut pending = read_request(stream, &Default::default()).await?;
    let target = pending.request().target.clone();
    let (name, query) = target.trim_start_matches('/').split_once('?').unwrap_or((target.trim_start_matches('/'), ""));
    // One plain name: whatever else it could mean, it stays in the folder.
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) || name.starts_with('.')
    {
        return Ok(pending.reject(404, &[], b"names have letters, digits, '-', '_' and '.'\n").await?);
    }
    let path = folder.join(name);
    if query != "put" {
        if !path.is_file() {
            return Ok(pending.reject(404, &[], b"there is no such file\n").await?);
        }
        let mut socket = pending.accept(None, &[]).await?;
        send_file(&mut socket, &path).await?;
        while socket.recv().await.transpose()?.is_some() {}
        return Ok(());
    }
    // The message may be larger than what we would hold of one.
    pending.set_config(lifted());
    let mut socket = pending.accept(None, &[]).await?;
    let bytes = receive_file(&mut socket, &path).await?;
    socket.send(format!("{bytes} bytes are in {name}")).await?;
    // From here on nothing large is expected.
    socket.set_limits(Limits::default());
    while socket.recv().await.transpose()?.is_some() {}
    Ok(())
}

fn lifted() -> Config {
    Config::default().limits(Limits::NONE)
}

async fn send_file<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocket<S>, path: &Path) -> Result<()> {
    let mut file = File::open(path).await.with_context(|| format!("cannot open {}", path.display()))?;
    let mut writer = socket.binary_writer();
    copy(&mut file, &mut writer).await?;
    Ok(writer.shutdown().await?)
}

async fn receive_file<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocket<S>, path: &Path) -> Result<u64> {
    let mut reader = socket.recv_reader().await.context("the connection was closed before the file came")??;
    // What is cut off in the middle never has the name of a whole file.
    let part = path.with_extension("part");
    let mut file = File::create(&part).await.with_context(|| format!("cannot write {}", part.display()))?;
    let bytes = copy_buf(&mut reader, &mut file).await?;
    file.flush().await?;
    tokio::fs::rename(&part, path).await?;
    Ok(bytes)
}
