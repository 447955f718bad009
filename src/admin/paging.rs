//! Lists in pages: how many at most, and from where on. Every cursor has the same form, and is good for its own list alone.

use std::fmt::{Debug, Display};

use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::problem::{Code, Problem};
use super::query::{self, Taken, digits};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

/// Which page is asked for.
#[derive(Debug)]
pub(super) struct Paging {
    /// At most so many.
    pub(super) limit: u32,
    cursor: Option<String>,
}

impl Paging {
    /// The parameters, for messages.
    pub(super) const KNOWN: &'static str = "limit, cursor";

    pub(super) const fn new() -> Self {
        Self { limit: DEFAULT_LIMIT, cursor: None }
    }

    /// From the query of a list: `take` has the filter's parameters, and messages say that they are `known`.
    pub(super) fn read(
        request: &HttpRequest,
        known: &str,
        mut take: impl FnMut(&str, &str) -> Taken,
    ) -> Result<Self, Problem> {
        let mut paging = Self::new();
        query::read(request, &format!("{known}, {}", Self::KNOWN), |key, value| match take(key, value) {
            Taken::Unknown => paging.take(key, value),
            taken @ (Taken::OneOfMany | Taken::TheOne | Taken::Wrong(_)) => taken,
        })?;
        Ok(paging)
    }

    /// Takes one parameter.
    pub(super) fn take(&mut self, key: &str, value: &str) -> Taken {
        match key {
            "limit" => {
                let limit = digits(value).filter(|limit| (1..=MAX_LIMIT).contains(limit));
                let limit = limit.ok_or_else(|| format!("a number from 1 to {MAX_LIMIT}"));
                Taken::of(limit, &mut self.limit)
            }
            "cursor" => Taken::of(Ok(Some(value.to_owned())), &mut self.cursor),
            _ => Taken::Unknown,
        }
    }

    /// Where the page begins. `list` is all that makes this list other than others: its name, filter and order.
    pub(super) fn place<T>(
        &self,
        list: &impl Debug,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let place = || {
            let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
            read(text.strip_prefix(&bond(list))?)
        };
        place().map(Some).ok_or_else(|| {
            let message = "must be the 'next_cursor' of the page before, with the same filter and sort";
            Problem::field(Code::InvalidRequest, "cursor", message)
        })
    }

    /// Cuts what was found, one more than asked for, to the page; the cursor of what follows.
    pub(super) fn cut<T, P: Display>(
        &self,
        found: &mut Vec<T>,
        list: &impl Debug,
        place: impl FnOnce(&T) -> P,
    ) -> Option<String> {
        let more = found.len() > self.limit as usize;
        found.truncate(self.limit as usize);
        found.last().filter(|_| more).map(|last| cursor(list, place(last)))
    }
}

/// The answer: a page, and the cursor of what follows.
pub(super) fn page(data: &[impl Serialize], next_cursor: Option<String>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "data": data, "next_cursor": Value::from(next_cursor) }))
}

/// A cursor that [`Paging::place`] reads.
pub(super) fn cursor(list: &impl Debug, place: impl Display) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}{place}", bond(list)))
}

/// Made of parsed values, so that what means the same is the same.
fn bond(list: &impl Debug) -> String {
    let sum = Sha256::digest(format!("{list:?}"));
    let head = sum.iter().take(8).fold(0_u64, |head, byte| (head << 8) | u64::from(*byte));
    format!("{head:016x}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_list_or_filter_is_refused() {
        let place = |cursor: &str, list: &str| {
            let paging = Paging { cursor: Some(cursor.to_owned()), ..Paging::new() };
            paging.place(&list, digits::<i64>).map_err(|problem| problem.to_string())
        };
        let text = cursor(&"tokens", 7);
        assert_eq!(place(&text, "tokens"), Ok(Some(7)));
        assert!(place(&text, "audit").unwrap_err().starts_with("cursor: "));
        assert!(place("!!", "tokens").is_err());
    }
}
