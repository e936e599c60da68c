//! The `showtell` command.

mod cli;

fn main() {}
