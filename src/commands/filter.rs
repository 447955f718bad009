//! Which of many are meant, in the words of the API: the query of a list, and the body of what is done to many.

use std::fmt::Debug;

use clap::{Args, Command, Id};
use serde_json::{Map, Value, json};

use super::Failure;
use super::client::NodeArgs;
use super::table::Fields;

/// Flags that say which are meant: those that meet all that is said.
pub(super) trait Filter: Args + Debug {
    /// What the API calls each, and what was given for it.
    fn given(&self) -> Vec<(&'static str, &[String])>;

    /// As a list takes it.
    fn query(&self) -> Vec<(&'static str, String)> {
        let given = self.given().into_iter();
        given.flat_map(|(name, values)| values.iter().map(move |value| (name, value.clone()))).collect()
    }
}

/// A list of what a filter means.
#[derive(Debug, Args)]
pub(super) struct List<F: Filter> {
    #[command(flatten)]
    filter: F,
    /// So many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    node: NodeArgs,
}

/// One by its id, or all that a filter means.
#[derive(Debug, Args)]
pub(super) struct Meant<F: Filter> {
    /// Its id
    #[arg(conflicts_with_all = many::<F>())]
    id: Option<String>,
    /// All that there are
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: F,
    /// Only counts what the filters mean
    #[arg(long, conflicts_with = "id")]
    dry_run: bool,
}

/// What is meant.
pub(super) enum Which {
    /// This one.
    One(String),
    /// Those of which this body tells, to which what is done to them is added.
    Many(Map<String, Value>),
}

impl<F: Filter> List<F> {
    pub(super) fn run(self, all: &str, columns: Fields<'_>) -> Result<(), Failure> {
        let Self { filter, limit, node } = self;
        node.run(async |node| {
            node.show_list(columns, node.list(all, &filter.query(), Some(limit)).await?);
            Ok(())
        })
    }
}

impl<F: Filter> Meant<F> {
    /// `what` each of them is goes into the message.
    pub(super) fn which(self, what: &str) -> Result<Which, Failure> {
        let Self { id, all, filter, dry_run } = self;
        let given = filter.given().into_iter().filter(|(_, values)| !values.is_empty());
        let given: Map<_, _> = given.map(|(name, values)| (name.to_owned(), json!(values))).collect();
        if id.is_none() && !all && given.is_empty() {
            return Err(Failure::Setup(format!("say which: the id of one {what}, filters, or --all")));
        }
        if all && !given.is_empty() {
            return Err(Failure::Setup(format!("--all means every {what}, so no filter goes with it")));
        }
        let body = [("filter".to_owned(), given.into()), ("dry_run".to_owned(), dry_run.into())];
        Ok(id.map_or_else(|| Which::Many(Map::from_iter(body)), Which::One))
    }
}

/// What says that many are meant.
fn many<F: Filter>() -> Vec<Id> {
    let filter = F::augment_args(Command::new("filter"));
    let flags = filter.get_arguments().map(|flag| flag.get_id().clone());
    flags.chain(["all".into()]).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Args)]
    struct Of {
        #[arg(long)]
        handler: Option<String>,
    }

    impl Filter for Of {
        fn given(&self) -> Vec<(&'static str, &[String])> {
            vec![("handler", self.handler.as_slice())]
        }
    }

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        meant: Meant<Of>,
    }

    #[test]
    fn who_names_nothing_is_told_what_can_be_named() {
        let which = |words: &[&str]| {
            let line = Line::try_parse_from(["x"].iter().chain(words)).unwrap();
            match line.meant.which("event") {
                Ok(Which::One(id)) => id,
                Ok(Which::Many(body)) => Value::Object(body).to_string(),
                Err(Failure::Setup(problem)) => problem,
                Err(_) => "something else".into(),
            }
        };
        assert_eq!(which(&["evt_1"]), "evt_1");
        assert_eq!(which(&["--all"]), r#"{"dry_run":false,"filter":{}}"#);
        assert_eq!(which(&["--handler", "log"]), r#"{"dry_run":false,"filter":{"handler":["log"]}}"#);
        for nothing in [&[][..], &["--dry-run"]] {
            assert_eq!(which(nothing), "say which: the id of one event, filters, or --all");
        }
    }
}
