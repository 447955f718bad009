//! What a node answers, as a person reads it.

use std::fmt::Write as _;

use serde_json::Value;

/// What is shown, under which name: the heading, and where it is in a value.
pub(super) type Fields<'a> = &'a [(&'a str, &'a str)];

/// The text of a field, as a person reads it.
pub(super) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => plain(text),
        Some(other) => plain(&other.to_string()),
    }
}

/// What comes from elsewhere must not steer the terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Shows JSON as it is.
#[expect(clippy::print_stdout, reason = "a command speaks to its user")]
pub(super) fn show_json(value: &Value) {
    println!("{value:#}");
}

/// Shows a line.
#[expect(clippy::print_stdout, reason = "a command speaks to its user")]
pub(super) fn show_line(line: &str) {
    println!("{line}");
}

/// Shows rows below their headings, each column as wide as it must be.
#[expect(clippy::print_stdout, reason = "a command speaks to its user")]
pub(super) fn show_table(headings: &[&str], rows: &[Vec<String>]) {
    print!("{}", table(headings, rows));
}

/// Shows these fields of each value, a value a row.
pub(super) fn show_list(columns: Fields<'_>, values: &[Value]) {
    let (headings, fields): (Vec<_>, Vec<_>) = columns.iter().copied().unzip();
    let row = |value| fields.iter().map(|field| text(value, field)).collect();
    show_table(&headings, &values.iter().map(row).collect::<Vec<_>>());
}

/// Shows these fields of one value, a field a row.
pub(super) fn show_fields(fields: Fields<'_>, value: &Value) {
    let row = |(name, field): &(&str, &str)| vec![(*name).to_owned(), text(value, field)];
    show_table(&["FIELD", "VALUE"], &fields.iter().map(row).collect::<Vec<_>>());
}

fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |at: usize, heading: &str| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([heading.chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = headings.iter().enumerate().map(|(at, heading)| width(at, heading)).collect();
    let headings = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let mut text = String::new();
    for row in [&headings].into_iter().chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _written = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_as_wide_as_it_must_be_and_ends_no_line_with_blanks() {
        let rows = vec![vec!["acme".to_owned(), "ready".to_owned()], vec!["é".to_owned(), "-".to_owned()]];
        assert_eq!(table(&["ID", "STATE"], &rows), "ID    STATE\nacme  ready\né     -\n");
    }

    #[test]
    fn what_a_node_says_cannot_steer_the_terminal() {
        assert_eq!(text(&json!({"a": "x\u{1b}[2Jy"}), "/a"), "x?[2Jy");
        assert_eq!(text(&json!({"a": null}), "/a"), "-");
        assert_eq!(text(&json!({"a": {"b": 3}}), "/a/b"), "3");
    }
}
