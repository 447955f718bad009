//! Query strings, read strictly: what is passed over in silence would show too much, or not wait.

use actix_web::HttpRequest;
use url::form_urlencoded;

use super::body::is_text;
use super::problem::{Code, FieldError, Problem};
use crate::ids::WorkspaceName;
use crate::moment;

const LONGEST_NAME: usize = 128;

/// Reads each parameter: `take` has it, refuses it with why, or knows no such parameter.
pub(super) fn read(
    request: &HttpRequest,
    known: &str,
    mut take: impl FnMut(&str, &str) -> Taken,
) -> Result<(), Problem> {
    let (mut errors, mut seen) = (Vec::new(), Vec::new());
    for (key, value) in form_urlencoded::parse(request.query_string().as_bytes()) {
        let message = match take(&key, &value) {
            Taken::OneOfMany => continue,
            Taken::TheOne if !seen.contains(&key) => {
                seen.push(key);
                continue;
            }
            Taken::TheOne => "may be given once".to_owned(),
            Taken::Wrong(message) => message,
            Taken::Unknown if known.is_empty() => "this knows no parameters".to_owned(),
            Taken::Unknown => format!("unknown; known here: {known}"),
        };
        errors.push(FieldError { field: presentable(&key), message });
    }
    if errors.is_empty() { Ok(()) } else { Err(Problem::fields(Code::InvalidRequest, errors)) }
}

/// Of what knows no parameters.
pub(super) fn none(request: &HttpRequest) -> Result<(), Problem> {
    read(request, "", |_, _| Taken::Unknown)
}

/// `true` or `false`.
pub(super) fn flag(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// A number as one writes it: no sign, no zero before it.
pub(super) fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// A moment, milliseconds since 1970.
pub(super) fn time(value: &str) -> Result<Option<i64>, String> {
    moment::parse(value).map(Some).ok_or_else(|| "a time like '2026-11-22T20:00:00Z'".to_owned())
}

/// A workspace's id.
pub(super) fn workspace(value: &str) -> Result<Option<WorkspaceName>, String> {
    WorkspaceName::parse(value).map(Some).map_err(|bad| bad.to_string())
}

/// A name of somebody else's making; `what` it must be is for the message.
pub(super) fn name(value: &str, what: &str) -> Result<Option<String>, String> {
    let fine = !value.is_empty() && is_text(value, LONGEST_NAME);
    fine.then(|| Some(value.to_owned())).ok_or_else(|| what.to_owned())
}

/// A name as it may be repeated: a token in its place has a dash.
pub(super) fn presentable(name: &str) -> String {
    let fine = name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if fine && !name.is_empty() { name.to_owned() } else { "(a name that is no identifier)".to_owned() }
}

/// What became of one parameter.
pub(super) enum Taken {
    /// It was read, and may come again.
    OneOfMany,
    /// It was read, and may not come again.
    TheOne,
    Wrong(String),
    Unknown,
}

impl Taken {
    /// Takes a value over where it was understood.
    pub(super) fn of<T>(value: Result<T, String>, place: &mut T) -> Self {
        match value {
            Ok(value) => {
                *place = value;
                Self::TheOne
            }
            Err(message) => Self::Wrong(message),
        }
    }

    /// Takes a value over beside those that came before it.
    pub(super) fn more<T>(value: Result<T, String>, places: &mut Vec<T>) -> Self {
        match value {
            Ok(value) => {
                places.push(value);
                Self::OneOfMany
            }
            Err(message) => Self::Wrong(message),
        }
    }
}
