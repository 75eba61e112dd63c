//! What is measured: the servers, the scenarios, which server meets which scenario, and the goals. Data only.

/// Where a server's program comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// A binary of a package of this workspace.
    Peer { package: &'static str, binary: &'static str },
    /// The product's own binary.
    Product,
}

#[derive(Debug)]
pub struct Server {
    pub name: &'static str,
    pub program: Program,
    pub args: &'static [&'static str],
    /// The crate whose version is printed beside the name, if the name is not all there is to say.
    pub library: Option<&'static str>,
    /// Where clients connect; `{n}` becomes the number of the connection.
    pub path: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    ServerCpu,
    ServerMemory,
}

/// `server` may take at most `limit` times what `of` takes, or `limit` as such; `later` is where it shall go from there.
#[derive(Debug)]
pub struct Goal {
    pub server: &'static str,
    pub of: Option<&'static str>,
    pub limit: f64,
    pub later: Option<f64>,
}

#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub title: &'static str,
    /// What the figure is for each of.
    pub each: &'static str,
    pub measure: Measure,
    /// Whether the servers get a certificate (`--tls-cert`, `--tls-key`), and the generator trusts it (`--ca`).
    pub tls: bool,
    /// Arguments of the load generator; those of `quick` are added for the quick tier (a later one wins).
    pub load: &'static [&'static str],
    pub quick: &'static [&'static str],
    pub servers: &'static [&'static str],
    /// The server that ratios are relative to.
    pub reference: &'static str,
    pub goals: &'static [Goal],
}

/// Peers that the quick tier leaves out: it is there to see that everything runs, and building them takes most of its time.
pub const NOT_QUICK: &[&str] = &["tokio-websockets", "yawc", "yawc-batch", "yawc-deflate", "tokio-tungstenite-forward"];

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

pub const SERVERS: &[Server] = &[
    Server { name: "switchboard", program: Program::Product, args: PRODUCT, library: None, path: "/raw/bench" },
    Server { name: "switchboard-native", program: Program::Product, args: PRODUCT, library: None, path: "/ws" },
    Server {
        name: "switchboard-pusher",
        program: Program::Product,
        args: PRODUCT,
        library: None,
        path: "/app/bench?protocol=7",
    },
    Server {
        name: "switchboard-sse",
        program: Program::Product,
        args: PRODUCT,
        library: None,
        path: "/sse?channel=bench",
    },
    // Every connection alone on a channel of its own: what it publishes comes back to it.
    Server {
        name: "switchboard-echo",
        program: Program::Product,
        args: PRODUCT,
        library: None,
        path: "/raw/bench-{n}",
    },
    Server {
        name: "switchboard-ws",
        program: peer("peer-switchboard-ws", "peer-switchboard-ws"),
        args: &[],
        library: None,
        path: "/",
    },
    Server {
        name: "fastwebsockets",
        program: peer("peer-fastwebsockets", "peer-fastwebsockets"),
        args: &[],
        library: Some("fastwebsockets"),
        path: "/",
    },
    Server {
        name: "tokio-websockets",
        program: peer("peer-tokio-websockets", "peer-tokio-websockets"),
        args: &[],
        library: Some("tokio-websockets"),
        path: "/",
    },
    Server {
        name: "switchboard-ws-deflate",
        program: peer("peer-switchboard-ws", "peer-switchboard-ws"),
        args: &["--deflate"],
        library: None,
        path: "/",
    },
    Server {
        name: "yawc-deflate",
        program: peer("peer-yawc", "peer-yawc"),
        args: &["--deflate"],
        library: Some("yawc"),
        path: "/",
    },
    Server {
        name: "switchboard-deflate",
        program: Program::Product,
        args: PRODUCT_DEFLATE,
        library: None,
        path: "/raw/bench-{n}",
    },
    Server { name: "yawc", program: peer("peer-yawc", "peer-yawc"), args: &[], library: Some("yawc"), path: "/" },
    Server {
        name: "yawc-batch",
        program: peer("peer-yawc", "peer-yawc"),
        args: &["--batch"],
        library: Some("yawc"),
        path: "/",
    },
    Server {
        name: "tokio-tungstenite",
        program: peer("peer-tokio-tungstenite", "peer-tungstenite-echo"),
        args: &[],
        library: Some("tokio-tungstenite"),
        path: "/",
    },
    Server {
        name: "tokio-tungstenite-forward",
        program: peer("peer-tokio-tungstenite", "peer-tungstenite-echo"),
        args: &["--forward"],
        library: Some("tokio-tungstenite"),
        path: "/",
    },
    Server {
        name: "bare-tokio",
        program: peer("peer-bare-tokio", "peer-bare-tokio"),
        args: &[],
        library: None,
        path: "/",
    },
    Server {
        name: "bare-fanout",
        program: peer("peer-bare-tokio", "peer-bare-fanout"),
        args: &[],
        library: None,
        path: "/",
    },
    Server {
        name: "tokio-tungstenite-broadcast",
        program: peer("peer-tokio-tungstenite", "peer-tungstenite-broadcast"),
        args: &[],
        library: Some("tokio-tungstenite"),
        path: "/",
    },
];

