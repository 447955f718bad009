//! The `tautline` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    tautline::commands::run()
}
