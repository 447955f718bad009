//! The days of the journal: `events` and `payloads` have a partition for each day of seqs, made ahead, and made on demand for a day
//! that nobody foresaw, as after a clock that was wrong.

use std::collections::BTreeSet;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, raw_sql};
use time::{Date, Duration, Month};

use super::locks;
use crate::ids::Seq;
use crate::machine::seq::{first_at, first_of_ms, ms_of};
use crate::store::StoreError;
use crate::store::fault::Fault;

/// Days made ahead of today.
const AHEAD: i64 = 3;

const TABLES: [&str; 2] = ["events", "payloads"];
const DAY_MS: i64 = 86_400_000;

/// A day of seqs, counted from 2020-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day(i64);

impl Day {
    /// The day that a seq belongs to.
    pub(super) fn of(seq: Seq) -> Self {
        Self(ms_of(seq).max(0) / DAY_MS)
    }

    /// Today and the days made ahead of it.
    pub(super) fn ahead(now_ms: i64) -> BTreeSet<Self> {
        let today = Self::of(first_at(now_ms)).0;
        (today..=today + AHEAD).map(Self).collect()
    }

    /// What its partitions are called behind the table's name.
    pub(super) fn suffix(self) -> Option<String> {
        let first = Date::from_calendar_date(2020, Month::January, 1).ok()?;
        let date = first.checked_add(Duration::days(self.0))?;
        Some(format!("{:04}{:02}{:02}", date.year(), u8::from(date.month()), date.day()))
    }

    /// From and to; the first day takes what is below it, the last what is above.
    fn bounds(self) -> (String, String) {
        let from = if self.0 == 0 { "minvalue".to_owned() } else { self.begin().to_string() };
        let next = Self(self.0 + 1).begin();
        (from, if next == i64::MAX { "maxvalue".to_owned() } else { next.to_string() })
    }

    fn begin(self) -> i64 {
        self.0.checked_mul(DAY_MS).and_then(first_of_ms).map_or(i64::MAX, |seq| seq.0)
    }
}

/// Makes the partitions of these days, each where it is not there. In a transaction of its own, and attached rather than created
/// in place, which readers and writers do not wait for. Whatever fails of it, the wait for another maker included, is rolled back: the
/// session is the journal's.
pub(super) async fn make(db: &mut PgConnection, days: &BTreeSet<Day>) -> Result<(), Fault> {
    let made = match raw_sql(locks::BEGIN_PARTITIONS).execute(&mut *db).await {
        Ok(_) => attach(db, days).await,
        Err(error) => Err(error.into()),
    };
    let end = if made.is_ok() { "commit" } else { "rollback" };
    let ended = raw_sql(end).execute(db).await;
    made?;
    ended?;
    Ok(())
}

async fn attach(db: &mut PgConnection, days: &BTreeSet<Day>) -> Result<(), Fault> {
    for day in days {
        let Some(suffix) = day.suffix() else {
            return Err(StoreError::Data("a seq lies beyond the end of the calendar".into()).into());
        };
        let (from, to) = day.bounds();
        for table in TABLES {
            let there: bool = sqlx::query_scalar("select to_regclass($1) is not null")
                .bind(format!("tautline.{table}_{suffix}"))
                .fetch_one(&mut *db)
                .await?;
            if there {
                continue;
            }
            let sql = format!(
                "create table {table}_{suffix} (like {table} including defaults including constraints including storage); \
                 alter table {table} attach partition {table}_{suffix} for values from ({from}) to ({to})"
            );
            raw_sql(AssertSqlSafe(sql)).execute(&mut *db).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seq_has_a_day_whose_bounds_hold_it() {
        for (seq, suffix) in [
            (i64::MIN, "20200101"),
            (0, "20200101"),
            (first_at(1_795_000_000_000).0, "20261118"),
            (i64::MAX, "20890906"),
        ] {
            let day = Day::of(Seq(seq));
            assert_eq!(day.suffix().as_deref(), Some(suffix));
            let (from, to) = day.bounds();
            assert!(from == "minvalue" || from.parse::<i64>().unwrap() <= seq, "{seq} {from}");
            assert!(to == "maxvalue" || seq < to.parse::<i64>().unwrap(), "{seq} {to}");
        }
        assert_eq!(Day(6000).bounds().1, Day(6001).bounds().0, "no gap between two days");
    }

    #[test]
    fn today_and_three_days_are_made_ahead() {
        let days: Vec<_> = Day::ahead(1_795_000_000_000).into_iter().filter_map(Day::suffix).collect();
        assert_eq!(days, ["20261118", "20261119", "20261120", "20261121"]);
    }
}
