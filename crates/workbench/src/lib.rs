//! Tools for any WebSocket server. They know nothing of the hub, and of ours no more than of others.

pub mod check;
pub mod connect;
pub mod load;
