//! The floor of what is durable: every message is appended to one file, with its length before it, and comes back once it is on the disk. A thread of its own
//! writes all that has come in since the last time by one `write` and one `fdatasync` (group commit). `--data-dir FOLDER` says where.

use std::{
    fs::{self, File},
    io::{self, Write},
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
    let log = open_log(Path::new(&folder))?;
    bench_peer::serve(move |socket| {
        let log = log.clone();
        async move {
            // A peer that goes away is no news.
            let _ = keep(socket, &log).await;
        }
    })
}

fn open_log(folder: &Path) -> io::Result<mpsc::Sender<Entry>> {
    fs::create_dir_all(folder)?;
    let mut file = File::options().append(true).create(true).open(folder.join("log"))?;
    File::open(folder)?.sync_all()?;
    let (sender, receiver) = mpsc::channel::<Entry>();
    thread::spawn(move || -> io::Result<()> {
        let (mut bytes, mut waiting) = (Vec::new(), Vec::new());
        while let Ok(first) = receiver.recv() {
            for (payload, waits) in [first].into_iter().chain(receiver.try_iter()) {
                bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
                bytes.extend_from_slice(&payload);
                waiting.push(waits);
            }
            file.write_all(&bytes)?;
            file.sync_data()?;
            bytes.clear();
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