const ECHO: &[&str] =
    &["switchboard-ws", "fastwebsockets", "tokio-websockets", "yawc", "tokio-tungstenite", "bare-tokio"];
/// With the whole server, by way of a channel.
const ECHO_AND_SERVER: &[&str] = &[
    "switchboard-ws",
    "switchboard-echo",
    "fastwebsockets",
    "tokio-websockets",
    "yawc",
    "tokio-tungstenite",
    "bare-tokio",
];
const ECHO_DEEP: &[&str] = &[
    "switchboard-ws",
    "switchboard-echo",
    "fastwebsockets",
    "tokio-websockets",
    "yawc",
    "yawc-batch",
    "tokio-tungstenite",
    "tokio-tungstenite-forward",
    "bare-tokio",
];
/// Of the peers only this one has compression.
const DEFLATE: &[&str] = &["switchboard-ws-deflate", "switchboard-deflate", "yawc-deflate"];
const FANOUT: &[&str] = &["switchboard", "tokio-tungstenite-broadcast", "bare-fanout"];

const AS_FASTWEBSOCKETS: &[Goal] =
    &[Goal { server: "switchboard-ws", of: Some("fastwebsockets"), limit: 1.00, later: None }];

const fn echo(name: &'static str, title: &'static str, load: &'static [&'static str]) -> Scenario {
    Scenario {
        name,
        title,
        each: "message",
        measure: Measure::ServerCpu,
        tls: false,
        load,
        quick: &["--connections", "16"],
        servers: ECHO,
        reference: "fastwebsockets",
        goals: &[],
    }
}

const fn fanout(name: &'static str, title: &'static str, load: &'static [&'static str]) -> Scenario {
    Scenario {
        name,
        title,
        each: "delivery",
        measure: Measure::ServerCpu,
        tls: false,
        load,
        quick: &["--subscribers", "100"],
        servers: FANOUT,
        reference: "tokio-tungstenite-broadcast",
        goals: &[],
    }
}

/// The product beside itself: what a protocol costs per delivery above the native one.
const fn dialects(name: &'static str, title: &'static str, load: &'static [&'static str]) -> Scenario {
    Scenario {
        servers: &["switchboard-native", "switchboard-pusher"],
        reference: "switchboard-native",
        goals: &[Goal { server: "switchboard-pusher", of: Some("switchboard-native"), limit: 1.05, later: None }],
        ..fanout(name, title, load)
    }
}

const fn deflate(name: &'static str, title: &'static str, measure: Measure, load: &'static [&'static str]) -> Scenario {
    Scenario {
        name,
        title,
        each: match measure {
            Measure::ServerCpu => "message",
            Measure::ServerMemory => "connection",
        },
        measure,
        tls: false,
        load,
        quick: &["--connections", "16"],
        servers: DEFLATE,
        reference: "switchboard-ws-deflate",
        goals: &[],
    }
}

const CONNECT: Scenario = Scenario {
    name: "connect",
    title: "Connect, handshake, close handshake; 64 at a time",
    each: "connection",
    measure: Measure::ServerCpu,
    tls: false,
    load: &["connect"],
    quick: &["--parallel", "8"],
    servers: ECHO_AND_SERVER,
    reference: "fastwebsockets",
    goals: &[],
};

