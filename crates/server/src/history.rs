//! The history on disk: opening it, and the thread that writes it for all shards.
//!
//! Owns how requests are gathered into batches and how it goes at the end. What is decided is decided in `switchboard-store`.

use crate::clock::{self, Clock};
use crate::config::HistoryFiles;
use anyhow::Context;
use core::sync::atomic::{AtomicU64, Ordering};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use switchboard_hub::ShardId;
use switchboard_net::{Backed, Backend};
use switchboard_store::{
    DurableBroker, FileDisk, JournalOptions, RecoveredChannel, Replies, Reply, Report, Request, Store, StoreOptions,
    StoreState, StoreStats, SyncTimes,
};
use tokio::sync::mpsc;

/// A history that is open and has no shards yet.
#[derive(Debug)]
pub(crate) struct Opened {
    store: Store<FileDisk>,
    channels: Vec<RecoveredChannel>,
    shards: u16,
    watch: Watch,
    files: HistoryFiles,
}

/// How the history goes, for whoever wants to know. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    stats: Arc<Mutex<StoreStats>>,
    pub(crate) syncs: Arc<SyncTimes>,
}

impl Watch {
    pub(crate) fn stats(&self) -> StoreStats {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The thread that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    thread: JoinHandle<()>,
}

/// Batches of requests that wait for the thread, all shards together. Each shard's broker bounds their bytes.
const REQUEST_BATCHES: usize = 64;
/// Batches of replies that wait for a shard.
const REPLY_BATCHES: usize = 64;
/// Damage beyond which it is only counted in the log.
const DAMAGE_SHOWN: usize = 20;

/// Opens the history in a folder, for so many shards. Blocks while it is read.
///
/// # Errors
/// The folder cannot be used, or what is in it cannot be read at all.
pub(crate) fn open(files: &HistoryFiles, shards: u16, seed: u64) -> anyhow::Result<Opened> {
    let disk = FileDisk::open(&files.folder).context("the history cannot be opened (history.data_dir, --data-dir)")?;
    let syncs = disk.sync_times();
    let begin = Instant::now();
    let mut progress = progress();
    let options = StoreOptions { fsync: files.fsync, journal: journal_options(seed) };
    let opened = Store::open(disk, options, clock::now(), shards, &mut progress);
    let (store, channels, report) = opened.with_context(|| files.folder.display().to_string())?;
    tell(&report, &files.folder, begin.elapsed());
    let stats = Arc::new(Mutex::new(store.stats()));
    Ok(Opened { store, channels, shards, watch: Watch { stats, syncs }, files: files.clone() })
}

/// The journal's options, with what has to be random from `seed`.
pub(crate) fn journal_options(seed: u64) -> JournalOptions {
    // Epochs are shown to JavaScript and people: neither needs all 64 bits.
    JournalOptions::new(seed.rotate_left(17), seed & 0xFFFF_FFFF_FFFF)
}

/// Tells once a second how far reading has come.
pub(crate) fn progress() -> impl FnMut(u64, u64) {
    let mut told = Instant::now();
    move |done, total| {
        if told.elapsed() >= Duration::from_secs(1) && done < total {
            told = Instant::now();
            let percent = done.saturating_mul(100) / total.max(1);
            tracing::info!("reading the history: {percent} % of {} MiB", total >> 20);
        }
    }
}

fn tell(report: &Report, folder: &Path, took: Duration) {
    for damage in report.damage.iter().take(DAMAGE_SHOWN) {
        tracing::error!("the history is damaged: {damage}");
    }
    if !report.damage.is_empty() {
        tracing::error!(
            damaged = report.damage.len(),
            new_epochs = report.new_epochs,
            "what is damaged was refused, the rest is served; clients of channels that begin a new epoch are told that they cannot resume"
        );
    }
    if report.skipped > 0 {
        tracing::warn!(
            channels = report.skipped,
            "the last process did not end in order: these channels skip offsets, since publications may have been delivered that were not on the disk yet"
        );
    }
    tracing::info!(
        folder = %folder.display(), channels = report.channels, publications = report.publications, bytes = report.bytes,
        clean = report.clean, torn = report.torn, millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "the history is open"
    );
}

impl Opened {
    pub(crate) fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// Gets ready for shards, whose brokers together keep at most `bytes_max` bytes.
    pub(crate) fn shards(self, bytes_max: usize, epoch: u64) -> Shards {
        let (requests, asked) = mpsc::channel(REQUEST_BATCHES);
        let bytes_max = bytes_max / usize::from(self.shards.max(1));
        Shards { opened: self, requests, asked, bytes_max, epoch, answers: Vec::new(), issued: Vec::new() }
    }
}

/// A history while its shards are made.
#[derive(Debug)]
pub(crate) struct Shards {
    opened: Opened,
    requests: mpsc::Sender<Vec<Request>>,
    asked: mpsc::Receiver<Vec<Request>>,
    bytes_max: usize,
    epoch: u64,
    answers: Vec<mpsc::Sender<Vec<Reply>>>,
    issued: Vec<Arc<AtomicU64>>,
}

impl Shards {
    /// The broker of the next shard, with all that was found of its channels.
    pub(crate) fn next(&mut self, shard: ShardId) -> Backed<DurableBroker> {
        // Apart from each other, and from what other starts have drawn.
        let epoch = (self.epoch ^ u64::from(shard.0 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)) & 0xFFFF_FFFF_FFFF;
        let mut broker = DurableBroker::new(shard, self.opened.files.fsync, epoch, self.bytes_max);
        let now = clock::now();
        let shards = self.opened.shards;
        for channel in self.opened.channels.extract_if(.., |channel| channel.key.home(shards) == shard) {
            broker.restore(now, channel);
        }
        let (answer, replies) = mpsc::channel(REPLY_BATCHES);
        self.answers.push(answer);
        self.issued.push(broker.issued());
        Backed { broker, backend: Some(Backend { requests: self.requests.clone(), replies }) }
    }

