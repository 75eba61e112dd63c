//! Has the crate built again when a file is added to the console: the macro that embeds the folder sees only those that it knew.

#![allow(clippy::print_stdout)]

fn main() {
    println!("cargo:rerun-if-changed=assets/console");
}
