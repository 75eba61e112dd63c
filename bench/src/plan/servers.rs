//! The servers that are measured: the product in several manners, our library, and what they are compared with.

use super::{Program, Server};

const fn peer(package: &'static str, binary: &'static str) -> Program {
    Program::Peer { package, binary }
}

/// `{bench}` becomes the folder of this workspace.
const PRODUCT: &[&str] =
    &["serve", "--config", "{bench}/switchboard.toml", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

const PRODUCT_DEFLATE: &[&str] = &[
    "serve",
    "--config",
    "{bench}/switchboard-deflate.toml",
    "--listen",
    "127.0.0.1:0",
    "--admin-listen",
    "127.0.0.1:0",
];

/// `{data}` becomes an empty folder.
const PRODUCT_DURABLE: &[&str] = &[
    "serve",
    "--config",
    "{bench}/switchboard.toml",
    "--listen",
    "127.0.0.1:0",
    "--admin-listen",
    "127.0.0.1:0",
    "--data-dir",
    "{data}",
];

const PRODUCT_TWO_SHARDS: &[&str] = &[
    "serve",
    "--config",
    "{bench}/switchboard.toml",
    "--listen",
    "127.0.0.1:0",
    "--admin-listen",
    "127.0.0.1:0",
    "--shards",
    "2",
];

pub const SERVERS: &[Server] = &[
    Server {
        name: "switchboard",
        program: Program::Product,
        args: PRODUCT,
        library: None,
        path: "/raw/bench",
        cpus: 1,
    },
    Server {
        name: "switchboard-native",
        program: Program::Product,
        args: PRODUCT,
        library: None,
        path: "/ws",
        cpus: 1,
    },
    Server {
        name: "switchboard-pusher",
        program: Program::Product,
        args: PRODUCT,
        library: None,
        path: "/app/bench?protocol=7",
        cpus: 1,
    },
    Server {
        name: "switchboard-sse",
        program: Program::Product,
        args: PRODUCT,
        library: None,
        path: "/sse?channel=bench",
        cpus: 1,
    },
    Server {
        name: "switchboard-durable",
        program: Program::Product,
        args: PRODUCT_DURABLE,
        library: None,
        path: "/ws",
        cpus: 1,
    },
    Server {
        name: "switchboard-two-shards",
        program: Program::Product,
        args: PRODUCT_TWO_SHARDS,
        library: None,
        path: "/ws",
        cpus: 2,
    },
    Server {
        name: "bare-log",
        program: peer("peer-bare-tokio", "peer-bare-log"),
        args: &["--data-dir", "{data}"],
        library: None,
        path: "/",
        cpus: 1,
    },
    // With the zeros that the product writes ahead, and with one wake-up for all that a sync has made durable.
    Server {
        name: "bare-log-best",
        program: peer("peer-bare-tokio", "peer-bare-log"),
        args: &["--data-dir", "{data}", "--ahead", "262144"],
        library: None,
        path: "/",
        cpus: 1,
    },
    // Every connection alone on a channel of its own: what it publishes comes back to it.
    Server {
        name: "switchboard-echo",
        program: Program::Product,
        args: PRODUCT,
        library: None,
        path: "/raw/bench-{n}",
        cpus: 1,
    },
    Server {
        name: "switchboard-ws",
        program: peer("peer-switchboard-ws", "peer-switchboard-ws"),
        args: &[],
        library: None,
        path: "/",
        cpus: 1,
    },
    Server {
        name: "fastwebsockets",
        program: peer("peer-fastwebsockets", "peer-fastwebsockets"),
        args: &[],
        library: Some("fastwebsockets"),
        path: "/",
        cpus: 1,
    },
    Server {
        name: "tokio-websockets",
        program: peer("peer-tokio-websockets", "peer-tokio-websockets"),
        args: &[],
        library: Some("tokio-websockets"),
        path: "/",
        cpus: 1,
    },
    Server {
        name: "switchboard-ws-deflate",
        program: peer("peer-switchboard-ws", "peer-switchboard-ws"),
        args: &["--deflate"],
        library: None,
        path: "/",
        cpus: 1,
    },
    Server {
        name: "yawc-deflate",
        program: peer("peer-yawc", "peer-yawc"),
        args: &["--deflate"],
        library: Some("yawc"),
        path: "/",
        cpus: 1,
    },
    Server {
        name: "switchboard-deflate",
        program: Program::Product,
        args: PRODUCT_DEFLATE,
        library: None,
        path: "/raw/bench-{n}",
        cpus: 1,
    },
    Server {
        name: "yawc",
        program: peer("peer-yawc", "peer-yawc"),
        args: &[],
        library: Some("yawc"),
        path: "/",
        cpus: 1,
    },
    Server {
        name: "yawc-batch",
        program: peer("peer-yawc", "peer-yawc"),
        args: &["--batch"],
        library: Some("yawc"),
        path: "/",
        cpus: 1,
    },
    Server {
        name: "tokio-tungstenite",
        program: peer("peer-tokio-tungstenite", "peer-tungstenite-echo"),
        args: &[],
        library: Some("tokio-tungstenite"),
        path: "/",
        cpus: 1,
    },
    Server {
        name: "tokio-tungstenite-forward",
        program: peer("peer-tokio-tungstenite", "peer-tungstenite-echo"),
        args: &["--forward"],
        library: Some("tokio-tungstenite"),
        path: "/",
        cpus: 1,
    },
    Server {
        name: "bare-tokio",
        program: peer("peer-bare-tokio", "peer-bare-tokio"),
        args: &[],
        library: None,
        path: "/",
        cpus: 1,
    },
    Server {
        name: "bare-fanout",
        program: peer("peer-bare-tokio", "peer-bare-fanout"),
        args: &[],
        library: None,
        path: "/",
        cpus: 1,
    },
    Server {
        name: "tokio-tungstenite-broadcast",
        program: peer("peer-tokio-tungstenite", "peer-tungstenite-broadcast"),
        args: &[],
        library: Some("tokio-tungstenite"),
        path: "/",
        cpus: 1,
    },
];
