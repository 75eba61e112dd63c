//! How the commands reach a server: URL, headers, certificates. The flags that several commands have are declared here, once.

use super::exit::Failure;
use clap::Args;
use core::time::Duration;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use switchboard_workbench::check::driver::{Address, AddressError, Location};
use switchboard_ws::{Connector, MaybeTls, WebSocket};
use tokio::net::TcpStream;

/// A connection of a command.
pub(super) type Socket = WebSocket<MaybeTls<TcpStream>>;

/// What is said in the opening handshake, and with whom it is made.
#[derive(Clone, Debug, Args)]
pub(super) struct Handshake {
    /// Send a header with the handshake, as `Name: value`; may be given several times
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// Offer a subprotocol; may be given several times
    #[arg(short, long, value_name = "NAME", value_delimiter = ',')]
    subprotocol: Vec<String>,
    /// Send this Origin, as browsers do
    #[arg(short, long)]
    origin: Option<String>,
    #[command(flatten)]
    identity: Identity,
    #[command(flatten)]
    trust: Trust,
}

/// By which certificate the server knows us.
#[derive(Clone, Debug, Default, Args)]
struct Identity {
    /// Show the server this certificate, with those that lead to its authority, of a PEM file
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The certificate's private key, of a PEM file
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

fn parse_header(raw: &str) -> Result<(String, String), String> {
    let (name, value) = raw.split_once(':').ok_or("not of the form 'Name: value'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

impl Handshake {
    /// A connector that says this.
    pub(super) fn connector(&self) -> Result<Connector, Failure> {
        let special = self.trust.is_special() || self.identity.cert.is_some();
        let connector = Connector::new().timeout(self.trust.timeout()).subprotocols(self.subprotocols());
        let mut connector = if special { connector.tls(self.tls()?) } else { connector };
        for (name, value) in &self.headers {
            connector = connector.header(name, value);
        }
        Ok(match &self.origin {
            Some(origin) => connector.origin(origin),
            None => connector,
        })
    }

    /// How TLS is spoken.
    pub(super) fn tls(&self) -> Result<Arc<ClientConfig>, Failure> {
        self.trust.configure(&self.identity)
    }

    /// All headers, the Origin among them.
    pub(super) fn headers(&self) -> Vec<(String, String)> {
        let origin = self.origin.iter().map(|origin| ("Origin".to_owned(), origin.clone()));
        self.headers.iter().cloned().chain(origin).collect()
    }

    pub(super) fn subprotocols(&self) -> Vec<String> {
        self.subprotocol.clone()
    }
}

/// Whether what may harm a server may go to another machine.
#[derive(Clone, Debug, Args)]
pub(super) struct Reach {
    /// The server may be on another machine, and you may do this to it
    #[arg(long)]
    allow_remote: bool,
}

impl Reach {
    /// Finds the server, if it may be where it is; `what` is not done to others.
    pub(super) async fn find(
        &self,
        url: &str,
        handshake: &Handshake,
        what: &str,
    ) -> Result<(Location, Address), Failure> {
        let location = Location::parse(url).map_err(|error| Failure::usage(error.to_string()))?;
        let found = Address::find(&location, &handshake.tls()?, self.allow_remote).await;
        let address = found.map_err(|error| match error {
            AddressError::Resolve(..) => Failure::connection(error.to_string()),
            AddressError::Remote(address) => Failure::usage(format!(
                "{address} is not on this machine: {what} is for servers that one may do it to. Say that you may (--allow-remote)"
            )),
            AddressError::Url(_) => Failure::usage(error.to_string()),
        })?;
        Ok((location, address))
    }
}

/// How to trust the server, and how long to wait for it.
#[derive(Clone, Debug, Args)]
pub(super) struct Trust {
    /// Trust the certificates of this PEM file instead of the system's
    #[arg(long, visible_alias = "ca", value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Do not check the server's certificate
    #[arg(short = 'k', long)]
    insecure: bool,
    /// How long connecting may take
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
}

impl Default for Trust {
    fn default() -> Self {
        Self { cacert: None, insecure: false, timeout: 10 }
    }
}

impl Trust {
    /// A connector with these settings.
    pub(super) fn connector(&self) -> Result<Connector, Failure> {
        let connector = Connector::new().timeout(self.timeout());
        // Without anything special the connector reads the system's certificates itself, if it needs them.
        Ok(if self.is_special() { connector.tls(self.tls()?) } else { connector })
    }

    /// How long connecting may take.
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// The same for whoever speaks TLS without a connector.
    pub(super) fn tls(&self) -> Result<Arc<ClientConfig>, Failure> {
        self.configure(&Identity::default())
    }

    fn is_special(&self) -> bool {
        self.cacert.is_some() || self.insecure
    }

    fn configure(&self, identity: &Identity) -> Result<Arc<ClientConfig>, Failure> {
        let builder = ClientConfig::builder();
        let trusting = if self.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(NoCheck(Self::schemes()?)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let (Some(cert), Some(key)) = (&identity.cert, &identity.key) else {
            return Ok(Arc::new(trusting.with_no_client_auth()));
        };
        let chain = certificates("--cert", cert)?;
        let wrong = |error: &dyn core::fmt::Display| Failure::usage(format!("--key {}: {error}", key.display()));
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(&error))?;
        Ok(Arc::new(trusting.with_client_auth_cert(chain, secret).map_err(|error| wrong(&error))?))
    }

    fn roots(&self) -> Result<RootCertStore, Failure> {
        let mut roots = RootCertStore::empty();
        let Some(file) = &self.cacert else {
            // What of the system's certificates cannot be read is not trusted.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return Ok(roots);
        };
        for certificate in certificates("--cacert", file)? {
            let added = roots.add(certificate);
            added.map_err(|error| Failure::usage(format!("--cacert {}: {error}", file.display())))?;
        }
        Ok(roots)
    }

    fn schemes() -> Result<Vec<SignatureScheme>, Failure> {
        let provider = rustls::crypto::CryptoProvider::get_default();
        let provider = provider.ok_or_else(|| Failure::other("no provider of cryptography is installed"))?;
        Ok(provider.signature_verification_algorithms.supported_schemes())
    }
}

/// All certificates of a file.
fn certificates(flag: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let unreadable = |error: &dyn core::fmt::Display| Failure::usage(format!("{flag} {}: {error}", file.display()));
    let found = CertificateDer::pem_file_iter(file).map_err(|error| unreadable(&error))?;
    found.collect::<Result<_, _>>().map_err(|error| unreadable(&error))
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
