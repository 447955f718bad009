//! Tautline beside Slack's own SDKs, in one run on one machine: throughput, CPU time an event, latency and memory.
//!
//! ```text
//! scripts/bench beside                                      installs the SDKs, makes a Postgres
//! source target/peers/env && cargo bench --bench beside     what `scripts/setup` has installed
//! cargo bench --bench beside -- --quick --only stored,bolt-js
//! ```
//!
//! Each client is a process of its own, one after the other, each round beginning with another; the same server plays Slack to all.
//! A client acks each envelope and hands it to a handler that does nothing. The SDKs keep nothing, as the loop does and `unkept`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::unchecked_time_subtraction,
    reason = "a benchmark that cannot do its work ends, it speaks to its user, and its figures are small"
)]

mod client;
#[path = "../common/machine.rs"]
#[expect(dead_code, reason = "the other benchmarks use more of it")]
mod machine;
mod measured;
#[path = "../common/node.rs"]
mod node;
#[path = "../common/slack.rs"]
#[expect(dead_code, reason = "the other benchmarks use more of it")]
mod slack;
mod tables;

use std::path::Path;
use std::time::Duration;

use clap::Parser;
use tokio::task::LocalSet;

use crate::client::Client;
use crate::measured::{Figures, Lengths, measure};
use crate::node::Variant;

#[derive(Parser)]
struct Args {
    /// How often everything is measured; the medians are shown.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// One round, with short loads: a trial.
    #[arg(long)]
    quick: bool,
    /// Measure only these, separated by commas; ratios are to those of `loop` and `stored` that are among them.
    #[arg(long, value_delimiter = ',', value_parser = |key: &str| Client::parse(key).ok_or("no such client"))]
    only: Vec<Client>,
    /// Cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
    /// Be a client of Rust: variant, Slack's address, sockets, folder.
    #[arg(long, hide = true, num_args = 4)]
    child: Option<Vec<String>>,
}

fn main() {
    let args = Args::parse();
    if let Some(child) = &args.child {
        let [variant, slack, sockets, folder] = child.as_slice() else { return };
        let variant = Variant::parse(variant).unwrap();
        return node::run(variant, slack, sockets.parse().unwrap(), Path::new(folder));
    }
    let of_interest =
        |client: &Client| client.is_there() && (args.only.is_empty() || args.only.contains(client));
    let clients: Vec<_> = Client::ALL.into_iter().filter(of_interest).collect();
    let versions = match client::versions(&clients) {
        Ok(versions) => versions,
        Err(missing) => {
            eprintln!("beside: {missing}");
            std::process::exit(2);
        }
    };
    let (rounds, lengths) = if args.quick {
        (1, Lengths { warm_up: Duration::from_millis(300), load: Duration::from_millis(600), steady: 1 })
    } else {
        (
            args.rounds,
            Lengths { warm_up: Duration::from_millis(700), load: Duration::from_millis(1200), steady: 2 },
        )
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut all: Vec<Vec<Figures>> = clients.iter().map(|_| Vec::new()).collect();
    LocalSet::new().block_on(&runtime, async {
        for round in 0..rounds {
            for turn in 0..clients.len() {
                let at = (turn + round) % clients.len();
                eprintln!("round {} of {rounds}: {}", round + 1, clients[at].name());
                let empty = all[at].first().map(|figures| figures.empty);
                all[at].push(measure(clients[at], &lengths, empty).await);
            }
        }
    });
    println!("{}; {versions}; {rounds} rounds, medians.\n", machine::describe());
    tables::print(&clients, &all);
}
