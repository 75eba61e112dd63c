//! Sending what is only borrowed: it is copied into the output and allocated nowhere. Knows nothing of what else may be sent.

use switchboard_ws_proto::Opcode;
use tokio::io::{AsyncRead, AsyncWrite};

use super::WebSocket;
use crate::{Error, Sender};

/// Sending what is only borrowed.
impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// As [`send`](Self::send), a text that somebody else owns: it is copied, which costs no allocation. What is large or sent to many is better
    /// a [`Message`](crate::Message), of which only the reference is copied.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// for line in String::from("one\ntwo").lines() {
    ///     socket.send_text(line).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn send_text(&mut self, text: &str) -> Result<(), Error> {
        self.feed_text(text).await?;
        self.flush().await
    }

    /// As [`send_text`](Self::send_text), bytes.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// let samples = [0; 1024];
    /// socket.send_binary(&samples[..100]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn send_binary(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.feed_binary(bytes).await?;
        self.flush().await
    }

    /// As [`feed`](Self::feed), a text that somebody else owns.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// for line in String::from("one\ntwo").lines() {
    ///     socket.feed_text(line).await?;
    /// }
    /// socket.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// As [`feed`](Self::feed).
    pub async fn feed_text(&mut self, text: &str) -> Result<(), Error> {
        self.room().await?;
        self.queue(|connection| connection.send_text(text))
    }

    /// As [`feed`](Self::feed), bytes that somebody else owns.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// for chunk in [0; 1024].chunks(100) {
    ///     socket.feed_binary(chunk).await?;
    /// }
    /// socket.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// As [`feed`](Self::feed).
    pub async fn feed_binary(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.room().await?;
        self.queue(|connection| connection.send_data(Opcode::Binary, bytes))
    }
}

/// Sending what is only borrowed.
impl<S: AsyncRead + AsyncWrite + Unpin> Sender<S> {
    /// As [`WebSocket::send_text`].
    ///
    /// ```
    /// # async fn run(mut sender: switchboard_ws::Sender<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// sender.send_text(&String::from("borrowed")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`WebSocket::send`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`].
    pub async fn send_text(&mut self, text: &str) -> Result<(), Error> {
        self.feed_text(text).await?;
        self.flush().await
    }

    /// As [`WebSocket::send_binary`].
    ///
    /// ```
    /// # async fn run(mut sender: switchboard_ws::Sender<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// sender.send_binary(&[1, 2, 3]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`WebSocket::send`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`].
    pub async fn send_binary(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.feed_binary(bytes).await?;
        self.flush().await
    }

    /// As [`WebSocket::feed_text`].
    ///
    /// ```
    /// # async fn run(mut sender: switchboard_ws::Sender<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// sender.feed_text(&String::from("borrowed")).await?;
    /// sender.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`WebSocket::send`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::feed`].
    pub async fn feed_text(&mut self, text: &str) -> Result<(), Error> {
        self.room().await?;
        self.queue(|connection| connection.send_text(text))
    }

    /// As [`WebSocket::feed_binary`].
    ///
    /// ```
    /// # async fn run(mut sender: switchboard_ws::Sender<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// sender.feed_binary(&[1, 2, 3]).await?;
    /// sender.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`WebSocket::send`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::feed`].
    pub async fn feed_binary(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.room().await?;
        self.queue(|connection| connection.send_data(Opcode::Binary, bytes))
    }
}
