//! What was found beside what was promised: a row each, in the file that `scripts/bench` shows at its end.

use std::fs::File;
use std::io::Write as _;

/// Notes a figure that is to be no more than its budget. Outside of `scripts/bench` nobody asks, and nothing is noted.
pub(crate) fn at_most(what: &str, budget: f64, here: f64, unit: &str) {
    let Ok(file) = std::env::var("TAUTLINE_BENCH_BUDGETS") else { return };
    let verdict = if here <= budget { "met" } else { "missed" };
    let mut file = File::options().create(true).append(true).open(file).unwrap();
    writeln!(file, "| {what} | {budget:.2} {unit} | {here:.2} {unit} | {verdict} |").unwrap();
}
