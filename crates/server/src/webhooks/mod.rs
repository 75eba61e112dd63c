//! The thread that tells webhooks: it carries notices to the dispatcher, its requests to receivers and its lines to the disk. What is decided is decided in
//! `switchboard-webhooks`.

mod client;
mod connection;
mod file;

use crate::apps::Apps;
use crate::clock::Clock;
use crate::config::{AppConfig, Config, HistoryFiles, WebhookTarget};
use anyhow::Context;
use aws_lc_rs::{hmac, rand};
use bytes::Bytes;
use client::{Client, Fault};
use connection::{Connection, Kept, Said};
use core::time::Duration;
use file::QueueFile;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use switchboard_hub::NoticeBatch;
use switchboard_store::{FileDisk, Fsync};
use switchboard_webhooks::{Answer, Breaker, Dispatcher, Request, Webhook, WebhookStats, journal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// The thread, and what becomes of it.
#[derive(Debug)]
pub(crate) struct Webhooks {
    thread: JoinHandle<()>,
    deadline: watch::Sender<Option<tokio::time::Instant>>,
    watch: Watch,
}

/// How it goes, for whoever wants to know. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Arc<Mutex<Figures>>);

/// Counters since the start and gauges now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// In the order of the configuration.
    pub(crate) webhooks: Vec<Figure>,
    /// Notices that found no room on their way here.
    pub(crate) lost: u64,
    /// Whether the queue can be written down; `None` if it is in memory only.
    pub(crate) writable: Option<bool>,
}

/// How one webhook goes.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    app: String,
    /// Its place among the application's.
    place: usize,
    pub(crate) stats: WebhookStats,
    pub(crate) breaker: Breaker,
}

