//! Looking into JSON without building it and without failing. Values stay raw slices until somebody wants one, so a field of
//! the wrong type, a lone surrogate or a number out of range spoils itself and nothing beside it.

use std::borrow::Cow;

use super::scan::Scanner;

/// Calls `look` with each key of the object and its raw value. False when `json` is no whole object; keys before the flaw
/// have been looked at then. A repeated key is looked at each time.
pub(super) fn object<'a>(json: &'a str, mut look: impl FnMut(&[u8], &'a str)) -> bool {
    let mut scanner = Scanner::new(json);
    let whole = scanner.object(|scanner, key| {
        look(key, scanner.value()?);
        Some(())
    });
    whole.is_some() && scanner.is_at_end()
}

/// The first item of an array.
pub(super) fn first(json: &str) -> Option<&str> {
    Scanner::new(json.strip_prefix('[')?).value()
}

/// Calls `look` with each item of an array, raw; with those before the flaw where it is no whole array.
pub(super) fn items<'a>(json: &'a str, mut look: impl FnMut(&'a str)) {
    let mut scanner = Scanner::new(json);
    scanner.array(|scanner| {
        look(scanner.value()?);
        Some(())
    });
}

/// The value of one key of an object, the last if there are several.
pub(super) fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let mut found = None;
    if json.starts_with('{') {
        object(json, |key, value| {
            if key == name.as_bytes() {
                found = Some(value);
            }
        });
    }
    found
}

/// A string; none for any other type and for one that is no Unicode text.
pub(super) fn text(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(json).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// A string with something in it.
pub(super) fn word(json: &str) -> Option<Cow<'_, str>> {
    text(json).filter(|text| !text.is_empty())
}

/// A whole number that isn't negative.
pub(super) fn number(json: &str) -> Option<u64> {
    json.parse().ok()
}

/// True, also as Slack's slash commands write it: `"true"`.
pub(super) fn is_true(json: &str) -> bool {
    matches!(json, "true" | "\"true\"")
}

/// Is it JSON at all?
pub(super) fn is_json(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.value().is_some() && scanner.is_at_end()
}
