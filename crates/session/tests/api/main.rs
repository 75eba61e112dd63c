//! The sessions from the outside: the reference's transcripts, rights, limits, and random runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "the number of random runs comes from the environment")]

mod bounds;
mod control;
mod cursors;
mod dialects;
mod limits;
mod losses;
mod matrix;
mod memory;
mod model;
mod noise;
mod notices;
mod occupancy;
mod patterns;
mod presence;
mod rights;
mod slow;
mod transcripts;
mod users;
mod why;
