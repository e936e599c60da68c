//! `showtell completions`: what a shell needs to complete the command line.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::exit::Exit;
use super::output::output;

/// Prints the completions for a shell
///
/// For bash: showtell completions bash > ~/.local/share/bash-completion/completions/showtell
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    shell: Shell,
}

pub fn run(arguments: &CompletionsArguments) -> anyhow::Result<Exit> {
    let mut command = super::Arguments::command();
    // In memory, because what generates it panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "showtell", &mut script);
    output().write_all(&script)?;
    output().flush()?;
    Ok(Exit::Complete)
}
