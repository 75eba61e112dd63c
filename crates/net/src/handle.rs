//! How the rest of the process talks to the shards.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;
use switchboard_core::{App, AppId, ChannelName, Command, Disconnect, Outcome, Recipient, Reject, RejectCode};
use switchboard_hub::ChannelKey;
use switchboard_session::DIALECTS;
use tokio::sync::{mpsc, oneshot};

/// A command of the application for a shard.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) app: Arc<App>,
    pub(crate) command: Command,
    pub(crate) reply: oneshot::Sender<Outcome>,
}

/// A message to a shard that waits for nothing.
#[derive(Debug)]
pub(crate) enum Control {
    /// Stop accepting, send everybody away over the window, and say when all are gone.
    Drain { window: Duration, done: oneshot::Sender<()> },
    /// End all sessions of an application.
    EndApp { app: AppId, disconnect: Disconnect },
}

/// A way into the hub from any thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HubHandle {
    pub(crate) shards: Arc<[ShardHandle]>,
}

#[derive(Debug)]
pub(crate) struct ShardHandle {
    pub(crate) submissions: mpsc::Sender<Submission>,
    pub(crate) control: mpsc::Sender<Control>,
    pub(crate) counters: Arc<Counters>,
}

impl HubHandle {
    /// Carries out a command in the application's own name, past all grants.
    ///
    /// Cancel safety: a publication whose future is dropped may or may not be published.
    pub async fn submit(&self, app: Arc<App>, command: Command) -> Outcome {
        let unavailable = || Outcome::Rejected(Reject::new(RejectCode::Unavailable, "the server is shutting down"));
        let changes = command.changes();
        let shard = channel_of(&command).map_or(0, |channel| {
            let key = ChannelKey::new(app.id.clone(), channel);
            key.home(u16::try_from(self.shards.len()).unwrap_or(u16::MAX)).0
        });
        let Some(shard) = self.shards.get(usize::from(shard)) else { return unavailable() };
        let (reply, answer) = oneshot::channel();
        if shard.submissions.send(Submission { app, command, reply }).await.is_err() {
            return unavailable();
        }
        answer.await.unwrap_or_else(|_| match changes {
            true => Outcome::Rejected(Reject::new(RejectCode::Unconfirmed, UNCONFIRMED)),
            false => unavailable(),
        })
    }

    /// Ends all sessions of an application. Whoever is admitted to it afterwards stays.
    ///
    /// Cancel safety: some shards may not be told if the future is dropped.
    pub async fn end_app(&self, app: &AppId, disconnect: &Disconnect) {
        for shard in &*self.shards {
            // An error is a shard that has stopped, and its sessions with it.
            let _ = shard.control.send(Control::EndApp { app: app.clone(), disconnect: disconnect.clone() }).await;
        }
    }

    /// Counters since the start and gauges now.
    pub fn stats(&self) -> Stats {
        let shards: Vec<ShardStats> = self.shards.iter().map(|shard| shard.counters.read()).collect();
        let mut total = ShardStats::default();
        for shard in &shards {
            total.add(shard);
        }
        Stats { total, shards }
    }
}

const UNCONFIRMED: &str = "the server has ended before it could answer: it may be done or not";

/// The channel at whose home a command is taken. What is done to a user goes the way of what is sent to that user, so that the two keep their order.
fn channel_of(command: &Command) -> Option<ChannelName> {
    match command {
        Command::Control(control) => match control.whom() {
            Recipient::User(user) => Some(ChannelName::of_user(user)),
            Recipient::Session(_) => None,
        },
        command => command.channel().cloned(),
    }
}

/// What the whole server does.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// All shards together.
    pub total: ShardStats,
    /// Each shard.
    pub shards: Vec<ShardStats>,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What a shard does. Gauges count what is now, all else counts since the start.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct ShardStats {
            $($(#[$doc])* pub $name: u64,)*
            /// Gauge: sessions, by dialect ([`DIALECTS`]).
            pub sessions: [u64; DIALECTS.len()],
        }

        /// Written by the shard alone, read by anybody: no read-modify-write, no lock.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($name: AtomicU64,)*
            sessions: [AtomicU64; DIALECTS.len()],
        }

        impl Counters {
            pub(crate) fn write(&self, stats: &ShardStats) {
                $(self.$name.store(stats.$name, Ordering::Relaxed);)*
                for (counter, value) in self.sessions.iter().zip(stats.sessions) {
                    counter.store(value, Ordering::Relaxed);
                }
            }

            fn read(&self) -> ShardStats {
                let mut stats = ShardStats { $($name: self.$name.load(Ordering::Relaxed),)* ..ShardStats::default() };
                for (value, counter) in stats.sessions.iter_mut().zip(&self.sessions) {
                    *value = counter.load(Ordering::Relaxed);
                }
                stats
            }
        }

        impl ShardStats {
            fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
                for (value, other) in self.sessions.iter_mut().zip(other.sessions) {
                    *value += other;
                }
            }
        }
    };
}

counters! {
    /// Gauge: WebSocket connections.
    connections,
    /// Gauge: those of them over HTTP/2.
    connections_http2,
    /// Gauge: streams of events or lines over plain HTTP.
    streams,
    /// Writes to WebSockets that took something.
    writes,
    /// Looks at the clock.
    clock_reads,
    /// Gauge: channels with subscribers.
    channels,
    /// Gauge: subscriptions.
    subscriptions,
    /// Connections that were accepted.
    accepted,
    /// Connections that were refused for want of a place.
    refused_full,
    /// Requests of clients that were refused.
    refused_upgrades,
    /// HTTP/2 connections that were ended because the client reset too many streams.
    reset_floods,
    /// Messages from clients.
    messages_in,
    /// Publications queued for subscribers, each counted for each of them.
    messages_out,
    /// Publications accepted.
    publications,
    /// Bytes read from WebSockets and streams.
    bytes_in,
    /// Bytes written to WebSockets and streams.
    bytes_out,
    /// Messages compressed, each once however many clients get it.
    compressed,
    /// Bytes of messages for clients with compression, before it; what many share counts once.
    compressed_bytes_before,
    /// The same after it, with frame headers.
    compressed_bytes_after,
    /// Requests that were refused.
    rejects,
    /// Connections whose client broke the WebSocket protocol.
    protocol_errors,
    /// Clients that were given up because they read too slowly.
    slow_consumers,
    /// Clients that were silent for too long.
    unresponsive,
    /// Times that something was lost on the way inside, and subscribers were told.
    losses,
}
