//! A running server: listeners, certificates, the admin listener, and the orderly end of them all.

use crate::admin::{self, AdminState};
use crate::api;
use crate::apps::Apps;
use crate::clock;
use crate::config::Config;
use crate::history;
use crate::tls::Certificates;
use crate::webhooks::{self, Webhooks};
use anyhow::Context;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use switchboard_core::{AppId, Disconnect};
use switchboard_net::{HubHandle, Server, Settings};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// A server that takes clients. Dropping it does not stop it: call [`shut_down`](Running::shut_down).
#[derive(Debug)]
pub struct Running {
    server: Server,
    writer: Option<history::Writer>,
    webhooks: Webhooks,
    data_dir: Option<PathBuf>,
    apps: Arc<Apps>,
    ready: Arc<AtomicBool>,
    reload: Arc<Notify>,
    tasks: Vec<JoinHandle<()>>,
    admin_address: Option<SocketAddr>,
    secure: bool,
}

/// Starts a server. Must be called inside of a tokio runtime, which the admin listener then runs on.
///
/// # Errors
/// An address is taken or none of this machine's, a certificate is no good, or the system gives no more threads.
pub async fn start(config: &Config) -> anyhow::Result<Running> {
    let apps = Arc::new(Apps::new(config)?);
    let certificates = config.tls.as_ref().map(|files| Certificates::load(files, config.http2.enabled)).transpose()?;
    let (notices, told) = webhooks::channel();
    let settings = Settings {
        notices: Some(notices),
        notices_kept: config.history_files.is_some(),
        shards: config.shards,
        tls: certificates.as_ref().map(Certificates::current),
        proxies: config.proxies.clone(),
        connections_max: config.connections_max,
        connections_per_address: config.connections_per_address,
        header_timeout: config.header_timeout,
        http2: config.http2,
        compression: config.compression,
        history_bytes_max: config.history_bytes_max,
        position_check: config.position_check,
        trace: config.trace,
        ..Settings::new(config.listen, random_seed()?)
    };
    let bound = switchboard_net::bind(settings, Arc::clone(&apps) as _)
        .map_err(|error| cannot_listen(&error, config.listen, "--listen"))?;
    let admin_listener = match config.admin_listen {
        Some(address) => {
            let listener = TcpListener::bind(address).await;
            Some(listener.map_err(|error| cannot_listen(&error, address, "--admin-listen"))?)
        }
        None => None,
    };
    let (address, hub) = (bound.local_addr(), bound.hub());
    let admin_address = admin_listener.as_ref().map(TcpListener::local_addr).transpose()?;
    apps.allow_own_pages(&[Some(address), admin_address].into_iter().flatten().collect::<Vec<_>>());
    let router = api::router(Arc::clone(&apps), hub.clone());
    let opened = config.history_files.as_ref();
    let opened = opened.map(|files| history::open(files, bound.shards(), random_seed()?)).transpose()?;
    let watch = opened.as_ref().map(history::Opened::watch);
    let webhooks = webhooks::start(Arc::clone(&apps), config, told).context("the webhooks cannot be told")?;
    let (server, writer) = match opened {
        None => (bound.serve(&router), None),
        Some(opened) => {
            let mut shards = opened.shards(config.history_bytes_max, random_seed()?);
            let server = bound.serve_with(&router, |shard| shards.next(shard));
            (server, Some(shards.start().context("cannot start the thread of the history")?))
        }
    };
    let server = server.context("cannot start the shards")?;

    let (ready, reload, secure) = (Arc::new(AtomicBool::new(true)), Arc::new(Notify::new()), certificates.is_some());
    let mut tasks = Vec::new();
    if let Some(certificates) = certificates {
        tasks.push(tokio::spawn(certificates.keep_fresh(Arc::clone(&reload))));
    }
    if let (Some(listener), Some(admin_address)) = (admin_listener, admin_address) {
        let (apps, ready) = (Arc::clone(&apps), Arc::clone(&ready));
        let state = AdminState {
            apps,
            hub,
            history: watch,
            webhooks: webhooks.watch(),
            ready,
            started: clock::now(),
            address,
            secure,
            admin_address,
        };
        tasks.push(tokio::spawn(serve_admin(listener, admin::router(state))));
    }
    tracing::info!(%address, admin = ?admin_address, secure, development = apps.is_development(), "the server is running");
    let data_dir = config.history_files.as_ref().map(|files| files.folder.clone());
    Ok(Running { server, writer, webhooks, data_dir, apps, ready, reload, tasks, admin_address, secure })
}

