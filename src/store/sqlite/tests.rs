//! The suite every store passes, and what is SQLite's own: its files, its key, its lock, its bounds.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

use super::address::beside_database;
use super::sql::{handlers, owed};
use super::{SqliteStore, seen};
use crate::config::KeySource;
use crate::event::{DedupeKey, Event, Kind};
use crate::ids::{AppId, Seq, WorkspaceName};
use crate::secret::{AppToken, BotToken};
use crate::store::conformance::{Ground, conformance};
use crate::store::{
    DeliveryMode, Desired, Inbox as _, OpenOptions, Opened, Order, Retention as _, Secret, Step, Store,
    StoreError, Taken, When, WorkspaceSpec, Workspaces as _, generate_key_text,
};

conformance!(Disk::new());

/// A directory with a database in it; gone when dropped.
struct Disk {
    dir: TempDir,
}

impl Ground for Disk {
    fn key(&self) -> KeySource {
        KeySource::Beside
    }

    fn with_key(&self, key: KeySource) -> OpenOptions {
        self.options(key)
    }

    async fn open(&self) -> Box<dyn Store> {
        Box::new(self.opened().await.store)
    }
}

#[tokio::test]
async fn neither_tokens_nor_payloads_are_readable_in_any_file() {
    let disk = Disk::new();
    let store = disk.opened().await.store;
    fill(&store).await;
    store.quarantine(&event(7, "canary-payload"), "odd", 1).await.unwrap();
    let look = || {
        for entry in fs::read_dir(disk.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            for secret in ["canary-app-token", "canary-bot-token", "canary-payload"] {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{secret} in {}", path.display());
            }
        }
    };
    assert!(fs::metadata(disk.file("-wal")).unwrap().len() > 0, "the log is looked at as well");
    look();
    store.close().await;
    assert!(fs::metadata(disk.file("")).unwrap().len() > 0);
    look();
}

#[tokio::test]
async fn a_key_file_is_made_once_beside_the_database_and_told() {
    let disk = Disk::new();
    let opened = disk.opened().await;
    assert_eq!(opened.notes.len(), 1, "{:?}", opened.notes);
    assert!(opened.notes[0].contains(&disk.file(".key").display().to_string()), "{:?}", opened.notes);
    opened.store.close().await;
    assert_eq!(fs::metadata(disk.file(".key")).unwrap().permissions().mode() & 0o777, 0o600);
    let again = disk.opened().await;
    assert_eq!(again.notes, Vec::<String>::new());
    again.store.close().await;
}

#[tokio::test]
async fn a_wrong_key_is_told_at_open_and_nothing_is_changed() {
    let disk = Disk::new();
    let right = disk.opened().await.store;
    right.close().await;
    drop(right);
    let before = fs::read(disk.file("")).unwrap();

    let wrong = disk.refused(KeySource::Text(generate_key_text())).await;
    assert!(wrong.contains("was sealed with the key") && wrong.contains("TAUTLINE_KEY"), "{wrong}");
    fs::rename(disk.file(".key"), disk.file(".away")).unwrap();
    let gone = disk.refused(KeySource::Beside).await;
    assert!(gone.contains("is gone") && gone.contains("put it back"), "{gone}");
    assert!(!disk.file(".key").exists(), "no second key is made for a sealed database");
    assert_eq!(fs::read(disk.file("")).unwrap(), before);

    let opened = disk.open_with(KeySource::File(disk.file(".away"))).await.unwrap();
    opened.store.close().await;
}

#[tokio::test]
async fn a_key_file_open_to_others_is_refused() {
    let disk = Disk::new();
    disk.opened().await.store.close().await;
    fs::set_permissions(disk.file(".key"), PermissionsExt::from_mode(0o644)).unwrap();
    for key in [KeySource::Beside, KeySource::File(disk.file(".key"))] {
        let error = disk.refused(key).await;
        assert!(error.contains("chmod 600"), "{error}");
    }
}

