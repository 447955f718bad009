//! What operators do about what is owed: tried again, given up, replayed; one at a time with its line in the audit log, or many in
//! steps of a job.

use serde_json::{Value, json};

use super::archive::{delivery_floor, delivery_is, event_floor, event_is, find_delivery, find_event};
use super::deliveries::{HandlerRow, known};
use super::{Backend, Connection, audit, json_numbers};
use crate::event::Kind;
use crate::ids::{HandlerId, Seq, WorkspaceName};
use crate::store::archive::{STEPPED, answered_since, below};
use crate::store::fault::Fault;
use crate::store::{
    Action, Caller, Changes, Deed, DeliveryFilter, DeliveryId, DeliveryStatus, EXAMINED, EventFilter,
    KnownHandler, Remedy, ReplayTo, Replayed, Stepped, StoreError, StoredDelivery, StoredEvent,
};

/// What has ended has all its tries before it again; what is on its way keeps its count and what it holds up. `$now` is a parameter.
macro_rules! retry {
    ($now:literal, $($which:expr),+) => {
        concat!(
            "update deliveries as d set status = 'retrying', next_at = ", $now, ", updated_at = ", $now, ", \
             attempts = case when d.status = 'retrying' then d.attempts else 0 end, \
             hold_until = case when d.status = 'retrying' then d.hold_until end where ",
            $($which),+
        )
    };
}

macro_rules! discard {
    ($now:literal, $($which:expr),+) => {
        concat!(
            "update deliveries as d set status = 'cancelled', hold_until = null, updated_at = ", $now, " where ",
            $($which),+
        )
    };
}

/// As it was read: who is given it ends it meanwhile over another connection.
macro_rules! this_one {
    () => {
        "d.seq = $1 and d.handler_id = $2 and d.run = $3 and d.status = $5"
    };
}

/// Of those that are meant these, to a handler of `$10`. `$11` is there for a retry alone: since when a command must have come to be
/// answered. What has expired for good, is a removed workspace's, or was called off and is not asked for by that name stays as it is.
macro_rules! meant {
    ($statuses:literal) => {
        concat!(
            "d.status in ", $statuses, " and (cast($10 as text) is null or d.handler_id in ", json_numbers!("$10"), ") \
             and (cast($11 as bigint) is null or ((d.status <> 'cancelled' or $7 like '%,cancelled,%') and ",
            still_of_use!("$11"), ")) and ",
            delivery_is!()
        )
    };
}

/// Can a delivery of an event still be done, and is anybody there whose it is? `$since` is a parameter.
macro_rules! still_of_use {
    ($since:literal) => {
        concat!(
            "(d.status <> 'expired' or exists (select 1 from events c where c.seq = d.seq and c.kind = 'slash_commands' and c.at > ",
            $since,
            ")) and (d.workspace_id = 0 or exists (select 1 from workspaces g where g.id = d.workspace_id and g.deleted_at is null))"
        )
    };
}

macro_rules! count {
    ($statuses:literal) => {
        concat!("select count(*) from deliveries d where ", meant!($statuses))
    };
}

const RETRY: &str = retry!("$12", meant!("('retrying', 'dead', 'expired', 'cancelled')"));
const RETRY_DEAD: &str = retry!("$12", meant!("('dead', 'expired')"));
const RETRY_ONE: &str = retry!("$4", this_one!());
const DISCARD: &str = discard!("$12", meant!("('waiting', 'retrying', 'dead', 'expired')"));
const DISCARD_DEAD: &str = discard!("$12", meant!("('dead', 'expired')"));
const DISCARD_ONE: &str = discard!("$4", this_one!());
const COUNT_RETRY: &str = count!("('retrying', 'dead', 'expired', 'cancelled')");
const COUNT_DISCARD: &str = count!("('waiting', 'retrying', 'dead', 'expired')");
const COUNT_DEAD: &str = count!("('dead', 'expired')");

/// Deliveries to handlers of `$9` that ended undone and are their event's newest to that handler. `$10` is since when a command must have
/// come to be answered.
macro_rules! undone {
    () => {
        concat!(
            "from events e join deliveries d on d.seq = e.seq and d.seq >= $1 and d.seq < $2 where ",
            event_is!(),
            " and d.handler_id in ", json_numbers!("$9"), " and d.status in ('dead', 'expired') and ", still_of_use!("$10"),
            " and exists (select 1 from payloads p where p.seq = e.seq) \
             and not exists (select 1 from deliveries n where n.seq = d.seq and n.handler_id = d.handler_id and n.run > d.run)"
        )
    };
}

