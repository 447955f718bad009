//! The command line: one file a subcommand.

mod audit;
mod check;
mod client;
mod delivery;
mod demo;
mod event;
mod filter;
mod handler;
mod job;
mod key;
mod log;
mod one;
mod route;
mod serve;
mod settings;
mod simulate;
mod since;
mod table;
mod token;
mod webhook;
mod workspace;

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::handlers::Registry;

/// Keeps your customers' Slack lines taut.
#[derive(Debug, Parser)]
#[command(name = "tautline", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A node, a simulated Slack and five workspaces that chatter: nothing to set up
    Demo(demo::Demo),
    /// A node
    Serve(serve::Serve),
    /// The simulated Slack alone, for tests in any language
    Simulate(simulate::Simulate),
    /// Settings, database, key, file limit, Slack: one line each
    Check(check::Check),
    /// The key that tokens and payloads are sealed with
    Key(key::Key),
    /// API tokens of a running node
    Token(token::Token),
    /// Workspaces of a running node
    Workspace(workspace::Workspace),
    /// Events of a running node, and what became of them
    Event(event::Event),
    /// What handlers are owed, and what was given up
    Delivery(delivery::Delivery),
    /// Who is handed events
    Handler(handler::Handler),
    /// Webhooks of a running node
    Webhook(webhook::Webhook),
    /// Which handlers of a running node get which events
    Route(route::Route),
    /// Jobs of a running node
    Job(job::Job),
    /// The audit log of a running node
    Audit(audit::Audit),
    /// Which lines a running node writes
    Log(log::Log),
}

/// How a command ended badly.
#[derive(Debug)]
enum Failure {
    /// What was asked for cannot be done as asked: settings, a taken port, an unusable database. Exit code 2.
    Setup(String),
    /// It ran and broke. Exit code 1.
    Broken(String),
    /// What was asked for is not there. Exit code 3.
    Missing(String),
    /// It was asked as it should be, and did not come to what was wanted: a wait that ended otherwise, a check that found something. Exit
    /// code 4.
    Unmet(String),
}

impl Failure {
    fn setup(problem: impl Display) -> Self {
        Self::Setup(problem.to_string())
    }
}

/// Runs the command line of this process. Exit codes: 0 well, 1 it ran and broke, 2 it could not be done as asked, 3 what it was about is
/// not there, 4 it was asked and did not come to what was wanted.
pub fn run() -> ExitCode {
    run_with(Registry::default())
}

/// The same with handlers of your own: `serve` runs those of them that its setting `handlers` names, beside those that come with
/// Tautline.
pub fn run_with(handlers: Registry) -> ExitCode {
    // Libraries that make a TLS configuration of their own would otherwise find no provider.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("this process has a crypto provider already");
    }
    let outcome = match Cli::parse().command {
        Command::Demo(demo) => demo.run(),
        Command::Serve(serve) => serve.run(handlers),
        Command::Simulate(simulate) => simulate.run(),
        Command::Check(check) => check.run(),
        Command::Key(key) => key.run(),
        Command::Token(token) => token.run(),
        Command::Workspace(workspace) => workspace.run(),
        Command::Event(event) => event.run(),
        Command::Delivery(delivery) => delivery.run(),
        Command::Handler(handler) => handler.run(),
        Command::Webhook(webhook) => webhook.run(),
        Command::Route(route) => route.run(),
        Command::Job(job) => job.run(),
        Command::Audit(audit) => audit.run(),
        Command::Log(log) => log.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Setup(problem)) => fail(&problem, 2),
        Err(Failure::Broken(problem)) => fail(&problem, 1),
        Err(Failure::Missing(problem)) => fail(&problem, 3),
        Err(Failure::Unmet(problem)) => fail(&problem, 4),
    }
}

#[expect(clippy::print_stderr, reason = "a command's last word goes to whoever started it, log or no log")]
fn fail(problem: &str, code: u8) -> ExitCode {
    eprintln!("tautline: {problem}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_example_in_a_help_text_is_a_command_line_that_is_understood() {
        let cli = Cli::command();
        cli.clone().debug_assert();
        let help =
            cli.get_subcommands().filter_map(|command| command.get_after_help()).map(ToString::to_string);
        let text = help.collect::<Vec<_>>().join("\n");
        let examples: Vec<_> = text.lines().filter(|line| line.starts_with("  tautline ")).collect();
        assert!(examples.len() > 10, "{text}");
        for example in examples {
            let read = Cli::try_parse_from(example.split_whitespace());
            assert!(read.is_ok(), "{example}: {}", read.unwrap_err());
        }
    }

    #[test]
    fn one_or_many_are_meant_and_never_both() {
        for (line, is_understood) in [
            ("delivery retry dlv_1-1-1", true),
            ("delivery retry --status dead --wait", true),
            ("delivery retry --all --dry-run", true),
            ("event replay --type message --handler log", true),
            ("workspace connect acme --wait", true),
            ("delivery retry dlv_1-1-1 --status dead", false),
            ("delivery retry dlv_1-1-1 --all", false),
            ("delivery retry dlv_1-1-1 --dry-run", false),
            ("delivery retry dlv_1-1-1 --wait", false),
            ("delivery retry --all --dry-run --wait", false),
            ("workspace connect --state ready --dry-run --wait", false),
        ] {
            let read = Cli::try_parse_from(["tautline"].into_iter().chain(line.split(' ')));
            assert_eq!(read.is_ok(), is_understood, "{line}");
        }
    }
}
