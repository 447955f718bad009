//! The suite every store passes, and what is Postgres' own: its key, its sessions, its partitions, its bounds.

mod backlogs;
mod days;
mod heirs;
mod nodes;
mod trouble;

use std::collections::BTreeSet;
use std::sync::Arc;

use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};

use super::PostgresStore;
use crate::config::KeySource;
use crate::event::{DedupeKey, Event, Kind};
use crate::ids::{AppId, Seq, WorkspaceName};
use crate::machine::seq::first_at;
use crate::secret::{AppToken, BotToken};
use crate::store::conformance::{Ground, conformance};
use crate::store::{
    DeliveryMode, Desired, Inbox as _, OpenOptions, Opened, Retention as _, Secret, Step, Store, StoreError,
    Taken, When, WorkspaceSpec, Workspaces as _, generate_key_text,
};

conformance!(Place::new().await);

/// A moment of which no partition is made ahead, and its day.
const THEN_MS: i64 = 1_795_000_000_000;
const THEN: &str = "20261118";

/// A moment that is old whenever the tests run: 2020-09-13.
const OLD_MS: i64 = 1_600_000_000_000;

/// A database of a test's own on the server of the tests; gone when dropped.
struct Place {
    server: String,
    name: String,
    key: SecretString,
}

impl Ground for Place {
    fn key(&self) -> KeySource {
        KeySource::Text(self.key.clone())
    }

    fn with_key(&self, key: KeySource) -> OpenOptions {
        OpenOptions { key, ..self.options() }
    }

    async fn open(&self) -> Box<dyn Store> {
        Box::new(self.opened().await.store)
    }
}

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    let place = Place::new().await;
    place.opened().await.store.close().await;
    let dir = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}", dir.path().join("t.db").display());
    let options = OpenOptions { address: file.clone(), key: KeySource::Beside, max_pages: None };
    crate::store::open(options).await.unwrap().store.close().await;

    let mut postgres = place.connect().await;
    let theirs: Vec<(String, String)> = sqlx::query_as(
        "select table_name::text, column_name::text from information_schema.columns where table_schema = 'tautline' \
         and table_name !~ '_[0-9]{8}$' order by 1, ordinal_position",
    )
    .fetch_all(&mut postgres)
    .await
    .unwrap();
    let mut sqlite = SqliteConnection::connect(&file).await.unwrap();
    let ours: Vec<(String, String)> = sqlx::query_as(
        "select t.name, c.name from sqlite_schema t join pragma_table_info(t.name) c \
         where t.type = 'table' and t.name not like 'sqlite%' order by t.name, c.cid",
    )
    .fetch_all(&mut sqlite)
    .await
    .unwrap();
    assert!(!ours.is_empty());
    assert_eq!(theirs, ours);
    let is_sealed =
        |(table, column): &(String, String)| column.ends_with("_sealed").then(|| format!("{table}.{column}"));
    let sealed: BTreeSet<String> = ours.iter().filter_map(is_sealed).collect();
    assert_eq!(PostgresStore::resealed_columns(), sealed, "a change of the key walks all of them");
}

#[tokio::test]
async fn neither_tokens_nor_payloads_are_readable_in_any_table() {
    let place = Place::new().await;
    let store = place.opened().await.store;
    let spec = WorkspaceSpec {
        title: None,
        desired: Desired::Connected,
        delivery: DeliveryMode::Active,
        links: 1,
        labels: vec![],
        app_token: Secret::Set(AppToken::parse("xapp-1-A1-1-canary-app-token").unwrap()),
        bot_token: Secret::Set(BotToken::parse("xoxb-canary-bot-token").unwrap()),
    };
    store.put_workspace(&WorkspaceName::parse("acme").unwrap(), &spec, When::Always, 1).await.unwrap();
    let writer = store.begin_writer("node", 1).await.unwrap().id;
    store.append(writer, &[event(1, "a", "canary-payload")], Seq(0)).await.unwrap();
    store.quarantine(&event(7, "b", "canary-payload"), "odd", 1).await.unwrap();
    let mut db = place.connect().await;
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'tautline'")
            .fetch_all(&mut db)
            .await
            .unwrap();
    assert!(tables.contains(&"payloads_20200101".to_owned()), "{tables:?}");
    for table in tables {
        let sql = format!("select coalesce(string_agg(t::text, ''), '') from tautline.{table} t");
        let text: String = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut db).await.unwrap();
        for secret in ["canary-app-token", "canary-bot-token", "canary-payload"] {
            let hex = crate::store::vault::hex(secret.as_bytes());
            assert!(!text.contains(secret) && !text.contains(&hex), "{secret} in {table}");
        }
    }
    store.close().await;
}

