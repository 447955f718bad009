//! What a command is about, where that is one thing: its id, and the node to ask.

use clap::Args;

use super::Failure;
use super::client::{Asked, NodeArgs, segment};
use super::table::Fields;

/// One of a kind.
#[derive(Debug, Args)]
pub(super) struct One {
    /// Its id
    pub(super) id: String,
    #[command(flatten)]
    pub(super) node: NodeArgs,
}

impl One {
    /// Asks for it, by its path below that of all.
    pub(super) fn ask(
        self,
        all: &str,
        ask: impl AsyncFnOnce(&Asked, &str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Self { id, node } = self;
        let path = place(all, &id)?;
        node.run(async |node| ask(node, &path).await)
    }

    /// Shows it.
    pub(super) fn show(self, all: &str, fields: Fields<'_>) -> Result<(), Failure> {
        self.ask(all, async |node, path| {
            node.show_one(fields, &node.get(path).await?);
            Ok(())
        })
    }

    /// Does this to it, and shows what it is then.
    pub(super) fn act(self, all: &str, verb: &str, fields: Fields<'_>) -> Result<(), Failure> {
        self.ask(all, async |node, path| {
            node.show_one(fields, &node.act(&format!("{path}/{verb}")).await?);
            Ok(())
        })
    }

    /// Removes it.
    pub(super) fn remove(self, all: &str) -> Result<(), Failure> {
        self.ask(all, async |node, path| node.delete(path).await)
    }
}

/// The path of one, below that of all.
pub(super) fn place(all: &str, id: &str) -> Result<String, Failure> {
    Ok(format!("{all}/{}", segment(id)?))
}
