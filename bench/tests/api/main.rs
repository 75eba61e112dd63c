//! The load generator against small servers that behave, and that misbehave in one way each: it has to notice.

mod native;

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use switchboard_bench::{
    client::{Client, SILENCE_MAX, Scratch},
    scenario::{Target, connect::Connect, echo::Echo, fanout::Fanout, idle::Idle},
    sys::Epoll,
    tls::{Tls, make_certificate},
    wire::{OPCODE_BINARY, Script},
};

const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    Echo,
    Broadcast,
    BroadcastTwice,
    FlipsTheBitOfMessage(usize),
    SendsMoreThanAsked,
    ClosesAfter(usize),
    /// So many messages, by one write.
    AnswersTogether(usize),
    Refuses,
}

/// Listens until the test process ends.
fn start(behaviour: Behaviour) -> Target {
    let (addr, sockets) = listen();
    let everyone = Arc::new(Mutex::new(Vec::new()));
    thread::spawn(move || {
        for socket in sockets {
            everyone.lock().unwrap().push(socket.try_clone().unwrap());
            let everyone = Arc::clone(&everyone);
            // The client may go away at any time.
            thread::spawn(move || serve(socket.try_clone().ok()?, &socket, behaviour, &everyone));
        }
    });
    Target { addr, pid: std::process::id(), path: "/".to_owned(), tls: None }
}

/// The same behind TLS; where another certificate is trusted than the one that it shows, a client has to refuse.
fn start_tls(name: &str, behaviour: Behaviour, trusts_another: bool) -> Target {
    let file = |kind: &str| -> PathBuf {
        std::env::temp_dir().join(format!("switchboard-bench-{}-{name}-{kind}.pem", std::process::id()))
    };
    let (cert, key, other, other_key) = (file("cert"), file("key"), file("other"), file("other-key"));
    make_certificate(&cert, &key).unwrap();
    make_certificate(&other, &other_key).unwrap();
    let tls = Tls::trusting(if trusts_another { &other } else { &cert }).unwrap();
    let chain = vec![CertificateDer::from_pem_file(&cert).unwrap()];
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| {
            builder.with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(&key).unwrap())
        });
    let config = Arc::new(config.unwrap());
    for file in [cert, key, other, other_key] {
        std::fs::remove_file(file).unwrap();
    }
    let (addr, sockets) = listen();
    thread::spawn(move || {
        for socket in sockets {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            thread::spawn(move || {
                let stream = StreamOwned::new(tls, socket.try_clone().ok()?);
                serve(stream, &socket, behaviour, &Mutex::default())
            });
        }
    });
    Target { addr, pid: std::process::id(), path: "/".to_owned(), tls: Some(tls) }
}

fn listen() -> (SocketAddr, impl Iterator<Item = TcpStream> + Send) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (addr, std::iter::from_fn(move || listener.accept().ok()).map(|(socket, _)| socket))
}

fn serve(
    mut socket: impl Read + Write,
    tcp: &TcpStream,
    behaviour: Behaviour,
    everyone: &Mutex<Vec<TcpStream>>,
) -> Option<()> {
    let mut input = Vec::new();
    while !input.windows(4).any(|w| w == b"\r\n\r\n") {
        read(&mut socket, &mut input)?;
    }
    if behaviour == Behaviour::Refuses {
        return socket.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").ok();
    }
    input.clear();
    socket.write_all(RESPONSE.as_bytes()).ok()?;
    let mut together = Vec::new();
    for number in 0.. {
        while input.len() < 2 || input.len() < 6 + usize::from(input[1] & 0x7f) {
            read(&mut socket, &mut input)?;
        }
        let len = usize::from(input[1] & 0x7f);
        let frame: Vec<u8> = input.drain(..6 + len).collect();
        let mut reply = vec![frame[0], len as u8];
        reply.extend(frame[6..].iter().zip(frame[2..6].iter().cycle()).map(|(byte, key)| byte ^ key));
        if frame[0] == 0x88 {
            return socket.write_all(&reply).and_then(|()| tcp.shutdown(Shutdown::Both)).ok();
        }
        match behaviour {
            Behaviour::FlipsTheBitOfMessage(bad) if bad == number => reply[2] ^= 1,
            Behaviour::SendsMoreThanAsked => reply.extend_from_slice(&reply.clone()),
            Behaviour::ClosesAfter(last) if last == number => return tcp.shutdown(Shutdown::Both).ok(),
            _ => {}
        }
        match behaviour {
            Behaviour::Broadcast => everyone.lock().unwrap().iter_mut().for_each(|s| s.write_all(&reply).unwrap_or(())),
            Behaviour::BroadcastTwice => {
                reply.extend_from_slice(&reply.clone());
                everyone.lock().unwrap().iter_mut().for_each(|s| s.write_all(&reply).unwrap_or(()));
            }
            Behaviour::AnswersTogether(count) => {
                together.extend_from_slice(&reply);
                if (number + 1) % count == 0 {
                    socket.write_all(&std::mem::take(&mut together)).ok()?;
                }
            }
            _ => socket.write_all(&reply).ok()?,
        }
    }
    None
}

fn read(socket: &mut impl Read, input: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 4096];
    let n = socket.read(&mut chunk).ok().filter(|&n| n > 0)?;
    input.extend_from_slice(&chunk[..n]);
    Some(())
}

