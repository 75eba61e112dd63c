//! Where a connection stands between open and finished, and what the passing of time does to it. Knows nothing of frames.

use super::{Connection, Waiting};
use crate::Time;
use crate::frame::Opcode;
use crate::keepalive::Due;

/// Time.
impl Connection {
    /// When to call [`handle_timeout`](Self::handle_timeout) next. [`Time::ZERO`] means at once: something began that needs to know the time.
    /// May change with every call of another method, so look before waiting.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// // Nothing is waited for.
    /// assert_eq!(connection.poll_timeout(), None);
    /// ```
    #[inline]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.keepalive.deadline()
    }

    /// Tells the time. Pings a peer that was silent for `ping_interval` (looked at only here, so up to twice as long), reports it as
    /// [`Event::Unresponsive`](super::Event::Unresponsive) if nothing comes within `pong_timeout`, and gives up on a peer that does not close within `close_timeout`.
    ///
    /// A compressor that has lain idle for one to two intervals of pings is given back: the next message begins a new context.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// use switchboard_ws_proto::Time;
    ///
    /// if connection.poll_timeout().is_some() {
    ///     connection.handle_timeout(Time::from_micros(1_000_000));
    /// }
    /// ```
    pub fn handle_timeout(&mut self, now: Time) {
        let looks = self.keepalive.deadline().is_some_and(|at| Time::ZERO < at && at <= now);
        if let Some(outbound) = self.outbound.as_mut().filter(|_| looks && self.sending_fragments.is_none()) {
            outbound.rest();
        }
        match self.keepalive.handle_timeout(now) {
            Due::Nothing => {}
            Due::Ping => self.push_copied(Opcode::Ping, true, &[]),
            Due::Unresponsive => {
                self.gave_up = true;
                self.close_sent = true;
                self.stop_reading();
                self.transmit.clear();
                self.pong_due = None;
                self.waiting = Waiting::Unresponsive;
            }
            Due::GiveUp => {
                self.gave_up = true;
                self.stop_reading();
                self.transmit.clear();
            }
        }
    }
}

/// State.
impl Connection {
    /// Messages may be sent: no Close was sent or received, and nothing failed.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// assert!(connection.is_open());
    /// ```
    #[inline]
    pub fn is_open(&self) -> bool {
        !self.ending || (!self.close_sent && !self.eof)
    }

    /// Something of the end has begun: one side has closed, or ended its stream, or was given up.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// assert!(!connection.is_ending());
    /// connection.receive_eof();
    /// assert!(connection.is_ending());
    /// ```
    #[inline]
    pub fn is_ending(&self) -> bool {
        self.ending
    }

    /// A Close was sent (as an answer too), and the socket is still needed.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// use switchboard_ws_proto::CloseCode;
    ///
    /// connection.close(CloseCode::NORMAL, "")?;
    /// assert!(connection.is_closing());
    /// # Ok::<(), switchboard_ws_proto::SendError>(())
    /// ```
    pub fn is_closing(&self) -> bool {
        self.close_sent && !self.is_finished()
    }

    /// The peer's Close has come.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// assert!(!connection.close_received());
    /// ```
    pub fn close_received(&self) -> bool {
        self.close_received
    }

    /// Everything that will ever be sent is written: shut down the writing half of the socket. A server does so after both Closes, and
    /// either side after a failure; a client otherwise leaves it to the server (§7.1.1).
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// assert!(!connection.should_shut_down_write());
    /// ```
    pub fn should_shut_down_write(&self) -> bool {
        self.transmit.is_empty()
            && self.close_sent
            && (self.failed || self.gave_up || (self.close_received && self.is_server()))
    }

    /// The socket may be dropped. Until then keep reading (what comes is ignored): to drop a socket with unread bytes would reset it,
    /// and the peer might lose our Close. A client waits for the server's end of the stream, at most until `close_timeout`.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// connection.receive_eof();
    /// assert!(connection.is_finished());
    /// ```
    pub fn is_finished(&self) -> bool {
        let closed = self.close_sent && self.close_received && self.is_server() && self.transmit.is_empty();
        // A peer that ended its stream may still read, so our Close goes out first.
        let ended = self.eof && (self.transmit.is_empty() || !self.close_sent);
        self.gave_up || closed || ended
    }
}
