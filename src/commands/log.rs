//! `tautline log`: which lines a node writes, changed while it runs.

use std::time::Duration;

use awc::http::Method;
use clap::Args;
use serde_json::json;

use super::Failure;
use super::client::{NodeArgs, Question};
use super::table::Fields;
use crate::clock::span;

const LOG: &str = "/api/v1/log";
const FIELDS: Fields<'_> =
    &[("filter", "/filter"), ("until", "/until"), ("then", "/then"), ("at start", "/at_start")];

/// Which lines a running node writes; without a filter, shows it
#[derive(Debug, Args)]
pub(super) struct Log {
    /// A level, or levels of targets: debug, or info,tautline=debug
    filter: Option<String>,
    /// It goes back by itself after this time, like 10m
    #[arg(long = "for", value_name = "TIME", value_parser = span, requires = "filter")]
    within: Option<Duration>,
    #[command(flatten)]
    node: NodeArgs,
}

impl Log {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { filter, within, node } = self;
        node.run(async |node| {
            let shown = match filter {
                None => node.get(LOG).await?,
                Some(filter) => {
                    let within = within.map(|within| format!("{}ms", within.as_millis()));
                    let body = json!({ "filter": filter, "for": within });
                    node.ask(Question::new(Method::PUT, LOG).json(&body)).await?.body
                }
            };
            node.show_one(FIELDS, &shown);
            Ok(())
        })
    }
}
