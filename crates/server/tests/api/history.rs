//! The history on disk, with the built binary: what survives, who may have the folder, and what is told about it.

use crate::binary::{Serving, run, switchboard};
use crate::support::{ask, block_on, native, request};
use core::net::SocketAddr;
use serde_json::{Value, json};
use std::path::Path;

fn serve(folder: &Path, more: &[&str]) -> Serving {
    let mut arguments = vec!["--data-dir", folder.to_str().unwrap()];
    arguments.extend(more);
    Serving::start(&arguments)
}

async fn publish(address: SocketAddr, channel: &str, data: u64) -> Value {
    let mut socket = native(address).await;
    let request =
        json!({ "type": "publish", "id": 1, "channel": channel, "data": data, "idempotency_key": data.to_string() });
    ask(&mut socket, &request).await
}

async fn history(address: SocketAddr, channel: &str) -> Value {
    let mut socket = native(address).await;
    ask(&mut socket, &json!({ "type": "history", "id": 1, "channel": channel })).await
}

async fn metric(admin: SocketAddr, name: &str) -> f64 {
    let metrics = request(admin, "GET /metrics", "").await.body;
    let line = metrics.lines().find(|line| line.split_whitespace().next() == Some(name));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn what_was_acknowledged_is_there_after_kill_9_and_after_an_orderly_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = Vec::new();
    for round in 0..4_u64 {
        // The number of shards may change.
        let mut serving = serve(folder.path(), &["--shards", if round % 2 == 0 { "1" } else { "3" }]);
        block_on(async {
            for channel in ["a", "b", "c"] {
                let kept = history(serving.address, channel).await;
                let data: Vec<u64> =
                    kept["publications"].as_array().unwrap().iter().map(|one| one["data"].as_u64().unwrap()).collect();
                assert_eq!(data, (0..round).collect::<Vec<_>>(), "{channel} in round {round}");
                let answer = publish(serving.address, channel, round).await;
                assert_eq!(answer["position"]["offset"], round + 1, "{answer}");
                // Asked again, in this process or the next, it is the same.
                told.push((channel, round, answer["position"].clone()));
            }
            for (channel, data, position) in &told {
                let again = publish(serving.address, channel, *data).await;
                assert_eq!((&again["position"], &again["duplicate"]), (position, &json!(true)), "{again}");
            }
        });
        if round % 2 == 0 {
            serving.child.kill().unwrap();
            serving.child.wait().unwrap();
        } else {
            serving.stop();
        }
    }
}

