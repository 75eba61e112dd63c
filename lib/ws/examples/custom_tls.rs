//! TLS with a certificate authority of one's own and client certificates: `cargo run --example custom_tls`.
//!
//! Makes an authority and two certificates, one for the server and one for a client called Alice, starts the server and connects: once as
//! Alice, once as nobody, who is refused. The provider of cryptography is the application's choice, here aws-lc-rs.
#![allow(clippy::print_stdout)]

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use switchboard_ws::{CloseCode, Connector, accept};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let authority = Authority::new()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let acceptor = TlsAcceptor::from(server_config(&authority)?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            // Who is refused is told so by TLS.
            tokio::spawn(async move { serve(acceptor, stream).await });
        }
    });

    // The certificate is for this name, wherever it listens.
    let dial = async |_: &str, _: u16| TcpStream::connect(address).await;
    let connector = Connector::new().tls(client_config(&authority, Some("Alice"))?);
    let (mut socket, _) = connector.connect_through("wss://chat.internal/", dial).await?;
    let greeting = socket.recv().await.context("no greeting came")??;
    println!("with a certificate: {}", greeting.as_text().unwrap_or_default());
    socket.close(CloseCode::NORMAL, "").await?;

    let connector = Connector::new().tls(client_config(&authority, None)?);
    let refused = connector.connect_through("wss://chat.internal/", dial).await;
    ensure!(refused.is_err(), "a stranger was let in");
    println!("without: refused");
    Ok(())
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream) -> Result<()> {
    let stream = acceptor.accept(stream).await?;
    let certificates = stream.get_ref().1.peer_certificates().map_or(0, <[_]>::len);
    let mut socket = accept(stream).await?;
    socket.send(format!("hello, you showed {certificates} certificate")).await?;
    while socket.recv().await.transpose()?.is_some() {}
    Ok(())
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "An authority of our own");
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        Ok(roots)
    }

    fn issue(&self, name: &str) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }
}

fn server_config(authority: &Authority) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(authority.roots()?), provider.clone()).build()?;
    let (certificate, key) = authority.issue("chat.internal")?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)?;
    Ok(Arc::new(config))
}

fn client_config(authority: &Authority, name: Option<&str>) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authority.roots()?);
    let Some(name) = name else { return Ok(Arc::new(builder.with_no_client_auth())) };
    let (certificate, key) = authority.issue(name)?;
    Ok(Arc::new(builder.with_client_auth_cert(vec![certificate], key)?))
}
