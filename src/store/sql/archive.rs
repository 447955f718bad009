//! What operators see of the journal and of what is owed. Each page first finds how far down a bounded number of rows reaches, and then
//! looks at what lies above that alone: neither table has an index for what is asked.

use sqlx::FromRow;

use super::owed::OwedRow;
use super::rows::name;
use super::{Backend, Connection, json_numbers, one_of};
use crate::event::Kind;
use crate::ids::{AppId, Seq, WorkspaceId, WorkspaceName};
use crate::store::archive::below;
use crate::store::fault::Fault;
use crate::store::{
    DeliveryFilter, DeliveryId, EXAMINED, EventFilter, Label, Page, StoredDelivery, StoredEvent,
};

/// Is this event meant? `$1` and `$2` bound its place, `$3` to `$6` are the filter, `$7` and `$8` the caller's scope.
macro_rules! event_is {
    () => {
        "e.seq >= $1 and e.seq < $2 \
         and (cast($3 as text) is null or e.workspace_id in (select m.id from workspaces m where m.name = $3)) \
         and (cast($4 as text) is null or e.app_id in (select m.id from apps m where m.slack_app_id = $4 or m.named_app_id = $4)) \
         and (cast($5 as text) is null or e.kind = $5) and (cast($6 as text) is null or e.type = $6) \
         and (cast($7 as text) is null or exists (select 1 from workspace_labels l \
         where l.workspace_id = e.workspace_id and l.key = $7 and l.value = $8))"
    };
}
pub(super) use event_is;

/// Is this delivery meant, and the newest run? `$1` bounds its event, `$2` to `$4` its place, `$5` to `$7` are the filter, `$8` and `$9` the
/// caller's scope.
macro_rules! delivery_is {
    () => {
        "d.seq >= $1 and (d.seq, d.handler_id, d.run) < ($2, $3, $4) \
         and (cast($5 as text) is null or d.handler_id in (select m.id from handlers m where m.name = $5)) \
         and (cast($6 as text) is null or d.workspace_id in (select m.id from workspaces m where m.name = $6)) \
         and (cast($7 as text) is null or $7 like '%,' || d.status || ',%') \
         and (cast($8 as text) is null or exists (select 1 from workspace_labels l \
         where l.workspace_id = d.workspace_id and l.key = $8 and l.value = $9)) \
         and d.run = (select max(n.run) from deliveries n where n.seq = d.seq and n.handler_id = d.handler_id)"
    };
}
pub(super) use delivery_is;

macro_rules! select_events {
    ($($rest:expr),+) => {
        concat!(
            "select e.seq, e.app_id, coalesce(a.slack_app_id, a.named_app_id) as slack_app_id, e.workspace_id, w.name as workspace, \
             e.kind, e.type, e.slack_id, e.retry, e.at, e.bytes, \
             cast(case when exists (select 1 from payloads p where p.seq = e.seq) then 1 else 0 end as bigint) as has_payload, \
             cast(case when e.seq <= o.settled_to or (o.ended_at is not null and e.seq <= (select max(settled_to) from writers)) \
             then 1 else 0 end as bigint) as is_settled \
             from events e left join apps a on a.id = e.app_id left join workspaces w on w.id = e.workspace_id \
             left join writers o on o.id = e.writer where ",
            $($rest),+
        )
    };
}

macro_rules! select_deliveries {
    ($bound:literal, $($rest:expr),+) => {
        concat!(
            "select d.seq, d.handler_id, d.run, d.app_id, d.workspace_id, d.status, d.attempts, d.next_at, d.order_key, d.hold_until, \
             d.last_error, d.created_at, d.updated_at, h.name as handler, w.name as workspace, e.kind, e.type, \
             (select max(n.run) from deliveries n where n.seq = d.seq and n.handler_id = d.handler_id) as newest \
             from deliveries d join handlers h on h.id = d.handler_id left join workspaces w on w.id = d.workspace_id \
             left join events e on e.seq = d.seq", $bound, " where ",
            $($rest),+
        )
    };
}

const EVENTS: &str = select_events!(event_is!(), " order by e.seq desc limit $9");
const EVENT: &str = select_events!(event_is!());

const EVENTS_FLOOR: &str = "select min(x.seq), count(*) from \
    (select seq from events where seq >= $1 and seq < $2 order by seq desc limit $3) as x";

