//! How the commands reach a server: URL, headers, certificates.

use super::exit::Failure;
use clap::Args;
use core::time::Duration;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::path::PathBuf;
use std::sync::Arc;
use switchboard_ws::{Connector, MaybeTls, WebSocket};
use tokio::net::TcpStream;

/// A connection of a command.
pub(super) type Socket = WebSocket<MaybeTls<TcpStream>>;

/// How to trust the server and how long to wait for it.
#[derive(Clone, Debug, Args)]
pub(super) struct Trust {
    /// Trust the certificates of this PEM file instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Do not check the server's certificate
    #[arg(short = 'k', long)]
    insecure: bool,
    /// How long connecting may take
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
}

impl Default for Trust {
    fn default() -> Self {
        Self { ca: None, insecure: false, timeout: 10 }
    }
}

impl Trust {
    /// A connector with these settings.
    pub(super) fn connector(&self) -> Result<Connector, Failure> {
        let connector = Connector::new().timeout(Duration::from_secs(self.timeout));
        Ok(match self.special()? {
            Some(config) => connector.tls(Arc::new(config)),
            None => connector,
        })
    }

    /// How long connecting may take.
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// The same for whoever speaks TLS without a connector.
    pub(super) fn tls(&self) -> Result<Arc<ClientConfig>, Failure> {
        if let Some(config) = self.special()? {
            return Ok(Arc::new(config));
        }
        let mut roots = RootCertStore::empty();
        // What of the system's certificates cannot be read is not trusted.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
    }

    /// What is asked for instead of the system's certificates.
    fn special(&self) -> Result<Option<ClientConfig>, Failure> {
        let builder = ClientConfig::builder();
        if self.insecure {
            let verifier = Arc::new(NoCheck(Self::schemes()?));
            return Ok(Some(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()));
        }
        let Some(file) = &self.ca else { return Ok(None) };
        let unreadable = |error: &dyn core::fmt::Display| Failure::usage(format!("--ca {}: {error}", file.display()));
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unreadable(&error))? {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
        Ok(Some(builder.with_root_certificates(roots).with_no_client_auth()))
    }

    fn schemes() -> Result<Vec<SignatureScheme>, Failure> {
        let provider = rustls::crypto::CryptoProvider::get_default();
        let provider = provider.ok_or_else(|| Failure::other("no provider of cryptography is installed"))?;
        Ok(provider.signature_verification_algorithms.supported_schemes())
    }
}

/// Takes every certificate, as `--insecure` asks for.
#[derive(Debug)]
struct NoCheck(Vec<SignatureScheme>);

impl ServerCertVerifier for NoCheck {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

/// Which server of ours, as whom.
#[derive(Clone, Debug, Args)]
pub(super) struct ServerArguments {
    /// The server's address for the native protocol
    #[arg(short, long, value_name = "URL", env = "SWITCHBOARD_URL", default_value = "ws://127.0.0.1:8080/ws")]
    pub(super) url: String,
    /// A file with the token to show; without it, the environment variable SWITCHBOARD_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) trust: Trust,
}

impl ServerArguments {
    /// The token, which never stands on a command line: others on the machine could read it there.
    pub(super) fn token(&self) -> Result<Option<String>, Failure> {
        let token = match &self.token_file {
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| Failure::usage(format!("--token-file {}: {error}", file.display())))?;
                Some(text)
            }
            None => std::env::var("SWITCHBOARD_TOKEN").ok(),
        };
        Ok(token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()))
    }
}