impl Figure {
    /// What tells it from others, without its URL.
    pub(crate) fn labels(&self) -> [(&'static str, String); 2] {
        [("app", self.app.clone()), ("webhook", self.place.to_string())]
    }
}

impl Watch {
    pub(crate) fn figures(&self) -> Figures {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Batches of notices that wait for the thread, all shards together. Each shard bounds its own in bytes.
const BATCHES: usize = 64;
/// The folder of the queue, inside of the history's.
const FOLDER: &str = "webhooks";
/// What a webhook is told of events that it will never be told.
const LOST: HeaderName = HeaderName::from_static("x-switchboard-lost");
const KEY: HeaderName = HeaderName::from_static("x-pusher-key");
const SIGNATURE: HeaderName = HeaderName::from_static("x-pusher-signature");

/// The way that notices take to the thread.
pub(crate) fn channel() -> (mpsc::Sender<NoticeBatch>, mpsc::Receiver<NoticeBatch>) {
    mpsc::channel(BATCHES)
}

/// Starts the thread.
///
/// # Errors
/// The queue on disk cannot be read, a certificate is no good, or the system gives no thread.
pub(crate) fn start(
    apps: Arc<Apps>,
    config: &Config,
    notices: mpsc::Receiver<NoticeBatch>,
) -> anyhow::Result<Webhooks> {
    let client = Client::new(&config.webhooks)?;
    let opened = config.history_files.as_ref().map(open).transpose()?;
    let (file, recovered) = opened.unzip();
    let configured = apps.all();
    let mut dispatcher = Dispatcher::new(webhooks(&configured), config.webhooks.settings.clone(), file.is_some());
    let clock = Clock::new();
    let forgotten = dispatcher.restore(clock.now(), recovered.unwrap_or_default());
    if forgotten > 0 {
        tracing::warn!(events = forgotten, "events waited for webhooks that are configured no more: they are gone");
    }
    if dispatcher.waiting() > 0 {
        tracing::info!(events = dispatcher.waiting(), "events of the last process wait for their webhooks");
    }
    let (deadline, ends) = watch::channel(None);
    let watch = Watch::default();
    let mut telling = Telling {
        apps,
        configured,
        dispatcher,
        file,
        client,
        requests: JoinSet::new(),
        kept: Kept::default(),
        lost: 0,
        watch: watch.clone(),
        clock,
    };
    telling.rewrite();
    telling.publish();
    let run = move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(telling.run(notices, ends)),
        Err(error) => tracing::error!(%error, "the thread of the webhooks cannot start"),
    };
    let thread = std::thread::Builder::new().name("webhooks".to_owned()).spawn(run)?;
    Ok(Webhooks { thread, deadline, watch })
}

fn open(files: &HistoryFiles) -> anyhow::Result<(QueueFile<FileDisk>, journal::Recovered)> {
    let folder: PathBuf = files.folder.join(FOLDER);
    let named = || format!("the queue of the webhooks in {}", folder.display());
    let mut file = QueueFile::new(FileDisk::open(&folder).with_context(named)?, files.fsync != Fsync::Never);
    let recovered = journal::read(&file.read().with_context(named)?).with_context(named)?;
    if recovered.damaged > 0 {
        // The last line is torn if the process ended while it was written.
        tracing::warn!(lines = recovered.damaged, folder = %folder.display(), "a part of the webhooks' queue is damaged: the rest is told");
    }
    Ok((file, recovered))
}

fn webhooks(apps: &[Arc<AppConfig>]) -> Vec<Webhook> {
    apps.iter().flat_map(|app| &app.webhooks).map(|target| target.webhook.clone()).collect()
}

impl Webhooks {
    pub(crate) fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// Tells what can be told within the window, and ends the thread. The shards must have been stopped.
    pub(crate) async fn finish(self, window: Duration) {
        self.deadline.send_replace(Some(tokio::time::Instant::now() + window));
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the thread of the webhooks had panicked");
        }
    }
}

/// What came of a webhook's request.
type Asked = (u32, Result<(Said, Option<Connection>), Fault>);

/// What the thread has.
struct Telling {
    apps: Arc<Apps>,
    /// The applications as they were last looked at.
    configured: Vec<Arc<AppConfig>>,
    dispatcher: Dispatcher,
    file: Option<QueueFile<FileDisk>>,
    client: Client,
    /// One at a time for each webhook.
    requests: JoinSet<Asked>,
    kept: Kept,
    lost: u64,
    watch: Watch,
    clock: Clock,
}

impl Telling {
    async fn run(
        mut self,
        mut notices: mpsc::Receiver<NoticeBatch>,
        mut ends: watch::Receiver<Option<tokio::time::Instant>>,
    ) {
        let mut batches = Vec::with_capacity(BATCHES);
        let mut open = true;
        loop {
            self.dispatcher.handle_timeout(self.clock.now());
            self.write();
            self.request();
            self.kept.close(|number| self.dispatcher.webhook(number).is_some());
            self.publish();
            let now = self.clock.now();
            if !open && self.requests.is_empty() && self.dispatcher.is_drained(now) {
                break;
            }
            let deadline = *ends.borrow_and_update();
            let failed = self.file.as_ref().is_some_and(QueueFile::has_failed);
            let wait_max = if failed { DISK_INTERVAL } else { Duration::from_secs(3_600) };
            let wait = self.dispatcher.poll_timeout().map_or(wait_max, |at| at.since(now).min(wait_max));
            tokio::select! {
                count = notices.recv_many(&mut batches, BATCHES), if open => {
                    if count == 0 {
                        open = false;
                        self.dispatcher.drain();
                    }
                    self.take(batches.drain(..));
                }
                Some(done) = self.requests.join_next() => self.answer(done),
                () = tokio::time::sleep(wait) => {}
                () = until(self.kept.until()) => {}
                _ = ends.changed(), if deadline.is_none() => {}
                () = until(deadline) => break,
            }
        }
        self.end();
    }

    fn take(&mut self, batches: impl Iterator<Item = NoticeBatch>) {
        self.look();
        for batch in batches {
            for notice in &batch.notices {
                self.dispatcher.handle(notice);
            }
            if batch.lost > 0 {
                self.lost += batch.lost;
                tracing::error!(notices = batch.lost, "events for webhooks found no room on their way and are lost");
                self.dispatcher.handle_lost(batch.lost);
            }
        }
    }

