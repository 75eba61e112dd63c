//! Starting and stopping the shards.

use crate::backend::{Backed, ShardBroker};
use crate::framing::framings;
use crate::handle::{Control, Counters, HubHandle, ShardHandle, Submission};
use crate::limits::ConnectionLimits;
use crate::settings::Settings;
use crate::shard_loop::{self, Ended, Inputs, Shared};
use crate::state::State;
use axum::Router;
use core::net::SocketAddr;
use core::time::Duration;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use switchboard_hub::{Mail, MemoryBroker, Portions, Shard, ShardConfig, ShardId};
use switchboard_session::{Directory, Sessions};
use tokio::sync::{mpsc, oneshot, watch};

/// Sockets that are bound, before anybody is served.
#[derive(Debug)]
pub struct Bound {
    settings: Arc<Settings>,
    directory: Arc<dyn Directory>,
    address: SocketAddr,
    listeners: Vec<std::net::TcpListener>,
    submissions: Vec<mpsc::Receiver<Submission>>,
    control: Vec<mpsc::Receiver<Control>>,
    hub: HubHandle,
}

/// Shards that run, each on a thread of its own.
#[derive(Debug)]
pub struct Server {
    hub: HubHandle,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    failed: watch::Receiver<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// Batches of mail that may be on their way between two shards.
const MAIL_BATCHES: usize = 64;
/// Deliveries that wait for a way to another shard.
const MAILBOX_BYTES: usize = 1024 * 1024;
/// Commands of applications that wait for a shard.
const SUBMISSIONS: usize = 1_024;
const CONTROL_MESSAGES: usize = 16;
/// Connections that the kernel keeps for a shard that is busy.
const BACKLOG: i32 = 4_096;

/// Binds a socket for each shard to the same address.
///
/// # Errors
/// The address is taken, or is none of this machine's.
pub fn bind(settings: Settings, directory: Arc<dyn Directory>) -> io::Result<Bound> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let shards = if settings.shards == 0 { u16::try_from(cores).unwrap_or(u16::MAX) } else { settings.shards };
    let first = listen(settings.listen, true)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..shards {
        listeners.push(listen(address, false)?);
    }
    let (submit, submissions): (Vec<_>, Vec<_>) = (0..shards).map(|_| mpsc::channel(SUBMISSIONS)).unzip();
    let (steer, control): (Vec<_>, Vec<_>) = (0..shards).map(|_| mpsc::channel(CONTROL_MESSAGES)).unzip();
    let handle = |(submissions, control)| ShardHandle { submissions, control, counters: Arc::new(Counters::default()) };
    let hub = HubHandle { shards: submit.into_iter().zip(steer).map(handle).collect() };
    Ok(Bound { settings: Arc::new(settings), directory, address, listeners, submissions, control, hub })
}

