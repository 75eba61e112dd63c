//! One request to a receiver: look up, connect, post, read the status; or post over a connection that is there already.
//!
//! The name is looked up once for each connection, and what is connected to is an address that was found then and allowed: a name that means something else a moment later
//! (DNS rebinding) changes nothing. Redirections are not followed, proxies not asked, and what the receiver says beyond its status is not kept.

use super::connection::{Connection, Said, Stream};
use crate::config::{Target, WebhookConfig};
use anyhow::Context;
use bytes::Bytes;
use core::fmt;
use core::future::Future;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use http::{HeaderMap, Method, Request, header};
use http_body_util::Full;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::io;
use std::sync::Arc;
use switchboard_session::admission::Network;
use switchboard_webhooks::is_public;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How requests are made. Cheap to clone.
#[derive(Clone)]
pub(super) struct Client {
    tls: TlsConnector,
    allow: Arc<[Network]>,
    connect_timeout: Duration,
    timeout: Duration,
    keep_alive: Duration,
}

/// Why there is no answer. Shown without the path and the query.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("its name cannot be looked up: {0}")]
    LookUp(io::Error),
    #[error("its name means no address")]
    NoAddress,
    #[error("its address {0} is not of the public internet, and webhooks.allow does not name it")]
    Forbidden(IpAddr),
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, io::Error),
    #[error("no connection by TLS: {0}")]
    Tls(io::Error),
    #[error("no answer: {0}")]
    Http(hyper::Error),
    #[error("{0} took too long")]
    Slow(&'static str),
}

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("allow", &self.allow).finish_non_exhaustive()
    }
}

impl Client {
    /// # Errors
    /// A certificate cannot be read, or no provider of cryptography is installed.
    pub(super) fn new(config: &WebhookConfig) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        // A system without certificates can still tell receivers whose authority is named, and those without TLS.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(file) = &config.ca {
            let named = || format!("webhooks.ca: {}", file.display());
            for certificate in CertificateDer::pem_file_iter(file).with_context(named)? {
                roots.add(certificate.with_context(named)?).with_context(named)?;
            }
        }
        let provider = rustls::crypto::CryptoProvider::get_default().cloned();
        let provider = provider.context("no provider of cryptography is installed")?;
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            tls: TlsConnector::from(Arc::new(tls)),
            allow: config.allow.clone().into(),
            connect_timeout: config.connect_timeout,
            timeout: config.timeout,
            keep_alive: config.keep_alive,
        })
    }

    /// Whether connections are kept at all.
    pub(super) fn keeps(&self) -> bool {
        !self.keep_alive.is_zero()
    }

    /// Posts a body, over the connection given if it still serves. Returns one that may be kept.
    pub(super) async fn post(
        &self,
        kept: Option<Connection>,
        target: &Target,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(Said, Option<Connection>), Fault> {
        let request = || request(target, headers.clone(), body.clone());
        if let Some(kept) = kept {
            match self.ask(kept, request()).await {
                // Whether the receiver had ended the connection before it saw the request is not to be known: without an answer it is made again,
                // which a receiver has to expect anyway.
                Err(Fault::Http(error)) if !error.is_parse() => {}
                asked => return asked,
            }
        }
        self.ask(self.open(target).await?, request()).await
    }

    async fn ask(
        &self,
        mut connection: Connection,
        request: Request<Full<Bytes>>,
    ) -> Result<(Said, Option<Connection>), Fault> {
        let asking = async { connection.ask(request).await.map_err(Fault::Http) };
        let response = within(self.timeout, "the answer", asking).await?;
        Ok((Said::of(&response), connection.finish(response, self.keep_alive).await))
    }

    async fn open(&self, target: &Target) -> Result<Connection, Fault> {
        let stream = within(self.connect_timeout, "connecting", self.connect(target)).await?;
        let stream: Box<dyn Stream> = if target.secure {
            // What is no name for a certificate has no certificate.
            let name =
                ServerName::try_from(target.host.clone()).map_err(|error| Fault::Tls(io::Error::other(error)))?;
            let connecting = async { self.tls.connect(name, stream).await.map_err(Fault::Tls) };
            Box::new(within(self.connect_timeout, "the handshake of TLS", connecting).await?)
        } else {
            Box::new(stream)
        };
        Connection::begin(stream).await.map_err(Fault::Http)
    }

    async fn connect(&self, target: &Target) -> Result<TcpStream, Fault> {
        let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await.map_err(Fault::LookUp)?;
        let found: Vec<SocketAddr> = found.collect();
        let mut allowed: Vec<SocketAddr> = Vec::new();
        allowed.extend(found.iter().filter(|address| self.may_reach(address.ip())).take(ADDRESSES_MAX));
        let mut fault = Fault::NoAddress;
        if let (true, Some(inside)) = (allowed.is_empty(), found.first()) {
            fault = Fault::Forbidden(inside.ip());
        }
        for address in allowed {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // What follows the handshake of TLS would wait for its acknowledgement. An error is a socket that is closed already.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => fault = Fault::Connect(address, error),
            }
        }
        Err(fault)
    }

    fn may_reach(&self, address: IpAddr) -> bool {
        is_public(address) || self.allow.iter().any(|network| network.contains(address))
    }
}

