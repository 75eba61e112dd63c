//! Plays checks over sockets. Owns connecting, reading, writing and the clock; decides nothing.

use super::run::{Ended, Next, Run};
use super::script::{Check, Outcome, Target, Verdict};
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use futures_util::StreamExt;
use rustls_pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Where a server listens.
#[derive(Clone, Debug)]
pub struct Address {
    socket: SocketAddr,
    tls: Option<(ServerName<'static>, Arc<rustls::ClientConfig>)>,
}

/// Why a URL leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is not `ws://…` or `wss://…`.
    #[error("{0:?} is not of the form ws://HOST[:PORT]/PATH or wss://HOST[:PORT]/PATH")]
    Url(String),
    /// The name has no address.
    #[error("cannot find the address of {0:?}: {1}")]
    Resolve(String, io::Error),
    /// The server is on another machine.
    #[error("{0} is not on this machine: a check sends what may harm a server. Say that you may (--allow-remote)")]
    Remote(SocketAddr),
}

/// What is in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Whether it is `wss://`.
    pub secure: bool,
    /// The name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// `Host` as a request has it.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

impl Location {
    /// Reads a URL.
    ///
    /// # Errors
    /// It is not a WebSocket's.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError::Url(url.to_owned());
        let uri: http::Uri = url.parse().map_err(|_| wrong())?;
        let secure = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        let port = match (authority.port(), authority.port_u16()) {
            (Some(_), Some(port)) => port,
            (None, _) if !authority.as_str().rsplit(['@', ']']).next().is_some_and(|rest| rest.contains(':')) => {
                if secure {
                    443
                } else {
                    80
                }
            }
            _ => return Err(wrong()),
        };
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let authority = authority.as_str().rsplit('@').next().unwrap_or_default().to_owned();
        Ok(Self { secure, host, port, authority, path: path.to_owned() })
    }
}

impl Address {
    /// Finds where a URL leads. `tls` is for `wss://`.
    ///
    /// # Errors
    /// It leads nowhere, or to another machine without `remote`.
    pub async fn find(
        location: &Location,
        tls: &Arc<rustls::ClientConfig>,
        remote: bool,
    ) -> Result<Self, AddressError> {
        let unknown = |error| AddressError::Resolve(location.host.clone(), error);
        let found = tokio::net::lookup_host((location.host.as_str(), location.port)).await.map_err(unknown)?.next();
        let socket = found.ok_or_else(|| unknown(io::ErrorKind::NotFound.into()))?;
        if !remote && !socket.ip().to_canonical().is_loopback() {
            return Err(AddressError::Remote(socket));
        }
        let tls = match location.secure {
            true => {
                let name = ServerName::try_from(location.host.clone());
                Some((name.map_err(|_| AddressError::Url(location.host.clone()))?, Arc::clone(tls)))
            }
            false => None,
        };
        Ok(Self { socket, tls })
    }

    async fn connect(&self) -> io::Result<Stream> {
        let stream = TcpStream::connect(self.socket).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Stream::Plain(stream),
            Some((name, config)) => {
                let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
                Stream::Tls(Box::new(connector.connect(name.clone(), stream).await?))
            }
        })
    }
}

/// Plays checks, so many at a time, and hands on each with its verdict, in their order.
///
/// # Errors
/// There is no server to connect to.
pub async fn play_all(
    checks: &[Check],
    target: &Target,
    address: &Address,
    at_once: usize,
    mut told: impl FnMut(&Check, Verdict),
) -> io::Result<()> {
    let playing = checks.iter().map(|check| async move { (check, play(check, target, address).await) });
    let mut verdicts = futures_util::stream::iter(playing).buffered(at_once.max(1));
    while let Some((check, verdict)) = verdicts.next().await {
        told(check, verdict?);
    }
    Ok(())
}

/// Plays one check on a connection of its own.
///
/// # Errors
/// There is no server to connect to.
///
/// Cancel safety: the connection is closed if the future is dropped.
pub async fn play(check: &Check, target: &Target, address: &Address) -> io::Result<Verdict> {
    let connected = tokio::time::timeout(target.patience.max(Duration::from_secs(5)), address.connect()).await;
    let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let playing = Playing { run: Run::new(check, target), stream, begin: Instant::now(), ended: false };
    let limit = target.patience * 8 + Duration::from_secs(20);
    Ok(tokio::time::timeout(limit, playing.finish())
        .await
        .unwrap_or_else(|_| Verdict { outcome: Outcome::Failed, why: "the check came to no end".into() }))
}

/// A check under way on a connection.
struct Playing<'a> {
    run: Run<'a>,
    stream: Stream,
    begin: Instant,
    ended: bool,
}

impl Playing<'_> {
    async fn finish(mut self) -> Verdict {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.run.next(self.begin.elapsed()) {
                Next::Done(verdict) => return verdict,
                Next::Send(bytes) => self.send(&bytes, &mut buffer).await,
                Next::ShutDown => {
                    // An error is a connection that the server has ended, which reading finds.
                    let _ = self.stream.shutdown().await;
                }
                Next::Wait(until) => self.wait(until, &mut buffer).await,
            }
        }
    }

    /// Sends and reads at once: a server that answers before it has read all waits for us to read.
    async fn send(&mut self, mut bytes: &[u8], buffer: &mut [u8]) {
        while !bytes.is_empty() && !self.ended {
            let (mut reader, mut writer) = tokio::io::split(&mut self.stream);
            let read = tokio::select! {
                written = writer.write(bytes) => match written {
                    Ok(count @ 1..) => {
                        bytes = bytes.split_at_checked(count).unwrap_or_default().1;
                        continue;
                    }
                    // What the server said before it closed can still be read.
                    Ok(0) | Err(_) => return,
                },
                read = reader.read(buffer) => read,
            };
            self.take(read, buffer);
        }
    }

    async fn wait(&mut self, until: Duration, buffer: &mut [u8]) {
        let left = until.saturating_sub(self.begin.elapsed());
        if self.ended {
            return tokio::time::sleep(left).await;
        }
        if let Ok(read) = tokio::time::timeout(left, self.stream.read(buffer)).await {
            self.take(read, buffer);
        }
    }

    fn take(&mut self, read: io::Result<usize>, buffer: &[u8]) {
        match read {
            Ok(0) => self.end(Ended::Eof),
            Ok(count) => self.run.receive(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.end(Ended::Eof),
            Err(_) => self.end(Ended::Reset),
        }
    }

    fn end(&mut self, ended: Ended) {
        self.ended = true;
        self.run.receive_end(ended);
    }
}

/// A connection, plain or not.
#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let location = |url| Location::parse(url).map(|at| (at.secure, at.host, at.port, at.authority, at.path));
        let parts = |secure, host: &str, port, authority: &str, path: &str| {
            (secure, host.to_owned(), port, authority.to_owned(), path.to_owned())
        };
        assert_eq!(location("ws://localhost:9001").unwrap(), parts(false, "localhost", 9001, "localhost:9001", "/"));
        assert_eq!(location("wss://a.example/x?y=1").unwrap(), parts(true, "a.example", 443, "a.example", "/x?y=1"));
        assert_eq!(location("ws://[::1]:80/").unwrap(), parts(false, "::1", 80, "[::1]:80", "/"));
        for bad in ["", "localhost:1", "http://a/", "ws:///x", "ws://a:port/"] {
            assert!(location(bad).is_err(), "{bad}");
        }
    }
}
