//! `showtell completions`: what a shell needs to complete the command line.

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
    clap_complete::generate(arguments.shell, &mut command, "showtell", &mut output());
    Ok(Exit::Complete)
}
