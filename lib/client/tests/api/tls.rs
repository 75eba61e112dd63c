//! wss://, with a certificate made for the test.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use switchboard_client::ws::{CloseCode, Connector, WebSocket, read_request};
use switchboard_client::{Client, Config};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::support::WELCOME;

fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

/// Accepts, and says welcome. With the token that the client showed.
async fn welcome(listener: &TcpListener, acceptor: &TlsAcceptor) -> (WebSocket<TlsStream<TcpStream>>, Option<String>) {
    let (stream, _) = listener.accept().await.unwrap();
    let stream = acceptor.accept(stream).await.unwrap();
    let pending = read_request(stream, &Default::default()).await.unwrap();
    let shown = pending.request().headers.get("authorization").map(|value| String::from_utf8(value.to_vec()).unwrap());
    let mut ws = pending.accept(Some("switchboard.v1.json"), &[]).await.unwrap();
    ws.send(WELCOME).await.unwrap();
    (ws, shown)
}

#[tokio::test]
async fn connects_again_over_tls_and_closes_cleanly() {
    let (server, client) = configs();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://localhost:{}/ws", listener.local_addr().unwrap().port());
    let acceptor = TlsAcceptor::from(server);
    let serving = tokio::spawn(async move {
        let (first, token) = welcome(&listener, &acceptor).await;
        assert_eq!(token.as_deref(), Some("Bearer secret"));
        // Lost without a word.
        drop(first);
        let (mut second, token) = welcome(&listener, &acceptor).await;
        assert_eq!(token.as_deref(), Some("Bearer secret"));
        assert!(second.recv().await.is_none());
        second.close_frame().unwrap().code
    });
    let mut config = Config::default();
    config.backoff_base = Duration::from_millis(1);
    let client =
        Client::builder(url).config(config).token("secret").connector(Connector::new().tls(client)).connect().unwrap();
    let mut events = client.events();
    let mut welcomes = 0;
    while welcomes < 2 {
        let event = timeout(Duration::from_secs(20), events.next()).await.unwrap().unwrap();
        welcomes += usize::from(matches!(event, switchboard_client::ConnectionEvent::Connected { .. }));
    }
    timeout(Duration::from_secs(20), client.close()).await.unwrap();
    assert_eq!(serving.await.unwrap(), CloseCode::NORMAL);
}
