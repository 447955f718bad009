//! A query string, taken apart parameter by parameter. What nobody has taken is refused: a filter that is passed over would show
//! too much.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::form_urlencoded;

use super::problem::{Code, FieldError, Problem};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

/// What of a query string has not been taken yet, and what was wrong with what was.
pub(super) struct Query {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Query {
    pub(super) fn new(text: &str) -> Self {
        let pairs = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        Self { pairs, errors: Vec::new() }
    }

    /// All values of a parameter, each read.
    pub(super) fn all<T>(&mut self, name: &str, must: &str, read: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let (taken, left) = std::mem::take(&mut self.pairs).into_iter().partition(|(key, _)| key == name);
        self.pairs = left;
        let taken: Vec<(String, String)> = taken;
        let values: Option<Vec<T>> = taken.iter().map(|(_, value)| read(value)).collect();
        values.unwrap_or_else(|| {
            self.errors.push(FieldError { field: name.to_owned(), message: must.to_owned() });
            Vec::new()
        })
    }

    /// A parameter that is there once at most; of several the last counts.
    pub(super) fn one<T>(&mut self, name: &str, must: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.all(name, must, read).pop()
    }

    /// `limit`: 50 unless said, 200 at most.
    pub(super) fn limit(&mut self) -> u32 {
        let must = format!("a number from 1 to {MAX_LIMIT}");
        let read = |text: &str| text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        self.one("limit", &must, read).unwrap_or(DEFAULT_LIMIT)
    }

    /// `cursor`: after which of them the page begins. `list` says to which list and filter it belongs.
    pub(super) fn cursor(&mut self, list: &str) -> Option<i64> {
        let must = "the 'next_cursor' of the page before, with the same filter";
        self.one("cursor", must, |text| {
            let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
            plain.strip_prefix(list)?.strip_prefix('#')?.parse().ok()
        })
    }

    /// Was anything wrong, or is anything left? `known` names what there is to be taken.
    pub(super) fn done(mut self, known: &str) -> Result<(), Problem> {
        for (key, _) in &self.pairs {
            let field = key.chars().take(64).collect();
            self.errors.push(FieldError { field, message: format!("this knows {known}") });
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::fields(Code::InvalidRequest, self.errors)) }
    }
}

/// A cursor that [`Query::cursor`] takes.
pub(super) fn cursor(list: &str, after: i64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}#{after}"))
}

/// Cuts what was found, one more than asked for, to the page, and says how to go on.
pub(super) fn cut<T>(
    found: &mut Vec<T>,
    limit: u32,
    list: &str,
    place: impl Fn(&T) -> i64,
) -> Option<String> {
    let limit = limit as usize;
    let more = found.len() > limit;
    found.truncate(limit);
    found.last().filter(|_| more).map(|last| cursor(list, place(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_list_or_filter_is_refused() {
        let take = |text: &str, list: &str| {
            let mut query = Query::new(&format!("cursor={text}"));
            let after = query.cursor(list);
            query.done("cursor").map(|()| after).map_err(|problem| problem.to_string())
        };
        let text = cursor("tokens", 7);
        assert_eq!(take(&text, "tokens"), Ok(Some(7)));
        assert!(take(&text, "audit").unwrap_err().starts_with("cursor: "));
        assert!(take("!!", "tokens").is_err());
    }

    #[test]
    fn what_nobody_takes_is_named() {
        let mut query = Query::new("limit=3&colour=red");
        assert_eq!(query.limit(), 3);
        assert_eq!(query.done("limit").unwrap_err().to_string(), "colour: this knows limit");
    }
}