#[tokio::test]
async fn without_a_key_nothing_is_begun() {
    let place = Place::new().await;
    let options = OpenOptions { key: KeySource::Beside, ..place.options() };
    let error = refused(PostgresStore::open(&options).await);
    assert!(error.contains("TAUTLINE_KEY_FILE") && error.contains("openssl rand"), "{error}");
    assert!(!PostgresStore::exists(&place.options()).await.unwrap(), "no table is made");
}

#[tokio::test]
async fn a_wrong_key_is_told_at_open_and_the_right_one_still_opens() {
    let place = Place::new().await;
    place.opened().await.store.close().await;
    let options = OpenOptions { key: KeySource::Text(generate_key_text()), ..place.options() };
    let error = refused(PostgresStore::open(&options).await);
    assert!(error.contains("was sealed with the key") && error.contains("TAUTLINE_KEY"), "{error}");
    place.opened().await.store.close().await;
}

#[tokio::test]
async fn another_programs_schema_is_left_alone() {
    let place = Place::new().await;
    let mut db = place.connect().await;
    db.execute("create schema tautline; create table tautline.recipes (name text)").await.unwrap();
    let error = refused(PostgresStore::open(&place.options()).await);
    assert!(error.contains("another program's tables"), "{error}");
    let tables: i64 = sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'tautline'")
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert_eq!(tables, 1);
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let place = Place::new().await;
    place.opened().await.store.close().await;
    let mut db = place.connect().await;
    db.execute(
        "insert into tautline._sqlx_migrations (version, description, success, checksum, execution_time) \
         values (9999, 'from the future', true, '', 0)",
    )
    .await
    .unwrap();
    let error = refused(PostgresStore::open(&place.options()).await);
    assert!(error.contains("newer Tautline (schema 9999"), "{error}");
}