/// Each shard has a socket of its own on the same port, and the kernel spreads connections over them.
fn listen(address: SocketAddr, exclusive: bool) -> io::Result<std::net::TcpListener> {
    if exclusive && address.port() != 0 {
        // SO_REUSEPORT would let two servers of the same user share a port without a word.
        drop(std::net::TcpListener::bind(address)?);
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Bound {
    /// Where clients connect, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// A way into the hub. It answers once the server runs.
    pub fn hub(&self) -> HubHandle {
        self.hub.clone()
    }

    /// Starts the shards with brokers that keep publications in memory. Requests that are no WebSocket's go to `api`.
    ///
    /// # Errors
    /// The system gives no more threads or descriptors.
    pub fn serve(self, api: &Router) -> io::Result<Server> {
        let seed = self.settings.seed;
        let bytes_max = self.settings.history_bytes_max / self.listeners.len().max(1);
        self.serve_with(api, |shard| {
            // Positions are shown to JavaScript, names to people: neither needs all 64 bits.
            let epoch = (seed ^ u64::from(shard.0).wrapping_mul(0x9E37_79B9_7F4A_7C15)) & 0xFFFF_FFFF_FFFF;
            Backed { broker: MemoryBroker::new(epoch, bytes_max), backend: None }
        })
    }

    /// How many shards there will be.
    pub fn shards(&self) -> u16 {
        u16::try_from(self.listeners.len()).unwrap_or(u16::MAX)
    }

    /// Starts the shards, each with a broker of its own.
    ///
    /// # Errors
    /// The system gives no more threads or descriptors.
    pub fn serve_with<B: ShardBroker>(
        self,
        api: &Router,
        mut broker: impl FnMut(ShardId) -> Backed<B>,
    ) -> io::Result<Server> {
        let count = self.listeners.len();
        let limits = ConnectionLimits::new(
            self.settings.connections_max,
            self.settings.connections_per_address,
            self.settings.compression.map_or(0, |compression| compression.contexts_max),
        );
        let (stop, stopped) = watch::channel(false);
        let (fail, failed) = watch::channel(false);
        let (ways, mail): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel::<Vec<Mail>>(MAIL_BATCHES)).unzip();
        let mut threads = Vec::with_capacity(count);
        let inputs = self.listeners.into_iter().zip(self.submissions).zip(self.control).zip(mail);
        for (index, (((listener, submissions), control), mail)) in inputs.enumerate() {
            let inputs = Inputs { listener, submissions, control, mail, stop: stopped.clone() };
            let id = ShardId(u16::try_from(index).unwrap_or(u16::MAX));
            let Backed { broker, backend } = broker(id);
            let start = Start {
                id,
                broker,
                shards: u16::try_from(count).unwrap_or(u16::MAX),
                settings: Arc::clone(&self.settings),
                directory: Arc::clone(&self.directory),
                limits: Arc::clone(&limits),
                counters: self.hub.shards.get(index).map(|shard| Arc::clone(&shard.counters)).unwrap_or_default(),
                ways: ways.iter().enumerate().map(|(to, way)| (to != index).then(|| way.clone())).collect(),
                api: api.clone(),
            };
            let fail = fail.clone();
            let thread = std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
                let options = tokio::runtime::LocalOptions::default();
                let ended = match tokio::runtime::Builder::new_current_thread().enable_all().build_local(options) {
                    Ok(runtime) => {
                        runtime.block_on(async { shard_loop::run(start.into_shared(), inputs, backend).await })
                    }
                    Err(error) => {
                        tracing::error!(%error, "a shard cannot start");
                        Ended::Failed
                    }
                };
                if ended == Ended::Failed {
                    fail.send_replace(true);
                }
            })?;
            threads.push(thread);
        }
        Ok(Server { hub: self.hub, address: self.address, stop, failed, threads })
    }
}

/// What a shard's thread makes its state from: nothing of that state may cross threads.
struct Start<B> {
    id: ShardId,
    broker: B,
    shards: u16,
    settings: Arc<Settings>,
    directory: Arc<dyn Directory>,
    limits: Arc<ConnectionLimits>,
    counters: Arc<Counters>,
    ways: Vec<Option<mpsc::Sender<Vec<Mail>>>>,
    api: Router,
}

impl<B: ShardBroker> Start<B> {
    fn into_shared(self) -> Rc<Shared<B>> {
        let seed = self.settings.seed;
        let config = ShardConfig {
            id: self.id,
            shards: self.shards,
            node: 0,
            first_serial: (seed >> 32) & 0xFFFF_FFFF,
            mailbox_bytes: MAILBOX_BYTES,
            portions: Portions {
                position_check: self.settings.position_check,
                trace: self.settings.trace,
                ..Portions::default()
            },
        };
        let compression = Arc::default();
        let framings = framings(self.settings.compression, &compression);
        let sessions = Sessions::new(Shard::new(config, self.broker), Arc::clone(&self.directory), framings);
        Rc::new(Shared {
            state: Rc::new(State::new(sessions, self.counters, compression, self.ways, self.settings.notices.clone())),
            settings: self.settings,
            directory: self.directory,
            limits: self.limits,
            api: self.api,
            draining: watch::Sender::new(false),
            deserted: watch::Sender::new(false),
        })
    }
}

impl Server {
    /// A way into the hub.
    pub fn hub(&self) -> HubHandle {
        self.hub.clone()
    }

    /// Where clients connect.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Waits until a shard cannot go on. The process should end then: a part of the channels is gone.
    ///
    /// Cancel safety: safe.
    pub async fn failed(&self) {
        let mut failed = self.failed.clone();
        if failed.wait_for(|failed| *failed).await.is_err() {
            // All shards were stopped in order.
            core::future::pending::<()>().await;
        }
    }

    /// Stops accepting and sends every client away, spread over `window`. Returns when all are gone, or a few seconds after the window.
    ///
    /// Cancel safety: the drain goes on if the future is dropped.
    pub async fn drain(&self, window: Duration) {
        let mut waiting = Vec::new();
        for shard in &*self.hub.shards {
            let (done, drained) = oneshot::channel();
            if shard.control.send(Control::Drain { window, done }).await.is_ok() {
                waiting.push(drained);
            }
        }
        for drained in waiting {
            // An error is a shard that has stopped.
            let _ = drained.await;
        }
    }

    /// Stops the shards and waits for their threads. Whoever is still connected is cut off.
    pub fn stop(self) {
        // An error is shards that have stopped by themselves.
        let _ = self.stop.send(true);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a shard had panicked");
            }
        }
    }
}
