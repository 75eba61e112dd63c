//! Load for a WebSocket server: echo, fan-out, a storm of connections, connections that only stay.
//!
//! Load is *open-loop* unless asked otherwise: messages have moments at which they ought to go, and a reply's latency counts from there, so that a server
//! that holds up the generator does not hide what it did to everybody who came meanwhile. What is pure ([`Pace`], [`Tally`], the reports) knows no socket.

mod chart;
mod connections;
mod echo;
mod fanout;
mod html;
mod pace;
mod process;
mod report;
mod run;
mod stamp;
mod storm;
mod tally;

pub use chart::Chart;
pub use pace::Pace;
pub use process::{Usage, process_cpu, process_rss};
pub use report::{Figures, Summary};
pub use run::{Kind, LoadError, Plan, Progress, run};
pub use tally::Tally;