#[tokio::test]
async fn a_user_who_may_make_no_schema_is_told_what_to_grant_and_one_made_for_them_will_do() {
    let place = Place::new().await;
    let mut db = place.connect().await;
    let user = format!("u{}", place.name);
    db.execute(AssertSqlSafe(format!("create role {user} login"))).await.unwrap();
    let mut address: url::Url = place.address().parse().unwrap();
    address.set_username(&user).unwrap();
    let options = OpenOptions { address: address.into(), ..place.options() };
    let error = refused(PostgresStore::open(&options).await);
    assert!(error.contains("permission denied") && error.contains("grant create"), "{error}");
    db.execute(AssertSqlSafe(format!("create schema tautline authorization {user}"))).await.unwrap();
    PostgresStore::open(&options).await.unwrap().store.close().await;
    db.execute(AssertSqlSafe(format!("drop owned by {user}; drop role {user}"))).await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_not_there_and_a_user_that_is_unknown_are_for_good_and_told_without_the_password()
{
    let place = Place::new().await;
    for (change, word) in [("/nowhere-at-all", "does not exist"), ("", "refuses this user")] {
        let mut address: url::Url = place.address().parse().unwrap();
        address.set_password(Some("hunter2")).unwrap();
        if change.is_empty() {
            address.set_username("nobody-at-all").unwrap();
        } else {
            address.set_path(change);
        }
        let options = OpenOptions { address: address.into(), ..place.options() };
        let error = refused(PostgresStore::open(&options).await);
        assert!(error.contains(word) && !error.contains("hunter2"), "{error}");
        assert!(!format!("{options:?}").contains("hunter2"), "{options:?}");
    }
}

#[tokio::test]
async fn commits_wait_for_the_disk_where_the_servers_default_is_not_to() {
    let place = Place::new().await;
    let mut db = place.connect().await;
    db.execute(AssertSqlSafe(format!("alter database {} set synchronous_commit = off", place.name)))
        .await
        .unwrap();
    let Opened { store, notes } = place.opened().await;
    assert!(notes.iter().any(|note| note.contains("synchronous_commit = off")), "{notes:?}");
    let mut held = store.journal().await.unwrap();
    let ours: String = sqlx::query_scalar("show synchronous_commit").fetch_one(held.db()).await.unwrap();
    assert_eq!(ours, "on");
    held.after(Ok(())).unwrap();
    let written = sqlx::query("delete from apps").execute(&mut *store.reader().await.unwrap()).await;
    assert!(written.is_err(), "readers don't write");
    store.close().await;
}

#[tokio::test]
async fn partitions_are_made_ahead_and_for_a_day_that_nobody_foresaw() {
    let place = Place::new().await;
    let store = place.opened().await.store;
    let writer = store.begin_writer("node", 1).await.unwrap().id;
    let day_ms = 86_400_000;
    store.keep_house(THEN_MS).await.unwrap();
    assert_eq!(place.days().await, ["20261118", "20261119", "20261120", "20261121"]);
    store.keep_house(THEN_MS + day_ms).await.unwrap();
    assert_eq!(place.days().await.last().unwrap(), "20261122");

    let far = [event(first_at(THEN_MS + 90 * day_ms).0, "far", "x"), event(1, "old", "y")];
    assert_eq!(store.append(writer, &far, Seq(0)).await, Ok(vec![Taken::Fresh; 2]));
    assert!(place.days().await.contains(&"20270216".to_owned()));
    assert_eq!(store.read_events(Seq(0), 10, 1000).await.unwrap().len(), 2);
    store.close().await;
}

#[tokio::test]
async fn a_partition_that_somebody_took_away_is_made_anew() {
    let place = Place::new().await;
    let store = place.opened().await.store;
    let writer = store.begin_writer("node", 1).await.unwrap().id;
    store.keep_house(THEN_MS).await.unwrap();
    let drop = format!("drop table tautline.events_{THEN}; drop table tautline.payloads_{THEN}");
    place.connect().await.execute(AssertSqlSafe(drop)).await.unwrap();
    let group = [event(first_at(THEN_MS).0, "a", "x")];
    let error = store.append(writer, &group, Seq(0)).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert_eq!(store.append(writer, &group, Seq(0)).await, Ok(vec![Taken::Fresh]));
    store.close().await;
}

const fn gone(gone: u64) -> Step {
    Step { gone, is_all: true }
}

#[tokio::test]
async fn old_days_go_as_a_whole_while_who_reads_them_is_waited_for_and_the_writer_does_not_wait() {
    let place = Place::new().await;
    let store = place.opened().await.store;
    let writer = store.begin_writer("node", 1).await.unwrap().id;
    let day_ms = 86_400_000;
    store.keep_house(OLD_MS).await.unwrap();
    let group = [event(first_at(OLD_MS).0, "a", "x"), event(first_at(OLD_MS + day_ms).0, "b", "y")];
    store.append(writer, &group, Seq(0)).await.unwrap();
    store.settle(writer, group[1].seq).await.unwrap();
    assert_eq!(store.forget_seen(OLD_MS, 100).await.unwrap(), 2);

    let mut reader = place.connect().await;
    reader.execute("begin; select count(*) from tautline.events").await.unwrap();
    let other = [event(first_at(OLD_MS + 2 * day_ms).0, "c", "z")];
    let writing = async {
        // Until the day is on its way out.
        let leaving = "select count(*) from pg_inherits where inhdetachpending";
        let mut db = place.connect().await;
        while sqlx::query_scalar::<_, i64>(leaving).fetch_one(&mut db).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
        store.append(writer, &other, group[1].seq).await
    };
    let (dropped, written) = tokio::join!(store.delete_events(OLD_MS + 2 * day_ms, 1), writing);
    assert_eq!(written, Ok(vec![Taken::Fresh]));
    let error = dropped.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("another session")), "{error}");

    reader.execute("rollback").await.unwrap();
    assert_eq!(store.delete_events(OLD_MS + 2 * day_ms, 1).await, Ok(gone(2)), "it goes on where it was");
    assert_eq!(place.days().await, ["20200915", "20200916"]);
    let left = "select count(*) from pg_tables where schemaname = 'tautline' and tablename ~ '_[0-9]{8}$'";
    let left: i64 = sqlx::query_scalar(left).fetch_one(&mut place.connect().await).await.unwrap();
    assert_eq!(left, 4, "of events and of payloads");
    store.close().await;
}

