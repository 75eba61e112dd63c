//! A client that is lost and comes back a thousand times holds no more than one that came once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use allocation_counter::measure;
use switchboard_client::core::{Request, Tokens, Wanted};
use switchboard_client::ws::accept;
use switchboard_client::{Client, Config};
use tokio::io::duplex;
use tokio_util::io::InspectReader;

use crate::support::{Script, WELCOME};

/// Subscriptions, questions that are answered and that are not, and a loss.
fn round(script: &mut Script, number: usize) {
    script.welcome();
    for channel in ["a", "b"] {
        script.core.request(script.now, &Request::Presence { channel: channel.into(), limit: None }).unwrap();
    }
    for text in script.says() {
        let said: serde_json::Value = serde_json::from_str(&text).unwrap();
        let answered = said["type"] == "subscribe" || number.is_multiple_of(2);
        if answered && let Some(id) = said["id"].as_u64() {
            script.hear(&format!(
                r#"{{"type":"ok","id":{id},"position":{{"epoch":"e","offset":1}},"recovered":true,"users":[],"connections":0}}"#
            ));
        }
    }
    script.core.on_closed(script.now, None, "reset");
    script.outputs();
    script.wait();
    script.outputs();
}

#[test]
fn a_thousand_losses_cost_the_state_machine_nothing() {
    let mut script = Script::new(Config::default(), Tokens::None);
    script.core.subscribe(Wanted::channel("room")).unwrap();
    script.core.subscribe(Wanted::pattern("sensors/#")).unwrap();
    script.core.connect(script.now);
    script.outputs();
    // What grows once, and stays.
    (0..100).for_each(|number| round(&mut script, number));
    let grown = measure(|| (0..1000).for_each(|number| round(&mut script, number)));
    assert!(grown.bytes_current < 4096 && grown.count_current < 16, "{grown:?}");
}

/// Counted as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_connections_leave_no_stream_behind() {
    let alive = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&alive);
    let (dialled, mut arriving) = tokio::sync::mpsc::channel(1);
    let client = Client::builder("ws://test/ws").dial(move |_, _| {
        let (near, far) = duplex(10_000);
        // It lives as long as the stream that holds it.
        let alive = Counted::new(&counted);
        let (near, dialled) = (InspectReader::new(near, move |_: &[u8]| _ = &alive), dialled.clone());
        async move {
            dialled.send(far).await.map_err(io::Error::other)?;
            Ok(near)
        }
    });
    let client = client.connect().unwrap();
    for number in 0..1000 {
        let far = arriving.recv().await.unwrap();
        assert!(alive.load(Ordering::Relaxed) <= 2, "the one before may still be closing");
        match number % 4 {
            // Nobody there, no answer to the handshake, no welcome, a loss.
            0 => drop(far),
            1 => tokio::time::sleep(Duration::from_secs(11)).await,
            2 => {
                let _socket = accept(far).await.unwrap();
                tokio::time::sleep(Duration::from_secs(11)).await;
            }
            _ => accept(far).await.unwrap().send(WELCOME).await.unwrap(),
        }
    }
    client.close().await;
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}