    /// Starts the thread, once all shards are made.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(self) -> io::Result<Writer> {
        let Self { opened: Opened { store, watch, files, .. }, asked, answers, issued, .. } = self;
        let writing = Writing { store, asked, answers, issued, watch, files, clock: Clock::new() };
        let thread = std::thread::Builder::new().name("history".to_owned()).spawn(move || writing.run())?;
        Ok(Writer { thread })
    }
}

impl Writer {
    /// Waits until everything is written. The shards must have been stopped.
    pub(crate) fn finish(self) {
        if self.thread.join().is_err() {
            tracing::error!("the thread of the history had panicked");
        }
    }
}

/// What the thread has.
struct Writing {
    store: Store<FileDisk>,
    asked: mpsc::Receiver<Vec<Request>>,
    answers: Vec<mpsc::Sender<Vec<Reply>>>,
    issued: Vec<Arc<AtomicU64>>,
    watch: Watch,
    files: HistoryFiles,
    /// If the system's were set back, nothing would be due until it has come as far again: neither a sync nor a look for room.
    clock: Clock,
}

impl Writing {
    fn run(mut self) {
        match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime.block_on(self.write()),
            // The shards notice that their way is gone.
            Err(error) => return tracing::error!(%error, "the thread of the history cannot start"),
        }
        let issued: Vec<u64> = self.issued.iter().map(|issued| issued.load(Ordering::Acquire)).collect();
        match self.store.close(&issued) {
            Ok(true) => tracing::info!("the history is closed"),
            Ok(false) => {
                tracing::warn!("not all that was published could be written: the next start takes it for a crash");
            }
            Err(error) => {
                tracing::error!(%error, "the history could not be closed: the next start takes it for a crash");
            }
        }
    }

    /// Takes what has come in as one batch, until all shards are gone. While a batch is being synced the next one gathers.
    async fn write(&mut self) {
        let mut batches = Vec::with_capacity(REQUEST_BATCHES);
        let mut state = self.store.state();
        loop {
            let received = match self.store.poll_timeout().map(|due| due.since(self.clock.now())) {
                Some(wait) => tokio::time::timeout(wait, self.asked.recv_many(&mut batches, REQUEST_BATCHES)).await,
                None => Ok(self.asked.recv_many(&mut batches, REQUEST_BATCHES).await),
            };
            if received == Ok(0) {
                return;
            }
            if !batches.is_empty() {
                let replies = self.store.handle(self.clock.now(), batches.drain(..).flatten());
                self.answer(replies).await;
            }
            let now = self.clock.now();
            if self.store.poll_timeout().is_some_and(|due| due <= now) {
                let replies = self.store.handle_timeout(now);
                self.answer(replies).await;
            }
            let stats = self.store.stats();
            if stats.state != state {
                state = stats.state.clone();
                self.tell_state(&state);
            }
            *self.watch.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
        }
    }

    async fn answer(&self, replies: Replies) {
        for (ShardId(shard), replies) in replies {
            if let Some(way) = self.answers.get(usize::from(shard)) {
                // An error is a shard that has stopped.
                let _ = way.send(replies).await;
            }
        }
    }

    fn tell_state(&self, state: &StoreState) {
        let folder = self.files.folder.display();
        match state {
            StoreState::Writable => tracing::info!(%folder, "the history takes publications again"),
            StoreState::Full => tracing::error!(
                %folder,
                "the disk of the history is full: publishers to channels with history are refused until there is room, readers and other channels are served"
            ),
            StoreState::Failed(error) => tracing::error!(
                %folder, %error,
                "the disk of the history has failed: publishers to channels with history are refused until the server is started again, readers and other channels are served"
            ),
        }
    }
}
