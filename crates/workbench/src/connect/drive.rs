//! Carries out what a [`Conversation`] wants, and tells it what happens. Owns the connection, the clock, the signals and the files; decides nothing.

use super::Failed;
use super::conversation::{Act, Agreed, Conversation, Outgoing};
use super::history::History;
use super::look::Look;
use super::manner::Manner;
use super::record::Replay;
use super::tap::{Frames, Route, Seen, Tap};
use super::terminal::{self, Input, Output};
use core::future::pending;
use core::pin::Pin;
use core::time::Duration;
use futures_util::FutureExt;
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;
use switchboard_ws::{CloseCode, ConnectError, Error, Received, Receiver, Sender, WebSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Everything about a conversation.
#[derive(Debug)]
pub struct Options {
    /// Where to, and how.
    pub route: Route,
    /// How one wants to talk.
    pub manner: Manner,
    /// How things look.
    pub look: Look,
    /// Where the lines that were typed are kept.
    pub history: Option<PathBuf>,
    /// Where what goes over the connection is written down.
    pub record: Option<PathBuf>,
    /// What is sent in place of what is typed.
    pub replay: Option<Replay>,
}

/// The longest history that is read, in bytes: a file of somebody else's.
const HISTORY_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Names of a folder that are offered.
const NAMES_MAX: usize = 1_000;
/// The largest file that is sent.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Messages that are handled before what they come to is shown.
const TURN_MAX: usize = 256;
/// Things that wait for the task that writes.
const WRITE_AHEAD: usize = 64;

type Opened = Result<(Link, Agreed), ConnectError>;

struct Driver {
    conversation: Conversation,
    route: Route,
    begin: Instant,
    output: Output,
    inputs: Option<mpsc::Receiver<Input>>,
    connecting: Option<Pin<Box<dyn Future<Output = Opened>>>>,
    link: Option<Link>,
    /// What the task that writes has no room for yet.
    outbox: VecDeque<Outgoing>,
    recording: Option<BufWriter<File>>,
    history: Option<PathBuf>,
}

/// A connection.
struct Link {
    receiver: Receiver<Tap>,
    writer: mpsc::Sender<Outgoing>,
    sent: mpsc::Receiver<usize>,
    frames: Option<Frames>,
}

enum Event {
    Opened(Opened),
    Received(Option<Result<Received, Error>>),
    Frame(Seen),
    Sent(usize),
    Input(Option<Input>),
    Interrupted,
    Resized,
    Timeout,
}

/// Connects, and sends and shows what there is until one side ends it.
///
/// # Errors
/// [`Failed`].
pub async fn run(options: Options) -> Result<(), Failed> {
    let mut signals = Signals::new().map_err(|error| Failed::Other(format!("cannot wait for signals: {error}")))?;
    let mut driver = Driver::new(options)?;
    loop {
        driver.act();
        if let Some(end) = driver.conversation.take_end() {
            driver.output.restore();
            return end;
        }
        let event = driver.next(&mut signals).await;
        driver.handle(event);
    }
}

impl Driver {
    fn new(options: Options) -> Result<Self, Failed> {
        let Options { route, mut manner, look, history, record, replay } = options;
        let mut output = Output::default();
        let reads = manner.execute.is_empty() && replay.is_none();
        if look.interactive {
            output.take_keys().map_err(|error| Failed::Other(format!("cannot use the terminal: {error}")))?;
        }
        let inputs = match (look.interactive, reads) {
            (true, _) => Some(terminal::keys()),
            (false, true) => Some(terminal::lines()),
            (false, false) => None,
        };
        let recording = match &record {
            Some(file) => Some(BufWriter::new(
                private(OpenOptions::new().write(true).truncate(true), file)
                    .map_err(|error| Failed::Usage(format!("--record {}: {error}", file.display())))?,
            )),
            None => None,
        };
        manner.record = recording.is_some();
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| Failed::Other(format!("no randomness: {error}")))?;
        let (known, kept) = match &history {
            Some(file) => known_lines(file),
            None => (History::default(), Ok(())),
        };
        let conversation = Conversation::new(manner, look, known, replay, u64::from_ne_bytes(seed));
        let mut driver = Self {
            conversation,
            route,
            begin: Instant::now(),
            output,
            inputs,
            connecting: None,
            link: None,
            outbox: VecDeque::new(),
            recording,
            history,
        };
        driver.keeps_history(kept);
        Ok(driver)
    }

    /// Says so once if lines cannot be kept, and goes on without.
    fn keeps_history(&mut self, kept: io::Result<()>) {
        if let Err(error) = kept
            && let Some(file) = self.history.take()
        {
            let why = format!("lines are not kept: {}: {error}", file.display());
            let text = self.conversation.look().notice(self.begin.elapsed(), &why);
            // A terminal that is gone is found by the next message.
            let _ = self.output.print(false, &text);
        }
    }

    fn act(&mut self) {
        while let Some(act) = self.conversation.poll_act() {
            if self.perform(act).is_err() {
                self.conversation.output_gone();
            }
        }
        self.pump();
        if let Some(Err(error)) = self.recording.as_mut().map(Write::flush) {
            self.recording = None;
            self.conversation.record_failed(&error.to_string());
        }
        let editor = self.conversation.editor();
        if self.output.show(|columns, rows| editor.view(columns, rows)).is_err() {
            self.conversation.output_gone();
        }
    }

    fn perform(&mut self, act: Act) -> io::Result<()> {
        match act {
            Act::Connect => {
                let route = self.route.clone();
                // Who types may want to see frames later.
                let look = self.conversation.look();
                let watch = look.frames || look.interactive;
                self.connecting = Some(Box::pin(async move {
                    let (socket, agreed, frames) = route.open(watch).await?;
                    Ok((Link::new(socket, frames), agreed))
                }));
            }
            Act::Send(outgoing) => self.outbox.push_back(outgoing),
            Act::Drop => {
                self.link = None;
                self.outbox.clear();
            }
            Act::ReadFile(path) => {
                let read = read_file(Path::new(&path)).map_err(|error| error.to_string());
                self.conversation.file_read(self.begin.elapsed(), &path, read);
            }
            Act::ListFiles { folder, name } => {
                let found = list(Path::new(if folder.is_empty() { "." } else { &folder }), &name);
                self.conversation.files_listed(self.begin.elapsed(), &name, found);
            }
            Act::Print { data, text } => self.output.print(data, &text)?,
            Act::Record(line) => {
                if let Some(recording) = &mut self.recording {
                    // What cannot be written is found when it is flushed.
                    let _ = writeln!(recording, "{line}");
                }
            }
            Act::Remember(line) => {
                let kept = self.history.as_deref().map_or(Ok(()), |file| remember(file, &line));
                if kept.is_err() {
                    self.keeps_history(kept);
                }
            }
            Act::Clear => self.output.clear(),
            Act::Suspend => self.output.suspend()?,
        }
        Ok(())
    }

    /// Hands what is to be sent to the task that writes, as far as it has room.
    fn pump(&mut self) {
        let Some(link) = &self.link else { return };
        while let Some(outgoing) = self.outbox.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(outgoing)) = link.writer.try_send(outgoing) {
                self.outbox.push_front(outgoing);
                break;
            }
        }
    }

    async fn next(&mut self, signals: &mut Signals) -> Event {
        let deadline = self.conversation.poll_timeout().map(|at| self.begin + at.min(Duration::from_secs(86_400)));
        let takes_input = self.conversation.takes_input();
        let (link, connecting, inputs) = (&mut self.link, &mut self.connecting, &mut self.inputs);
        let linked = async {
            let Some(Link { receiver, sent, frames, .. }) = link else { return pending().await };
            tokio::select! {
                received = receiver.recv_event() => Event::Received(received),
                Some(count) = sent.recv() => Event::Sent(count),
                Some(seen) = seen(frames) => Event::Frame(seen),
            }
        };
        let opened = async {
            match connecting {
                Some(connecting) => connecting.await,
                None => pending().await,
            }
        };
        let input = async {
            match inputs {
                Some(inputs) if takes_input => inputs.recv().await,
                _ => pending().await,
            }
        };
        let timeout = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            event = linked => event,
            opened = opened => Event::Opened(opened),
            input = input => Event::Input(input),
            event = signals.next() => event,
            () = timeout => Event::Timeout,
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.begin.elapsed();
        match event {
            Event::Opened(opened) => {
                self.connecting = None;
                match opened {
                    Ok((link, agreed)) => {
                        self.link = Some(link);
                        self.conversation.opened(now, &agreed);
                    }
                    Err(error) => self.conversation.not_opened(now, error),
                }
            }
            Event::Received(received) => self.received(now, received),
            Event::Frame(seen) => self.seen(now, &seen),
            Event::Sent(count) => self.conversation.sent(now, count),
            Event::Input(Some(Input::Line(line))) => self.conversation.line(now, line),
            Event::Input(Some(Input::Keys(keys))) => self.conversation.keys(now, &keys),
            Event::Input(None) => {
                self.inputs = None;
                self.conversation.input_ended(now);
            }
            Event::Interrupted => self.conversation.interrupted(now),
            Event::Resized => self.output.resized(),
            Event::Timeout => self.conversation.handle_timeout(now),
        }
    }

    /// What came, and what else has come with it.
    fn received(&mut self, now: Duration, first: Option<Result<Received, Error>>) {
        let mut next = Some(first);
        for _ in 0..TURN_MAX {
            let Some(received) = next.take() else { return };
            while let Some(seen) = self.link.as_mut().and_then(|link| link.frames.as_mut()?.try_recv().ok()) {
                self.seen(now, &seen);
            }
            let Some(link) = &mut self.link else { return };
            match received {
                Some(Ok(received)) => self.conversation.heard(now, &received),
                Some(Err(error)) => {
                    self.link = None;
                    return self.conversation.broke(now, &error.to_string());
                }
                None => {
                    let frame = link.receiver.close_frame();
                    self.link = None;
                    return self.conversation.closed(now, frame);
                }
            }
            next = link.receiver.recv_event().now_or_never();
        }
        if let Some(received) = next {
            self.received(now, received);
        }
    }

    fn seen(&mut self, now: Duration, seen: &Seen) {
        if seen.missed > 0 {
            self.conversation.frames_missed(now, seen.missed);
        }
        self.conversation.frame(now, seen.direction, &seen.header);
    }
}

