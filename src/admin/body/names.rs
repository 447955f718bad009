//! A name that comes twice in an object: JSON allows it, and a reader would have to guess which of the two is meant.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// The first name that comes twice in one object of a value, if one does.
#[derive(Default)]
pub(super) struct Twice(pub(super) Option<String>);

impl<'de> Deserialize<'de> for Twice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Names)
    }
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Twice;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Twice, A::Error> {
        let (mut seen, mut twice) = (HashSet::new(), None);
        while let Some((name, Twice(within))) = map.next_entry::<String, Twice>()? {
            twice = twice.or(within);
            if twice.is_none() && !seen.insert(name.clone()) {
                twice = Some(name);
            }
        }
        Ok(Twice(twice))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Twice, A::Error> {
        let mut twice = None;
        while let Some(Twice(within)) = values.next_element()? {
            twice = twice.or(within);
        }
        Ok(Twice(twice))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Twice, E> {
        Ok(Twice::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Twice, E> {
        Ok(Twice::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Twice, E> {
        Ok(Twice::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Twice, E> {
        Ok(Twice::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Twice, E> {
        Ok(Twice::default())
    }

    fn visit_unit<E>(self) -> Result<Twice, E> {
        Ok(Twice::default())
    }
}
