//! A node's writer and its place among the nodes of one database: its number, its life, and the writers it took over.
//!
//! A living writer holds an advisory lock on the very session it writes by. When that lock is free the session is gone, so nothing
//! of that writer's can still be on its way in, and another node may take over what it left undone. A node that has only lost its
//! connection takes its own locks again with the next one.

use std::time::Duration;

use sqlx::postgres::PgConnection;

use super::locks;
use super::sql::note_late;
use crate::ids::{Seq, WriterId};
use crate::store::fault::Fault;
use crate::store::{StoreError, Writer};

/// How long a start waits for sessions of killed nodes to come to their end, and between two looks at them.
const DYING: (Duration, Duration) = (Duration::from_secs(10), Duration::from_millis(100));

/// How far ahead of the database's clock a node's may be. Numbers of events hold their time and only rise: those of a node that is years
/// ahead would send all that come later, of every node, into the day of its last one, which then never grows old.
const AHEAD_MS: i64 = 86_400_000;

/// This node's place.
#[derive(Clone, Debug)]
pub(super) struct Station {
    /// By which the process knows its writer.
    pub(super) told: i32,
    /// The writer: another, once an heir was found to have taken the place of the first.
    pub(super) writer: i32,
    pub(super) number: i32,
    /// Its own events lie above this.
    pub(super) begun_at: Seq,
    /// Writers that died and whose undone events this node handles.
    pub(super) estates: Vec<Estate>,
    /// Up to here everything is done.
    pub(super) settled_to: Seq,
    /// The session that holds the locks: process and when it began.
    session: (i32, String),
    /// When it was last looked for writers that died, milliseconds since 1970, and which there were.
    pub(super) seen_dead: (i64, Vec<i32>),
}

/// What a dead writer left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Estate {
    pub(super) writer: i32,
    /// Up to here it had done everything itself.
    pub(super) floor: i64,
    /// Its last event.
    pub(super) top: i64,
}

impl Station {
    /// The writers this node answers for, and the last event of each: the first two columns of `settle`.
    pub(super) fn marks(&self) -> (Vec<i32>, Vec<i64>) {
        let own = (self.writer, i64::MAX);
        std::iter::once(own).chain(self.estates.iter().map(|estate| (estate.writer, estate.top))).unzip()
    }

    /// Estates of which nothing is left to be done.
    pub(super) fn finished(&self) -> Vec<i32> {
        let done = self.estates.iter().filter(|estate| estate.top <= self.settled_to.0);
        done.map(|estate| estate.writer).collect()
    }
}

/// How often a living node looks for others that died.
const LOOK_MS: i64 = 30_000;

impl Station {
    /// Looks for writers that live no more, now and then. What they have written down as owed is this node's from then on; of what they
    /// had neither handled nor written down it tells the log: a living node cannot go back to what lies below its mark, the next start of
    /// any can.
    pub(super) async fn look_for_the_dead(
        &mut self,
        db: &mut PgConnection,
        now_ms: i64,
    ) -> Result<(), Fault> {
        if (self.seen_dead.0..self.seen_dead.0.saturating_add(LOOK_MS)).contains(&now_ms) {
            return Ok(());
        }
        let dead: Vec<i32> = sqlx::query_scalar(locks::WHO_IS_DEAD).fetch_all(&mut *db).await?;
        if dead.iter().any(|writer| !self.seen_dead.1.contains(writer)) {
            tracing::warn!(
                writers = ?dead,
                "nodes of this database have died, and what they had not handled waits for the next start of a node: start one"
            );
        }
        // A node that has only lost its connection is back by the second look.
        let twice: Vec<i32> =
            dead.iter().copied().filter(|writer| self.seen_dead.1.contains(writer)).collect();
        // It cannot come back in between.
        let taken: Vec<i32> = sqlx::query_scalar(locks::TAKE_THESE).bind(&twice).fetch_all(&mut *db).await?;
        let inherited = sqlx::query(locks::INHERIT).bind(self.writer).bind(&taken).execute(&mut *db).await;
        sqlx::query(locks::LET_THESE_GO).bind(&taken).execute(db).await?;
        inherited?;
        self.seen_dead = (now_ms, dead);
        Ok(())
    }
}

