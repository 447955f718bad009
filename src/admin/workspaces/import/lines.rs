//! The lines of an import, from JSON lines and from CSV. A line that cannot be read is a line with a problem.

use serde_json::{Map, Value};

use super::super::super::body::parse;
use super::super::super::problem::{Code, Problem};
use super::super::{body, parse_name};
use crate::ids::WorkspaceName;

const COLUMNS: &str = "id, name, app_token, bot_token, links, desired, delivery, label.<key>";

/// One workspace as it was sent.
pub(super) struct Line {
    /// Where it begins, from one.
    pub(super) number: u64,
    fields: Result<Map<String, Value>, Problem>,
}

impl Line {
    /// Its id, if it has one that may be repeated.
    pub(super) fn id(&self) -> Option<String> {
        let id = self.fields.as_ref().ok()?.get("id")?.as_str()?;
        parse_name(id).ok().map(|name| name.to_string())
    }

    /// Its id, and the rest as a `PUT` has it.
    pub(super) fn split(self) -> Result<(WorkspaceName, Map<String, Value>), Problem> {
        let mut fields = self.fields?;
        let wrong = |message: String| Problem::field(Code::InvalidFields, "id", message);
        let id = fields
            .remove("id")
            .ok_or_else(|| wrong("every line needs the id of its workspace".to_owned()))?;
        let id = id.as_str().ok_or_else(|| wrong("must be a string".to_owned()))?;
        let name = parse_name(id).map_err(|problem| wrong(problem.message()))?;
        Ok((name, fields))
    }
}

/// An object a line; blank lines are passed over.
pub(super) fn json_lines(bytes: &[u8]) -> Result<Vec<Line>, Problem> {
    let bytes = without_mark(bytes);
    let lines = (1..).zip(bytes.split(|byte| *byte == b'\n'));
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    let lines: Vec<_> = lines.map(|(number, line)| Line { number, fields: parse(line) }).collect();
    some(lines)
}

/// A header, then a workspace a record. An empty cell is an absent field.
pub(super) fn csv(bytes: &[u8]) -> Result<Vec<Line>, Problem> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(without_mark(bytes));
    let header =
        reader.headers().map_err(|_| Problem::new(Code::InvalidRequest, "the header is not UTF-8"))?;
    let names: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
    for (at, name) in (1..).zip(&names) {
        let known = name.strip_prefix("label.").map_or_else(
            || {
                ["id", "name", "app_token", "bot_token", "links", "desired", "delivery"]
                    .contains(&name.as_str())
            },
            |key| body::label_key(key).is_ok(),
        );
        if !known || names.iter().filter(|other| *other == name).count() > 1 {
            let detail = format!("column {at} is unknown or there twice; the columns are {COLUMNS}");
            return Err(Problem::new(Code::InvalidRequest, detail));
        }
    }
    let mut lines = Vec::new();
    for record in reader.records() {
        let line = match record {
            Ok(record) => Line {
                number: record.position().map_or(0, csv::Position::line),
                fields: fields(&names, &record),
            },
            // The library's own words may repeat what was sent.
            Err(error) => Line {
                number: error.position().map_or(0, csv::Position::line),
                fields: Err(Problem::new(Code::InvalidRequest, "the line is not UTF-8")),
            },
        };
        lines.push(line);
    }
    some(lines)
}

fn fields(names: &[String], record: &csv::StringRecord) -> Result<Map<String, Value>, Problem> {
    if record.len() != names.len() {
        let detail = format!("the line has {} cells, the header {}", record.len(), names.len());
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let (mut map, mut labels) = (Map::new(), Map::new());
    for (name, cell) in names.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
        let value = match name.as_str() {
            "links" => cell.trim().parse::<u8>().map_or_else(|_| Value::from(cell), Value::from),
            _ => Value::from(cell),
        };
        match name.strip_prefix("label.") {
            Some(key) => labels.insert(key.to_owned(), value),
            None => map.insert(name.clone(), value),
        };
    }
    if !labels.is_empty() {
        map.insert("labels".to_owned(), labels.into());
    }
    Ok(map)
}

/// Spreadsheets begin their files with a byte order mark.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

fn some(lines: Vec<Line>) -> Result<Vec<Line>, Problem> {
    if lines.is_empty() {
        return Err(Problem::new(Code::InvalidRequest, "there is no line with a workspace"));
    }
    Ok(lines)
}
