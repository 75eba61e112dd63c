//! The floor of what is durable: every message is appended to one file, with its length before it, and comes back once it is on the disk. A thread of its own
//! writes all that has come in since the last time by one `write` and one `fdatasync` (group commit). `--data-dir FOLDER` says where. With `--ahead BYTES` a write that comes to the
//! end of the file has so many zeros behind it, so that the syncs after it need not make the file longer, and the connections that wait are woken by the event loop, which is woken once for
//! all of them.

use std::{
    cell::Cell,
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::mpsc,
    thread,
};

use peer_bare_tokio::{CLOSE, Frame, READ_BYTES, shake_hands};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};

/// What is to be kept, and who waits for it.
type Entry = (Vec<u8>, oneshot::Sender<()>);

fn main() -> io::Result<()> {
    let folder = bench_peer::option("--data-dir").ok_or_else(|| io::Error::other("--data-dir FOLDER is missing"))?;
    let ahead = bench_peer::option("--ahead").map_or(Ok(0), |bytes| bytes.parse().map_err(io::Error::other))?;
    let (together, kept) = tokio::sync::mpsc::channel(1);
    let log = open_log(Path::new(&folder), ahead, together)?;
    let kept = Cell::new((ahead > 0).then_some(kept));
    bench_peer::serve(move |socket| {
        let log = log.clone();
        if let Some(batches) = kept.take() {
            tokio::spawn(wake(batches));
        }
        async move {
            // A peer that goes away is no news.
            let _ = keep(socket, &log).await;
        }
    })
}

async fn wake(mut batches: tokio::sync::mpsc::Receiver<Vec<oneshot::Sender<()>>>) {
    while let Some(batch) = batches.recv().await {
        for waits in batch {
            // Whoever waited may have gone.
            let _ = waits.send(());
        }
    }
}

fn open_log(
    folder: &Path,
    ahead: usize,
    together: tokio::sync::mpsc::Sender<Vec<oneshot::Sender<()>>>,
) -> io::Result<mpsc::Sender<Entry>> {
    fs::create_dir_all(folder)?;
    let file = File::options().write(true).create_new(true).open(folder.join("log"))?;
    File::open(folder)?.sync_all()?;
    let (sender, receiver) = mpsc::channel::<Entry>();
    thread::spawn(move || -> io::Result<()> {
        let (mut bytes, mut waiting) = (Vec::new(), Vec::new());
        let (mut length, mut file_length) = (0, 0);
        while let Ok(first) = receiver.recv() {
            for (payload, waits) in [first].into_iter().chain(receiver.try_iter()) {
                bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
                bytes.extend_from_slice(&payload);
                waiting.push(waits);
            }
            let end = length + bytes.len() as u64;
            if end > file_length {
                bytes.resize(bytes.len() + ahead, 0);
                file_length = length + bytes.len() as u64;
            }
            file.write_all_at(&bytes, length)?;
            file.sync_data()?;
            length = end;
            bytes.clear();
            if ahead > 0 {
                // The event loop may have ended.
                let _ = together.blocking_send(std::mem::take(&mut waiting));
            }
            for waits in waiting.drain(..) {
                // Whoever waited may have gone.
                let _ = waits.send(());
            }
        }
        Ok(())
    });
    Ok(sender)
}

async fn keep(mut socket: TcpStream, log: &mpsc::Sender<Entry>) -> io::Result<()> {
    let mut input = Vec::with_capacity(READ_BYTES);
    shake_hands(&mut socket, &mut input).await?;
    let mut output = Vec::with_capacity(READ_BYTES);
    loop {
        let (mut used, mut kept) = (0, Vec::new());
        while let Some(frame) = Frame::find(&mut input[used..]) {
            if frame.opcode == CLOSE {
                return Ok(());
            }
            let (waits, is_kept) = oneshot::channel();
            log.send((frame.payload.to_vec(), waits)).map_err(io::Error::other)?;
            kept.push(is_kept);
            frame.reply(&mut output);
            used += frame.len;
        }
        input.drain(..used);
        for is_kept in kept {
            is_kept.await.map_err(io::Error::other)?;
        }
        if !output.is_empty() {
            socket.write_all(&output).await?;
            output.clear();
        }
        input.reserve(READ_BYTES);
        if socket.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}
