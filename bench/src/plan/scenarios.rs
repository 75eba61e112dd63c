//! The scenarios: what load is put on which servers, what is read off, and which figure would be good enough.

use super::{Goal, Measure, Scenario};

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
