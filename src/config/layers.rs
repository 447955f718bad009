//! Layers of settings as text, each value with the place it came from.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, DEFAULTS, Place, RouteTable, Sources};
use crate::secret::BadToken;

/// Every setting, and the variables it is read from, the strongest first.
pub(super) const KEYS: &[(&str, &[&str])] = &[
    ("database_url", &["TAUTLINE_DATABASE_URL", "DATABASE_URL"]),
    ("listen", &["TAUTLINE_LISTEN"]),
    ("allow_plaintext", &["TAUTLINE_ALLOW_PLAINTEXT"]),
    ("metrics_listen", &["TAUTLINE_METRICS_LISTEN"]),
    ("admin_token", &["TAUTLINE_ADMIN_TOKEN"]),
    ("key", &["TAUTLINE_KEY"]),
    ("key_file", &["TAUTLINE_KEY_FILE"]),
    ("other_key", &["TAUTLINE_OTHER_KEY"]),
    ("other_key_file", &["TAUTLINE_OTHER_KEY_FILE"]),
    ("slack_api_url", &["TAUTLINE_SLACK_API_URL"]),
    ("extra_ca_file", &["TAUTLINE_EXTRA_CA_FILE"]),
    ("slack_app_token", &["SLACK_APP_TOKEN"]),
    ("slack_bot_token", &["SLACK_BOT_TOKEN"]),
    ("ack", &["TAUTLINE_ACK"]),
    ("journal", &["TAUTLINE_JOURNAL"]),
    ("handlers", &["TAUTLINE_HANDLERS"]),
    ("links", &["TAUTLINE_LINKS"]),
    ("opens_per_second", &["TAUTLINE_OPENS_PER_SECOND"]),
    ("opens_at_once", &["TAUTLINE_OPENS_AT_ONCE"]),
    ("retention_days", &["TAUTLINE_RETENTION_DAYS"]),
    ("payload_retention_days", &["TAUTLINE_PAYLOAD_RETENTION_DAYS"]),
    ("retention_max_bytes", &["TAUTLINE_RETENTION_MAX_BYTES"]),
    ("webhooks_allow_private", &["TAUTLINE_WEBHOOKS_ALLOW_PRIVATE"]),
    ("log", &["TAUTLINE_LOG"]),
    ("log_format", &["TAUTLINE_LOG_FORMAT"]),
];

/// The one setting that is no text: a file alone has it.
const ROUTES: &str = "routes";

/// What was given for each setting by the strongest layer that gave anything.
#[derive(Default)]
pub(super) struct Layers {
    texts: BTreeMap<&'static str, Given>,
    routes: Vec<RouteTable>,
}

struct Given {
    text: String,
    place: Place,
}

impl Layers {
    pub(super) fn read(sources: &Sources<'_>) -> Result<Self, ConfigError> {
        let mut layers = Self::default();
        layers.read_toml(DEFAULTS, |_| Place::Default)?;
        if let Some(path) = sources.file {
            layers.read_file(path)?;
        }
        for (key, variables) in KEYS {
            let given = |name: &&&str| (sources.env)(name).is_some_and(|text| !text.is_empty());
            if let Some(name) = variables.iter().find(given) {
                let text = (sources.env)(name).unwrap_or_default();
                layers.texts.insert(key, Given { text, place: Place::Variable((*name).to_owned()) });
            }
        }
        for (name, text) in &sources.flags {
            let place = Place::Flag(format!("--{}", name.replace('_', "-")));
            let key = known(name, &place)?;
            layers.texts.insert(key, Given { text: text.clone(), place });
        }
        Ok(layers)
    }

    /// The routes of the file, in its order.
    pub(super) fn routes(&self) -> &[RouteTable] {
        &self.routes
    }

    /// A setting that may be absent.
    pub(super) fn take<T>(
        &self,
        key: &'static str,
        must: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(given) = self.texts.get(key) else { return Ok(None) };
        parse(&given.text).map(Some).ok_or_else(|| self.wrong(key, must))
    }

