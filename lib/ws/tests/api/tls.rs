//! wss:// with certificates made for the test.

use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use switchboard_ws::{CloseCode, ConnectError, Connector, MaybeTls, accept};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::*;

pub(crate) fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
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

async fn server(config: Arc<ServerConfig>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(config);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            tokio::spawn(async move { echo(accept(stream).await.unwrap()).await });
        }
    });
    port
}

#[tokio::test]
async fn messages_over_tls() {
    let (server_config, client_config) = configs();
    let port = server(server_config).await;
    let connector = Connector::new().tls(client_config);
    let (mut socket, _) = soon(connector.connect(&format!("wss://localhost:{port}/"))).await.unwrap();
    for size in [0, 20, 20_000, 1 << 20] {
        soon(socket.send(vec![9; size])).await.unwrap();
        assert_eq!(soon(socket.recv()).await.unwrap().unwrap().len(), size);
    }
    for number in 0..100 {
        socket.feed(number.to_string()).await.unwrap();
    }
    for number in 0..100 {
        assert_eq!(soon(socket.recv()).await.unwrap().unwrap().as_text(), Some(&*number.to_string()));
    }
    soon(socket.close(CloseCode::NORMAL, "")).await.unwrap();
    assert_eq!(socket.close_frame().unwrap().code, CloseCode::NORMAL);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for() {
    let port = server(configs().0).await;
    let connector = Connector::new().tls(configs().1);
    let error = soon(connector.connect(&format!("wss://localhost:{port}/"))).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_certificate_for_another_name() {
    let (server_config, client_config) = configs();
    let port = server(server_config).await;
    let connector = Connector::new().tls(client_config);
    let error = soon(connector.connect(&format!("wss://127.0.0.1:{port}/"))).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

/// Alone in its process (as nextest runs it) no provider is installed; beside other tests none is either, since none installs one.
#[tokio::test]
async fn without_a_provider_the_error_says_what_to_do() {
    let port = server(configs().0).await;
    let error = soon(Connector::new().connect(&format!("wss://localhost:{port}/"))).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Tls(hint) if hint.contains("install_default")), "{error}");
}

#[tokio::test]
async fn tls_through_a_proxy() {
    let (server_config, client_config) = configs();
    let port = server(server_config).await;
    let (proxy, proxying) = crate::proxy::proxy().await;
    let connector = Connector::new().tls(client_config).proxy(Some(format!("http://localhost:{proxy}")));
    let (mut socket, _) = soon(connector.connect(&format!("wss://localhost:{port}/"))).await.unwrap();
    soon(socket.send("nobody on the way can read this")).await.unwrap();
    assert_eq!(soon(socket.recv()).await.unwrap().unwrap().len(), 31);
    soon(socket.close(CloseCode::NORMAL, "")).await.unwrap();
    drop(socket);
    assert!(soon(proxying).await.unwrap().starts_with(&format!("CONNECT localhost:{port} ")));
}

#[tokio::test]
async fn a_configuration_that_offers_http2_serves_http1_too() {
    let (server_config, client_config) = configs();
    let (mut server_config, mut client_config) =
        (ServerConfig::clone(&server_config), ClientConfig::clone(&client_config));
    server_config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    client_config.alpn_protocols = server_config.alpn_protocols.clone();
    let port = server(server_config.into()).await;
    let connector = Connector::new().tls(client_config.into());
    let (socket, _) = soon(connector.connect(&format!("wss://localhost:{port}/"))).await.unwrap();
    let MaybeTls::Tls(stream) = socket.get_ref() else { panic!() };
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}
