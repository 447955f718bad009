//! What a body says of many: which of them are meant, in the words of their list's query, and whether they are only counted.

use serde_json::Value;

use super::super::query::{Taken, presentable};
use super::Fields;

/// `filter` and `dry_run` of a body.
#[derive(Debug)]
pub(in crate::admin) struct Many {
    pub(in crate::admin) dry_run: bool,
    /// The conditions as they were given.
    pub(in crate::admin) filter: Vec<(String, String)>,
}

impl Many {
    /// Reads both: `take` has each condition, which must be one of those `known`; something must be said.
    pub(in crate::admin) fn read(
        fields: &mut Fields,
        known: &str,
        mut take: impl FnMut(&str, &str) -> Taken,
    ) -> Self {
        let dry_run = fields.take("dry_run", flag).unwrap_or_default();
        let given = fields.take("filter", conditions);
        let mut seen: Vec<&str> = Vec::new();
        for (key, value) in given.iter().flatten() {
            let message = match take(key, value) {
                Taken::OneOfMany => continue,
                Taken::TheOne if !seen.contains(&key.as_str()) => {
                    seen.push(key);
                    continue;
                }
                Taken::TheOne => "may be given once".to_owned(),
                Taken::Wrong(message) => message,
                Taken::Unknown => format!("unknown; known here: {known}"),
            };
            fields.wrong(&format!("filter.{}", presentable(key)), message);
        }
        if given.is_none() && !fields.has_errors() {
            fields.wrong("filter", "say which: {} means all".to_owned());
        }
        Self { dry_run, filter: given.unwrap_or_default() }
    }
}

fn flag(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "must be true or false".to_owned())
}

/// Each a string, or an array of them.
fn conditions(value: &Value) -> Result<Vec<(String, String)>, String> {
    let wrong = || "must be an object whose values are strings or arrays of one string or more".to_owned();
    let mut found = Vec::new();
    for (key, value) in value.as_object().ok_or_else(wrong)? {
        let values = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
        if values.is_empty() {
            return Err(wrong());
        }
        for value in values {
            found.push((key.clone(), value.as_str().ok_or_else(wrong)?.to_owned()));
        }
    }
    Ok(found)
}
