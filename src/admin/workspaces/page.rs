//! One page of a list: which workspaces, in which order, from where on.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::problem::{Code, Problem};
use super::super::query::{self, Taken, digits};
use super::filter::{self, Filter};
use crate::ids::WorkspaceName;
use crate::store::{By, Order, Place, StoreError, Workspace, Workspaces};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;
/// What a page looks at; where few are meant it comes short, and its cursor goes on.
const EXAMINED: u32 = 4_000;
/// Read at once where not all are meant.
const STEP: u32 = 500;
const SORTS: [(&str, Order); 6] = [
    ("id", Order { by: By::Name, descending: false }),
    ("-id", Order { by: By::Name, descending: true }),
    ("created_at", Order { by: By::Created, descending: false }),
    ("-created_at", Order { by: By::Created, descending: true }),
    ("updated_at", Order { by: By::Updated, descending: false }),
    ("-updated_at", Order { by: By::Updated, descending: true }),
];

/// Which part of the list is asked for.
#[derive(Debug)]
pub(super) struct Page {
    limit: u32,
    filter: Filter,
    order: Order,
    after: Option<Place>,
}

impl Page {
    /// From a query string.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let mut page =
            Self { limit: DEFAULT_LIMIT, filter: Filter::default(), order: Order::default(), after: None };
        let mut cursor = None;
        let known = format!("limit, cursor, sort, {}", filter::KNOWN);
        query::read(text, &known, |key, value| match key {
            "limit" => Taken::of(limit(value), &mut page.limit),
            "cursor" => Taken::of(Ok(Some(value.to_owned())), &mut cursor),
            "sort" => Taken::of(order(value), &mut page.order),
            _ => page.filter.take(key, value),
        })?;
        if let Some(cursor) = cursor {
            let after = page.decode(&cursor);
            page.after =
                Some(after.map_err(|message| Problem::field(Code::InvalidRequest, "cursor", message))?);
        }
        Ok(page)
    }

    /// Reads the page: what is meant, and the cursor of what follows.
    pub(super) async fn read<T>(
        &self,
        store: &dyn Workspaces,
        mut show: impl FnMut(&Workspace, &Filter) -> Option<T>,
    ) -> Result<(Vec<T>, Option<String>), StoreError> {
        let step = if self.filter.is_empty() { self.limit + 1 } else { STEP };
        let (mut found, mut after, mut examined) = (Vec::new(), self.after.clone(), 0);
        loop {
            let rows = store.workspaces(self.order, after.as_ref(), step).await?;
            let last_step = rows.len() < step as usize;
            for row in rows {
                if found.len() == self.limit as usize {
                    return Ok((found, after.map(|after| self.encode(&after))));
                }
                after = Some(self.order.place(&row));
                found.extend(show(&row, &self.filter));
            }
            examined += step;
            if last_step {
                return Ok((found, None));
            }
            if examined >= EXAMINED {
                return Ok((found, after.map(|after| self.encode(&after))));
            }
        }
    }

    /// What a cursor is good for: this filter in this order.
    fn bond(&self) -> String {
        let sort = SORTS.iter().find(|(_, order)| *order == self.order).map_or("", |(name, _)| name);
        let digest = self.filter.digest().iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        format!("{sort}/{digest:016x}")
    }

    fn encode(&self, place: &Place) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}/{}/{}", self.bond(), place.ms, place.name))
    }

    fn decode(&self, cursor: &str) -> Result<Place, &'static str> {
        let place = || {
            let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
            let (rest, name) = text.rsplit_once('/')?;
            let (bond, ms) = rest.rsplit_once('/')?;
            let name = WorkspaceName::parse(name).ok()?.as_str().into();
            Some((bond.to_owned(), Place { ms: ms.parse().ok()?, name }))
        };
        match place() {
            Some((bond, place)) if bond == self.bond() => Ok(place),
            Some(_) => Err("belongs to another filter or sort; begin anew without it"),
            None => Err("must be the 'next_cursor' of the page before, as it was"),
        }
    }
}

fn order(value: &str) -> Result<Order, String> {
    let found = SORTS.iter().find(|(name, _)| *name == value).map(|(_, order)| *order);
    found.ok_or_else(|| format!("one of {}", SORTS.map(|(name, _)| name).join(", ")))
}

/// How many a page has at most.
pub(in crate::admin) fn limit(value: &str) -> Result<u32, String> {
    let limit = digits(value).filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| format!("a number from 1 to {MAX_LIMIT}"))
}
