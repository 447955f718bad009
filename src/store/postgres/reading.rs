//! Which events are this node's to handle: its own writer's, and those of the dead it took over. Each range is looked through by
//! itself, so that no number of events of other nodes between them is.

use super::PostgresStore;
use super::sql::EventRow;
use super::{Connection, Station};
use crate::ids::Seq;
use crate::store::fault::Fault;

/// Seq and bytes of the events of writers (`$3`) above `$1`, each from its own mark (`$4`) to its own end (`$5`).
const SIZES: &str = "select e.seq, e.bytes from unnest($3::bigint[], $4::bigint[], $5::bigint[]) as o (writer, floor, top) \
     cross join lateral (select seq, bytes from events where seq > greatest($1, o.floor) and seq <= o.top and writer = o.writer \
     order by seq limit $2) as e order by e.seq limit $2";

/// The same of every event: before there is a writer.
const ALL_SIZES: &str = "select seq, bytes from events where seq > $1 order by seq limit $2";

/// The bounds are for finding the partitions.
const ROWS: &str = "select e.seq, e.app_id, e.workspace_id, e.kind, e.type, e.slack_id, e.dedupe, e.retry, e.at, p.payload_sealed \
     from events e left join payloads p on p.seq = e.seq and p.seq > $1 and p.seq <= $2 \
     where e.seq > $1 and e.seq <= $2 and e.seq = any($3) order by e.seq";

impl PostgresStore {
    /// Seq and bytes of the next events.
    pub(super) async fn sizes_after(
        &self,
        db: &mut Connection,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<(i64, i64)>, Fault> {
        let limit = i64::from(limit);
        let sizes = match self.station() {
            None => sqlx::query_as(ALL_SIZES).bind(after.0).bind(limit),
            Some(station) => {
                let (writers, floors, tops) = ranges(&station);
                sqlx::query_as(SIZES).bind(after.0).bind(limit).bind(writers).bind(floors).bind(tops)
            }
        };
        Ok(sizes.fetch_all(db).await?)
    }

    /// The events of these seqs, which lie above `after` and rise.
    pub(super) async fn rows_of(
        &self,
        db: &mut Connection,
        after: Seq,
        seqs: &[i64],
    ) -> Result<Vec<EventRow>, Fault> {
        let to = seqs.last().copied().unwrap_or(after.0);
        Ok(sqlx::query_as(ROWS).bind(after.0).bind(to).bind(seqs).fetch_all(db).await?)
    }
}

fn ranges(station: &Station) -> (Vec<i64>, Vec<i64>, Vec<i64>) {
    let mut ranges = (vec![i64::from(station.writer)], vec![station.begun_at.0], vec![i64::MAX]);
    for estate in &station.estates {
        ranges.0.push(i64::from(estate.writer));
        ranges.1.push(estate.floor);
        ranges.2.push(estate.top);
    }
    ranges
}
