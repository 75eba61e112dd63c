//! The store from outside: brokers over a disk that does what real disks do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod ahead;
mod contract;
mod crash;
mod damage;
mod faults;
mod ids;
mod node;
mod renewal;
mod space;