/// Events that a handler (`$9`) is not owed already, nor being given: what is not settled has a row, or is in memory.
macro_rules! replayable {
    () => {
        concat!(
            "from events e where ",
            event_is!(),
            " and exists (select 1 from payloads p where p.seq = e.seq) and not exists (select 1 from deliveries d \
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

/// How a delivery is called in the audit log and in the API.
fn target(id: DeliveryId) -> String {
    format!("dlv_{}-{}-{}", id.seq, id.handler, id.run)
}

fn gone() -> Fault {
    StoreError::Conflict("the event's payload is not kept any more, so it cannot be handed over again".into())
        .into()
}

/// Can an event whose delivery has expired still be answered?
fn can_be_answered(event: &StoredEvent, now_ms: i64) -> bool {
    event.kind == Kind::SlashCommands && event.received_ms > answered_since(now_ms)
}

/// The numbers of those of these handlers that are known, as JSON.
async fn numbers_of(db: &mut Connection, names: &[String]) -> Result<String, Fault> {
    let known: Vec<(i64, String)> = sqlx::query_as("select id, name from handlers").fetch_all(db).await?;
    let numbers: Vec<_> = known.iter().filter(|(_, name)| names.contains(name)).map(|(id, _)| id).collect();
    Ok(json!(numbers).to_string())
}

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

/// Runs a statement about the deliveries that are meant in a range.
macro_rules! about_deliveries {
    ($query:expr, $filter:expr, $floor:expr, $most:expr) => {
        $query
            .bind($floor)
            .bind($most.seq.0)
            .bind($most.handler.0)
            .bind(i64::from($most.run))
            .bind($filter.handler.as_deref())
            .bind($filter.workspace.as_ref().map(WorkspaceName::as_str))
            .bind($filter.status_list())
            .bind(None::<&str>)
            .bind(None::<&str>)
    };
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
    pub(super) async fn change_delivery(
        &self,
        id: DeliveryId,
        remedy: Remedy,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<StoredDelivery>, Fault> {
        let mut tx = self.begin().await?;
        let event = find_event(tx.db(), id.seq, by.scope.as_ref()).await?;
        let Some(before) = find_delivery(tx.db(), id).await? else { return Ok(None) };
        if event.is_none() && by.scope.is_some() {
            return Ok(None);
        }
        if let Some(run) = before.replaced_by {
            let told = format!("it was replayed: {} is in its place", target(DeliveryId { run, ..id }));
            return Err(StoreError::Conflict(told).into());
        }
        if !remedy.takes(before.row.status) {
            let told = match before.row.status {
                DeliveryStatus::Waiting => "it waits for its turn and was not tried yet",
                DeliveryStatus::Done => "it is done; replay the event to hand it over once more",
                DeliveryStatus::Cancelled
                | DeliveryStatus::Dead
                | DeliveryStatus::Expired
                | DeliveryStatus::Retrying => "it is discarded already",
            };
            return Err(StoreError::Conflict(told.into()).into());
        }
        if remedy == Remedy::Retry && !event.as_ref().is_some_and(|event| event.has_payload) {
            return Err(gone());
        }
        let can_be_answered = event.is_some_and(|event| can_be_answered(&event, now_ms));
        if remedy == Remedy::Retry && before.row.status == DeliveryStatus::Expired && !can_be_answered {
            let told =
                "it has expired: nobody can be answered any more, and tried again it would expire again";
            return Err(StoreError::Conflict(told.into()).into());
        }
        let statement = match remedy {
            Remedy::Retry => RETRY_ONE,
            Remedy::Discard => DISCARD_ONE,
        };
        let done = sqlx::query(statement)
            .bind(id.seq.0)
            .bind(id.handler.0)
            .bind(i64::from(id.run))
            .bind(now_ms)
            .bind(before.row.status.as_str())
            .execute(tx.db())
            .await?;
        if done.rows_affected() == 0 {
            let told = "it was handed over meanwhile and is not as it was; look what became of it";
            return Err(StoreError::Conflict(told.into()).into());
        }
        let after = find_delivery(tx.db(), id).await?.ok_or(sqlx::Error::RowNotFound)?;
        let mut changes = Changes::default();
        changes.field("status", &json!(before.row.status), &json!(after.row.status));
        let action = match remedy {
            Remedy::Retry => Action::DeliveryRetry,
            Remedy::Discard => Action::DeliveryDiscard,
        };
        let deed = Deed { action, workspace: after.workspace.clone(), target: Some(target(id)), changes };
        audit::write(tx.db(), by, &deed, now_ms).await?;
        tx.commit().await?;
        Ok(Some(after))
    }

    pub(super) async fn replay_one(
        &self,
        seq: Seq,
        to: &ReplayTo,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<Replayed>, Fault> {
        let mut tx = self.begin().await?;
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

    pub(super) async fn count_changes(
        &self,
        remedy: Remedy,
        filter: &DeliveryFilter,
        before: Option<Seq>,
        now_ms: i64,
    ) -> Result<Stepped, Fault> {
        let (is_of_the_dead, (least, most)) = (filter.is_of_the_dead(), filter.bounds(below(before)));
        let mut db = self.reader().await?;
        let Some((floor, is_all)) = delivery_floor(&mut db, is_of_the_dead, (least, most), EXAMINED).await?
        else {
            return Ok(Stepped { matched: 0, next: None });
        };
        let statement = match (remedy, is_of_the_dead) {
            (_, true) => COUNT_DEAD,
            (Remedy::Retry, false) => COUNT_RETRY,
            (Remedy::Discard, false) => COUNT_DISCARD,
        };
        let (among, answered_since) = whom(&mut db, remedy, filter, now_ms).await?;
        let query = about_deliveries!(sqlx::query_scalar(statement), filter, floor, most);
        let matched: i64 = query.bind(among).bind(answered_since).fetch_one(&mut *db).await?;
        Ok(Stepped { matched: matched.unsigned_abs(), next: (!is_all).then_some(Seq(floor)) })
    }

    pub(super) async fn change_some(
        &self,
        remedy: Remedy,
        filter: &DeliveryFilter,
        before: Option<Seq>,
        now_ms: i64,
    ) -> Result<Stepped, Fault> {
        let (is_of_the_dead, (least, most)) = (filter.is_of_the_dead(), filter.bounds(below(before)));
        let mut tx = self.begin_owed().await?;
        let Some((floor, is_all)) = delivery_floor(tx.db(), is_of_the_dead, (least, most), STEPPED).await?
        else {
            return Ok(Stepped { matched: 0, next: None });
        };
        let statement = match (remedy, is_of_the_dead) {
            (Remedy::Retry, true) => RETRY_DEAD,
            (Remedy::Retry, false) => RETRY,
            (Remedy::Discard, true) => DISCARD_DEAD,
            (Remedy::Discard, false) => DISCARD,
        };
        let (among, answered_since) = whom(tx.db(), remedy, filter, now_ms).await?;
        let query = about_deliveries!(sqlx::query(statement), filter, floor, most);
        let done = query.bind(among).bind(answered_since).bind(now_ms).execute(tx.db()).await?;
        tx.commit().await?;
        Ok(Stepped { matched: done.rows_affected(), next: (!is_all).then_some(Seq(floor)) })
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

    pub(super) async fn note_steering(
        &self,
        name: &str,
        is_paused: bool,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<KnownHandler>, Fault> {
        let mut tx = self.begin().await?;
        let found: Option<HandlerRow> =
            sqlx::query_as("select id, name, paused_at, created_at from handlers where name = $1")
                .bind(name)
                .fetch_optional(tx.db())
                .await?;
        let Some(handler) = found.map(known) else { return Ok(None) };
        let before = handler.paused_ms;
        let paused_ms = if is_paused { before.or(Some(now_ms)) } else { None };
        if paused_ms != before {
            sqlx::query("update handlers set paused_at = $2 where id = $1")
                .bind(handler.id.0)
                .bind(paused_ms)
                .execute(tx.db())
                .await?;
            let mut changes = Changes::default();
            changes.field("paused", &json!(before.is_some()), &json!(is_paused));
            let action = if is_paused { Action::HandlerPause } else { Action::HandlerResume };
            let deed = Deed { action, workspace: None, target: Some(name.to_owned()), changes };
            audit::write(tx.db(), by, &deed, now_ms).await?;
            tx.commit().await?;
        }
        Ok(Some(KnownHandler { paused_ms, ..handler }))
    }
}

/// The handlers that are meant, and, for a retry, since when a command must have come to be answered.
async fn whom(
    db: &mut Connection,
    remedy: Remedy,
    filter: &DeliveryFilter,
    now_ms: i64,
) -> Result<(Option<String>, Option<i64>), Fault> {
    let among = match &filter.among {
        None => None,
        Some(names) => Some(numbers_of(db, names).await?),
    };
    let answered_since = match remedy {
        Remedy::Retry => Some(answered_since(now_ms)),
        Remedy::Discard => None,
    };
    Ok((among, answered_since))
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