#[tokio::test]
async fn a_sealed_value_moved_to_another_row_does_not_open_there() {
    let disk = Disk::new();
    let store = disk.opened().await.store;
    fill(&store).await;
    let other = spec("xapp-1-A2-1-other", "xoxb-other");
    let other = store.put_workspace(&name("other"), &other, When::Always, 1).await.unwrap().workspace;
    let mut db = disk.connect().await;
    for sql in [
        "update apps set token_sealed = (select token_sealed from apps where named_app_id = 'A1') where named_app_id = 'A2'",
        "update workspaces set bot_sealed = (select bot_sealed from workspaces where name = 'acme') where name = 'other'",
    ] {
        sqlx::query(sql).execute(&mut db).await.unwrap();
    }
    let app = store.app(other.app).await.unwrap().unwrap();
    let error = app.token.unwrap().unwrap_err();
    let StoreError::Sealed { what, key_id } = error else { panic!("{error}") };
    assert_eq!(what, format!("apps.token_sealed, row {}", other.app));
    assert_eq!(key_id, store.vault.key_id());
    assert!(matches!(store.bot_token(other.id).await, Err(StoreError::Sealed { .. })));

    // Put in place again, both can be read.
    store
        .put_workspace(&name("other"), &spec("xapp-1-A2-1-other", "xoxb-other"), When::Always, 2)
        .await
        .unwrap();
    assert!(store.app(other.app).await.unwrap().unwrap().candidate.unwrap().is_ok());
    assert_eq!(store.bot_token(other.id).await.unwrap().unwrap().expose(), "xoxb-other");
    store.close().await;
}

#[tokio::test]
async fn a_change_of_the_key_walks_every_column_that_is_sealed() {
    let disk = Disk::new();
    disk.opened().await.store.close().await;
    let sealed: Vec<String> = sqlx::query_scalar(
        "select t.name || '.' || c.name from sqlite_schema t join pragma_table_info(t.name) c \
         where t.type = 'table' and c.name like '%!_sealed' escape '!'",
    )
    .fetch_all(&mut disk.connect().await)
    .await
    .unwrap();
    assert_eq!(SqliteStore::resealed_columns(), sealed.into_iter().collect());
}

#[tokio::test]
async fn old_events_are_deleted_a_few_at_a_time() {
    let store = Disk::new();
    let store = store.opened().await.store;
    let writer = store.begin_writer("node", 1).await.unwrap().id;
    let group: Vec<_> = (1..=5).map(|seq| event(seq, "x")).collect();
    store.append(writer, &group, Seq(0)).await.unwrap();
    store.settle(writer, Seq(5)).await.unwrap();
    store.forget_seen(i64::MAX, 100).await.unwrap();
    let now_ms = 1_795_000_000_000;
    for wanted in [2, 2, 1, 0] {
        let step = Step { gone: wanted, is_all: wanted < 2 };
        assert_eq!(store.delete_events(now_ms, 2).await, Ok(step));
    }
    let left: i64 =
        sqlx::query_scalar("select (select count(*) from events) + (select count(*) from payloads)")
            .fetch_one(&mut *store.reader().await.unwrap())
            .await
            .unwrap();
    assert_eq!(left, 0);
    store.close().await;
}

#[tokio::test]
async fn a_change_of_the_key_that_an_earlier_version_broke_off_begins_anew() {
    let disk = Disk::new();
    let store = disk.opened().await.store;
    // That version told columns by their number, and knew one less.
    sqlx::query("insert into meta (name, value) values ('resealed_to', $1)")
        .bind(format!("{} 4 0", store.vault.key_id()))
        .execute(&mut disk.connect().await)
        .await
        .unwrap();
    assert_eq!(store.reseal(None).await.unwrap().column.0, 1);
    store.close().await;
}

#[tokio::test]
async fn an_event_whose_payload_is_gone_or_spoilt_is_skipped_and_those_behind_it_are_read() {
    let disk = Disk::new();
    let store = disk.opened().await.store;
    let writer = store.begin_writer("node", 1).await.unwrap().id;
    let group: Vec<_> = (1..=4).map(|seq| event(seq, "x")).collect();
    store.append(writer, &group, Seq(0)).await.unwrap();
    let mut db = disk.connect().await;
    sqlx::query("delete from payloads where seq = 1").execute(&mut db).await.unwrap();
    sqlx::query("update payloads set payload_sealed = zeroblob(60) where seq = 2")
        .execute(&mut db)
        .await
        .unwrap();
    let seqs = |events: Vec<Event>| events.into_iter().map(|event| event.seq.0).collect::<Vec<_>>();
    assert_eq!(seqs(store.read_events(Seq(0), 1, 1000).await.unwrap()), [3]);
    assert_eq!(seqs(store.read_events(Seq(0), 10, 1000).await.unwrap()), [3, 4]);
    sqlx::query("delete from payloads").execute(&mut db).await.unwrap();
    assert_eq!(seqs(store.read_events(Seq(0), 1, 1000).await.unwrap()), [0_i64; 0]);
    store.close().await;
}