const IDLE: Scenario = Scenario {
    name: "idle",
    title: "Idle connections (10,000) that have each echoed one message",
    each: "connection",
    measure: Measure::ServerMemory,
    tls: false,
    load: &["idle", "--connections", "10000"],
    quick: &["--connections", "500", "--settle-ms", "100"],
    servers: ECHO_AND_SERVER,
    reference: "fastwebsockets",
    goals: &[Goal { server: "switchboard-ws", of: None, limit: 1024.0, later: None }],
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        servers: ECHO_AND_SERVER,
        goals: &[Goal { server: "switchboard-ws", of: Some("fastwebsockets"), limit: 1.10, later: Some(1.00) }],
        ..echo("echo-20", "Echo, 20 B, 64 connections", &["echo", "--size", "20"])
    },
    Scenario {
        servers: ECHO_DEEP,
        goals: &[
            Goal { server: "switchboard-ws", of: Some("fastwebsockets"), limit: 0.15, later: Some(0.08) },
            Goal { server: "switchboard-ws", of: Some("yawc-batch"), limit: 0.62, later: None },
        ],
        ..echo(
            "echo-20-deep",
            "Echo, 20 B, 64 connections, 16 in flight on each",
            &["echo", "--size", "20", "--depth", "16"],
        )
    },
    Scenario {
        goals: AS_FASTWEBSOCKETS,
        ..echo("echo-20-1000", "Echo, 20 B, 1,000 connections", &["echo", "--size", "20", "--connections", "1000"])
    },
    Scenario {
        goals: AS_FASTWEBSOCKETS,
        ..echo("echo-1k", "Echo, 1 KiB, 64 connections", &["echo", "--size", "1024"])
    },
    echo(
        "echo-1k-text",
        "Echo, 1 KiB of text (checked for UTF-8), 64 connections",
        &["echo", "--size", "1024", "--text"],
    ),
    Scenario {
        goals: AS_FASTWEBSOCKETS,
        ..echo("echo-16k", "Echo, 16 KiB, 64 connections", &["echo", "--size", "16384"])
    },
    echo("echo-64k", "Echo, 64 KiB, 16 connections", &["echo", "--size", "65536", "--connections", "16"]),
    Scenario {
        quick: &["--connections", "2"],
        goals: &[Goal { server: "switchboard-ws", of: Some("tokio-websockets"), limit: 0.95, later: None }],
        ..echo("echo-1m", "Echo, 1 MiB, 8 connections", &["echo", "--size", "1048576", "--connections", "8"])
    },
    Scenario {
        goals: &[Goal { server: "switchboard-ws-deflate", of: Some("yawc-deflate"), limit: 0.80, later: None }],
        ..deflate(
            "echo-1k-json-deflate",
            "Echo, JSON of 1 KiB, compressed with context takeover, 64 connections",
            Measure::ServerCpu,
            &["deflate", "--size", "1024"],
        )
    },
    deflate(
        "echo-1k-json-deflate-alone",
        "Echo, JSON of 1 KiB, each message compressed alone, 64 connections",
        Measure::ServerCpu,
        &["deflate", "--size", "1024", "--alone"],
    ),
    deflate(
        "idle-deflate",
        "Idle connections (1,000) that have each echoed one compressed message, with context takeover",
        Measure::ServerMemory,
        &["deflate-idle", "--connections", "1000"],
    ),
    deflate(
        "idle-deflate-alone",
        "Idle connections (1,000) that have each echoed one compressed message, without",
        Measure::ServerMemory,
        &["deflate-idle", "--connections", "1000", "--alone"],
    ),
    fanout("fanout", "Fan-out to 1,000 subscribers, 128 B", &["fanout", "--size", "128", "--window", "1"]),
    Scenario {
        goals: &[Goal { server: "switchboard", of: Some("tokio-tungstenite-broadcast"), limit: 0.15, later: None }],
        ..fanout(
            "fanout-deep",
            "Fan-out to 1,000 subscribers, 128 B, 16 in flight",
            &["fanout", "--size", "128", "--window", "16"],
        )
    },
    dialects(
        "fanout-dialects",
        "Fan-out to 1,000 subscribers by dialect, 128 B",
        &["channel", "--size", "128", "--window", "1"],
    ),
    dialects(
        "fanout-dialects-deep",
        "Fan-out to 1,000 subscribers by dialect, 128 B, 16 in flight",
        &["channel", "--size", "128", "--window", "16"],
    ),
    Scenario {
        servers: &["switchboard-native", "switchboard-sse"],
        goals: &[Goal { server: "switchboard-sse", of: Some("switchboard-native"), limit: 1.15, later: None }],
        ..dialects(
            "fanout-sse",
            "Fan-out to 1,000 subscribers by Server-Sent Events, 128 B",
            &["channel", "--size", "128", "--window", "1"],
        )
    },
    CONNECT,
    Scenario {
        name: "connect-tls",
        title: "Connect, TLS 1.3 handshake, handshake, close handshake; 64 at a time",
        tls: true,
        ..CONNECT
    },
    IDLE,
    Scenario {
        name: "idle-tls",
        title: "Idle TLS connections (10,000) that have each echoed one message",
        tls: true,
        goals: &[],
        ..IDLE
    },
];

pub fn server(name: &str) -> Option<&'static Server> {
    SERVERS.iter().find(|server| server.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_the_plan_exists() {
        for scenario in SCENARIOS {
            let named = scenario.servers.iter().chain([&scenario.reference]);
            for name in
                named.chain(scenario.goals.iter().flat_map(|goal| [Some(&goal.server), goal.of.as_ref()]).flatten())
            {
                assert!(server(name).is_some(), "{}: no server is called {name}", scenario.name);
                assert!(scenario.servers.contains(name), "{}: {name} does not take part", scenario.name);
            }
            assert!(!NOT_QUICK.contains(&scenario.reference), "{}", scenario.name);
        }
    }
}
