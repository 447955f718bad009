//! What was found, as Markdown.

use std::time::Duration;

use crate::client::Client;
use crate::measured::{Figures, Load, MANY, RATE, WINDOWS};
use crate::node::Variant;

/// Prints them all; `all` holds each client's rounds.
pub(crate) fn print(clients: &[Client], all: &[Vec<Figures>]) {
    println!("One connection, {} in flight:\n", WINDOWS.0);
    saturated(clients, all, |figures| &figures.one);
    println!("{MANY} connections, {} in flight on each:\n", WINDOWS.1);
    saturated(clients, all, |figures| &figures.many);
    println!(
        "{RATE} events a second on {MANY} connections together, from an envelope's write to its ack's read:\n"
    );
    steady(clients, all);
    println!("Resident memory, with {MANY} connections:\n");
    memory(clients, all);
}

fn saturated(clients: &[Client], all: &[Vec<Figures>], load: fn(&Figures) -> &Load) {
    println!(
        "| | events/s | CPU an event | to the loop | to `stored` | not acked in 3 s |\n|---|---|---|---|---|---|"
    );
    for (client, rounds) in clients.iter().zip(all) {
        let rate = median(rounds.iter().map(|figures| load(figures).rate));
        println!("| {} | {rate:.0} | {} |", client.name(), costs(clients, all, rounds, load));
    }
    println!();
}

fn steady(clients: &[Client], all: &[Vec<Figures>]) {
    println!(
        "| | p50 ms | p99 ms | CPU an event | to the loop | to `stored` | not acked in 3 s |\n|---|---|---|---|---|---|---|"
    );
    for (client, rounds) in clients.iter().zip(all) {
        let at = |part: f64| median(rounds.iter().map(|figures| percentile(&figures.steady.latencies, part)));
        println!(
            "| {} | {:.2} | {:.2} | {} |",
            client.name(),
            at(0.5),
            at(0.99),
            costs(clients, all, rounds, |figures| &figures.steady)
        );
    }
    println!();
}

fn memory(clients: &[Client], all: &[Vec<Figures>]) {
    println!(
        "| | without connections, MiB | idle, KiB a connection | after a flood, KiB a connection |\n|---|---|---|---|"
    );
    for (client, rounds) in clients.iter().zip(all) {
        let each = |of: fn(&Figures) -> u64| {
            median(
                rounds.iter().map(|figures| of(figures).saturating_sub(figures.empty) as f64 / MANY as f64),
            )
        };
        println!(
            "| {} | {:.1} | {:.0} | {:.0} |",
            client.name(),
            median(rounds.iter().map(|figures| figures.empty as f64 / 1024.0)),
            each(|figures| figures.idle),
            each(|figures| figures.flooded),
        );
    }
    println!();
}

/// CPU time, its ratios, and what was not as it should be.
fn costs(
    clients: &[Client],
    all: &[Vec<Figures>],
    rounds: &[Figures],
    load: fn(&Figures) -> &Load,
) -> String {
    let cost = median(rounds.iter().map(|figures| load(figures).cpu));
    let to = |variant: Variant| {
        let Some(at) = clients.iter().position(|client| *client == Client::Rust(variant)) else {
            return "–".to_owned();
        };
        let ratios = rounds.iter().zip(&all[at]).map(|(figures, other)| load(figures).cpu / load(other).cpu);
        format!("{:.2} ×", median(ratios))
    };
    let sum = |of: fn(&Load) -> u64| rounds.iter().map(|figures| of(load(figures))).sum::<u64>();
    let (late, unacked) = (sum(|load| load.late), sum(|load| load.unacked));
    let unhandled: u64 = rounds.iter().map(|figures| figures.unhandled).sum();
    let trouble = match (late, unacked) {
        (late, 0) => late.to_string(),
        (late, never) => format!("{}, {never} of them never", late + never),
    };
    let unhandled =
        if unhandled > 0 { format!("; {unhandled} acked but not handled") } else { String::new() };
    format!("{cost:.1} µs | {} | {} | {trouble}{unhandled}", to(Variant::Loop), to(Variant::Stored))
}

/// Milliseconds.
fn percentile(sorted: &[Duration], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part) as usize).map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
