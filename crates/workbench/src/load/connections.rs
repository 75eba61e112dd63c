//! Opening many connections, without a storm where none is wanted.

use super::run::{LoadError, Share};
use core::sync::atomic::{AtomicU32, Ordering};
use futures_util::stream::{self, StreamExt};
use switchboard_ws::{MaybeTls, WebSocket};
use tokio::net::TcpStream;

/// A connection of the generator.
pub(crate) type Socket = WebSocket<MaybeTls<TcpStream>>;

/// Connections that a thread opens at once.
const AT_ONCE: usize = 32;

/// How many connections of all threads are open.
#[derive(Debug, Default)]
pub(crate) struct Door {
    opened: AtomicU32,
    begun: AtomicU32,
}

impl Door {
    /// The number of the connection that begins now, of all threads together.
    pub(crate) fn next_number(&self) -> u32 {
        self.begun.fetch_add(1, Ordering::Relaxed)
    }

    /// Opens a share's connections.
    pub(crate) async fn open_all(&self, share: &Share, opened: impl Fn(u64)) -> Result<Vec<Socket>, LoadError> {
        let plan = &share.plan;
        let opening = (0..share.connections).map(|_| {
            let url = plan.url_of(self.next_number());
            async move { plan.connector.connect(&url).await }
        });
        let mut opening = stream::iter(opening).buffer_unordered(AT_ONCE);
        let mut sockets = Vec::with_capacity(share.connections as usize);
        while let Some(connected) = opening.next().await {
            let (socket, _) = connected.map_err(|error| LoadError::Connect {
                opened: self.opened.load(Ordering::Relaxed),
                wanted: plan.connections,
                error: Box::new(error),
            })?;
            self.opened.fetch_add(1, Ordering::Relaxed);
            opened(1);
            sockets.push(socket);
        }
        Ok(sockets)
    }
}

/// Beats of a thread that sleeps precisely: tokio's timer is late by up to a millisecond, which would be measured as the server's.
pub(crate) fn beats(start: std::time::Instant) -> tokio::sync::mpsc::Receiver<()> {
    let (beat, beats) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        let mut moment = start;
        while !beat.is_closed() {
            moment += core::time::Duration::from_millis(1);
            let now = std::time::Instant::now();
            if let Some(left) = moment.checked_duration_since(now) {
                std::thread::sleep(left);
            }
            // A full channel is a beat that has not been taken yet: it will find all that is due.
            let _ = beat.try_send(());
        }
    });
    beats
}
