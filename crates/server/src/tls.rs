//! Certificates: read at the start, and again when asked or when a file has changed. A bad new one leaves the old one in place.

use crate::config::TlsFiles;
use anyhow::Context;
use arc_swap::ArcSwap;
use core::time::Duration;
use rustls::ServerConfig;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::Notify;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// The certificate in use, with the files that it comes from.
#[derive(Debug)]
pub(crate) struct Certificates {
    files: TlsFiles,
    http2: bool,
    current: Arc<ArcSwap<ServerConfig>>,
}

impl Certificates {
    /// Reads the files. `http2`: whether clients may choose it.
    pub(crate) fn load(files: &TlsFiles, http2: bool) -> anyhow::Result<Self> {
        let config = read(files, http2)?;
        Ok(Self { files: files.clone(), http2, current: Arc::new(ArcSwap::from_pointee(config)) })
    }

    /// What new connections use.
    pub(crate) fn current(&self) -> Arc<ArcSwap<ServerConfig>> {
        Arc::clone(&self.current)
    }

    /// Reads the files again whenever one has changed or `reload` is notified. Never ends.
    pub(crate) async fn keep_fresh(self, reload: Arc<Notify>) {
        let mut seen = self.state();
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => false,
                () = reload.notified() => true,
            };
            let state = self.state();
            if asked || state != seen {
                seen = state;
                self.reload();
            }
        }
    }

    fn reload(&self) {
        match read(&self.files, self.http2) {
            Ok(config) => {
                self.current.store(Arc::new(config));
                tracing::info!(cert = %self.files.cert.display(), "the certificate was read again");
            }
            // Certificate and key are replaced one after the other: the second change comes soon.
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the new certificate is no good; the old one stays in use"
                );
            }
        }
    }

    fn state(&self) -> [Option<(SystemTime, u64)>; 2] {
        let look = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        [look(&self.files.cert), look(&self.files.key)]
    }
}

fn read(files: &TlsFiles, http2: bool) -> anyhow::Result<ServerConfig> {
    let shown = files.cert.display();
    let certificates =
        CertificateDer::pem_file_iter(&files.cert).with_context(|| format!("cannot read tls.cert {shown}"))?;
    let certificates: Vec<_> =
        certificates.collect::<Result<_, _>>().with_context(|| format!("tls.cert {shown} is not PEM"))?;
    anyhow::ensure!(!certificates.is_empty(), "tls.cert {shown} has no certificate");
    let shown_key = files.key.display();
    let key = match PrivateKeyDer::from_pem_file(&files.key) {
        Err(pem::Error::NoItemsFound) => anyhow::bail!("tls.key {shown_key} has no private key"),
        key => key.with_context(|| format!("cannot read tls.key {shown_key}"))?,
    };
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .with_context(|| format!("tls.cert {shown} and tls.key {shown_key} do not fit"))?;
    let offered: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}
