//! The load generator: one scenario against one server that is already running; prints one line of JSON.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use switchboard_bench::{
    args::Args,
    machine,
    scenario::{
        Target,
        channel::Channel,
        connect::Connect,
        deflate::{DeflateEcho, DeflateIdle},
        echo::Echo,
        fanout::Fanout,
        idle::Idle,
    },
    sys,
    tls::Tls,
    wire::{OPCODE_BINARY, OPCODE_TEXT},
};

const USAGE: &str = "\
load SCENARIO --addr HOST:PORT --pid PID [--path /] [--cpu N] [--mode same-core|split] [options]

  echo      --size 20 --connections 64 --depth 1 [--text] [--latency]
  fanout    --size 128 --subscribers 1000 --window 16 [--text]
  channel   --size 128 --subscribers 1000 --window 16      (the path says what subscribers speak: /ws, /app/KEY or /sse)
  idle      --connections 10000 --size 20 [--settle-ms 1000]     ({n} in the path: the connection's number)
  connect   --parallel 64
  deflate       --size 1024 --connections 64 --depth 1 [--alone]   (compressed JSON; alone: no side keeps a context)
  deflate-idle  --size 1024 --connections 1000 [--settle-ms 1000] [--alone]

  --pid          the server's process, whose CPU time and memory are read
  --ca FILE      speaks TLS 1.3 to a server that shows this certificate
  --cpu          pins the generator; --mode same-core also runs it under SCHED_BATCH
  --warm-up-ms   300, --duration-ms 1000, --ends-after-s 120 (the process is killed then, whatever happens)";

fn main() -> ExitCode {
    match run() {
        Ok(result) => {
            println!("{result}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Value> {
    let mut args = Args::parse(std::env::args().skip(1), &["alone", "text", "latency", "help"])?;
    let Some(scenario) = args.words.first().cloned() else { bail!("{USAGE}") };
    sys::end_after(Duration::from_secs(args.or("ends-after-s", 120)?));
    let files_max = sys::raise_open_files().context("cannot raise the limit of open files")?;
    if let Some(cpu) = args.optional("cpu")? {
        sys::pin_to(cpu).with_context(|| format!("cannot pin to CPU {cpu}"))?;
    }
    match args.or("mode", "split".to_owned())?.as_str() {
        "same-core" => sys::schedule_batch().context("cannot set SCHED_BATCH")?,
        "split" => {}
        other => bail!("--mode: '{other}' is neither same-core nor split"),
    }
    let target = Target {
        addr: args.required::<SocketAddr>("addr")?,
        pid: args.required("pid")?,
        path: args.or("path", "/".to_owned())?,
        tls: args.optional::<PathBuf>("ca")?.map(|ca| Tls::trusting(&ca)).transpose()?,
    };
    let opcode = if args.flag("text") { OPCODE_TEXT } else { OPCODE_BINARY };
    let warm_up = Duration::from_millis(args.or("warm-up-ms", 300)?);
    let duration = Duration::from_millis(args.or("duration-ms", 1000)?);
    match scenario.as_str() {
        "echo" => {
            let echo = Echo {
                opcode,
                size: args.or("size", 20)?,
                connections: args.or("connections", 64)?,
                depth: args.or("depth", 1)?,
                warm_up,
                duration,
                latency: args.flag("latency"),
            };
            args.finish()?;
            echo.run(&target)
        }
        "fanout" => {
            let fanout = Fanout {
                opcode,
                size: args.or("size", 128)?,
                subscribers: args.or("subscribers", 1000)?,
                window: args.or("window", 16)?,
                warm_up,
                duration,
            };
            args.finish()?;
            fanout.run(&target)
        }
        "channel" => {
            let channel = Channel {
                size: args.or("size", 128)?,
                subscribers: args.or("subscribers", 1000)?,
                window: args.or("window", 16)?,
                warm_up,
                duration,
            };
            args.finish()?;
            channel.run(&target)
        }
        "idle" => {
            let idle = Idle {
                connections: machine::connections_that_fit(args.or("connections", 10_000)?, files_max),
                size: args.or("size", 20)?,
                settle: Duration::from_millis(args.or("settle-ms", 1000)?),
            };
            args.finish()?;
            idle.run(&target)
        }
        "deflate" => {
            let deflate = DeflateEcho {
                size: args.or("size", 1024)?,
                connections: args.or("connections", 64)?,
                depth: args.or("depth", 1)?,
                alone: args.flag("alone"),
                warm_up,
                duration,
            };
            args.finish()?;
            deflate.run(&target)
        }
        "deflate-idle" => {
            let idle = DeflateIdle {
                size: args.or("size", 1024)?,
                connections: args.or("connections", 1000)?,
                alone: args.flag("alone"),
                settle: Duration::from_millis(args.or("settle-ms", 1000)?),
            };
            args.finish()?;
            idle.run(&target)
        }
        "connect" => {
            let connect = Connect { parallel: args.or("parallel", 64)?, warm_up, duration };
            args.finish()?;
            connect.run(&target)
        }
        other => bail!("unknown scenario '{other}'\n{USAGE}"),
    }
}