#[tokio::test]
async fn a_second_node_on_the_same_file_is_refused_until_the_first_has_gone() {
    let disk = Disk::new();
    let first = disk.opened().await.store;
    let error = disk.refused(KeySource::Beside).await;
    assert!(error.contains("in use by another node"), "{error}");
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    first.close().await;
    let second = disk.opened().await.store;
    drop(first);
    let error = disk.refused(KeySource::Beside).await;
    assert!(error.contains("in use by another node"), "{error}");
    drop(second);
    disk.opened().await.store.close().await;
}

#[tokio::test]
async fn what_an_ack_relies_on_is_in_force_on_the_writer() {
    let disk = Disk::new();
    let store = disk.opened().await.store;
    let mut tx = store.write_side.begin().await.unwrap();
    for (pragma, expected) in [
        ("pragma synchronous", 2),
        ("pragma page_size", 8192),
        ("pragma busy_timeout", 250),
        ("pragma wal_autocheckpoint", 2048),
        ("pragma cache_size", -4096),
        ("pragma application_id", 0x5441_5554),
    ] {
        let value: i64 = sqlx::query_scalar(pragma).fetch_one(tx.db()).await.unwrap();
        assert_eq!(value, expected, "{pragma}");
    }
    let mode: String = sqlx::query_scalar("pragma journal_mode").fetch_one(tx.db()).await.unwrap();
    assert_eq!(mode, "wal");
    tx.commit().await.unwrap();
    let written = sqlx::query("delete from apps").execute(&mut *store.reader().await.unwrap()).await;
    assert!(written.is_err(), "readers don't write");
    store.close().await;
}

#[tokio::test]
async fn a_read_that_takes_too_long_is_cut() {
    let disk = Disk::new();
    let store = disk.opened().await.store;
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n";
    let result = sqlx::query(endless).fetch_one(&mut *store.reader().await.unwrap()).await;
    let error = super::fault::tell(result.expect_err("cut").into(), &store.path);
    assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("took too long")), "{error}");
    store.ping().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_full_database_is_unavailable_loses_nothing_and_goes_on_when_there_is_room() {
    let disk = Disk::new();
    let options = OpenOptions { max_pages: Some(100), ..disk.options(KeySource::Beside) };
    let store = SqliteStore::open(options).await.unwrap().store;
    let writer = store.begin_writer("node", 1).await.unwrap().id;
    let mut taken = 0;
    let error = loop {
        match store.append(writer, &[event(taken + 1, &"x".repeat(10_000))], Seq(0)).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 100, "never full");
    };
    assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("no room left")), "{error}");
    assert_eq!(
        store.read_events(Seq(0), 1000, usize::MAX).await.unwrap().len(),
        usize::try_from(taken).unwrap()
    );

    let mut db = disk.connect().await;
    sqlx::query("delete from payloads where seq < 10").execute(&mut db).await.unwrap();
    let retried = store.append(writer, &[event(taken + 1, &"x".repeat(10_000))], Seq(0)).await;
    assert_eq!(retried, Ok(vec![Taken::Fresh]));
    store.close().await;
}

#[tokio::test]
async fn repeats_are_recognised_while_their_keys_are_held_in_memory_in_the_table_and_after_a_new_start() {
    let disk = Disk::new();
    let store = disk.opened().await.store;
    let writer = store.begin_writer("node", 1).await.unwrap().id;
    let all: Vec<_> = (1..=seen::TOGETHER + 10).map(|n| event(i64::try_from(n).unwrap(), "x")).collect();
    let (early, late) = all.split_at(seen::TOGETHER);
    for group in early.chunks(512) {
        assert_eq!(store.append(writer, group, Seq(0)).await, Ok(vec![Taken::Fresh; group.len()]));
    }
    assert_eq!(count_seen(&disk).await, 0, "the newest are known by their events");
    store.append(writer, late, Seq(0)).await.unwrap();
    assert_eq!(count_seen(&disk).await, early.len());
    store.close().await;
    drop(store);

    let store = disk.opened().await.store;
    let writer = store.begin_writer("node", 2).await.unwrap();
    let again = |event: &Arc<Event>, seq| Arc::new(Event { seq, ..Event::clone(event) });
    let [one, two, three] = [1, 2, 3].map(|behind| Seq(writer.last.0 + behind));
    let group = [again(&early[7], one), event(two.0, "new"), again(&late[3], three)];
    let taken = store.append(writer.id, &group, Seq(0)).await.unwrap();
    assert_eq!(taken, [Taken::Duplicate, Taken::Fresh, Taken::Duplicate]);
    store.close().await;
}

