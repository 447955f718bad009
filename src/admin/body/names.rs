//! A name that comes twice in an object: JSON allows it, and a reader would have to guess which of the two is meant.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

/// The first name that comes twice in an object, if one does.
pub(super) struct Twice(pub(super) Option<String>);

impl<'de> Deserialize<'de> for Twice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Names).map(Self)
    }
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut seen, mut twice) = (HashSet::new(), None);
        while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
            if twice.is_none() && !seen.insert(name.clone()) {
                twice = Some(name);
            }
        }
        Ok(twice)
    }
}
