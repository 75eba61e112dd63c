//! One HTTP request of a command.

use super::client::Trust;
use super::exit::{Failure, advice};
use bytes::Bytes;
use core::time::Duration;
use http::{Method, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What an answer may have, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Asks a server, whose address is `http://HOST[:PORT]` or `https://…`. Status and body of the answer.
pub(super) async fn request(
    trust: &Trust,
    method: Method,
    server: &str,
    path: &str,
    key: Option<&str>,
    body: String,
) -> Result<(u16, Bytes), Failure> {
    let address = Address::parse(server)?;
    let failed = |error: &dyn core::fmt::Display| Failure::connection(format!("{server}: {error}"));
    let stream = tokio::time::timeout(trust.timeout(), address.connect(trust, server)).await;
    let stream = stream.map_err(|_| failed(&"connecting took too long"))??;
    let exchange = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let mut request = http::Request::builder().method(method).uri(path).header(header::HOST, &address.authority);
        if let Some(key) = key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        let request = request.header(header::CONTENT_TYPE, "application/json").body(Full::new(Bytes::from(body)))?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        driver.abort();
        let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        anyhow::Ok((status, body))
    };
    let answered = tokio::time::timeout(ANSWER_TIMEOUT, exchange).await;
    let answered = answered.map_err(|_| failed(&"the answer took too long"))?;
    answered.map_err(|error| match error.downcast_ref::<hyper::Error>() {
        Some(cause) if cause.is_parse() && !address.secure => {
            failed(&format!("{error}; if it speaks TLS, the address begins with https://"))
        }
        _ => failed(&error),
    })
}

struct Address {
    secure: bool,
    host: String,
    port: u16,
    authority: String,
}

impl Address {
    fn parse(server: &str) -> Result<Self, Failure> {
        let wrong = || Failure::usage(format!("{server}: not an address such as http://127.0.0.1:8080"));
        let uri: Uri = server.parse().map_err(|_| wrong())?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        if !uri.path().trim_end_matches('/').is_empty() || uri.query().is_some() || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { secure, host, port, authority: authority.as_str().to_owned() })
    }

    async fn connect(&self, trust: &Trust, server: &str) -> Result<Box<dyn Stream>, Failure> {
        let failed =
            |error: &dyn core::fmt::Display| Failure::connection(format!("cannot connect to {server}: {error}"));
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| failed(&error))?;
        if !self.secure {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(self.host.clone()).map_err(|error| failed(&error))?;
        let connector = TlsConnector::from(trust.tls()?);
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| failed(&format!("{error}{}", advice(&error))))?;
        Ok(Box::new(stream))
    }
}