#[tokio::test]
async fn an_old_day_with_something_undone_stays_until_it_is_done_and_an_idle_node_keeps_none() {
    let place = Place::new().await;
    let (one, two) = (place.opened().await.store, place.opened().await.store);
    let idle = one.begin_writer("idle", 1).await.unwrap().id;
    let busy = two.begin_writer("busy", 1).await.unwrap().id;
    let last = event(first_at(OLD_MS).0, "a", "x");
    two.append(busy, &[Arc::clone(&last)], Seq(0)).await.unwrap();
    assert_eq!(two.forget_seen(OLD_MS, 100).await.unwrap(), 1);
    let later = OLD_MS + 10 * 86_400_000;
    assert_eq!(one.delete_events(later, 1).await, Ok(gone(0)), "the other has not handled it");
    two.settle(busy, last.seq).await.unwrap();
    assert_eq!(one.delete_events(later, 1).await, Ok(gone(1)), "nothing came to this one");
    one.settle(idle, Seq(0)).await.unwrap();
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn a_node_whose_clock_runs_away_deletes_nothing_that_is_young_by_the_databases() {
    let place = Place::new().await;
    let store = place.opened().await.store;
    let writer = store.begin_writer("node", 1).await.unwrap().id;
    let now_ms = crate::clock::Clock::start().now().wall_ms;
    let group = [event(first_at(OLD_MS).0, "a", "x"), event(first_at(now_ms).0, "b", "y")];
    store.append(writer, &group, group[1].seq).await.unwrap();
    let years_ahead_ms = 2 * now_ms;
    assert_eq!(store.forget_seen(years_ahead_ms, 100).await.unwrap(), 2);
    assert_eq!(store.delete_events(years_ahead_ms, 1).await, Ok(gone(1)), "what is old by either");
    assert_eq!(store.delete_events(years_ahead_ms, 1).await, Ok(gone(0)));
    store.close().await;
}

#[tokio::test]
async fn a_text_that_postgres_cannot_hold_is_a_data_error_and_can_be_put_aside() {
    let place = Place::new().await;
    let store = place.opened().await.store;
    let writer = store.begin_writer("node", 1).await.unwrap().id;
    let poison = Event { kind_type: "a\0b".into(), ..Event::clone(&event(2, "b", "x")) };
    let poison = Arc::new(poison);
    let error = store.append(writer, &[event(1, "a", "x"), Arc::clone(&poison)], Seq(0)).await.unwrap_err();
    assert!(matches!(error, StoreError::Data(_)), "{error}");
    store.quarantine(&poison, &format!("{error} \0"), 1).await.unwrap();
    assert_eq!(store.append(writer, &[event(1, "a", "x")], Seq(0)).await, Ok(vec![Taken::Fresh]));
    store.close().await;
}

impl Place {
    async fn new() -> Self {
        let server = std::env::var("TAUTLINE_TEST_POSTGRES").unwrap_or_else(|_| {
            panic!(
                "TAUTLINE_TEST_POSTGRES names no server: run the tests by scripts/test, which starts one and says where it is"
            )
        });
        let name = format!("t{:032x}", rand::random::<u128>());
        let mut db = PgConnection::connect(&server).await.expect("the server of the tests answers");
        db.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
        Self { server, name, key: generate_key_text() }
    }

    fn address(&self) -> String {
        let mut url: url::Url = self.server.parse().unwrap();
        url.set_path(&self.name);
        url.into()
    }

    fn options(&self) -> OpenOptions {
        OpenOptions { address: self.address(), key: KeySource::Text(self.key.clone()), max_pages: None }
    }

    async fn opened(&self) -> Opened<PostgresStore> {
        PostgresStore::open(&self.options()).await.unwrap()
    }

    /// A connection of our own, past the store.
    async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.address()).await.unwrap()
    }

    /// The days that have partitions.
    async fn days(&self) -> Vec<String> {
        sqlx::query_scalar(
            "select right(inhrelid::regclass::text, 8) from pg_inherits \
             where inhparent = 'tautline.events'::regclass order by 1",
        )
        .fetch_all(&mut self.connect().await)
        .await
        .unwrap()
    }
}

impl Drop for Place {
    /// On a thread of its own: a test's runtime cannot be waited for in here.
    fn drop(&mut self) {
        let sql = format!("drop database if exists {} with (force)", self.name);
        let server = self.server.clone();
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                PgConnection::connect(&server).await?.execute(AssertSqlSafe(sql)).await.map(|_| ())
            })
        });
        if !std::thread::panicking() {
            dropped.join().unwrap().unwrap();
        }
    }
}

fn refused<T>(result: Result<T, StoreError>) -> String {
    let error = result.err().expect("refused");
    assert!(matches!(error, StoreError::Setup(_)), "{error:?}");
    let line = error.to_string();
    assert!(!line.contains('\n'), "one line: {line}");
    line
}

fn event(seq: i64, key: &str, payload: &str) -> Arc<Event> {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(key.bytes()).for_each(|(to, from)| *to = from);
    Arc::new(Event {
        seq: Seq(seq),
        app: AppId(1),
        workspace: None,
        kind: Kind::EventsApi,
        kind_type: "message".into(),
        slack_id: key.into(),
        dedupe: DedupeKey(bytes),
        retry: 0,
        received_ms: 1,
        payload: payload.into(),
    })
}
