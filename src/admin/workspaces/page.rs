//! One page of a list: which workspaces, in which order, from where on.

use actix_web::HttpRequest;

use super::super::paging::{Paging, cursor};
use super::super::problem::Problem;
use super::super::query::{self, Taken};
use super::filter::{self, Filter};
use crate::ids::WorkspaceName;
use crate::store::{By, Order, Place, StoreError, Workspace, Workspaces};

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
    paging: Paging,
    filter: Filter,
    order: Order,
    after: Option<Place>,
}

impl Page {
    /// From a query string.
    pub(super) fn parse(request: &HttpRequest) -> Result<Self, Problem> {
        let mut page =
            Self { paging: Paging::new(), filter: Filter::default(), order: Order::default(), after: None };
        let known = format!("{}, sort, {}", Paging::KNOWN, filter::KNOWN);
        query::read(request, &known, |key, value| match key {
            "sort" => Taken::of(order(value), &mut page.order),
            "limit" | "cursor" => page.paging.take(key, value),
            _ => page.filter.take(key, value),
        })?;
        page.after = page.paging.place(&page.list(), |text| {
            let (ms, name) = text.split_once('/')?;
            Some(Place { ms: ms.parse().ok()?, name: WorkspaceName::parse(name).ok()?.as_str().into() })
        })?;
        Ok(page)
    }

    /// Reads the page: what is meant, and the cursor of what follows.
    pub(super) async fn read<T>(
        &self,
        store: &dyn Workspaces,
        mut show: impl FnMut(&Workspace, &Filter) -> Option<T>,
    ) -> Result<(Vec<T>, Option<String>), StoreError> {
        let step = if self.filter.is_empty() { self.paging.limit + 1 } else { STEP };
        let (mut found, mut after, mut examined) = (Vec::new(), self.after.clone(), 0);
        loop {
            let rows = store.workspaces(self.order, after.as_ref(), step).await?;
            let last_step = rows.len() < step as usize;
            for row in rows {
                if found.len() == self.paging.limit as usize {
                    return Ok((found, after.map(|after| self.cursor(&after))));
                }
                after = Some(self.order.place(&row));
                found.extend(show(&row, &self.filter));
            }
            examined += step;
            if last_step {
                return Ok((found, None));
            }
            if examined >= EXAMINED {
                return Ok((found, after.map(|after| self.cursor(&after))));
            }
        }
    }

    /// What a cursor is good for: this filter in this order.
    const fn list(&self) -> (&str, &Filter, Order) {
        ("workspaces", &self.filter, self.order)
    }

    fn cursor(&self, place: &Place) -> String {
        cursor(&self.list(), format_args!("{}/{}", place.ms, place.name))
    }
}

fn order(value: &str) -> Result<Order, String> {
    let found = SORTS.iter().find(|(name, _)| *name == value).map(|(_, order)| *order);
    found.ok_or_else(|| format!("one of {}", SORTS.map(|(name, _)| name).join(", ")))
}