const DELIVERIES: &str = select_deliveries!(
    " and e.seq >= $1 and e.seq <= $2",
    delivery_is!(),
    " order by d.seq desc, d.handler_id desc, d.run desc limit $10"
);
/// The same, by the index of what was given up.
const DEAD: &str = select_deliveries!(
    " and e.seq >= $1 and e.seq <= $2",
    "d.status in ('dead', 'expired') and ",
    delivery_is!(),
    " order by d.seq desc, d.handler_id desc, d.run desc limit $10"
);
const DELIVERIES_OF: &str = select_deliveries!(
    "",
    "d.seq ",
    one_of!(json_numbers!("$1")),
    " order by d.seq desc, h.name, d.handler_id, d.run"
);

const DELIVERIES_FLOOR: &str = "select min(x.seq), count(*) from (select d.seq from deliveries d \
     where d.seq >= $1 and (d.seq, d.handler_id, d.run) < ($2, $3, $4) \
     order by d.seq desc, d.handler_id desc, d.run desc limit $5) as x";
const DEAD_FLOOR: &str = "select min(x.seq), count(*) from (select d.seq from deliveries d \
     where d.status in ('dead', 'expired') and d.seq >= $1 and d.seq <= $2 and (d.seq, d.handler_id, d.run) < ($2, $3, $4) \
     order by d.seq desc limit $5) as x";

#[derive(FromRow)]
struct StoredEventRow {
    seq: i64,
    app_id: i64,
    slack_app_id: Option<String>,
    workspace_id: Option<i64>,
    workspace: Option<String>,
    kind: String,
    #[sqlx(rename = "type")]
    kind_type: String,
    slack_id: String,
    retry: i32,
    at: i64,
    bytes: i64,
    has_payload: i64,
    is_settled: i64,
}

impl StoredEventRow {
    fn read(self) -> Result<StoredEvent, Fault> {
        let workspace = self.workspace.as_deref().map(name).transpose()?;
        Ok(StoredEvent {
            seq: Seq(self.seq),
            app: AppId(self.app_id),
            slack_app_id: self.slack_app_id,
            workspace: self.workspace_id.map(WorkspaceId).zip(workspace),
            kind: Kind::of(&self.kind),
            kind_type: self.kind_type,
            slack_id: self.slack_id,
            retry: u32::try_from(self.retry).unwrap_or(0),
            received_ms: self.at,
            bytes: u64::try_from(self.bytes).unwrap_or(0),
            has_payload: self.has_payload != 0,
            is_settled: self.is_settled != 0,
        })
    }
}

#[derive(FromRow)]
struct StoredDeliveryRow {
    #[sqlx(flatten)]
    row: OwedRow,
    handler: String,
    workspace: Option<String>,
    kind: Option<String>,
    #[sqlx(rename = "type")]
    kind_type: Option<String>,
    newest: i64,
}

impl StoredDeliveryRow {
    fn read(self) -> Result<StoredDelivery, Fault> {
        let row = self.row.read()?;
        let newest = u32::try_from(self.newest).unwrap_or(u32::MAX);
        Ok(StoredDelivery {
            replaced_by: (newest > row.id.run).then_some(newest),
            row,
            handler: self.handler,
            workspace: self.workspace.as_deref().map(name).transpose()?,
            what: self.kind.as_deref().map(Kind::of).zip(self.kind_type),
        })
    }
}

/// As far as a bounded number of events below a place reaches, and whether that is the end.
pub(super) async fn event_floor(
    db: &mut Connection,
    (least, most): (i64, i64),
    rows: u32,
) -> Result<Option<(i64, bool)>, Fault> {
    let (floor, seen): (Option<i64>, i64) =
        sqlx::query_as(EVENTS_FLOOR).bind(least).bind(most).bind(i64::from(rows)).fetch_one(db).await?;
    Ok(floor.map(|floor| (floor, seen < i64::from(rows))))
}

/// The same of deliveries. What is left of the last event's lies above the floor too.
pub(super) async fn delivery_floor(
    db: &mut Connection,
    is_of_the_dead: bool,
    (least, most): (i64, DeliveryId),
    rows: u32,
) -> Result<Option<(i64, bool)>, Fault> {
    let (floor, seen): (Option<i64>, i64) =
        sqlx::query_as(if is_of_the_dead { DEAD_FLOOR } else { DELIVERIES_FLOOR })
            .bind(least)
            .bind(most.seq.0)
            .bind(most.handler.0)
            .bind(i64::from(most.run))
            .bind(i64::from(rows))
            .fetch_one(db)
            .await?;
    Ok(floor.map(|floor| (floor, seen < i64::from(rows))))
}

/// One delivery by its place.
pub(super) async fn find_delivery(
    db: &mut Connection,
    id: DeliveryId,
) -> Result<Option<StoredDelivery>, Fault> {
    let all = read_deliveries_of(db, &[id.seq]).await?;
    Ok(all.into_iter().find(|found| found.row.id == id))
}

