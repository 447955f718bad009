//! `tautline key`: the key that tokens and payloads are sealed with.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::Failure;
use super::settings::Flags;
use crate::clock::Clock;
use crate::config::KeySource;
use crate::store::{self, Action, Caller, Changes, Deed, OpenOptions, Store};

/// Between two steps, so that a node on the same file finds the database free.
const PAUSE: Duration = Duration::from_millis(5);
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(2);

/// The key that tokens and payloads are sealed with
#[derive(Debug, Args)]
pub(super) struct Key {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints a new key, or writes it to a new file that only its owner may read
    Generate {
        /// The file
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Seals everything anew: what the other key sealed, with the key. Nodes may run meanwhile; broken off, it goes on where it was
    Rotate {
        #[command(flatten)]
        flags: Flags,
        /// The outcome as JSON
        #[arg(long)]
        json: bool,
    },
}

impl Key {
    #[expect(clippy::print_stdout, reason = "a command speaks to its user")]
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Generate { file: None } => {
                println!("{}", store::generate_key_text().expose_secret());
                Ok(())
            }
            Command::Generate { file: Some(file) } => store::generate_key_file(&file).map_err(Failure::setup),
            Command::Rotate { flags, json } => {
                let settings = flags.load()?;
                if !matches!(settings.key, KeySource::Both(..)) {
                    return Err(Failure::Setup(
                        "two keys are needed: the new one as key or key_file, the old one as other_key or other_key_file; \
                         give both to every node first"
                            .into(),
                    ));
                }
                let options =
                    OpenOptions { address: settings.database_url, key: settings.key, max_pages: None };
                actix_rt::System::new().block_on(async {
                    if !store::exists(&options).await.map_err(Failure::setup)? {
                        return Err(Failure::Setup(format!(
                            "{} holds nothing of ours",
                            store::shown(&options.address)
                        )));
                    }
                    let opened = store::open_beside(options).await.map_err(Failure::setup)?;
                    let outcome = rotate(&*opened.store, json).await;
                    opened.store.close().await;
                    outcome
                })
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    seen: u64,
    resealed: u64,
    unreadable: u64,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its user")]
async fn rotate(store: &dyn Store, json: bool) -> Result<(), Failure> {
    let broken =
        |error| Failure::Broken(format!("{error}; nothing is lost, the same command goes on with it"));
    let clock = Clock::start();
    let (mut sum, mut told, mut next) = (Sum::default(), Duration::ZERO, None);
    loop {
        let step = store.reseal(next).await.map_err(broken)?;
        sum.seen += step.seen;
        sum.resealed += step.resealed;
        sum.unreadable += step.unreadable;
        next = step.next;
        if next.is_none() {
            break;
        }
        if clock.mono().saturating_sub(told) >= PROGRESS {
            told = clock.mono();
            let (at, of) = step.column;
            eprintln!("{at} of {of}: {} looked at, {} sealed anew", sum.seen, sum.resealed);
        }
        tokio::time::sleep(PAUSE).await;
    }
    let Sum { seen, resealed, unreadable } = sum;
    let mut changes = Changes::default();
    changes.field("sealed_anew", &json!(null), &json!(resealed));
    let deed = Deed { action: Action::KeyRotate, workspace: None, target: None, changes };
    let caller = Caller::admin("tautline key rotate");
    store.write_audit(&caller, &deed, clock.now().wall_ms).await.map_err(broken)?;
    if json {
        println!("{}", json!({"seen": seen, "resealed": resealed, "unreadable": unreadable}));
    } else {
        println!(
            "{seen} sealed values looked at, {resealed} sealed anew; the other key may go from the settings"
        );
    }
    if unreadable == 0 {
        return Ok(());
    }
    Err(Failure::Broken(format!("{unreadable} values are sealed with neither key; they stay as they are")))
}
