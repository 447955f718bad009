//! Events that operators have handed over once more: one at a time with its line in the audit log, or many in steps of a job.

use serde_json::{Value, json};

use super::archive::{delivery_floor, event_floor, event_is, find_event};
use super::remedies::{can_be_answered, gone, numbers_of, still_of_use, target};
use super::{Backend, Connection, audit, json_numbers, one_of};
use crate::event::Kind;
use crate::ids::{HandlerId, Seq, WorkspaceName};
use crate::store::archive::{STEPPED, answered_since, below};
use crate::store::fault::Fault;
use crate::store::{
    Action, Caller, Changes, Deed, DeliveryId, EXAMINED, EventFilter, ReplayTo, Replayed, Stepped, StoreError,
};

/// Deliveries to handlers of `$9` that ended undone and are their event's newest to that handler. `$10` is since when a command must have
/// come to be answered.
macro_rules! undone {
    () => {
        concat!(
            "from events e join deliveries d on d.seq = e.seq and d.seq >= $1 and d.seq < $2 where ",
            event_is!(),
            " and d.handler_id ", one_of!(json_numbers!("$9")), " and d.status in ('dead', 'expired') and ", still_of_use!("$10"),
            " and (select p.seq from payloads p where p.seq = e.seq) is not null \
             and d.run = (select max(n.run) from deliveries n where n.seq = d.seq and n.handler_id = d.handler_id)"
        )
    };
}

/// Events that a handler (`$9`) is not owed already, nor being given: what is not settled has a row, or is in memory.
macro_rules! replayable {
    () => {
        concat!(
            "from events e where ",
            event_is!(),
            " and (select p.seq from payloads p where p.seq = e.seq) is not null and not exists (select 1 from deliveries d \
             where d.seq = e.seq and d.handler_id = $9 and d.status in ('waiting', 'retrying')) \
             and (exists (select 1 from deliveries d where d.seq = e.seq and d.handler_id = $9) \
             or exists (select 1 from writers o where o.id = e.writer and (e.seq <= o.settled_to \
             or (o.ended_at is not null and e.seq <= (select max(m.settled_to) from writers m))))) \
             and (e.workspace_id is null or exists (select 1 from workspaces g where g.id = e.workspace_id and g.deleted_at is null))"
        )
    };
}

macro_rules! insert {
    ($now:literal, $what:literal, $from:expr) => {
        concat!(
            "insert into deliveries (seq, handler_id, run, writer, app_id, workspace_id, status, attempts, next_at, created_at, updated_at) \
             select ", $what, ", 'retrying', 0, cast(", $now, " as bigint), cast(", $now, " as bigint), cast(", $now, " as bigint) ", $from,
            " on conflict (seq, handler_id, run) do nothing"
        )
    };
}

const COUNT_UNDONE: &str = concat!("select count(*) ", undone!());
const REPLAY_UNDONE: &str =
    insert!("$11", "d.seq, d.handler_id, d.run + 1, e.writer, d.app_id, d.workspace_id", undone!());
const COUNT_REPLAYABLE: &str = concat!("select count(*) ", replayable!());
const REPLAY_TO: &str = insert!(
    "$10",
    "e.seq, cast($9 as bigint), \
     coalesce((select max(m.run) from deliveries m where m.seq = e.seq and m.handler_id = $9), 1) + 1, \
     e.writer, e.app_id, coalesce(e.workspace_id, 0)",
    replayable!()
);

const REPLAY_ONE: &str = "insert into deliveries \
    (seq, handler_id, run, writer, app_id, workspace_id, status, attempts, next_at, created_at, updated_at) \
    select e.seq, cast($2 as bigint), cast($3 as bigint), e.writer, e.app_id, coalesce(e.workspace_id, 0), 'retrying', 0, \
    cast($4 as bigint), cast($4 as bigint), cast($4 as bigint) from events e where e.seq = $1 \
    on conflict (seq, handler_id, run) do nothing";

async fn handlers_called(db: &mut Connection, names: &[String]) -> Result<Vec<(HandlerId, String)>, Fault> {
    let mut found: Vec<(HandlerId, String)> = Vec::with_capacity(names.len());
    for name in names {
        let id: Option<i64> = sqlx::query_scalar("select id from handlers where name = $1")
            .bind(name)
            .fetch_optional(&mut *db)
            .await?;
        let id = id.ok_or_else(|| StoreError::Absent(format!("there is no handler '{name}'")))?;
        if !found.iter().any(|(known, _)| known.0 == id) {
            found.push((HandlerId(id), name.clone()));
        }
    }
    Ok(found)
}

/// Runs a statement about the events that are meant in a range.
macro_rules! about_events {
    ($query:expr, $filter:expr, $floor:expr, $most:expr) => {
        $query
            .bind($floor)
            .bind($most)
            .bind($filter.workspace.as_ref().map(WorkspaceName::as_str))
            .bind($filter.app_id.as_deref())
            .bind($filter.kind.map(Kind::as_str))
            .bind($filter.kind_type.as_deref())
            .bind(None::<&str>)
            .bind(None::<&str>)
    };
}

