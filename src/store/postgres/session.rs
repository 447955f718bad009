//! How a connection of ours is set up, and whether what it commits would survive a power cut.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, raw_sql};
use tokio::time::timeout;

use super::fault::tell_connect;
use crate::store::StoreError;
use crate::store::fault::Fault;

/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_secs(5);

/// What every session has: our tables first, quick words about the other side's death (of a client that went without a word the
/// server knows after half a minute), no forgotten transaction, and no plan for tables as small as they were when it was made: what is looked
/// for has an index, a plan is made anew each time, and to compile a statement takes longer than to run it.
macro_rules! every_session {
    ($rest:literal) => {
        concat!(
            "set client_min_messages = warning; set search_path = tautline; set lock_timeout = '4s'; ",
            "set enable_seqscan = off; set jit = off; set plan_cache_mode = force_custom_plan; ",
            "set idle_in_transaction_session_timeout = '10s'; ",
            "set tcp_keepalives_idle = 15; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3; ",
            $rest
        )
    };
}

/// A session that writes. Committing without waiting for the disk may be a server's default; ours wait, for what is acked.
const WRITES: &str = every_session!(
    "set statement_timeout = '8s'; select set_config('synchronous_commit', \
     case current_setting('synchronous_commit') when 'off' then 'on' else current_setting('synchronous_commit') end, false)"
);

/// A session that reads.
const READS: &str = every_session!("set statement_timeout = '2s'; set default_transaction_read_only = on");

/// A session for writing.
pub(super) async fn writer(options: &PgConnectOptions, database: &str) -> Result<PgConnection, Fault> {
    // Boxed: of all that a store does it is the largest by far, and the rarest.
    let connected = Box::pin(async {
        let mut db = options.connect().await?;
        raw_sql(WRITES).execute(&mut db).await?;
        Ok(db)
    });
    match timeout(CONNECT, connected).await {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(error)) => Err(tell_connect(error, database).into()),
        Err(_) => {
            Err(StoreError::Unavailable(format!("{database} does not answer within {CONNECT:?}")).into())
        }
    }
}

/// A session for the journal: its one statement joins nothing with a table and runs many times a second, so its plan is kept.
pub(super) async fn journal(options: &PgConnectOptions, database: &str) -> Result<PgConnection, Fault> {
    let mut db = writer(options, database).await?;
    raw_sql("set plan_cache_mode = auto").execute(&mut db).await?;
    Ok(db)
}

/// Makes a new session one for reading.
pub(super) async fn for_reading(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    raw_sql(READS).execute(db).await.map(|_| ())
}

/// What the operator should know of the server's settings.
pub(super) async fn read_back(db: &mut PgConnection, database: &str) -> Result<Vec<String>, Fault> {
    let (commit, fsync, pages): (String, String, String) = sqlx::query_as(
        "select (select reset_val from pg_settings where name = 'synchronous_commit'), current_setting('fsync'), \
         current_setting('full_page_writes')",
    )
    .fetch_one(db)
    .await?;
    Ok(judge(&commit, &fsync, &pages, database))
}

fn judge(synchronous_commit: &str, fsync: &str, full_page_writes: &str, database: &str) -> Vec<String> {
    let mut notes = Vec::new();
    if synchronous_commit == "off" {
        notes.push(format!(
            "{database} does not wait for the disk at a commit (synchronous_commit = off); this node's own sessions do"
        ));
    }
    if fsync != "on" {
        notes.push(format!(
            "{database} does not sync what is committed (fsync = {fsync}): what was acked can be lost with the machine; \
             set fsync = on"
        ));
    }
    if full_page_writes != "on" {
        notes.push(format!(
            "{database} writes no full pages (full_page_writes = {full_page_writes}): a power cut can spoil it; \
             set it on, unless the file system never tears a page"
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_whose_commits_may_not_last_is_told() {
        assert_eq!(judge("on", "on", "on", "db"), Vec::<String>::new());
        assert_eq!(judge("remote_apply", "on", "on", "db"), Vec::<String>::new());
        for (notes, word) in [
            (judge("off", "on", "on", "db"), "this node's own sessions do"),
            (judge("on", "off", "on", "db"), "set fsync = on"),
            (judge("on", "on", "off", "db"), "full_page_writes = off"),
        ] {
            assert!(notes.len() == 1 && notes[0].contains(word), "{notes:?}");
        }
    }
}
