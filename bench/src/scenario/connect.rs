//! Connect storm: connect, handshake (of TLS before that, where the target asks for it), close handshake, again; `parallel` connections at a time. The server's CPU for each.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Span, Target};
use crate::{
    client::SILENCE_MAX,
    sys::{Epoll, reset_on_close},
    transport::Transport,
    wire::{CLOSE_FRAME, check_response, request},
};

#[derive(Debug)]
pub struct Connect {
    pub parallel: usize,
    pub warm_up: Duration,
    pub duration: Duration,
}

#[derive(Debug)]
struct Visit {
    socket: Transport,
    received: Vec<u8>,
    open: bool,
}

impl Connect {
    pub fn run(&self, target: &Target) -> Result<Value> {
        let head = request(&target.path, &target.addr.to_string(), "");
        let mut epoll = Epoll::new(self.parallel)?;
        let mut visits = Vec::with_capacity(self.parallel);
        for token in 0..self.parallel {
            visits.push(visit(target, &head, &epoll, token)?);
        }
        let mut span = Span::new(target.pid, self.warm_up, self.duration);
        let mut complete: u64 = 0;
        while span.goes_on(complete)? {
            let mut woken = false;
            let ready: Vec<usize> = epoll.wait(SILENCE_MAX)?.collect();
            for token in ready {
                woken = true;
                let current = visits.get_mut(token).context("the kernel reported an unknown connection")?;
                if current.step()? {
                    complete += 1;
                    *current = visit(target, &head, &epoll, token)?;
                }
            }
            ensure!(woken, "no progress for {} s", SILENCE_MAX.as_secs());
        }
        Ok(span.result())
    }
}

fn visit(target: &Target, head: &[u8], epoll: &Epoll, token: usize) -> Result<Visit> {
    let mut socket = Transport::open(target)?;
    reset_on_close(&socket)?;
    socket.write_first(head)?;
    socket.tcp().set_nonblocking(true)?;
    epoll.add(&socket, token)?;
    Ok(Visit { socket, received: Vec::with_capacity(256), open: false })
}

impl Visit {
    /// True when the server has answered the Close and closed the connection.
    fn step(&mut self) -> Result<bool> {
        let mut chunk = [0; 1024];
        loop {
            match self.socket.read(&mut chunk) {
                Ok(0) => {
                    ensure!(self.open, "the server closed before it answered the handshake");
                    ensure!(self.received.first() == Some(&0x88), "the server did not answer the Close");
                    return Ok(true);
                }
                Ok(n) => self.received.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("cannot read from the server"),
            }
            if !self.open
                && let Some(len) = check_response(&self.received)?
            {
                self.open = true;
                self.received.drain(..len);
                self.socket.write_all(&CLOSE_FRAME)?;
            }
        }
    }
}
