//! What is measured: the servers, the scenarios, which server meets which scenario, and the goals. Data only, and the words for it.

mod scenarios;
mod servers;

pub use scenarios::SCENARIOS;
pub use servers::SERVERS;

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
