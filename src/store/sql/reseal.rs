//! Changing the key: each value sealed with the other key is opened and sealed with the first, unless somebody has changed it meanwhile.
//! A step is small, and its mark is kept with it, so that a run that broke off goes on where it was.

use crate::store::fault::Fault;
use crate::store::inbox::reach;
use crate::store::vault::Place;
use crate::store::{Resealed, Resealing};

use super::Backend;

/// Rows and bytes of one step.
const ROWS: i64 = 256;
const BYTES: usize = 4 << 20;
/// Where the mark is kept: the key's id, the column's name, the row.
const MARK: &str = "resealed_to";

struct Column {
    table: &'static str,
    name: &'static str,
    sizes: &'static str,
    rows: &'static str,
    update: &'static str,
}

impl Column {
    /// What it is called in the mark.
    fn place(&self) -> String {
        format!("{}.{}", self.table, self.name)
    }
}

/// A column, the key of its rows, and what of a row its values are sealed for.
macro_rules! column {
    ($table:literal, $column:literal, $key:literal, $row:literal) => {
        Column {
            table: $table,
            name: $column,
            sizes: concat!(
                "select ",
                $key,
                ", cast(coalesce(octet_length(",
                $column,
                "), 0) as bigint) from ",
                $table,
                " where ",
                $key,
                " > $1 order by ",
                $key,
                " limit $2"
            ),
            rows: concat!(
                "select ",
                $key,
                ", ",
                $row,
                ", ",
                $column,
                " from ",
                $table,
                " where ",
                $key,
                " > $1 and ",
                $key,
                " <= $2 and ",
                $column,
                " is not null order by ",
                $key
            ),
            update: concat!(
                "update ",
                $table,
                " set ",
                $column,
                " = $3 where ",
                $key,
                " = $1 and ",
                $column,
                " = $2"
            ),
        }
    };
}

/// Everything that is sealed. The largest last.
const COLUMNS: [Column; 8] = [
    column!("apps", "token_sealed", "id", "id"),
    column!("apps", "candidate_sealed", "id", "id"),
    column!("workspaces", "bot_sealed", "id", "id"),
    column!("webhooks", "secret_sealed", "id", "id"),
    column!("webhooks", "old_secret_sealed", "id", "id"),
    column!("answers", "answer_sealed", "id", "id"),
    column!("quarantine", "event_sealed", "id", "seq"),
    column!("payloads", "payload_sealed", "seq", "seq"),
];

impl Backend {
    pub(super) async fn reseal_some(&self, from: Option<Resealing>) -> Result<Resealed, Fault> {
        let from = match from {
            Some(from) => from,
            None => self.mark().await?,
        };
        let mut step = Resealed {
            column: (from.column + 1, COLUMNS.len()),
            seen: 0,
            resealed: 0,
            unreadable: 0,
            next: None,
        };
        let Some(column) = COLUMNS.get(from.column) else { return Ok(step) };
        let (to, rows): (_, Vec<(i64, i64, Vec<u8>)>) = {
            let mut db = self.reader().await?;
            let sizes: Vec<(i64, i64)> =
                sqlx::query_as(column.sizes).bind(from.after).bind(ROWS).fetch_all(&mut *db).await?;
            match reach(&sizes, BYTES).last().copied() {
                None => (None, Vec::new()),
                Some(to) => {
                    let rows =
                        sqlx::query_as(column.rows).bind(from.after).bind(to).fetch_all(&mut *db).await?;
                    (Some(to), rows)
                }
            }
        };
        let mut anew = Vec::new();
        for (key, row, sealed) in rows {
            step.seen += 1;
            if self.vault.is_current(&sealed) {
                continue;
            }
            let place = Place::new(column.table, column.name, row);
            match self.vault.open(place, sealed.clone()) {
                Ok(plain) => anew.push((key, sealed, self.vault.seal(place, &plain)?)),
                Err(error) => {
                    tracing::warn!(%error, "a sealed value is left as it is");
                    step.unreadable += 1;
                }
            }
        }
        let next = match to {
            Some(after) => Resealing { column: from.column, after },
            None => Resealing { column: from.column + 1, after: 0 },
        };
        let goes_on = COLUMNS.get(next.column);
        let mut tx = self.begin().await?;
        for (key, old, new) in anew {
            let done = sqlx::query(column.update).bind(key).bind(old).bind(new).execute(tx.db()).await?;
            step.resealed += done.rows_affected();
        }
        sqlx::query("delete from meta where name = $1").bind(MARK).execute(tx.db()).await?;
        match goes_on {
            None => self.change_key(tx.db()).await?,
            Some(column) => {
                sqlx::query("insert into meta (name, value) values ($1, $2)")
                    .bind(MARK)
                    .bind(format!("{} {} {}", self.vault.key_id(), column.place(), next.after))
                    .execute(tx.db())
                    .await?;
            }
        }
        tx.commit().await?;
        step.next = goes_on.map(|_| next);
        Ok(step)
    }

    /// Every `table.column` that is walked.
    #[cfg(test)]
    pub(in crate::store) fn resealed_columns() -> std::collections::BTreeSet<String> {
        COLUMNS.iter().map(Column::place).collect()
    }

    /// Where the last run to this key was; the start where there was none, or to another key, or of a version that told columns
    /// by numbers, which another list has other columns at.
    async fn mark(&self) -> Result<Resealing, Fault> {
        let start = Resealing { column: 0, after: 0 };
        let kept: Option<String> = sqlx::query_scalar("select value from meta where name = $1")
            .bind(MARK)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        let Some(kept) = kept else { return Ok(start) };
        let mut parts = kept.split(' ');
        let is_ours = parts.next() == Some(self.vault.key_id().as_str());
        let place = parts.next().unwrap_or_default();
        let column = COLUMNS.iter().position(|column| column.place() == place);
        let after = parts.next().and_then(|after| after.parse().ok());
        let mark = column.zip(after).filter(|_| is_ours);
        Ok(mark.map_or(start, |(column, after)| Resealing { column, after }))
    }
}
