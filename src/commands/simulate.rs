//! stub
use clap::Args;
use super::Failure;
/// The simulated Slack alone
#[derive(Debug, Args)]
pub(super) struct Simulate {}
impl Simulate { pub(super) fn run(self) -> Result<(), Failure> { Ok(()) } }
