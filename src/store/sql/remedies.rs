//! What operators do about what is owed: tried again, or given up; one at a time with its line in the audit log, or many in steps of a job.

use serde_json::json;

use super::archive::{delivery_floor, delivery_is, find_delivery, find_event};
use super::{Backend, Connection, audit, json_numbers};
use crate::event::Kind;
use crate::ids::{Seq, WorkspaceName};
use crate::store::archive::{STEPPED, answered_since, below};
use crate::store::fault::Fault;
use crate::store::{
    Action, Caller, Changes, Deed, DeliveryFilter, DeliveryId, DeliveryStatus, EXAMINED, Remedy, Stepped,
    StoreError, StoredDelivery, StoredEvent,
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
            "d.status in ", $statuses, " and (cast($10 as text) is null or d.handler_id in (", json_numbers!("$10"), ")) \
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
pub(super) use still_of_use;

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

/// How a delivery is called in the audit log and in the API.
pub(super) fn target(id: DeliveryId) -> String {
    format!("dlv_{}-{}-{}", id.seq, id.handler, id.run)
}

pub(super) fn gone() -> Fault {
    StoreError::Conflict("the event's payload is not kept any more, so it cannot be handed over again".into())
        .into()
}

/// Can an event whose delivery has expired still be answered?
pub(super) fn can_be_answered(event: &StoredEvent, now_ms: i64) -> bool {
    event.kind == Kind::SlashCommands && event.received_ms > answered_since(now_ms)
}

/// The numbers of those of these handlers that are known, as JSON.
pub(super) async fn numbers_of(db: &mut Connection, names: &[String]) -> Result<String, Fault> {
    let known: Vec<(i64, String)> = sqlx::query_as("select id, name from handlers").fetch_all(db).await?;
    let numbers: Vec<_> = known.iter().filter(|(_, name)| names.contains(name)).map(|(id, _)| id).collect();
    Ok(json!(numbers).to_string())
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

impl Backend {
    pub(super) async fn change_delivery(
        &self,
        id: DeliveryId,
        remedy: Remedy,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<StoredDelivery>, Fault> {
        let mut tx = self.begin().await?;
        self.keep_days(tx.db()).await?;
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
        self.keep_days(tx.db()).await?;
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