async fn seen(frames: &mut Option<Frames>) -> Option<Seen> {
    match frames {
        Some(frames) => frames.recv().await,
        None => pending().await,
    }
}

impl Link {
    fn new(socket: WebSocket<Tap>, frames: Option<Frames>) -> Self {
        let (receiver, sender) = socket.split();
        let (writer, queue) = mpsc::channel(WRITE_AHEAD);
        let (told, sent) = mpsc::channel(WRITE_AHEAD);
        tokio::spawn(write(sender, queue, told));
        Self { receiver, writer, sent, frames }
    }
}

/// Writes what is queued, as much as there is at once. Why it cannot, is what the receiving side finds.
async fn write(
    mut sender: Sender<Tap>,
    mut queue: mpsc::Receiver<Outgoing>,
    told: mpsc::Sender<usize>,
) -> Result<(), Error> {
    while let Some(first) = queue.recv().await {
        let mut next = Some(first);
        let mut count = 0;
        while let Some(outgoing) = next {
            count += 1;
            match outgoing {
                Outgoing::Message(message) => sender.feed(message).await?,
                Outgoing::Ping(payload) => sender.ping(&payload).await?,
                Outgoing::Pong(payload) => sender.pong(&payload).await?,
                Outgoing::Close(frame) => {
                    let (code, reason) = frame.unwrap_or((1000, String::new()));
                    sender.close(CloseCode::new(code), &reason).await?;
                }
            }
            next = if count < WRITE_AHEAD { queue.try_recv().ok() } else { None };
        }
        sender.flush().await?;
        if told.send(count).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// The signals that end it, and the one that tells of another size of the window.
struct Signals {
    ending: [Signal; 3],
    resized: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let ending = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = ending.map(signal);
        Ok(Self { ending: [interrupt?, terminate?, hangup?], resized: signal(SignalKind::window_change())? })
    }

    async fn next(&mut self) -> Event {
        let [interrupt, terminate, hangup] = &mut self.ending;
        tokio::select! {
            _ = interrupt.recv() => Event::Interrupted,
            _ = terminate.recv() => Event::Interrupted,
            _ = hangup.recv() => Event::Interrupted,
            _ = self.resized.recv() => Event::Resized,
        }
    }
}

/// The lines that a file has, and whether lines can be added to it.
fn known_lines(file: &Path) -> (History, io::Result<()>) {
    let mut text = Vec::new();
    let read = File::open(file).and_then(|open| open.take(HISTORY_BYTES_MAX).read_to_end(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return (History::default(), Ok(())),
        Err(error) => return (History::default(), Err(error)),
    }
    let (history, anew) = History::read(&String::from_utf8_lossy(&text));
    let kept = if anew { rewrite(file, &history.text()) } else { Ok(()) };
    (history, kept)
}

/// Another process may add a line to the old file meanwhile: it would be lost, and nothing else.
fn rewrite(file: &Path, text: &str) -> io::Result<()> {
    let beside = file.with_extension("new");
    private(OpenOptions::new().write(true).truncate(true), &beside)?.write_all(text.as_bytes())?;
    fs::rename(beside, file)
}

fn remember(file: &Path, line: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // One write: lines of several processes do not mix.
    private(OpenOptions::new().append(true), file)?.write_all(format!("{line}\n").as_bytes())
}

/// A file that others on the machine cannot read: there may be secrets in it.
fn private(options: &mut OpenOptions, file: &Path) -> io::Result<File> {
    options.create(true).mode(0o600).open(file)
}

/// The names that begin so. A folder that cannot be read has none.
fn list(folder: &Path, begin: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok().filter(|name| name.starts_with(begin))?;
        let slash = if entry.path().is_dir() { "/" } else { "" };
        Some(format!("{name}{slash}"))
    });
    names.take(NAMES_MAX).collect()
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let about = fs::metadata(path)?;
    // Reading anything else might wait for ever.
    if !about.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if about.len() > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    fs::read(path)
}
