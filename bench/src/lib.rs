//! The load generator and the driver of the benchmark. Knows the WebSocket wire only as bytes prepared beforehand, and no
//! WebSocket library, so that it shares no code (and no mistake) with what it measures.

pub mod args;
pub mod client;
pub mod events;
pub mod machine;
pub mod plan;
pub mod report;
pub mod scenario;
pub mod server;
pub mod sys;
pub mod tls;
pub mod transport;
pub mod wire;