    /// Follows the applications, which may have been configured anew.
    fn look(&mut self) {
        let now = self.apps.all();
        let same = now.len() == self.configured.len()
            && now.iter().zip(&self.configured).all(|(one, other)| Arc::ptr_eq(one, other));
        if same {
            return;
        }
        let gone = self.dispatcher.configure(webhooks(&now));
        if gone > 0 {
            tracing::warn!(events = gone, "events waited for webhooks that are configured no more: they are gone");
        }
        self.configured = now;
        self.rewrite();
    }

    fn request(&mut self) {
        self.look();
        while let Some(request) = self.dispatcher.poll_request(self.clock.now()) {
            let Request { number, body, lost } = request;
            let found = self.dispatcher.webhook(number).and_then(|webhook| self.find(webhook));
            let Some((app, target)) = found else {
                // It was configured a moment ago, or the dispatcher would not know it.
                let answer = Answer::Failed { retry_after: None };
                self.dispatcher.handle_answer(self.clock.now(), number, answer, random());
                continue;
            };
            let (client, target, body) = (self.client.clone(), target.clone(), Bytes::from(body));
            let headers = headers(app, &target, &body, lost, client.keeps());
            let kept = self.kept.take(number);
            self.requests.spawn(async move { (number, client.post(kept, &target.target, headers, body).await) });
        }
    }

    fn find(&self, webhook: &Webhook) -> Option<(&AppConfig, &WebhookTarget)> {
        let app = self.configured.iter().find(|app| app.app.id == webhook.app)?;
        Some((app, app.webhooks.iter().find(|target| target.webhook.url == webhook.url)?))
    }

    fn answer(&mut self, done: Result<Asked, tokio::task::JoinError>) {
        // A panic is our fault, and takes the thread along: nobody would know which webhook it was.
        let (number, said) = match done {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let said = said.map(|(said, connection)| {
            connection.into_iter().for_each(|connection| self.kept.keep(number, connection));
            said
        });
        let now = self.clock.now();
        let answer = match &said {
            Ok(said) => Answer::of(said.status, said.retry_after),
            Err(_) => Answer::Failed { retry_after: None },
        };
        let answered = self.dispatcher.handle_answer(now, number, answer, random());
        let Some((app, target)) = self.dispatcher.webhook(number).and_then(|webhook| self.find(webhook)) else {
            return;
        };
        let (app, target) = (&app.app.id, &target.target);
        match said {
            _ if answered.refused => {
                let status = said.map_or(0, |said| said.status);
                tracing::error!(%app, %target, status, events = answered.done, "a webhook refuses events: they are given up");
            }
            Ok(said) if answer != Answer::Accepted => {
                let seconds = answered.again.map(|at| at.since(now).as_secs_f32());
                tracing::warn!(%app, %target, status = said.status, again_in = seconds, "a webhook does not take events");
            }
            Err(fault) => {
                let seconds = answered.again.map(|at| at.since(now).as_secs_f32());
                tracing::warn!(%app, %target, again_in = seconds, "a webhook cannot be told: {fault}");
            }
            Ok(_) => {}
        }
        if answered.opened {
            tracing::error!(%app, %target, "a webhook has failed so often that it is left alone for a while; its events wait");
        }
    }

    /// Writes down what is new before any of it is sent.
    fn write(&mut self) {
        let Some(file) = &self.file else { return };
        if file.wants_rewrite(self.dispatcher.snapshot_bytes() as u64) {
            return self.rewrite();
        }
        let lines = self.dispatcher.take_lines();
        if let Some(file) = self.file.as_mut().filter(|file| !file.has_failed() && !lines.is_empty())
            && let Err(error) = file.append(&lines)
        {
            tracing::error!(%error, "the queue of the webhooks cannot be written: until it can, it is in memory only");
        }
    }

    fn rewrite(&mut self) {
        let Some(file) = &mut self.file else { return };
        let failed = file.has_failed();
        match file.rewrite(&self.dispatcher.snapshot()) {
            Ok(()) if failed => tracing::info!("the queue of the webhooks is written down again"),
            Ok(()) => {}
            Err(_) if failed => {}
            Err(error) => {
                tracing::error!(%error, "the queue of the webhooks cannot be written: until it can, it is in memory only");
            }
        }
    }

    fn publish(&self) {
        let now = self.clock.now();
        let mut webhooks: Vec<Figure> = Vec::new();
        for (webhook, stats, breaker) in self.dispatcher.stats(now) {
            let app = webhook.app.as_str().to_owned();
            let place = webhooks.iter().filter(|known| known.app == app).count();
            webhooks.push(Figure { app, place, stats, breaker });
        }
        let writable = self.file.as_ref().map(|file| !file.has_failed());
        let figures = Figures { webhooks, lost: self.lost, writable };
        *self.watch.0.lock().unwrap_or_else(PoisonError::into_inner) = figures;
    }

    fn end(mut self) {
        self.write();
        let waiting = self.dispatcher.waiting();
        match &self.file {
            _ if waiting == 0 => {}
            Some(file) if !file.has_failed() => {
                tracing::info!(events = waiting, "events that could not be told are kept for the next start");
            }
            _ => tracing::error!(events = waiting, "events that could not be told are lost with the process"),
        }
    }
}

/// How often a disk that has failed is looked at.
const DISK_INTERVAL: Duration = Duration::from_secs(1);

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => core::future::pending().await,
    }
}