async fn read_deliveries_of(db: &mut Connection, seqs: &[Seq]) -> Result<Vec<StoredDelivery>, Fault> {
    let seqs: Vec<i64> = seqs.iter().map(|seq| seq.0).collect();
    let rows: Vec<StoredDeliveryRow> =
        sqlx::query_as(DELIVERIES_OF).bind(serde_json::json!(seqs).to_string()).fetch_all(db).await?;
    rows.into_iter().map(StoredDeliveryRow::read).collect()
}

/// One event, where it is in scope.
pub(super) async fn find_event(
    db: &mut Connection,
    seq: Seq,
    scope: Option<&Label>,
) -> Result<Option<StoredEvent>, Fault> {
    let row: Option<StoredEventRow> = sqlx::query_as(EVENT)
        .bind(seq.0)
        .bind(seq.0.saturating_add(1))
        .bind(None::<&str>)
        .bind(None::<&str>)
        .bind(None::<&str>)
        .bind(None::<&str>)
        .bind(scope.map(|scope| scope.key.as_str()))
        .bind(scope.map(|scope| scope.value.as_str()))
        .fetch_optional(db)
        .await?;
    row.map(StoredEventRow::read).transpose()
}

impl Backend {
    pub(super) async fn list_events(
        &self,
        filter: &EventFilter,
        scope: Option<&Label>,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Page<StoredEvent, Seq>, Fault> {
        let mut db = self.reader().await?;
        let (least, most) = filter.bounds(before);
        let Some((floor, is_all)) = event_floor(&mut db, (least, most), EXAMINED).await? else {
            return Ok(Page { found: Vec::new(), next: None });
        };
        let rows: Vec<StoredEventRow> = sqlx::query_as(EVENTS)
            .bind(floor)
            .bind(most)
            .bind(filter.workspace.as_ref().map(WorkspaceName::as_str))
            .bind(filter.app_id.as_deref())
            .bind(filter.kind.map(Kind::as_str))
            .bind(filter.kind_type.as_deref())
            .bind(scope.map(|scope| scope.key.as_str()))
            .bind(scope.map(|scope| scope.value.as_str()))
            .bind(i64::from(limit).saturating_add(1))
            .fetch_all(&mut *db)
            .await?;
        let found = rows.into_iter().map(StoredEventRow::read).collect::<Result<Vec<_>, _>>()?;
        Ok(cut(found, limit, |event| event.seq, (!is_all).then_some(Seq(floor))))
    }

    pub(super) async fn read_event(
        &self,
        seq: Seq,
        scope: Option<&Label>,
    ) -> Result<Option<StoredEvent>, Fault> {
        find_event(&mut *self.reader().await?, seq, scope).await
    }

    pub(super) async fn list_deliveries_of(&self, seqs: &[Seq]) -> Result<Vec<StoredDelivery>, Fault> {
        read_deliveries_of(&mut *self.reader().await?, seqs).await
    }

    pub(super) async fn list_deliveries(
        &self,
        filter: &DeliveryFilter,
        scope: Option<&Label>,
        before: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Page<StoredDelivery, DeliveryId>, Fault> {
        let mut db = self.reader().await?;
        let (least, most) = filter.bounds(before.unwrap_or_else(|| below(None)));
        let is_of_the_dead = filter.is_of_the_dead();
        let floor = delivery_floor(&mut db, is_of_the_dead, (least, most), EXAMINED).await?;
        let Some((floor, is_all)) = floor else { return Ok(Page { found: Vec::new(), next: None }) };
        let rows: Vec<StoredDeliveryRow> = sqlx::query_as(if is_of_the_dead { DEAD } else { DELIVERIES })
            .bind(floor)
            .bind(most.seq.0)
            .bind(most.handler.0)
            .bind(i64::from(most.run))
            .bind(filter.handler.as_deref())
            .bind(filter.workspace.as_ref().map(WorkspaceName::as_str))
            .bind(filter.status_list())
            .bind(scope.map(|scope| scope.key.as_str()))
            .bind(scope.map(|scope| scope.value.as_str()))
            .bind(i64::from(limit).saturating_add(1))
            .fetch_all(&mut *db)
            .await?;
        let found = rows.into_iter().map(StoredDeliveryRow::read).collect::<Result<Vec<_>, _>>()?;
        Ok(cut(found, limit, |one| one.row.id, (!is_all).then(|| below(Some(Seq(floor))))))
    }
}

/// Cuts what was found, one more than asked for, to the page; else it goes on where the looking ended.
fn cut<T, P>(mut found: Vec<T>, limit: u32, place: impl Fn(&T) -> P, floor: Option<P>) -> Page<T, P> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = if more { found.last().map(place) } else { floor };
    Page { found, next }
}