impl Backend {
    pub(super) async fn replay_one(
        &self,
        seq: Seq,
        to: &ReplayTo,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<Replayed>, Fault> {
        let mut tx = self.begin().await?;
        self.keep_days(tx.db()).await?;
        let Some(event) = find_event(tx.db(), seq, by.scope.as_ref()).await? else { return Ok(None) };
        if !event.has_payload {
            return Err(gone());
        }
        let newest: Vec<(i64, String, i64, String)> = sqlx::query_as(
            "select d.handler_id, h.name, d.run, d.status from deliveries d join handlers h on h.id = d.handler_id \
             where d.seq = $1 and not exists (select 1 from deliveries n where n.seq = d.seq and n.handler_id = d.handler_id \
             and n.run > d.run) order by h.name",
        )
        .bind(seq.0)
        .fetch_all(tx.db())
        .await?;
        let wanted = match to {
            ReplayTo::Named(names) => handlers_called(tx.db(), names).await?,
            ReplayTo::Undone(among) => {
                let ended = |status: &str| {
                    matches!(status, "dead" | "cancelled")
                        || (status == "expired" && can_be_answered(&event, now_ms))
                };
                let undone =
                    newest.iter().filter(|(_, name, _, status)| among.contains(name) && ended(status));
                undone.map(|(id, name, _, _)| (HandlerId(*id), name.clone())).collect()
            }
        };
        let mut replayed = Replayed::default();
        for (handler, name) in wanted {
            let last = newest.iter().find(|(id, ..)| *id == handler.0);
            let is_owed = |status: &str| matches!(status, "waiting" | "retrying");
            // What is not settled and has no row is in memory, or about to be.
            if last.map_or(!event.is_settled, |(_, _, _, status)| is_owed(status)) {
                replayed.under_way.push(name);
                continue;
            }
            let run = last.map_or(1, |(_, _, run, _)| *run).saturating_add(1);
            let made = sqlx::query(REPLAY_ONE)
                .bind(seq.0)
                .bind(handler.0)
                .bind(run)
                .bind(now_ms)
                .execute(tx.db())
                .await?;
            if made.rows_affected() == 0 {
                // A job has made the same one meanwhile.
                replayed.under_way.push(name);
                continue;
            }
            let run = u32::try_from(run).unwrap_or(u32::MAX);
            replayed.made.push((DeliveryId { seq, handler, run }, name));
        }
        if !replayed.made.is_empty() {
            let mut changes = Changes::default();
            let made: Vec<_> = replayed.made.iter().map(|(id, _)| target(*id)).collect();
            changes.field("deliveries", &Value::Null, &json!(made));
            let workspace = event.workspace.map(|(_, name)| name);
            let deed =
                Deed { action: Action::EventReplay, workspace, target: Some(format!("evt_{seq}")), changes };
            audit::write(tx.db(), by, &deed, now_ms).await?;
            tx.commit().await?;
        }
        Ok(Some(replayed))
    }

    pub(super) async fn count_new(
        &self,
        to: &ReplayTo,
        filter: &EventFilter,
        before: Option<Seq>,
        now_ms: i64,
    ) -> Result<Stepped, Fault> {
        let mut db = self.reader().await?;
        let (_, most) = filter.bounds(before);
        let Some((floor, is_all)) = replay_floor(&mut db, to, (filter, before), EXAMINED).await? else {
            return Ok(Stepped { matched: 0, next: None });
        };
        let mut matched = 0;
        match to {
            ReplayTo::Undone(among) => {
                let among = numbers_of(&mut db, among).await?;
                let query = about_events!(sqlx::query_scalar(COUNT_UNDONE), filter, floor, most);
                let query = query.bind(among).bind(answered_since(now_ms));
                let count: i64 = query.fetch_one(&mut *db).await?;
                matched += count.unsigned_abs();
            }
            ReplayTo::Named(names) => {
                for (handler, _) in handlers_called(&mut db, names).await? {
                    let query = about_events!(sqlx::query_scalar(COUNT_REPLAYABLE), filter, floor, most);
                    let count: i64 = query.bind(handler.0).fetch_one(&mut *db).await?;
                    matched += count.unsigned_abs();
                }
            }
        }
        Ok(Stepped { matched, next: (!is_all).then_some(Seq(floor)) })
    }

    pub(super) async fn make_new(
        &self,
        to: &ReplayTo,
        filter: &EventFilter,
        before: Option<Seq>,
        now_ms: i64,
    ) -> Result<Stepped, Fault> {
        let mut tx = self.begin_owed().await?;
        self.keep_days(tx.db()).await?;
        let (_, most) = filter.bounds(before);
        let Some((floor, is_all)) = replay_floor(tx.db(), to, (filter, before), STEPPED).await? else {
            return Ok(Stepped { matched: 0, next: None });
        };
        let mut matched = 0;
        match to {
            ReplayTo::Undone(among) => {
                let among = numbers_of(tx.db(), among).await?;
                let query = about_events!(sqlx::query(REPLAY_UNDONE), filter, floor, most);
                let query = query.bind(among).bind(answered_since(now_ms));
                matched += query.bind(now_ms).execute(tx.db()).await?.rows_affected();
            }
            ReplayTo::Named(names) => {
                for (handler, _) in handlers_called(tx.db(), names).await? {
                    let query = about_events!(sqlx::query(REPLAY_TO), filter, floor, most);
                    matched += query.bind(handler.0).bind(now_ms).execute(tx.db()).await?.rows_affected();
                }
            }
        }
        tx.commit().await?;
        Ok(Stepped { matched, next: (!is_all).then_some(Seq(floor)) })
    }
}

/// As far as a step reaches: over events, or, where those alone matter that have an undone delivery, over deliveries.
async fn replay_floor(
    db: &mut Connection,
    to: &ReplayTo,
    (filter, before): (&EventFilter, Option<Seq>),
    rows: u32,
) -> Result<Option<(i64, bool)>, Fault> {
    let (least, most) = filter.bounds(before);
    match to {
        ReplayTo::Undone(_) => delivery_floor(db, false, (least, below(Some(Seq(most)))), rows).await,
        ReplayTo::Named(_) => event_floor(db, (least, most), rows).await,
    }
}
