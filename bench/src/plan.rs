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
    /// How many CPUs it has in split mode. Where it has more than one, the generator shares them.
    pub cpus: usize,
}

/// What the figure of a scenario is: a number that the load generator reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    ServerCpu,
    ServerMemory,
    /// From when a message is due until it has arrived.
    Latency,
    /// From one to the next, of all publishers together.
    WallTime,
    /// The most that the server had, in proportion to what it had before.
    Peak,
}

impl Measure {
    /// The name of the number.
    pub fn figure(self) -> &'static str {
        match self {
            Self::ServerCpu => "server_cpu_ns_each",
            Self::ServerMemory => "server_rss_bytes_each",
            Self::Latency => "latency_us_p99",
            Self::WallTime => "wall_ns_each",
            Self::Peak => "memory_ratio",
        }
    }

    pub fn unit(self, each: &str) -> String {
        match self {
            Self::ServerCpu => format!("CPU ns of the server per {each}"),
            Self::ServerMemory => format!("resident bytes of the server per {each}"),
            Self::Latency => format!("µs per {each}, p99"),
            Self::WallTime => format!("ns per {each}"),
            Self::Peak => "peak of the server's memory × before".to_owned(),
        }
    }

    /// Digits behind the point.
    pub fn decimals(self) -> usize {
        if self == Self::Peak { 2 } else { 0 }
    }
}

/// `server` may take at most `limit` times what `of` takes, or `limit` as such; `later` is where it shall go from there.
#[derive(Debug)]
pub struct Goal {
    pub server: &'static str,
    pub of: Option<&'static str>,
    pub limit: f64,
    pub later: Option<f64>,
    /// What is compared, where it is not the scenario's figure: the name of a number, and what it is.
    pub figure: Option<(&'static str, &'static str)>,
}

impl Goal {
    const fn times(server: &'static str, of: &'static str, limit: f64) -> Self {
        Self { server, of: Some(of), limit, later: None, figure: None }
    }

    const fn at_most(server: &'static str, limit: f64) -> Self {
        Self { server, of: None, limit, later: None, figure: None }
    }

    const fn later(self, later: f64) -> Self {
        Self { later: Some(later), ..self }
    }

    const fn of_figure(self, name: &'static str, title: &'static str) -> Self {
        Self { figure: Some((name, title)), ..self }
    }
}

#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub title: &'static str,
    /// What the figure is for each of.
    pub each: &'static str,
    pub measure: Measure,
    /// Whether it is only measured with a CPU for the server and another for the generator, whatever the mode.
    pub split: bool,
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

const AS_FASTWEBSOCKETS: &[Goal] = &[Goal::times("switchboard-ws", "fastwebsockets", 1.00)];

const fn echo(name: &'static str, title: &'static str, load: &'static [&'static str]) -> Scenario {
    Scenario {
        name,
        title,
        each: "message",
        measure: Measure::ServerCpu,
        split: false,
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
        split: false,
        tls: false,
        load,
        quick: &["--subscribers", "100"],
        servers: FANOUT,
        reference: "tokio-tungstenite-broadcast",
        goals: &[],
    }
}

const DIALECT_GOALS: &[Goal] = &[Goal::times("switchboard-pusher", "switchboard-native", 1.05)];

/// The product beside itself: what a protocol costs per delivery above the native one.
const fn dialects(name: &'static str, title: &'static str, load: &'static [&'static str]) -> Scenario {
    Scenario {
        servers: &["switchboard-native", "switchboard-pusher"],
        reference: "switchboard-native",
        goals: DIALECT_GOALS,
        ..fanout(name, title, load)
    }
}

