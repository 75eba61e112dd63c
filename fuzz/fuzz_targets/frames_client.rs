//! Any bytes in any pieces to a client's connection, with compression and without: see `switchboard_fuzz::connection`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| switchboard_fuzz::connection::check(false, data));
