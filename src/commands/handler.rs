//! `tautline handler`: who is handed events.

use clap::{Args, Subcommand};

use super::Failure;
use super::client::NodeArgs;
use super::one::place;
use super::table::{Fields, show_json, show_list};

const ALL: &str = "/api/v1/handlers";

const COLUMNS: Fields<'_> = &[
    ("NAME", "/id"),
    ("PAUSED SINCE", "/paused_at"),
    ("WAITING", "/waiting"),
    ("RETRYING", "/retrying"),
    ("DEAD", "/dead"),
    ("OLDEST", "/oldest"),
    ("AGE MS", "/oldest_ms"),
    ("HERE", "/present"),
    ("AT ONCE", "/options/concurrency"),
    ("WITHIN MS", "/options/within_ms"),
    ("ORDER", "/options/order"),
    ("HOLD MS", "/options/hold_ms"),
    ("TRIES", "/options/retry/attempts"),
    ("ANSWERS", "/options/answers"),
];

const HELP: &str = "\
WAITING, RETRYING and DEAD are deliveries; OLDEST is the oldest event that waits or is tried again, AGE MS how long ago it came.
HERE says whether the node that was asked has it; the limits behind it are that node's.
A pause holds on every node until it is ended, over restarts too: events are acked and kept meanwhile.

Who is behind, and what with:
  tautline handler list
  tautline delivery list --handler billing --status dead --status retrying
While what is behind it is down:
  tautline handler pause billing --reason migration
  tautline handler resume billing";

/// Handlers of a running node
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Handler {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them, with their limits on this node and what weighs on each
    List {
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Gives one nothing more: what comes is kept for it
    Pause(One),
    /// Gives it events again, what was kept first
    Resume(One),
}

#[derive(Debug, Args)]
struct One {
    /// Its name
    name: String,
    #[command(flatten)]
    node: NodeArgs,
}

impl Handler {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List { node } => node.show_all(ALL, COLUMNS),
            Command::Pause(one) => one.steer("pause"),
            Command::Resume(one) => one.steer("resume"),
        }
    }
}

impl One {
    fn steer(self, verb: &'static str) -> Result<(), Failure> {
        let Self { name, node } = self;
        let path = place(ALL, &name)?;
        node.run(async |node| {
            let handler = node.act(&format!("{path}/{verb}")).await?;
            if node.json() {
                show_json(&handler);
            } else {
                show_list(COLUMNS, &[handler]);
            }
            Ok(())
        })
    }
}