async fn within<T>(
    limit: Duration,
    what: &'static str,
    future: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    timeout(limit, future).await.unwrap_or(Err(Fault::Slow(what)))
}

fn request(target: &Target, headers: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.path.parse().unwrap_or_default();
    *request.headers_mut() = headers;
    if let Ok(host) = target.authority.parse() {
        request.headers_mut().insert(header::HOST, host);
    }
    request
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{RawConfig, check};

    fn client(webhooks: &str) -> Client {
        // Only the first call installs it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let raw: RawConfig = toml::from_str(&format!("[webhooks]\n{webhooks}")).unwrap();
        Client::new(&check(&raw, |_| None).unwrap().webhooks).unwrap()
    }

    fn post(client: &Client, url: &str) -> Result<(Said, Option<Connection>), Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(client.post(None, &Target::parse(url).unwrap(), HeaderMap::new(), Bytes::new()))
    }

    /// However an address of the inside is spelt, looking it up shows what it is.
    #[test]
    fn no_spelling_of_an_inside_address_is_connected_to() {
        let client = client("");
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "0177.0.0.1",
            "0x7f.0.0.1",
            "0x7f000001",
            "2130706433",
            "017700000001",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "0.0.0.0",
            "0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:ffff:7f00:0001]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "169.254.169.254",
            "0xa9fea9fe",
            "2852039166",
            "[::ffff:169.254.169.254]",
            "[fd00:ec2::254]",
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "100.64.0.1",
            "[fe80::1]",
            "[fc00::1]",
            "224.0.0.1",
            "255.255.255.255",
            "[ff02::1]",
            "[2002:7f00:1::]",
        ] {
            for url in [format!("http://{host}:9/"), format!("https://{host}:9/")] {
                let fault = post(&client, &url).unwrap_err();
                // Where the system reads a spelling as no address at all, it is not connected to either.
                assert!(matches!(fault, Fault::Forbidden(_) | Fault::LookUp(_) | Fault::NoAddress), "{url}: {fault}");
            }
        }
        let fault = post(&client, "http://127.0.0.1:9/").unwrap_err();
        assert!(matches!(fault, Fault::Forbidden(_)), "{fault}");
    }

    #[test]
    fn what_is_allowed_is_connected_to_and_its_neighbour_is_not() {
        // Nobody listens on port 9.
        let client = client(r#"allow = ["127.0.0.1/32"]"#);
        for allowed in ["http://127.0.0.1:9/", "http://[::ffff:127.0.0.1]:9/", "http://2130706433:9/"] {
            let fault = post(&client, allowed).unwrap_err();
            assert!(matches!(fault, Fault::Connect(..)), "{allowed}: {fault}");
        }
        let fault = post(&client, "http://127.0.0.2:9/").unwrap_err();
        assert!(matches!(fault, Fault::Forbidden(_)), "{fault}");
    }
}
