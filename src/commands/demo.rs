//! stub
use clap::Args;
use super::Failure;
/// The simulated Slack alone
#[derive(Debug, Args)]
pub(super) struct Demo {}
impl Demo { pub(super) fn run(self) -> Result<(), Failure> { Ok(()) } }
