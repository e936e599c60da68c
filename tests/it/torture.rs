//! The command, ill-treated: killed at any moment over an archive that changes, on disks that fill up,
//! beside another run, over files that were damaged. The table after recovery is that of an
//! undisturbed run.
//!
//! `SEED` repeats a failure, `KILLS` says how often to kill; `make torture` does it in full.

mod archive;
mod compactions;
mod damage;
mod kills;
mod places;
mod space;
mod strike;
mod table;
mod trial;
mod watch;

use std::env;

/// What the tests draw from, unless `SEED` names another: the same at each `make test`.
const SEED: u64 = 20_261_125;

/// The seed of this test run.
fn seed() -> u64 {
    number("SEED").unwrap_or(SEED)
}

/// How often to do what `make torture` does `full` times and `make test` `few` times.
fn rounds(few: usize, full: usize) -> usize {
    match number("KILLS") {
        None => few,
        Some(kills) => (full * usize::try_from(kills).unwrap())
            .div_ceil(200)
            .max(few),
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} has to be a number, not {text:?}")),
    )
}
