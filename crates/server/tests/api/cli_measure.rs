//! The commands that look at any WebSocket server, `check` and `bench`: what they print of good ones, and of others.

use crate::binary::{Serving, run};
use serde_json::Value;
use std::fs;

/// A server in this process that sends back what `answer` makes of a message.
struct Echoing {
    url: String,
    stop: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Echoing {
    fn start(answer: fn(switchboard_ws::Message) -> switchboard_ws::Message) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let echo = async move {
            let serve = async {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(async move {
                        let Ok(mut socket) = switchboard_ws::accept(stream).await else { return };
                        while let Some(Ok(message)) = socket.recv().await {
                            if socket.send(answer(message)).await.is_err() {
                                return;
                            }
                        }
                    });
                }
            };
            tokio::select! { () = serve => {}, _ = stopped => {} }
        };
        Self { url, stop, thread: std::thread::spawn(move || runtime.block_on(echo)) }
    }

    fn stop(self) {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

#[test]
fn check_judges_any_server() {
    let echoing = Echoing::start(|message| message);
    let url = echoing.url.clone();
    let good = run(&["check", "--json", &url]);
    assert_eq!(good.code, 0, "{}\n{}", good.stdout, good.stderr);
    let report: Value = serde_json::from_str(&good.stdout).unwrap();
    assert_eq!(report["conformant"], true);
    let checks = report["checks"].as_array().unwrap();
    assert!(checks.len() > 200, "{}", checks.len());
    let of = |outcome| checks.iter().filter(|check| check["outcome"] == outcome).count();
    // Without compression, what needs it does not apply.
    assert!(of("failed") == 0 && of("not applicable") > 20 && of("passed") > 150, "{report}");

    let junit = run(&["check", "--format", "junit", "--only", "close", "--skip", "close/code-1", &url]);
    assert!(junit.code == 0 && junit.stdout.starts_with("<?xml"), "{}", junit.stdout);
    assert!(junit.stdout.contains("close/one-byte") && !junit.stdout.contains("close/code-1000"));
    echoing.stop();

    let gone = run(&["check", &url]);
    assert!(gone.code == 3 && gone.stderr.contains("cannot connect"), "{}", gone.stderr);
    for (arguments, why) in [
        (&["check", "http://127.0.0.1/"][..], "not of the form"),
        (&["check", "ws://192.0.2.1/"][..], "--allow-remote"),
        (&["check", "--only", "nonsense", "ws://127.0.0.1:1/"][..], "--list"),
    ] {
        let refused = run(arguments);
        assert!(refused.code == 2 && refused.stderr.contains(why), "{arguments:?}: {}", refused.stderr);
    }
    let list = run(&["check", "--list"]);
    assert!(list.code == 0 && list.stdout.lines().count() > 200 && list.stdout.contains("RFC 6455 §5.4"));
}

#[test]
fn check_finds_ours_conformant_though_it_echoes_to_a_whole_room() {
    let serving = Serving::start(&[]);
    let checked = run(&["check", "--no-echo", &serving.url("/chat")]);
    assert_eq!(checked.code, 0, "{}\n{}", checked.stdout, checked.stderr);
    serving.stop();
}

#[test]
fn bench_measures_an_echo_and_finds_what_is_wrong() {
    let echoing = Echoing::start(|message| message);
    let short = ["-d", "0.3", "--warm-up", "0.1", "-c", "5"];
    let folder = tempfile::tempdir().unwrap();
    let [csv, html] = ["a.csv", "a.html"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let arguments =
        [&["bench", "echo", "--json", "-r", "500", "--csv", &csv, "--html", &html], &short[..], &[&echoing.url]];
    let open = run(&arguments.concat());
    assert_eq!(open.code, 0, "{}", open.stderr);
    let figures: Value = serde_json::from_str(&open.stdout).unwrap();
    let number = |name: &str| figures[name].as_u64().unwrap();
    // 500 a second for 300 ms, whatever the machine does.
    assert!((145..=155).contains(&number("sent")), "{figures}");
    assert_eq!((number("sent"), number("opened"), number("lost")), (number("received"), 5, 0));
    assert!(figures["latency_ns"]["p99"].as_u64().unwrap() > 0);
    assert!(fs::read_to_string(csv).unwrap().lines().count() > 1);
    let page = fs::read_to_string(html).unwrap();
    assert!(page.contains("<svg") && !page.contains("http://") && !page.contains("<script"), "{page}");

    let closed =
        run(&[&["bench", "echo", "--depth", "2", "-t", "2", "--size", "2000"], &short[..], &[&echoing.url]].concat());
    assert!(closed.code == 0 && closed.stdout.contains("p99.9"), "{}{}", closed.stdout, closed.stderr);
    echoing.stop();

    let lying =
        Echoing::start(|message| switchboard_ws::Message::from(format!("{}!", message.as_text().unwrap_or_default())));
    let found = run(&[&["bench", "echo"], &short[..], &[&lying.url]].concat());
    assert!(found.code == 1 && found.stdout.contains("something else came back"), "{}", found.stdout);
    lying.stop();

    for (arguments, code, why) in [
        (&["bench", "echo", "ws://192.0.2.1/"][..], 2, "--allow-remote"),
        (&["bench", "echo", "-r", "0", "ws://127.0.0.1:1/"][..], 2, "--rate"),
        (&["bench", "idle", "-d", "1e9", "ws://127.0.0.1:1/"][..], 2, "--duration"),
        (&["bench", "idle", "ws://127.0.0.1:1/"][..], 3, "cannot connect"),
    ] {
        let refused = run(arguments);
        assert!(refused.code == code && refused.stderr.contains(why), "{arguments:?}: {}", refused.stderr);
    }
}

#[test]
fn bench_loads_a_switchboard_with_subscribers_and_connections() {
    let serving = Serving::start(&[]);
    let url = serving.url("/ws");
    let short = ["--json", "-d", "0.4", "--warm-up", "0.1", "-c", "20", "-t", "2"];
    let at = |arguments: &[&str], url: &str| -> Value {
        let done = run(&[&["bench"], arguments, &short[..], &[url]].concat());
        assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
        serde_json::from_str(&done.stdout).unwrap()
    };
    let of = |arguments: &[&str]| at(arguments, &url);
    let fanout = of(&["fanout", "-r", "50"]);
    let sent = fanout["sent"].as_u64().unwrap();
    assert!(sent >= 19 && fanout["received"] == sent * 20, "{fanout}");
    let storm = of(&["connect", "-r", "50"]);
    assert!(storm["opened"].as_u64().unwrap() >= 19, "{storm}");
    let idle = of(&["idle"]);
    assert_eq!(idle["opened"], 20, "{idle}");
    // On a channel of its own, a connection receives what it sends and nothing else: anything more would be told as wrong.
    let alone = at(&["echo", "-r", "200"], &serving.url("/raw/alone-{n}"));
    assert_eq!((&alone["opened"], &alone["received"]), (&Value::from(20), &alone["sent"]), "{alone}");
    serving.stop();
}
