//! The `showtell` command: parses, runs, tells the error, maps it to an exit code.

mod cli;

fn main() -> std::process::ExitCode {
    let arguments = cli::parse(std::env::args_os().collect());
    let terminal = cli::terminal::start(&arguments.log);
    cli::allocator::keep_memory_level();
    cli::signals::wait_apart();
    match cli::run(arguments.command, &terminal) {
        Ok(exit) => exit.into(),
        Err(error) => {
            match cli::advice::advice(&error) {
                Some(advice) => tracing::error!("{error:#}. {advice}"),
                None => tracing::error!("{error:#}"),
            }
            cli::exit::Exit::of(&error).into()
        }
    }
}
