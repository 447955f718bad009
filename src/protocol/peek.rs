//! Looking into JSON without building it and without failing. Values stay raw slices until somebody wants one, so a field of
//! the wrong type, a lone surrogate or a number out of range spoils itself and nothing beside it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Calls `look` with each key of the object and its raw value. False when `json` is no whole object; keys before the flaw
/// have been looked at then. A repeated key is looked at each time.
pub(super) fn object<'a>(json: &'a str, look: impl FnMut(&[u8], &'a str)) -> bool {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    deserializer.deserialize_map(Keys(look)).is_ok() && deserializer.end().is_ok()
}

/// The first item of an array.
pub(super) fn first(json: &str) -> Option<&str> {
    if !json.starts_with('[') {
        return None;
    }
    serde_json::Deserializer::from_str(json).deserialize_seq(First).ok().flatten()
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
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

struct Keys<F>(F);

impl<'a, F: FnMut(&[u8], &'a str)> Visitor<'a> for Keys<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Key<'a>>()? {
            let value: &'a RawValue = map.next_value()?;
            (self.0)(&key.0, value.get());
        }
        Ok(())
    }
}

struct First;

impl<'a> Visitor<'a> for First {
    type Value = Option<&'a str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let first = seq.next_element::<&'a RawValue>()?.map(RawValue::get);
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(first)
    }
}

/// Bytes, because a key may hold a lone surrogate, which is no text.
struct Key<'a>(Cow<'a, [u8]>);

impl<'a> Deserialize<'a> for Key<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'a> Visitor<'a> for Bytes {
            type Value = Key<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'a [u8]) -> Result<Key<'a>, E> {
                Ok(Key(Cow::Borrowed(bytes)))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Key<'a>, E> {
                Ok(Key(Cow::Owned(bytes.to_vec())))
            }

            fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Key<'a>, E> {
                Ok(Key(Cow::Borrowed(text.as_bytes())))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'a>, E> {
                Ok(Key(Cow::Owned(text.as_bytes().to_vec())))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
