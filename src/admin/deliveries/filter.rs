//! Which deliveries are meant: the same words in the query of a list and in the body of an action on many.

use super::super::events::filter::place;
use super::super::query::{self, Taken};
use crate::store::{DeliveryFilter, DeliveryStatus};

/// The parameters, for messages.
pub(super) const KNOWN: &str = "status, handler, workspace, since, until";

/// What a delivery must be like; of several statuses one is enough.
#[derive(Debug, Default)]
pub(super) struct Filter(DeliveryFilter);

impl Filter {
    /// Takes one condition.
    pub(super) fn take(&mut self, key: &str, value: &str) -> Taken {
        let filter = &mut self.0;
        match key {
            "status" => {
                let names = DeliveryStatus::ALL.map(DeliveryStatus::as_str).join(", ");
                let found = DeliveryStatus::of(value).ok_or_else(|| format!("one of {names}"));
                if found.as_ref().is_ok_and(|found| filter.statuses.contains(found)) {
                    return Taken::OneOfMany;
                }
                Taken::more(found, &mut filter.statuses)
            }
            "handler" => Taken::of(query::name(value, "a handler's name"), &mut filter.handler),
            "workspace" => Taken::of(query::workspace(value), &mut filter.workspace),
            "since" => Taken::of(place(value), &mut filter.from),
            "until" => Taken::of(place(value), &mut filter.below),
            _ => Taken::Unknown,
        }
    }

    /// What is meant.
    pub(super) const fn meant(&self) -> &DeliveryFilter {
        &self.0
    }
}