/// Moves the marks of writers (`$1`, and the last event of each in `$2`) up to `$3`, only ever forward and none beyond its last event;
/// with `$4` they have ended.
macro_rules! settle {
    () => {
        "update writers w set settled_to = greatest(w.settled_to, \
         least($3, (select o.top from unnest($1::int[], $2::bigint[]) as o (id, top) where o.id = w.id))), \
         ended_at = coalesce($4, w.ended_at) where w.id = any($1::int[])"
    };
}
pub(super) use settle;

/// Makes this session the node's, with a new writer.
pub(super) async fn begin(
    db: &mut PgConnection,
    node: &str,
    now_ms: i64,
) -> Result<(Station, Writer), Fault> {
    is_of_this_time(db, now_ms).await?;
    sqlx::query(locks::LET_ALL_GO).execute(&mut *db).await?;
    until_the_dying_are_dead(db).await?;
    // What a long backlog takes to be counted is no statement that hangs.
    sqlx::raw_sql("begin; set local statement_timeout = 0").execute(&mut *db).await?;
    let begun = register(db, node, now_ms).await;
    let end = if begun.is_ok() { "commit" } else { "rollback" };
    sqlx::raw_sql(end).execute(db).await?;
    begun
}

async fn register(db: &mut PgConnection, node: &str, now_ms: i64) -> Result<(Station, Writer), Fault> {
    let dead: Vec<i32> = sqlx::query_scalar(locks::TAKE_THE_DEAD).fetch_all(&mut *db).await?;
    // Read anew behind the locks: one of them may just have been done with by another node.
    let left: Vec<(i32, i64, Option<i64>)> = sqlx::query_as(
        "select w.id, w.settled_to, (select max(e.seq) from events e where e.writer = w.id and e.seq > w.settled_to) \
         from writers w where w.id = any($1) and w.ended_at is null",
    )
    .bind(&dead)
    .fetch_all(&mut *db)
    .await?;
    let last: i64 = sqlx::query_scalar(
        "select greatest(coalesce((select max(seq) from events), 0), coalesce((select max(settled_to) from writers), 0))",
    )
    .fetch_one(&mut *db)
    .await?;
    let settled_to = left.iter().map(|(_, settled_to, _)| *settled_to).min().unwrap_or(last);
    let estates: Vec<_> = left
        .into_iter()
        .map(|(writer, floor, top)| Estate { writer, floor, top: top.unwrap_or(floor) })
        .collect();
    let writer: i32 = sqlx::query_scalar(
        "insert into writers (node, started_at, settled_to) values ($1, $2, $3) returning id",
    )
    .bind(node)
    .bind(now_ms)
    .bind(settled_to)
    .fetch_one(&mut *db)
    .await?;
    take(db, locks::TAKE_WRITER, writer).await?;
    let number: Option<i32> =
        sqlx::query_scalar(locks::TAKE_ANY_NUMBER).bind(i64::from(writer)).fetch_optional(&mut *db).await?;
    let number = number.ok_or_else(|| {
        StoreError::Setup("1024 nodes write to this database already, which is all there can be".into())
    })?;
    sqlx::query(locks::INHERIT).bind(writer).bind(None::<Vec<i32>>).execute(&mut *db).await?;
    note_late(db, settled_to, now_ms).await?;
    let session = sqlx::query_as(locks::WHO_AM_I).fetch_one(db).await?;
    let begun = Writer {
        id: WriterId(i64::from(writer)),
        number: u16::try_from(number).unwrap_or_default(),
        last: Seq(last),
        settled_to: Seq(settled_to),
    };
    let (settled_to, seen_dead) = (Seq(settled_to), (now_ms, Vec::new()));
    let told = writer;
    Ok((
        Station { told, writer, number, begun_at: Seq(last), estates, settled_to, session, seen_dead },
        begun,
    ))
}

