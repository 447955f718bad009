//! `tautline workspace check`: would it come online, and what is missing?

use clap::Args;
use serde_json::{Value, json};

use super::super::Failure;
use super::super::client::NodeArgs;
use super::super::table::{show_json, show_list};
use super::ALL;
use super::add::Tokens;

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The workspace that it is, or will be: its own row is no other's
    id: Option<String>,
    /// The team that is expected
    #[arg(long, value_name = "TEAM_ID")]
    team: Option<String>,
    /// A scope that the bot token must have; may be given more than once
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    #[command(flatten)]
    tokens: Tokens,
    #[command(flatten)]
    node: NodeArgs,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut body = self.tokens.read()?;
        body.extend(self.id.map(|id| ("id".to_owned(), id.into())));
        body.extend(self.team.map(|team| ("team_id".to_owned(), team.into())));
        body.insert("required_scopes".to_owned(), json!(self.scopes));
        let body = Value::Object(body);
        self.node.run(async |node| {
            let told = node.post(&format!("{ALL}/check"), &body).await?;
            let findings = told.get("findings").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            if node.json() {
                show_json(&told);
            } else {
                let columns = [
                    ("CHECK", "/check"),
                    ("OUTCOME", "/code"),
                    ("WHAT WAS FOUND", "/message"),
                    ("WHAT TO DO", "/action"),
                ];
                show_list(&columns, findings);
            }
            if told.get("ok") == Some(&json!(true)) {
                return Ok(());
            }
            let wrong = findings.iter().filter(|finding| finding.get("ok") != Some(&json!(true))).count();
            Err(Failure::Unmet(format!("{wrong} of {} checks found something to put right", findings.len())))
        })
    }
}