fn echo(depth: usize) -> Echo {
    let (warm_up, duration) = (Duration::from_millis(20), Duration::from_millis(100));
    Echo { opcode: OPCODE_BINARY, size: 20, connections: 4, depth, warm_up, duration, latency: true }
}

fn fanout() -> Fanout {
    let (warm_up, duration) = (Duration::from_millis(20), Duration::from_millis(100));
    Fanout { opcode: OPCODE_BINARY, size: 100, subscribers: 5, window: 4, warm_up, duration }
}

fn error(result: anyhow::Result<serde_json::Value>) -> String {
    format!("{:#}", result.unwrap_err())
}

#[test]
fn echo_counts_replies_and_reads_the_cpu_time() {
    for depth in [1, 16] {
        let result = echo(depth).run(&start(Behaviour::Echo)).unwrap();
        assert!(result["count"].as_u64().unwrap() > 0, "{result}");
        assert!(result["server_cpu_ns_each"].as_f64().unwrap() > 0.0, "{result}");
        assert!(result["latency_us"]["p50"].as_f64().unwrap() > 0.0, "{result}");
    }
}

#[test]
fn fanout_counts_deliveries() {
    let result = fanout().run(&start(Behaviour::Broadcast)).unwrap();
    assert!(result["count"].as_u64().unwrap() >= 6, "{result}");
}

#[test]
fn connect_and_idle_run_to_their_end() {
    let (warm_up, duration) = (Duration::from_millis(20), Duration::from_millis(100));
    let result = Connect { parallel: 3, warm_up, duration }.run(&start(Behaviour::Echo)).unwrap();
    assert!(result["count"].as_u64().unwrap() > 0, "{result}");
    let idle = Idle { connections: 5, size: 20, settle: Duration::from_millis(1) };
    assert_eq!(idle.run(&start(Behaviour::Echo)).unwrap()["connections"], 5);
}

#[test]
fn everything_runs_over_tls() {
    let target = start_tls("runs", Behaviour::Echo, false);
    let (warm_up, duration) = (Duration::from_millis(20), Duration::from_millis(100));
    let result = Connect { parallel: 3, warm_up, duration }.run(&target).unwrap();
    assert!(result["count"].as_u64().unwrap() > 0, "{result}");
    assert!(result["per_second"].as_f64().unwrap() > 0.0, "{result}");
    let idle = Idle { connections: 5, size: 20, settle: Duration::from_millis(1) };
    assert_eq!(idle.run(&target).unwrap()["connections"], 5);
    let result = echo(16).run(&target).unwrap();
    assert!(result["count"].as_u64().unwrap() > 0, "{result}");
}

/// A read of TLS ends with a record, and what lies behind it in the socket raises no new edge: the generator has to go on reading.
#[test]
fn replies_in_several_records_are_read_to_their_end() {
    const TOGETHER: u64 = 300;
    let target = start_tls("records", Behaviour::AnswersTogether(TOGETHER as usize), false);
    let script = Script::new(OPCODE_BINARY, 120, 1);
    assert!(script.reply_len() * TOGETHER > 2 * 16_384, "no more than two records");
    let mut scratch = Scratch::default();
    let mut client = Client::connect(&target, 0, true).unwrap();
    let mut epoll = Epoll::new(1).unwrap();
    epoll.add(&client.socket, 0).unwrap();
    client.allow(&script, TOGETHER);
    client.write(&script).unwrap();
    while client.messages_received(&script) < TOGETHER {
        let told = epoll.wait(SILENCE_MAX).unwrap().next().is_some();
        assert!(told, "it waits for an edge, with {} replies", client.messages_received(&script));
        client.read(&script, &mut scratch).unwrap();
        client.write(&script).unwrap();
    }
    assert!(client.received_exactly(&script, TOGETHER));
}

#[test]
fn over_tls_a_server_that_misbehaves_is_found_out_too() {
    let flips = error(echo(4).run(&start_tls("flips", Behaviour::FlipsTheBitOfMessage(50), false)));
    assert!(flips.contains("wrong bytes after"), "{flips}");
    let stranger = start_tls("stranger", Behaviour::Echo, true);
    let (warm_up, duration) = (Duration::from_millis(20), Duration::from_millis(100));
    let connect = error(Connect { parallel: 3, warm_up, duration }.run(&stranger));
    assert!(connect.contains("invalid peer certificate"), "{connect}");
    let idle = error(Idle { connections: 5, size: 20, settle: Duration::from_millis(1) }.run(&stranger));
    assert!(idle.contains("invalid peer certificate"), "{idle}");
}

#[test]
fn a_server_that_misbehaves_is_found_out() {
    let flips = error(echo(4).run(&start(Behaviour::FlipsTheBitOfMessage(50))));
    assert!(flips.contains("wrong bytes after"), "{flips}");
    let closes = error(echo(1).run(&start(Behaviour::ClosesAfter(3))));
    assert!(closes.contains("closed a connection") || closes.contains("from the server"), "{closes}");
    let refuses = error(echo(1).run(&start(Behaviour::Refuses)));
    assert!(refuses.contains("the server refused: HTTP/1.1 403"), "{refuses}");
    let twice = error(fanout().run(&start(Behaviour::BroadcastTwice)));
    assert!(twice.contains("wrong bytes") || twice.contains("was not sent"), "{twice}");
    let more = error(echo(1).run(&start(Behaviour::SendsMoreThanAsked)));
    assert!(more.contains("wrong bytes") || more.contains("more replies"), "{more}");
}