/// What Pusher's servers send, and what the operator wants besides.
fn headers(app: &AppConfig, target: &WebhookTarget, body: &[u8], lost: u64, keeps: bool) -> HeaderMap {
    let mut headers: HeaderMap = target.headers.iter().cloned().collect();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("switchboard/", env!("CARGO_PKG_VERSION"))));
    if !keeps {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let signature = app.token_keys.first().map(|key| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.secret.reveal().as_bytes());
        hmac::sign(&key, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    });
    for (name, value) in [(KEY, Some(app.key.clone())), (SIGNATURE, signature)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert(name, value);
        }
    }
    if lost > 0 {
        headers.insert(LOST, HeaderValue::from(lost));
    }
    headers
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness all wait equally long.
    let _ = rand::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{RawConfig, check};
    use std::io::{Read, Write};
    use switchboard_core::{AppId, ChannelName, Happened, Notice};

    /// The head of the next request.
    fn head(listener: &std::net::TcpListener) -> String {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"}]}") {
            let mut part = [0; 1_024];
            let count = stream.read(&mut part).unwrap();
            assert!(count > 0, "ended within {:?}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(part.get(..count).unwrap());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_found_no_room_on_its_way_here_is_counted_and_told() {
        // Only the first call installs it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let text = format!(
            r#"
            [webhooks]
            allow = ["127.0.0.1"]
            batch_wait = "0s"
            [[apps]]
            id = "shop"
            secret = "0123456789abcdef0123456789abcdef"
            [[apps.webhooks]]
            url = "http://{}/"
            events = ["channel_occupied"]
            "#,
            listener.local_addr().unwrap()
        );
        let raw: RawConfig = toml::from_str(&text).unwrap();
        let config = check(&raw, |_| None).unwrap();
        let (notices, told) = channel();
        let webhooks = start(Arc::new(Apps::new(&config).unwrap()), &config, told).unwrap();
        let occupied = |name| Notice {
            app: AppId::new("shop"),
            channel: ChannelName::parse(name).unwrap(),
            at: crate::clock::now(),
            what: Happened::Occupied,
        };
        let send = |name, lost| {
            notices.blocking_send(NoticeBatch { notices: vec![occupied(name)], lost }).unwrap();
            head(&listener)
        };
        assert!(send("a", 7).contains("x-switchboard-lost: 7\r\n"));
        assert!(!send("b", 0).contains("x-switchboard-lost"));
        assert_eq!(webhooks.watch().figures().lost, 7);
        drop(notices);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(webhooks.finish(Duration::from_secs(20)));
    }
}
