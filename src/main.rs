//! The command line of Tautline.

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

#[actix_rt::main]
async fn main() -> std::io::Result<()> {
    match Cli::parse().command {
        Command::Simulate(simulate) => simulate.run().await,
    }
}