#[tokio::test]
async fn another_programs_write_lock_is_waited_for_and_then_told() {
    let disk = Disk::new();
    let store = disk.opened().await.store;
    let mut shell = disk.connect().await;
    sqlx::query("begin immediate").execute(&mut shell).await.unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("another program")), "{error}");
    assert_eq!(store.workspaces(Order::default(), None, 1).await, Ok(vec![]), "readers don't wait");
    sqlx::query("rollback").execute(&mut shell).await.unwrap();
    store.ping().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_caller_gone_in_the_middle_leaves_neither_a_lock_nor_half_a_write() {
    let disk = Disk::new();
    let store = disk.opened().await.store;
    let mut tx = store.write_side.begin().await.unwrap();
    sqlx::query("insert into meta (name, value) values ('half', 1)").execute(tx.db()).await.unwrap();
    drop(tx);
    store.ping().await.unwrap();
    let mut db = disk.connect().await;
    let half: i64 =
        sqlx::query_scalar("select count(*) from meta where name = 'half'").fetch_one(&mut db).await.unwrap();
    assert_eq!(half, 0);
    store.close().await;
}

#[tokio::test]
async fn a_place_where_no_database_can_be_is_one_clear_line_and_left_as_it_is() {
    let disk = Disk::new();
    let path = disk.file("");

    fs::write(&path, "dear diary, today I was overwritten by nobody").unwrap();
    let error = disk.refused(KeySource::Beside).await;
    assert!(error.contains("is not a SQLite database"), "{error}");
    assert!(fs::read_to_string(&path).unwrap().starts_with("dear diary"));
    assert!(!disk.file(".key").exists());

    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let error = disk.refused(KeySource::Beside).await;
    assert!(error.contains("is no file"), "{error}");
    fs::remove_dir(&path).unwrap();

    let nowhere = disk.dir.path().join("no/where.db").display().to_string();
    let options = OpenOptions { address: nowhere, ..disk.options(KeySource::Beside) };
    let error = SqliteStore::open(options).await.unwrap_err().to_string();
    assert!(error.contains("does not exist"), "{error}");
}

#[tokio::test]
async fn a_read_only_file_or_directory_is_one_clear_line() {
    let disk = Disk::new();
    disk.opened().await.store.close().await;
    for (path, mode, back) in [(disk.file(""), 0o444, 0o644), (disk.dir.path().to_owned(), 0o555, 0o755)] {
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let error = disk.refused(KeySource::Beside).await;
        fs::set_permissions(&path, PermissionsExt::from_mode(back)).unwrap();
        assert!(error.contains("is read-only") && error.contains(&path.display().to_string()), "{error}");
    }
    disk.opened().await.store.close().await;
}

#[tokio::test]
async fn another_programs_database_is_left_alone() {
    let disk = Disk::new();
    let mut db = disk.create().await;
    sqlx::query("create table recipes (name text)").execute(&mut db).await.unwrap();
    db.close().await.unwrap();
    let before = fs::read(disk.file("")).unwrap();
    let error = disk.refused(KeySource::Beside).await;
    assert!(error.contains("another program's database"), "{error}");
    assert_eq!(fs::read(disk.file("")).unwrap(), before);
    assert!(!disk.file(".key").exists());
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let disk = Disk::new();
    disk.opened().await.store.close().await;
    let mut db = disk.connect().await;
    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
                 values (9999, 'from the future', 1, x'00', 0)";
    sqlx::query(newer).execute(&mut db).await.unwrap();
    db.close().await.unwrap();
    let before = fs::read(disk.file("")).unwrap();
    let error = disk.refused(KeySource::Beside).await;
    assert!(error.contains("newer Tautline (schema 9999"), "{error}");
    assert_eq!(fs::read(disk.file("")).unwrap(), before);
}

impl Disk {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn file(&self, suffix: &str) -> PathBuf {
        beside_database(&self.dir.path().join("t.db"), suffix)
    }

