//! The load generator: one scenario against one server that is already running; prints one line of JSON.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use switchboard_bench::{
    args::Args,
    machine,
    scenario::{
        Target,
        beside::Beside,
        channel::Channel,
        channels::Channels,
        connect::Connect,
        deflate::{DeflateEcho, DeflateIdle},
        durable::Durable,
        echo::Echo,
        fanout::Fanout,
        idle::Idle,
        latency::Latency,
        resume::Resume,
        subscribed::Subscribed,
    },
    sys,
    tls::Tls,
    wire::{OPCODE_BINARY, OPCODE_TEXT},
};

const USAGE: &str = "\
load SCENARIO --addr HOST:PORT --pid PID [--path /] [--cpus N,N] [--mode same-core|split] [options]

  echo      --size 20 --connections 64 --depth 1 [--text] [--latency]
  fanout    --size 128 --subscribers 1000 --window 16 [--text]
  channel   --size 128 --subscribers 1000 --window 16      (the path says what subscribers speak: /ws, /app/KEY or /sse)
  channels  --size 128 --channels 64 --subscribers 8 --window 4
  latency   --size 128 --subscribers 1000 --load 0.5
  beside    --size 128 --small 10 --large 10000 --load 0.5
  durable   --size 128 --publishers 64
  resume    --clients 10000 --missed 100 --size 128 [--settle-ms 1000]
  subscribed  --connections 10000 --size 128 [--settle-ms 1000]
  idle      --connections 10000 --size 20 [--settle-ms 1000]     ({n} in the path: the connection's number)
  connect   --parallel 64
  deflate       --size 1024 --connections 64 --depth 1 [--alone]   (compressed JSON; alone: no side keeps a context)
  deflate-idle  --size 1024 --connections 1000 [--settle-ms 1000] [--alone]

  --pid          the server's process, whose CPU time and memory are read
  --ca FILE      speaks TLS 1.3 to a server that shows this certificate
  --cpus         pins the generator; --mode same-core also runs it under SCHED_BATCH
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
    if let Some(list) = args.optional::<String>("cpus")? {
        let cpus: Result<Vec<usize>, _> = list.split(',').map(str::parse).collect();
        let cpus = cpus.with_context(|| format!("--cpus: '{list}' is no list of numbers"))?;
        sys::pin_to(&cpus).with_context(|| format!("cannot pin to the CPUs {list}"))?;
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
        "channels" => {
            let channels = Channels {
                size: args.or("size", 128)?,
                channels: args.or("channels", 64)?,
                subscribers: args.or("subscribers", 8)?,
                window: args.or("window", 4)?,
                warm_up,
                duration,
            };
            args.finish()?;
            channels.run(&target)
        }
        "latency" => {
            let latency = Latency {
                size: args.or("size", 128)?,
                subscribers: args.or("subscribers", 1000)?,
                load: args.or("load", 0.5)?,
                warm_up,
                duration,
            };
            args.finish()?;
            latency.run(&target)
        }
        "beside" => {
            let beside = Beside {
                size: args.or("size", 128)?,
                small: args.or("small", 10)?,
                large: machine::connections_that_fit(args.or("large", 10_000)?, files_max),
                load: args.or("load", 0.5)?,
                duration,
            };
            args.finish()?;
            beside.run(&target)
        }
        "durable" => {
            let durable =
                Durable { size: args.or("size", 128)?, publishers: args.or("publishers", 64)?, warm_up, duration };
            args.finish()?;
            durable.run(&target)
        }
        "resume" => {
            let resume = Resume {
                clients: machine::connections_that_fit(args.or("clients", 10_000)?, files_max),
                missed: args.or("missed", 100)?,
                size: args.or("size", 128)?,
                settle: Duration::from_millis(args.or("settle-ms", 1000)?),
            };
            args.finish()?;
            resume.run(&target)
        }
        "subscribed" => {
            let subscribed = Subscribed {
                connections: machine::connections_that_fit(args.or("connections", 10_000)?, files_max),
                size: args.or("size", 128)?,
                settle: Duration::from_millis(args.or("settle-ms", 1000)?),
            };
            args.finish()?;
            subscribed.run(&target)
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