/// Makes a new session the node's, after the one before was lost. Another node that started meanwhile may have taken this one for
/// dead; it lets go of it when it has handled what it found.
/// `last` is the last event of which the node may have written anything.
pub(super) async fn resume(db: &mut PgConnection, station: &mut Station, last: Seq) -> Result<(), Fault> {
    let own = take(db, locks::TAKE_NUMBER, station.number).await?
        && take(db, locks::TAKE_WRITER, station.writer).await?;
    if !own {
        let (pid, begun) = &station.session;
        let ended: i64 =
            sqlx::query_scalar(locks::END_SESSION).bind(pid).bind(begun).fetch_one(&mut *db).await?;
        let problem = if ended > 0 {
            "the session before this one was not yet at its end"
        } else {
            "another node has taken this one for dead and handles its events; it goes on here when that is done"
        };
        return Err(StoreError::Unavailable(problem.into()).into());
    }
    let mut kept = Vec::with_capacity(station.estates.len());
    for estate in &station.estates {
        if take(db, locks::TAKE_WRITER, estate.writer).await? {
            kept.push(*estate);
        }
    }
    station.estates = kept;
    // Whoever becomes the heir of one holds its life meanwhile, so none does now.
    let (heir, ended): (Option<i32>, Option<i64>) =
        sqlx::query_as("select heir, ended_at from writers where id = $1")
            .bind(station.writer)
            .fetch_one(&mut *db)
            .await?;
    if heir.is_some() {
        begin_anew(db, station, last, ended.is_some()).await?;
    } else if ended.is_some() {
        sqlx::query("update writers set ended_at = null where id = $1")
            .bind(station.writer)
            .execute(&mut *db)
            .await?;
    }
    station.session = sqlx::query_as(locks::WHO_AM_I).fetch_one(db).await?;
    Ok(())
}

/// Another has become this writer's heir: what it had written down as owed is that one's to see to, and stays so, or both would. The node goes
/// on as a new writer. What the old one has not settled is the node's still, unless a start has taken that over and is done with it.
async fn begin_anew(
    db: &mut PgConnection,
    station: &mut Station,
    last: Seq,
    has_ended: bool,
) -> Result<(), Fault> {
    let old = station.writer;
    let (writer, is_ours): (i32, bool) =
        sqlx::query_as(locks::BEGIN_ANEW).bind(old).fetch_one(&mut *db).await?;
    if !is_ours {
        return Err(StoreError::Unavailable(format!("writer {writer} is somebody else's already")).into());
    }
    if has_ended {
        sqlx::query(locks::LET_WRITER_GO).bind(old).execute(db).await?;
    } else {
        // Known here: to ask for it would lead through all that others have written since.
        let top = last.max(station.settled_to).0;
        station.estates.push(Estate { writer: old, floor: station.begun_at.0, top });
    }
    tracing::warn!(
        old,
        writer,
        "the connection to the database was lost for so long that another node has taken this one for dead: that one sees to what \
         was written down as owed by then, and this one goes on as a new writer"
    );
    station.writer = writer;
    Ok(())
}

async fn take(db: &mut PgConnection, lock: &'static str, number: i32) -> Result<bool, Fault> {
    Ok(sqlx::query_scalar(lock).bind(number).fetch_one(db).await?)
}

async fn is_of_this_time(db: &mut PgConnection, now_ms: i64) -> Result<(), Fault> {
    let theirs: i64 = sqlx::query_scalar("select (extract(epoch from clock_timestamp()) * 1000)::bigint")
        .fetch_one(db)
        .await?;
    let ahead_ms = now_ms.saturating_sub(theirs);
    if ahead_ms <= AHEAD_MS {
        return Ok(());
    }
    let hours = ahead_ms.saturating_add(1_800_000) / 3_600_000;
    let problem = format!(
        "this machine's clock is {hours} hours ahead of the database's; set whichever is wrong, the node goes on by itself"
    );
    Err(StoreError::Unavailable(problem).into())
}

/// Waits for sessions whose clients were killed in the middle of something. One that is seen idle twice has a client: a node that
/// lives; so has one that has begun something new.
async fn until_the_dying_are_dead(db: &mut PgConnection) -> Result<(), Fault> {
    type Seen = (i32, i32, bool, String);
    let mut left = DYING.0;
    let mut before: Vec<Seen> = sqlx::query_as(locks::WHO_LIVES).fetch_all(&mut *db).await?;
    while !before.is_empty() && !left.is_zero() {
        tokio::time::sleep(DYING.1).await;
        left = left.saturating_sub(DYING.1);
        let now: Vec<Seen> = sqlx::query_as(locks::WHO_LIVES).fetch_all(&mut *db).await?;
        let undecided = |(writer, pid, idle, begun): &Seen| {
            before.iter().any(|(earlier, same, was_idle, began)| {
                (earlier, same) == (writer, pid) && began == begun && !(*idle && *was_idle)
            })
        };
        if !now.iter().any(undecided) {
            return Ok(());
        }
        before = now;
    }
    Ok(())
}
