//! The command line of Tautline.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tautline::commands::simulate::Simulate;

/// Keeps a company's Slack lines taut.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Simulate(Simulate),
}

#[expect(clippy::print_stderr, reason = "the last word of a command that failed")]
#[actix_rt::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Simulate(simulate) => simulate.run().await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tautline: {error}");
            ExitCode::from(2)
        }
    }
}
