//! stub
use super::Failure;
use clap::Args;
/// The simulated Slack alone
#[derive(Debug, Args)]
pub(super) struct Simulate {}
impl Simulate {
    pub(super) fn run(self) -> Result<(), Failure> {
        Ok(())
    }
}
