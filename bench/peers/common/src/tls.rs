//! The TLS of every peer: tokio-rustls over aws-lc-rs with what rustls does unless it is told otherwise, as the product has it: two
//! session tickets after each handshake, whose sessions are kept in memory (256 of them).

use std::{io, sync::Arc};

use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::TlsAcceptor;

use crate::option;

/// `None` unless `--tls-cert` is given; then `--tls-key` has to be.
pub(crate) fn acceptor() -> io::Result<Option<TlsAcceptor>> {
    let Some(cert) = option("--tls-cert") else { return Ok(None) };
    let key = option("--tls-key").ok_or_else(|| io::Error::other("--tls-cert needs --tls-key"))?;
    let chain = CertificateDer::pem_file_iter(&cert).and_then(Iterator::collect);
    let chain: Vec<_> = chain.map_err(|error| io::Error::other(format!("--tls-cert {cert}: {error}")))?;
    let key =
        PrivateKeyDer::from_pem_file(&key).map_err(|error| io::Error::other(format!("--tls-key {key}: {error}")))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}