#[test]
fn a_folder_belongs_to_one_server_and_damage_in_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let serving = serve(folder.path(), &[]);
    block_on(async {
        for data in 0..5 {
            publish(serving.address, "a", data).await;
        }
        let ready = request(serving.admin, "GET /readyz", "").await;
        assert_eq!(ready.json(), json!({ "ready": true, "history": "writable" }));
        assert_eq!(metric(serving.admin, "switchboard_history_writable").await, 1.0);
        assert!(metric(serving.admin, "switchboard_history_commits_total").await >= 5.0);
        assert!(metric(serving.admin, "switchboard_history_sync_seconds_count").await >= 5.0);
        assert!(metric(serving.admin, "switchboard_history_kept_bytes").await > 0.0);
    });
    let second = run(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--data-dir", path]);
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains(path) && second.stderr.contains("in use by another process"), "{}", second.stderr);
    let verified = run(&["history", "verify", path]);
    assert!(verified.code == 1 && verified.stderr.contains("in use"), "{}", verified.stderr);
    serving.signal("TERM");
    let (code, stdout, stderr) = serving.wait();
    assert!(code == Some(0) && stdout.contains(path) && stderr.contains("the history is closed"), "{stdout}{stderr}");

    let verified = run(&["history", "verify", path]);
    assert!(
        verified.code == 0 && verified.stdout.starts_with("5 publications and 0 cached values on 1 channels"),
        "{}",
        verified.stdout
    );
    let segment = folder.path().join("journal-0000000000000001");
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let verified = run(&["history", "verify", path, "--json"]);
    assert_eq!(verified.code, 1);
    let report: Value = serde_json::from_str(&verified.stdout).unwrap();
    assert_eq!((&report["publications"], report["damage"].as_array().unwrap().len()), (&json!(4), 1), "{report}");

    let serving = serve(folder.path(), &[]);
    block_on(async {
        let kept = history(serving.address, "a").await;
        assert_eq!(kept["publications"].as_array().unwrap().len(), 4, "{kept}");
    });
    serving.stop();
    assert_eq!(run(&["history", "verify", "/nowhere"]).code, 2);
    let empty = tempfile::tempdir().unwrap();
    let verified = run(&["history", "verify", empty.path().to_str().unwrap()]);
    assert!(verified.code == 2 && verified.stderr.contains("there is no history in"), "{}", verified.stderr);
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[test]
fn after_a_backup_was_restored_nobody_resumes_from_what_was_published_behind_it() {
    let parent = tempfile::tempdir().unwrap();
    let [folder, backup] = ["data", "backup"].map(|name| parent.path().join(name));
    let path = folder.to_str().unwrap();
    let serving = serve(&folder, &[]);
    block_on(async { [publish(serving.address, "a", 1).await, publish(serving.address, "quiet", 1).await] });
    serving.stop();
    copy(&folder, &backup);
    let serving = serve(&folder, &[]);
    let refused = run(&["history", "new-epoch", path]);
    assert!(refused.code == 1 && refused.stderr.contains("in use"), "{}", refused.stderr);
    let seen = block_on(async {
        publish(serving.address, "a", 2).await;
        publish(serving.address, "a", 3).await["position"].clone()
    });
    serving.stop();

    std::fs::remove_dir_all(&folder).unwrap();
    copy(&backup, &folder);
    let renewed = run(&["history", "new-epoch", path]);
    assert!(renewed.code == 0 && renewed.stdout.starts_with("2 channels begin a new epoch"), "{}", renewed.stderr);
    let serving = serve(&folder, &[]);
    block_on(async {
        let kept = history(serving.address, "a").await;
        assert_eq!(kept["publications"].as_array().unwrap().len(), 1, "{kept}");
        // The offset that the client has seen is given to another publication.
        for data in 4..6 {
            publish(serving.address, "a", data).await;
        }
        let mut socket = native(serving.address).await;
        let resume = json!({ "type": "subscribe", "id": 1, "channel": "a", "since": seen });
        let answer = ask(&mut socket, &resume).await;
        assert_eq!((&answer["recovered"], &answer["position"]["offset"]), (&json!(false), &json!(3)), "{answer}");
        assert_ne!(answer["position"]["epoch"], seen["epoch"]);
        // From now on it can be resumed, over the next restart too.
        let resume = json!({ "type": "subscribe", "id": 2, "channel": "quiet", "since": history(serving.address, "quiet").await["position"] });
        assert_eq!(ask(&mut socket, &resume).await["recovered"], true);
    });
    serving.stop();
    assert_eq!(run(&["history", "new-epoch", "/nowhere"]).code, 2);
    let empty = parent.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert_eq!(run(&["history", "new-epoch", empty.to_str().unwrap()]).code, 2);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    // Beside the journal there may be a folder, of webhooks.
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn without_a_folder_nothing_is_written_and_nothing_promised() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("switchboard.toml");
    std::fs::write(&config, format!("[history]\ndata_dir = {:?}", folder.path().join("data"))).unwrap();
    let serving = Serving::start(&["--ephemeral", "--config", config.to_str().unwrap()]);
    block_on(async {
        publish(serving.address, "a", 1).await;
        assert_eq!(request(serving.admin, "GET /readyz", "").await.json()["history"], "memory");
    });
    serving.signal("TERM");
    let (code, stdout, _) = serving.wait();
    assert!(code == Some(0) && stdout.contains("in memory"), "{stdout}");
    assert!(!folder.path().join("data").exists());
    let both = switchboard(&["serve", "--ephemeral", "--data-dir", "x"]).output().unwrap();
    assert_eq!(both.status.code(), Some(2));
}
