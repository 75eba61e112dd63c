//! An echo client for the Autobahn testsuite's `fuzzingserver`: `echo_client [--deflate] URL AGENT`. With `--deflate` it offers compression,
//! with context takeover.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use anyhow::{Context, Result};
use switchboard_ws::deflate::Policy;
use switchboard_ws::{Config, Connector, Limits, connect};

const MESSAGE_BYTES_MAX: usize = 64 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let deflate = arguments.first().is_some_and(|first| first == "--deflate");
    let mut arguments = arguments.drain(usize::from(deflate)..);
    let url = arguments.next().context("usage: echo_client [--deflate] URL AGENT")?;
    let agent = arguments.next().context("usage: echo_client [--deflate] URL AGENT")?;
    let deflate = deflate.then(|| Policy::default().context_takeover(true).peer_context_takeover(true));
    let url = url.trim_end_matches('/');
    let count = case_count(url).await?;
    for case in 1..=count {
        if let Err(error) = run_case(&format!("{url}/runCase?case={case}&agent={agent}"), deflate).await {
            // Most cases are there to fail.
            eprintln!("case {case}: {error}");
        }
        // A sign of life: some cases take long.
        println!("case {case} of {count}");
    }
    let mut socket = connect(&format!("{url}/updateReports?agent={agent}")).await?;
    while let Some(message) = socket.recv().await {
        message?;
    }
    println!("{count} cases");
    Ok(())
}

async fn case_count(url: &str) -> Result<usize> {
    let mut socket = connect(&format!("{url}/getCaseCount")).await?;
    let message = socket.recv().await.context("no count came")??;
    Ok(message.as_text().context("the count is not text")?.parse()?)
}

async fn run_case(url: &str, deflate: Option<Policy>) -> Result<()> {
    let limits = Limits { message_bytes_max: MESSAGE_BYTES_MAX, fragments_max: 1 << 20, ..Limits::default() };
    let connector = Connector::new().config(Config::default().limits(limits)).deflate(deflate);
    let (mut socket, _) = connector.connect(url).await?;
    while let Some(message) = socket.recv().await {
        socket.feed(message?).await?;
    }
    Ok(())
}
