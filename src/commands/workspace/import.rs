//! `tautline workspace import`: many workspaces out of a file.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use awc::http::Method;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::super::Failure;
use super::super::client::{NodeArgs, Question};
use super::super::table::{show_json, show_line, show_list, text};
use super::ALL;

/// A thousand lines, each a transaction of its own.
const WITHIN: Duration = Duration::from_secs(300);

#[derive(Debug, Args)]
pub(super) struct Import {
    /// A file of JSON lines or CSV, 1000 workspaces and 1 MiB at most; - for stdin
    file: PathBuf,
    /// What the file is, where its name does not say
    #[arg(long)]
    format: Option<Format>,
    /// Only tells what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A JSON object a line
    Jsonl,
    /// Columns by the first line
    Csv,
}

impl Format {
    fn of(file: &Path) -> Result<Self, Failure> {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("jsonl" | "ndjson" | "jsonlines") => Ok(Self::Jsonl),
            Some("csv") => Ok(Self::Csv),
            _ => {
                Err(Failure::Setup(format!("say what {} is: --format jsonl or --format csv", file.display())))
            }
        }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Jsonl => "application/jsonl",
            Self::Csv => "text/csv",
        }
    }
}

impl Import {
    pub(super) fn run(self) -> Result<(), Failure> {
        let format = self.format.map_or_else(|| Format::of(&self.file), Ok)?;
        let bytes = read(&self.file)
            .map_err(|error| Failure::Setup(format!("cannot read {}: {error}", self.file.display())))?;
        let dry_run = self.dry_run;
        self.node.run(async |node| {
            let path = format!("{ALL}/import");
            let question = Question::new(Method::POST, &path).query(&[("dry_run", dry_run.to_string())]);
            let told = node.ask(question.bytes(format.content_type(), bytes).within(WITHIN)).await?.body;
            let of = |field: &str| text(&told, field);
            if node.json() {
                show_json(&told);
            } else {
                let refused = told.get("lines").and_then(Value::as_array).into_iter().flatten();
                let refused: Vec<_> =
                    refused.filter(|line| line.get("outcome") == Some(&json!("refused"))).cloned().collect();
                if !refused.is_empty() {
                    let columns =
                        [("LINE", "/line"), ("ID", "/id"), ("CODE", "/code"), ("WHY REFUSED", "/message")];
                    show_list(&columns, &refused);
                }
                show_line(&format!(
                    "{}{} created, {} updated, {} unchanged, {} refused",
                    if dry_run { "nothing is done; it would be: " } else { "" },
                    of("/created"),
                    of("/updated"),
                    of("/unchanged"),
                    of("/refused"),
                ));
            }
            if told.get("refused") == Some(&json!(0)) {
                return Ok(());
            }
            Err(Failure::Unmet(format!(
                "{} lines are refused; the others are not held up by them",
                of("/refused")
            )))
        })
    }
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    if file != Path::new("-") {
        return std::fs::read(file);
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
}
