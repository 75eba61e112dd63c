//! Owns what a connection of the generator runs over: a TCP socket, with TLS on it where the target asks for that. Knows no WebSocket.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::fd::{AsRawFd, RawFd},
};

use anyhow::{Context, Result};
use rustls::{ClientConnection, StreamOwned};

use crate::{client::SILENCE_MAX, scenario::Target};

#[derive(Debug)]
pub enum Transport {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Transport {
    /// Connects, blocking: on loopback, that does not wait for the server to accept. TLS begins with the first byte written or read.
    pub fn open(target: &Target) -> Result<Self> {
        let socket = TcpStream::connect(target.addr).with_context(|| format!("cannot connect to {}", target.addr))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SILENCE_MAX))?;
        Ok(match &target.tls {
            None => Self::Tcp(socket),
            Some(tls) => Self::Tls(Box::new(StreamOwned::new(tls.client(target.addr)?, socket))),
        })
    }

    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(socket) => socket,
            Self::Tls(stream) => stream.get_ref(),
        }
    }

    /// Writes a little (what fits a socket's empty buffer) without waiting for the peer: behind a TLS handshake that has only begun, [`read`](Self::read)
    /// sends it as soon as that is done.
    pub fn write_first(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.write_all(bytes),
            Self::Tls(stream) => {
                stream.conn.writer().write_all(bytes)?;
                stream.conn.write_tls(&mut stream.sock).map(drop)
            }
        }
    }

    /// Whether a read that brought `n` bytes, of `asked`, has emptied the socket: what comes later raises a new edge. One of TLS
    /// ends with a record.
    pub fn is_drained(&self, n: usize, asked: usize) -> bool {
        matches!(self, Self::Tcp(_)) && n < asked
    }
}

impl Read for Transport {
    /// A server that closes the connection without TLS's own goodbye (RFC 8446 §6.1) has closed it all the same: how long a message is the frames say.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Tls(stream) => match stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                result => result,
            },
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

impl AsRawFd for Transport {
    fn as_raw_fd(&self) -> RawFd {
        self.tcp().as_raw_fd()
    }
}
