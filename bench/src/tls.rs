//! The certificate that the driver makes for the servers, and the TLS that the generator speaks: 1.3, X25519, AES-128-GCM, ALPN `http/1.1`, and
//! never a resumption, so that every handshake is a whole one. Knows nothing of sockets.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, Result};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};

/// Writes a certificate for 127.0.0.1 that is its own issuer (ECDSA, P-256) as PEM, and its key.
pub fn make_certificate(cert: &Path, key: &Path) -> Result<()> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).context("cannot make a certificate")?;
    fs::write(cert, made.cert.pem()).with_context(|| format!("cannot write {}", cert.display()))?;
    fs::write(key, made.signing_key.serialize_pem()).with_context(|| format!("cannot write {}", key.display()))
}

/// Makes the client's side of connections.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
}

impl Tls {
    /// `ca`: the certificate that the server has to show.
    pub fn trusting(ca: &Path) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        let read = CertificateDer::from_pem_file(ca).with_context(|| format!("cannot read {}", ca.display()))?;
        roots.add(read).with_context(|| format!("{} cannot be trusted", ca.display()))?;
        let provider = CryptoProvider {
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            ..aws_lc_rs::default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config) })
    }

    pub fn client(&self, addr: SocketAddr) -> Result<ClientConnection> {
        ClientConnection::new(Arc::clone(&self.config), ServerName::from(addr.ip())).context("cannot begin TLS")
    }
}