    /// A setting that has a default.
    pub(super) fn need<T>(
        &self,
        key: &'static str,
        must: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        self.take(key, must, parse)?.ok_or_else(|| self.wrong(key, must))
    }

    pub(super) fn take_token<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, BadToken>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(given) = self.texts.get(key) else { return Ok(None) };
        parse(given.text.trim())
            .map(Some)
            .map_err(|bad| self.wrong(key, &format!("is not the token wanted here: {bad}")))
    }

    pub(super) fn wrong(&self, key: &'static str, must: &str) -> ConfigError {
        let place = self.texts.get(key).map_or(Place::Default, |given| given.place.clone());
        ConfigError::Wrong { place, key, must: must.to_owned() }
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), reason: error.to_string() })?;
        self.read_toml(&text, |line| Place::File { path: path.to_owned(), line })
    }

    fn read_toml(&mut self, text: &str, place: impl Fn(usize) -> Place) -> Result<(), ConfigError> {
        let line_of = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(span.start));
            // Only the parser's message: its full text quotes the line, and the line may hold a secret.
            ConfigError::Syntax { place: place(line), reason: error.message().to_owned() }
        })?;
        for (name, value) in table.get_ref() {
            if name.get_ref() == ROUTES {
                self.routes = routes(value.get_ref(), |at| place(line_of(at)))
                    .map_err(|place| ConfigError::Wrong { place, key: ROUTES, must: TABLES.to_owned() })?;
                continue;
            }
            let place = place(line_of(name.span().start));
            let key = known(name.get_ref(), &place)?;
            let text = text_of(value.get_ref()).ok_or_else(|| ConfigError::Wrong {
                place: place.clone(),
                key,
                must: "must be a text, a number, true or false, or a list of texts".to_owned(),
            })?;
            self.texts.insert(key, Given { text, place });
        }
        Ok(())
    }
}

/// The setting of that name.
fn known(name: &str, place: &Place) -> Result<&'static str, ConfigError> {
    let key = KEYS.iter().map(|(key, _)| *key).find(|key| *key == name);
    key.ok_or_else(|| ConfigError::UnknownKey {
        place: place.clone(),
        key: format!("{name:?}"),
        known: KEYS.iter().map(|(key, _)| *key).chain([ROUTES]).collect::<Vec<_>>().join(", "),
    })
}

/// A value as a variable would have it.
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Array(items) => {
            let texts: Option<Vec<_>> = items.iter().map(|item| item.get_ref().as_str()).collect();
            texts.map(|texts| texts.join(","))
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

const TABLES: &str = "must be tables like [[routes]], of texts, lists of texts, true and false";

/// The tables of `[[routes]]`. An error is where something else stands.
fn routes(value: &DeValue<'_>, place: impl Fn(usize) -> Place) -> Result<Vec<RouteTable>, Place> {
    let DeValue::Array(tables) = value else { return Err(place(0)) };
    let read = |table: &toml::Spanned<DeValue<'_>>| {
        let place = place(table.span().start);
        match json(table.get_ref()) {
            Some(Value::Object(fields)) => Ok(RouteTable { place, fields }),
            _ => Err(place),
        }
    };
    tables.iter().map(read).collect()
}

/// A value as JSON has it, if it is of those that routes have.
fn json(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::String(text) => Some(Value::String(text.clone().into_owned())),
        DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
        DeValue::Array(items) => {
            items.iter().map(|item| json(item.get_ref())).collect::<Option<_>>().map(Value::Array)
        }
        DeValue::Table(table) => {
            let member = |(name, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
                let name: &std::borrow::Cow<'_, str> = name.get_ref();
                Some((name.clone().into_owned(), json(value.get_ref())?))
            };
            table.iter().map(member).collect::<Option<_>>().map(Value::Object)
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_) => None,
    }
}
