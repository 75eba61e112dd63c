//! wss:// on the same port, and certificates that are replaced under a running server.

use crate::support::{configured, receive, receive_text, with_server};
use core::time::Duration;
use rustls_pki_types::CertificateDer;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use switchboard_server::config::{Config, TlsFiles};
use switchboard_ws::Connector;

/// Writes a new certificate for localhost with its key, and returns it.
fn write_certificate(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

fn trusting(certificate: &CertificateDer<'static>) -> Connector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Connector::new().tls(Arc::new(config))
}

fn config(folder: &Path) -> Config {
    let tls = TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    Config { tls: Some(tls), ..configured("") }
}

/// Tries until it succeeds, for at most so many milliseconds.
async fn eventually_connects(connector: &Connector, url: &str, millis: u64) {
    let tries = async { while connector.connect(url).await.is_err() {} };
    let connected = tokio::time::timeout(Duration::from_millis(millis), tries).await;
    connected.expect("the new certificate should come into use");
}

#[test]
fn certificates_are_replaced_under_live_connections() {
    let folder = tempfile::tempdir().unwrap();
    let first = write_certificate(folder.path());
    with_server(&config(folder.path()), async |server| {
        let url = format!("wss://localhost:{}/chat", server.address().port());
        assert!(server.is_secure());
        let (mut old, _) = trusting(&first).connect(&url).await.unwrap();

        // On demand, as SIGHUP asks: sooner than the files are looked at. Four times, because that may be about to happen anyway.
        for _ in 0..4 {
            let next = write_certificate(folder.path());
            server.reload();
            eventually_connects(&trusting(&next), &url, 1_000).await;
        }
        assert!(trusting(&first).connect(&url).await.is_err());

        // By itself, because the files changed.
        let third = write_certificate(folder.path());
        eventually_connects(&trusting(&third), &url, 10_000).await;

        // What is no good is not taken.
        let (mut newer, _) = trusting(&third).connect(&url).await.unwrap();
        fs::write(folder.path().join("cert.pem"), "not a certificate").unwrap();
        server.reload();
        tokio::time::sleep(Duration::from_millis(200)).await;
        trusting(&third).connect(&url).await.unwrap();

        newer.send("still here").await.unwrap();
        assert_eq!(receive_text(&mut newer).await, "still here");
        assert_eq!(receive_text(&mut old).await, "still here");
    });
}

#[test]
fn the_api_is_served_by_tls_and_plain_text_is_not_answered() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = write_certificate(folder.path());
    with_server(&config(folder.path()), async |server| {
        let port = server.address().port();
        let (mut socket, _) = trusting(&certificate).connect(&format!("wss://localhost:{port}/ws")).await.unwrap();
        assert_eq!(receive(&mut socket).await["type"], "welcome");
        assert!(Connector::new().connect(&format!("ws://localhost:{port}/ws")).await.is_err());
        assert!(
            Connector::new().connect(&format!("wss://localhost:{port}/ws")).await.is_err(),
            "a stranger's certificate"
        );
    });
}

#[test]
fn what_is_no_certificate_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let start = |name: &str| {
        let config = config(folder.path());
        let error = crate::support::block_on(switchboard_server::start(&config)).unwrap_err();
        let shown = format!("{error:#}");
        assert!(shown.contains(name), "{shown}");
    };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    start("tls.cert");
    write_certificate(folder.path());
    fs::write(folder.path().join("key.pem"), "").unwrap();
    start("tls.key");
    let key = fs::read(folder.path().join("cert.pem")).unwrap();
    write_certificate(folder.path());
    // A certificate with another's key.
    fs::write(folder.path().join("cert.pem"), key).unwrap();
    start("do not fit");
    fs::write(folder.path().join("cert.pem"), "").unwrap();
    start("has no certificate");
}
