//! What is to be done, and doing it on threads of its own. Owns the threads and how their counts come together.

use super::connections::Door;
use super::tally::Tally;
use super::{echo, fanout, storm};
use core::time::Duration;
use std::borrow::Cow;
use std::sync::mpsc;
use std::sync::{Arc, Barrier, OnceLock};
use std::time::Instant;
use switchboard_ws::{ConnectError, Connector};

/// What kind of load.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Each connection's messages come back to it.
    Echo {
        /// Messages on their way on each connection, the next sent when one comes back, in place of a rate.
        depth: Option<u32>,
    },
    /// A server of the native protocol: some publish on a channel, the connections subscribe.
    Fanout {
        /// The channel.
        channel: String,
    },
    /// Connections are opened at the rate, and closed.
    Storm {
        /// How long each stays.
        hold: Duration,
    },
    /// Connections stay, and nothing is sent.
    Idle,
}

/// Everything that is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to. `{n}` in it is each connection's number, from 0.
    pub url: String,
    /// How connections are made.
    pub connector: Connector,
    /// What kind.
    pub kind: Kind,
    /// Connections.
    pub connections: u32,
    /// Messages, or for a storm connections, in a second, all together.
    pub rate: f64,
    /// Bytes of a message.
    pub size: usize,
    /// How long it is measured.
    pub duration: Duration,
    /// How long before that load runs unmeasured.
    pub warm_up: Duration,
    /// Threads that make the load.
    pub threads: u32,
}

impl Plan {
    /// Where the connection with this number goes to.
    pub fn url_of(&self, number: u32) -> Cow<'_, str> {
        if self.url.contains(NUMBER) {
            self.url.replace(NUMBER, &number.to_string()).into()
        } else {
            Cow::from(&self.url)
        }
    }
}

/// Stands in a URL for the number of the connection.
const NUMBER: &str = "{n}";

/// What happens meanwhile.
#[derive(Debug)]
pub enum Progress {
    /// So many connections are open.
    Opened(u64),
    /// What was counted in a moment, and since when load runs.
    Counted(Duration, Tally),
}

/// Why there was no load.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A connection could not be made.
    #[error("{opened} of {wanted} connections are open, the next is refused: {error}")]
    Connect {
        /// Connections that were open.
        opened: u32,
        /// That were wanted.
        wanted: u32,
        /// Why there is no other.
        error: Box<ConnectError>,
    },
    /// The server speaks another protocol than is asked of it.
    #[error("the server does not do as the native protocol has it: {0}")]
    Protocol(String),
    /// The system gives no more.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// A thread's part of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub(crate) plan: Arc<Plan>,
    /// Which thread.
    pub(crate) index: u32,
    /// Its first connection, and how many it has.
    pub(crate) first: u32,
    pub(crate) connections: u32,
    /// Messages in a second.
    pub(crate) rate: f64,
}

/// How a thread tells what it counts, and learns when all are ready.
pub(crate) struct Line {
    told: mpsc::Sender<Told>,
    ready: Arc<Barrier>,
    start: Arc<OnceLock<Instant>>,
}

enum Told {
    Opened(u64),
    Counted(Duration, Tally),
    Failed(LoadError),
}

impl Line {
    pub(crate) fn opened(&self, count: u64) {
        // An error is a reader that has given up.
        let _ = self.told.send(Told::Opened(count));
    }

    pub(crate) fn counted(&self, at: Duration, tally: Tally) {
        let _ = self.told.send(Told::Counted(at, tally));
    }

    /// Waits for all threads: load begins everywhere at the same moment, from which all count. Blocks.
    pub(crate) fn start(&self) -> Instant {
        self.ready.wait();
        *self.start.get_or_init(Instant::now)
    }
}

/// Makes the load, and tells what happens. Returns when all is done.
///
/// # Errors
/// The connections cannot be made. What goes wrong later is counted.
pub fn run(plan: Plan, mut tell: impl FnMut(Progress)) -> Result<(), LoadError> {
    let plan = Arc::new(plan);
    let threads = plan.threads.clamp(1, plan.connections.max(1));
    let ready = Arc::new(Barrier::new(threads as usize));
    let start = Arc::new(OnceLock::new());
    let (told, telling) = mpsc::channel();
    let door = Arc::new(Door::default());
    for index in 0..threads {
        let begin = |index: u32| u64::from(plan.connections) * u64::from(index) / u64::from(threads);
        let (first, next) = (begin(index), begin(index + 1));
        let share = Share {
            plan: Arc::clone(&plan),
            index,
            first: u32::try_from(first).unwrap_or(u32::MAX),
            connections: u32::try_from(next - first).unwrap_or(u32::MAX),
            rate: plan.rate / f64::from(threads),
        };
        let line = Line { told: told.clone(), ready: Arc::clone(&ready), start: Arc::clone(&start) };
        let door = Arc::clone(&door);
        std::thread::Builder::new().name(format!("load-{index}")).spawn(move || {
            let result = thread(&share, &line, &door);
            if let Err(error) = result {
                let _ = line.told.send(Told::Failed(error));
            }
        })?;
    }
    drop(told);
    let mut opened = 0;
    while let Ok(told) = telling.recv() {
        match told {
            Told::Opened(count) => {
                opened += count;
                tell(Progress::Opened(opened));
            }
            Told::Counted(at, tally) => tell(Progress::Counted(at, tally)),
            // The others wait for it at the barrier for ever; the process does not.
            Told::Failed(error) => return Err(error),
        }
    }
    Ok(())
}

fn thread(share: &Share, line: &Line, door: &Door) -> Result<(), LoadError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        match &share.plan.kind {
            Kind::Echo { depth } => echo::run(share, line, door, *depth).await,
            Kind::Fanout { channel } => fanout::run(share, line, door, channel).await,
            Kind::Storm { hold } => storm::run(share, line, door, *hold).await,
            Kind::Idle => storm::idle(share, line, door).await,
        }
    })
}
