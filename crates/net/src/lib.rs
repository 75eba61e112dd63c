//! Listeners, transports and shard loops: the only crate that spawns, and it decides nothing