async fn serve_admin(listener: TcpListener, router: axum::Router) {
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the admin listener has failed");
    }
}

pub(crate) fn random_seed() -> anyhow::Result<u64> {
    let mut seed = [0; 8];
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| anyhow::anyhow!("the operating system gives no random bytes"))?;
    Ok(u64::from_ne_bytes(seed))
}

fn cannot_listen(error: &io::Error, address: SocketAddr, flag: &str) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "another program listens on {address} already: stop it, or choose another port with {flag} {}",
            SocketAddr::new(address.ip(), address.port().checked_add(10).unwrap_or(0))
        ),
        io::ErrorKind::PermissionDenied => anyhow::anyhow!(
            "the system does not allow listening on {address} (ports below 1024 need a privilege): choose another port with {flag}"
        ),
        io::ErrorKind::AddrNotAvailable => {
            anyhow::anyhow!("{address} is no address of this machine: choose another with {flag}")
        }
        _ => anyhow::anyhow!("cannot listen on {address}: {error}"),
    }
}

/// The address that a client on this machine would use.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

impl Running {
    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Where the admin listener is.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Whether clients connect by TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The folder that keeps the history, if it is not in memory only.
    pub fn data_dir(&self) -> Option<&Path> {
        self.data_dir.as_deref()
    }

    /// The applications.
    pub fn apps(&self) -> &Arc<Apps> {
        &self.apps
    }

    /// A way into the hub.
    pub fn hub(&self) -> HubHandle {
        self.server.hub()
    }

    /// Waits until the server can no longer serve all channels. The process should end then.
    ///
    /// Cancel safety: safe.
    pub async fn failed(&self) {
        self.server.failed().await;
    }

    /// Has the certificate read again.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    /// Takes the applications of another configuration, with their channels and limits. Clients stay connected as they are, but for those of
    /// applications that are gone.
    ///
    /// # Errors
    /// The operating system gives no randomness. Nothing has changed then.
    pub async fn reconfigure(&self, config: &Config) -> anyhow::Result<()> {
        let gone = self.apps.replace(config)?;
        for app in &gone {
            self.server.hub().end_app(app, &Disconnect::APPLICATION_REMOVED).await;
        }
        let removed: Vec<&str> = gone.iter().map(AppId::as_str).collect();
        tracing::info!(apps = self.apps.all().len(), ?removed, "the configuration was read again");
        Ok(())
    }

    /// Readiness goes off, clients are sent away over `window`, everything stops. Returns when nothing runs any longer.
    pub async fn shut_down(self, window: Duration) {
        self.ready.store(false, Ordering::Relaxed);
        let connections: u64 = self.server.hub().stats().total.sessions.iter().sum();
        tracing::info!(connections, ?window, "the server is shutting down");
        let telling = window.max(Duration::from_secs(1));
        // With nobody to spread there is nothing to wait for.
        let window = if connections == 0 { Duration::ZERO } else { window };
        self.server.drain(window).await;
        for task in self.tasks {
            task.abort();
        }
        self.server.stop();
        if let Some(writer) = self.writer {
            writer.finish();
        }
        self.webhooks.finish(telling).await;
        tracing::info!("the server has stopped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_reached_by_loopback() {
        for (listen, expected) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("192.0.2.1:1", "192.0.2.1:1")]
        {
            assert_eq!(listen.parse().map(reachable).map(|address| address.to_string()), Ok(expected.to_owned()));
        }
    }
}