const fn deflate(name: &'static str, title: &'static str, measure: Measure, load: &'static [&'static str]) -> Scenario {
    Scenario {
        name,
        title,
        each: match measure {
            Measure::ServerMemory => "connection",
            _ => "message",
        },
        measure,
        split: false,
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
    split: false,
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
    split: false,
    tls: false,
    load: &["idle", "--connections", "10000"],
    quick: &["--connections", "500", "--settle-ms", "100"],
    servers: ECHO_AND_SERVER,
    reference: "fastwebsockets",
    goals: &[Goal::at_most("switchboard-ws", 1024.0)],
};

/// What only the whole server has: it beside itself, or beside nothing.
const WHOLE: Scenario = Scenario {
    name: "",
    title: "",
    each: "delivery",
    measure: Measure::Latency,
    split: true,
    tls: false,
    load: &[],
    quick: &[],
    servers: &["switchboard-native"],
    reference: "switchboard-native",
    goals: &[],
};

const SUBSCRIBED: Scenario = Scenario {
    name: "subscribed",
    title: "Idle subscribers of one channel (10,000)",
    each: "connection",
    measure: Measure::ServerMemory,
    split: false,
    load: &["subscribed", "--connections", "10000"],
    quick: &["--connections", "200", "--settle-ms", "100"],
    goals: &[Goal::at_most("switchboard-native", 2048.0)],
    ..WHOLE
};

const LATENCY: Scenario = Scenario {
    name: "latency",
    title: "From publishing to delivery at half load, 1,000 subscribers, 128 B",
    load: &["latency", "--size", "128", "--subscribers", "1000", "--load", "0.5", "--duration-ms", "5000"],
    quick: &["--subscribers", "20", "--load", "0.1", "--warm-up-ms", "50", "--duration-ms", "300"],
    ..WHOLE
};

const BESIDE: Scenario = Scenario {
    name: "beside",
    title: "A channel of 10 beside a channel of 10,000 that keeps the server busy for half of the time, 128 B",
    load: &["beside", "--size", "128", "--small", "10", "--large", "10000", "--load", "0.5", "--duration-ms", "5000"],
    quick: &["--large", "100", "--load", "0.1", "--duration-ms", "300"],
    goals: &[Goal::at_most("switchboard-native", 3.0).of_figure("p99_ratio", "p99 beside × p99 alone")],
    ..WHOLE
};

const SHARDS: Scenario = Scenario {
    name: "shards",
    title: "64 channels of 8 subscribers, 128 B, 4 in flight on each: one event loop, and two",
    measure: Measure::ServerCpu,
    load: &["channels", "--size", "128", "--channels", "64", "--subscribers", "8", "--window", "4"],
    quick: &["--channels", "8", "--subscribers", "4"],
    servers: &["switchboard-native", "switchboard-two-shards"],
    ..WHOLE
};

const DURABLE: Scenario = Scenario {
    name: "durable",
    title: "64 publishers, 128 B, each waits until its message is on the disk (`fsync = \"always\"`)",
    each: "publication",
    measure: Measure::WallTime,
    load: &["durable", "--size", "128", "--publishers", "64", "--duration-ms", "3000"],
    quick: &["--publishers", "8", "--warm-up-ms", "50", "--duration-ms", "200"],
    servers: &["switchboard-durable", "bare-log", "bare-log-best"],
    reference: "bare-log",
    // At least 0.9 of its rate.
    goals: &[Goal::times("switchboard-durable", "bare-log", 1.11)],
    ..WHOLE
};

const RESUME: Scenario = Scenario {
    name: "resume",
    title: "10,000 clients come back at once, each of which has missed 100 messages of 128 B",
    each: "client",
    measure: Measure::Peak,
    load: &["resume", "--clients", "10000", "--missed", "100", "--size", "128"],
    quick: &["--clients", "200", "--settle-ms", "100"],
    goals: &[Goal::at_most("switchboard-native", 1.3)],
    ..WHOLE
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        servers: ECHO_AND_SERVER,
        goals: &[Goal::times("switchboard-ws", "fastwebsockets", 1.10).later(1.00)],
        ..echo("echo-20", "Echo, 20 B, 64 connections", &["echo", "--size", "20"])
    },
    Scenario {
        servers: ECHO_DEEP,
        goals: &[
            Goal::times("switchboard-ws", "fastwebsockets", 0.15).later(0.08),
            Goal::times("switchboard-ws", "yawc-batch", 0.62),
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
        goals: &[Goal::times("switchboard-ws", "tokio-websockets", 0.95)],
        ..echo("echo-1m", "Echo, 1 MiB, 8 connections", &["echo", "--size", "1048576", "--connections", "8"])
    },
    Scenario {
        goals: &[Goal::times("switchboard-ws-deflate", "yawc-deflate", 0.80)],
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
    Scenario {
        goals: &[Goal::times("switchboard", "tokio-tungstenite-broadcast", 0.97)],
        ..fanout("fanout", "Fan-out to 1,000 subscribers, 128 B", &["fanout", "--size", "128", "--window", "1"])
    },
    Scenario {
        goals: &[Goal::times("switchboard", "tokio-tungstenite-broadcast", 0.15).later(0.07)],
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
        goals: &[Goal::times("switchboard-sse", "switchboard-native", 1.15)],
        ..dialects(
            "fanout-sse",
            "Fan-out to 1,000 subscribers by Server-Sent Events, 128 B",
            &["channel", "--size", "128", "--window", "1"],
        )
    },
    LATENCY,
    BESIDE,
    SHARDS,
    DURABLE,
    RESUME,
    SUBSCRIBED,
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
