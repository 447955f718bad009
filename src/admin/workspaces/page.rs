//! One page of a list: `limit` and `cursor`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::form_urlencoded;

use super::super::problem::{Code, FieldError, Problem};
use crate::ids::WorkspaceName;
use crate::store::Workspace;

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;
/// Says which order the cursor belongs to, so that one of another list is recognised.
const BY_NAME: &str = "name:";

/// Which part of the list is asked for.
#[derive(Debug)]
pub(super) struct Page {
    /// At most so many.
    pub(super) limit: u32,
    /// Those after this one.
    pub(super) after: Option<WorkspaceName>,
}

impl Page {
    /// From a query string. What is not understood is refused: a filter that is passed over would show too much.
    pub(super) fn parse(query: &str) -> Result<Self, Problem> {
        let mut page = Self { limit: DEFAULT_LIMIT, after: None };
        let mut errors = Vec::new();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let wrong = match &*key {
                "limit" => match value.parse() {
                    Ok(limit @ 1..=MAX_LIMIT) => {
                        page.limit = limit;
                        None
                    }
                    Ok(_) | Err(_) => Some(format!("a number from 1 to {MAX_LIMIT}")),
                },
                "cursor" => {
                    page.after = decode(&value);
                    page.after.is_none().then(|| "the 'next_cursor' of the page before, as it was".to_owned())
                }
                _ => Some("this list knows 'limit' and 'cursor'".to_owned()),
            };
            let field = key.chars().take(64).collect();
            errors.extend(wrong.map(|message| FieldError { field, message }));
        }
        if errors.is_empty() { Ok(page) } else { Err(Problem::fields(Code::InvalidRequest, errors)) }
    }

    /// Cuts what was found, one more than asked for, to the page, and says how to go on.
    pub(super) fn cut(&self, mut found: Vec<Workspace>) -> (Vec<Workspace>, Option<String>) {
        let limit = self.limit as usize;
        if found.len() <= limit {
            return (found, None);
        }
        found.truncate(limit);
        let cursor = found.last().map(|last| encode(&last.name));
        (found, cursor)
    }
}

fn encode(last: &WorkspaceName) -> String {
    URL_SAFE_NO_PAD.encode(format!("{BY_NAME}{last}"))
}

fn decode(cursor: &str) -> Option<WorkspaceName> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    WorkspaceName::parse(text.strip_prefix(BY_NAME)?).ok()
}