    fn options(&self, key: KeySource) -> OpenOptions {
        OpenOptions { address: format!("sqlite://{}", self.file("").display()), key, max_pages: None }
    }

    async fn open_with(&self, key: KeySource) -> Result<Opened<SqliteStore>, StoreError> {
        SqliteStore::open(self.options(key)).await
    }

    async fn opened(&self) -> Opened<SqliteStore> {
        self.open_with(KeySource::Beside).await.unwrap()
    }

    async fn refused(&self, key: KeySource) -> String {
        let error = self.open_with(key).await.expect_err("refused");
        assert!(matches!(error, StoreError::Setup(_)), "{error:?}");
        let line = error.to_string();
        assert!(!line.contains('\n'), "one line: {line}");
        line
    }

    /// A connection of our own, past the store.
    async fn connect(&self) -> SqliteConnection {
        SqliteConnection::connect(&format!("sqlite://{}", self.file("").display())).await.unwrap()
    }

    async fn create(&self) -> SqliteConnection {
        SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", self.file("").display())).await.unwrap()
    }
}

async fn count_seen(disk: &Disk) -> usize {
    let count = "select count(*) from seen";
    let count: i64 = sqlx::query_scalar(count).fetch_one(&mut disk.connect().await).await.unwrap();
    usize::try_from(count).unwrap()
}

async fn fill(store: &SqliteStore) {
    store
        .put_workspace(
            &name("acme"),
            &spec("xapp-1-A1-1-canary-app-token", "xoxb-canary-bot-token"),
            When::Always,
            1,
        )
        .await
        .unwrap();
    store
        .put_workspace(
            &name("acme"),
            &spec("xapp-1-A1-2-canary-app-token-2", "xoxb-canary-bot-token"),
            When::Always,
            2,
        )
        .await
        .unwrap();
    let writer = store.begin_writer("node", 1).await.unwrap().id;
    store.append(writer, &[event(1, "canary-payload")], Seq(0)).await.unwrap();
}

fn name(text: &str) -> WorkspaceName {
    WorkspaceName::parse(text).unwrap()
}

fn spec(app_token: &str, bot_token: &str) -> WorkspaceSpec {
    WorkspaceSpec {
        title: None,
        desired: Desired::Connected,
        delivery: DeliveryMode::Active,
        links: 1,
        labels: vec![],
        app_token: Secret::Set(AppToken::parse(app_token).unwrap()),
        bot_token: Secret::Set(BotToken::parse(bot_token).unwrap()),
    }
}

fn event(seq: i64, payload: &str) -> Arc<Event> {
    Arc::new(Event {
        seq: Seq(seq),
        app: AppId(1),
        workspace: None,
        kind: Kind::EventsApi,
        kind_type: "message".into(),
        slack_id: "Ev1".into(),
        dedupe: DedupeKey(u128::from(seq.cast_unsigned()).to_be_bytes()),
        retry: 0,
        received_ms: 1,
        payload: payload.into(),
    })
}

#[tokio::test]
async fn what_is_owed_is_found_by_an_index_however_much_there_is() {
    let disk = Disk::new();
    disk.opened().await.store.close().await;
    let mut db = SqliteConnection::connect(&format!("sqlite://{}", disk.file("").display())).await.unwrap();
    for (statement, index) in [
        (owed::WAITING, "deliveries_waiting"),
        (owed::DUE, "deliveries_due"),
        (owed::NEXT_LINE, "deliveries_waiting"),
        (handlers::COUNT_WAITING, "deliveries_waiting"),
        (handlers::COUNT_RETRYING, "INDEX deliveries_"),
        (handlers::NEXT_RETRYING, "deliveries_retrying"),
        (handlers::COUNT_DEAD, "deliveries_dead"),
    ] {
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(format!("explain query plan {statement}")))
                .fetch_all(&mut db)
                .await
                .unwrap();
        let plan: Vec<_> = plan.into_iter().map(|(.., line)| line).collect();
        assert!(plan.iter().any(|line| line.contains(index)), "{statement}: {plan:?}");
        let scans = |line: &&String| {
            line.starts_with("SCAN d") && !line.contains("deliveries_dead")
                || line.contains("B-TREE FOR ORDER")
        };
        assert_eq!(plan.iter().find(scans), None, "{statement}: {plan:?}");
    }
}
