//! The layout law of `ARCHITECTURE.md`, made to fail: arrows of `use` only point down, nothing below the shells does I/O, and
//! files stay short.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "all of it is a test")]

use std::fs;
use std::path::{Path, PathBuf};

/// The floors, from the ground up. What stands on one floor does not import its neighbours.
const FLOORS: [&[&str]; 9] = [
    &["ids", "secret", "clock", "moment", "event", "files", "status", "config", "telemetry"],
    &["protocol"],
    &["machine"],
    &["store", "slack"],
    &["handlers"],
    &["actors"],
    &["admin", "simulator"],
    &["app"],
    &["commands", "main"],
];
/// On these floors an item may import those named before it.
const ORDERED: [usize; 2] = [0, 8];
/// What is told everything and asks for nothing.
const PURE: [&str; 2] = ["machine", "protocol"];
const IO: [&str; 10] = [
    "tokio",
    "actix",
    "actix_rt",
    "actix_web",
    "awc",
    "sqlx",
    "tokio_tungstenite",
    "rustls",
    "tokio_rustls",
    "tokio_util",
];
const IO_OF_STD: [&str; 6] = ["net", "fs", "io", "thread", "process", "env"];
const LONGEST: usize = 600;
const USUAL: usize = 180;

#[test]
fn the_source_keeps_to_its_floors() {
    let complaints = inspect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn an_arrow_that_points_up_or_sideways_is_found_however_it_is_written() {
    for (file, source, culprit) in [
        ("machine/link.rs", "use crate::actors::Link;", "actors"),
        ("machine/link.rs", "use crate::{clock::Now, store::{self, Store}};", "store"),
        ("machine/link.rs", "pub use crate::{\n    ids::AppId,\n    app,\n};", "app"),
        ("protocol/mod.rs", "fn f() { crate::machine::backoff::next(); }", "machine"),
        ("protocol/deep/file.rs", "use super::super::super::machine::Link;", "machine"),
        ("protocol.rs", "use super::machine::Link;", "machine"),
        ("store/sqlite.rs", "use crate::slack::api;", "slack"),
        ("simulator/mod.rs", "use crate::admin as console;", "admin"),
        ("ids.rs", "use crate::event::Kind;", "event"),
        ("clock.rs", "mod inner { use crate::telemetry; }", "telemetry"),
        ("commands/mod.rs", "use crate::main;", "main"),
        ("machine/link.rs", "#[cfg(test)]\nmod tests { use crate::app; }", "app"),
    ] {
        let complaints = inspect_tree(&[(file, source)]);
        assert_eq!(complaints.len(), 1, "{source}: {complaints:?}");
        assert!(
            complaints[0].contains(file) && complaints[0].contains(&format!("`{culprit}`")),
            "{complaints:?}"
        );
    }
}

#[test]
fn an_arrow_that_points_down_or_stays_at_home_is_fine() {
    let complaints = inspect_tree(&[
        ("lib.rs", "pub mod ids;"),
        ("main.rs", "mod commands; use tautline::app; fn main() { crate::commands::run() }"),
        ("event.rs", "use crate::ids::{AppId, Seq};"),
        ("machine/link.rs", "use super::backoff; use crate::machine::timers; use crate::protocol::frame;"),
        ("machine/deep/file.rs", "use super::super::actors;"),
        (
            "actors/link.rs",
            "use tokio::net::TcpStream; // as crate::app says\nconst WORD: &str = \"crate::app\";",
        ),
        (
            "actors/odd.rs",
            "fn f<'a>(x: &'a str) { let q = '\"'; let r = r#\"a \" crate::app\"#; /* crate::app */ }",
        ),
    ]);
    assert_eq!(complaints, Vec::<String>::new());
}

#[test]
fn what_follows_text_and_comments_is_still_read() {
    let source = "fn f<'a>() { '\\''; '\"'; \"\\\"\"; r#\"\"\"#; b\"x\"; /* y */ } // z\nuse crate::app;";
    assert_eq!(inspect_tree(&[("ids.rs", source)]).len(), 1);
}

#[test]
fn input_and_output_below_the_shells_are_found_outside_of_tests() {
    for source in [
        "use tokio::time::sleep;",
        "use {serde::Serialize, sqlx::Row};",
        "use std::{fmt, net::IpAddr};",
        "fn f() { std::fs::read(\"x\"); }",
        "async fn f() { ::awc::Client::new(); }",
        "use actix_web as web;",
    ] {
        assert_eq!(inspect_tree(&[("machine/link.rs", source)]).len(), 1, "{source}");
        assert_eq!(inspect_tree(&[("protocol/frame.rs", source)]).len(), 1, "{source}");
        assert_eq!(inspect_tree(&[("slack/api.rs", source)]), Vec::<String>::new(), "{source}");
        let in_test = format!("#[cfg(test)]\nmod tests {{ {source} }}");
        assert_eq!(inspect_tree(&[("machine/link.rs", &in_test)]), Vec::<String>::new(), "{in_test}");
        assert_eq!(inspect_tree(&[("machine/tests/link.rs", source)]), Vec::<String>::new(), "{source}");
        let behind_test = format!("{in_test} {source}");
        assert_eq!(inspect_tree(&[("machine/link.rs", &behind_test)]).len(), 1, "{behind_test}");
    }
}

#[test]
fn a_module_without_a_floor_is_found() {
    assert_eq!(inspect_tree(&[("helpers.rs", "")]).len(), 1);
}

#[test]
fn a_long_file_and_too_many_longish_ones_are_found() {
    let lines = |n: usize| "\n".repeat(n);
    assert_eq!(inspect_tree(&[("ids.rs", &lines(600)), ("clock.rs", "")]), Vec::<String>::new());
    assert_eq!(inspect_tree(&[("ids.rs", &lines(601)), ("clock.rs", "")]).len(), 1);
    assert_eq!(
        inspect_tree(&[("ids.rs", &lines(181)), ("clock.rs", &lines(181)), ("event.rs", "")]).len(),
        1
    );
}

#[test]
fn an_empty_tree_is_no_pass() {
    assert_eq!(inspect_tree(&[]).len(), 1);
}

/// Inspects a made-up source tree.
fn inspect_tree(files: &[(&str, &str)]) -> Vec<String> {
    let tree = tempfile::tempdir().expect("a temporary directory");
    for (name, source) in files {
        let path = tree.path().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory to write to");
        fs::write(path, source).expect("a file to write to");
    }
    inspect(tree.path())
}

/// What breaks the law under `root`, a line each.
fn inspect(root: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut longish = 0;
    let files = rust_files(root);
    for path in &files {
        let source = fs::read_to_string(path).expect("a source file that can be read");
        let name = path.strip_prefix(root).expect("a file below the root").to_str().expect("a plain name");
        let lines = source.lines().count();
        if lines > LONGEST {
            complaints.push(format!("{name}: {lines} lines; {LONGEST} at most"));
        }
        longish += usize::from(lines > USUAL);
        let file = File { name, module: module_path(name), tokens: tokens(&source) };
        complaints.extend(file.floor_complaints());
        complaints.extend(file.io_complaints());
    }
    if files.is_empty() {
        complaints.push(format!("{}: no source files", root.display()));
    }
    if longish * 2 > files.len() {
        complaints
            .push(format!("{longish} of {} files have more than {USUAL} lines; half at most", files.len()));
    }
    complaints
}

struct File<'a> {
    name: &'a str,
    module: Vec<&'a str>,
    tokens: Vec<String>,
}

impl File<'_> {
    fn floor_complaints(&self) -> Vec<String> {
        let Some(own) = self.module.first() else { return Vec::new() };
        let Some((floor, place)) = position(own) else {
            return vec![format!("{}: `{own}` has no floor; give it one in tests/layers.rs", self.name)];
        };
        let below = |(at, order)| at < floor || at == floor && ORDERED.contains(&floor) && order < place;
        let allowed = |target: &str| target == *own || position(target).is_none_or(below);
        let mut targets: Vec<String> =
            paths(&self.tokens).iter().filter_map(|path| self.target(path)).collect();
        targets.sort();
        targets.dedup();
        targets.retain(|target| !allowed(target));
        let complaint =
            |target| format!("{}: must not know `{target}`, which is on no floor below", self.name);
        targets.iter().map(complaint).collect()
    }

    /// The top-level module that a path leads to, by `crate::` or by enough `super::`.
    fn target(&self, path: &[String]) -> Option<String> {
        let supers = path.iter().take_while(|part| *part == "super").count();
        let from_top = path.first()? == "crate" || supers > 0 && supers >= self.module.len();
        from_top.then(|| path.get(supers.max(1)).cloned())?
    }

    fn io_complaints(&self) -> Vec<String> {
        let pure = self.module.first().is_some_and(|module| PURE.contains(module));
        if !pure || self.module.contains(&"tests") {
            return Vec::new();
        }
        let does_io = |path: &Vec<String>| {
            let first = path.first().map_or("", String::as_str);
            let second = path.get(1).map_or("", String::as_str);
            IO.contains(&first) || first == "std" && IO_OF_STD.contains(&second)
        };
        let guilty = paths(&without_tests(&self.tokens)).into_iter().filter(does_io);
        guilty.map(|path| format!("{}: {} is I/O, which lives above", self.name, path.join("::"))).collect()
    }
}

fn position(module: &str) -> Option<(usize, usize)> {
    let on = |floor: &[&str]| floor.iter().position(|name| *name == module);
    FLOORS.iter().enumerate().find_map(|(at, floor)| on(floor).map(|place| (at, place)))
}

/// `machine/link.rs` is `machine::link`; `lib.rs` is the root.
fn module_path(name: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = name.trim_end_matches(".rs").split('/').collect();
    if matches!(parts.last(), Some(&("mod" | "lib"))) {
        parts.pop();
    }
    parts
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory that can be read") {
        let path = entry.expect("an entry that can be read").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every path in the code: those of `use` in full, also out of braces, and those written in place.
fn paths(tokens: &[String]) -> Vec<Vec<String>> {
    let is = |at: usize, sign: &str| tokens.get(at).is_some_and(|token| token == sign);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is(at, "use") {
            at = use_tree(tokens, at + 1, &[], &mut found);
        } else if is_name(&tokens[at]) && is(at + 1, "::") {
            let mut path = vec![tokens[at].clone()];
            at += 1;
            while is(at, "::") && tokens.get(at + 1).is_some_and(|name| is_name(name)) {
                path.push(tokens[at + 1].clone());
                at += 2;
            }
            found.push(path);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one branch of a `use`; gives the place behind it.
fn use_tree(tokens: &[String], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "::" | "*" => at += 1,
            "as" => at += 2,
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = use_tree(tokens, at, &path, found);
                    at += usize::from(tokens.get(at).is_some_and(|token| token == ","));
                }
                return at + 1;
            }
            name if is_name(name) => {
                path.push(name.to_owned());
                at += 1;
            }
            // A sign that no `use` holds: step over it where it stands first, so that reading always ends.
            _ => return finish(path, prefix, at, found),
        }
    }
    finish(path, prefix, at, found)
}

fn finish(path: Vec<String>, prefix: &[String], at: usize, found: &mut Vec<Vec<String>>) -> usize {
    let moved = path.len() > prefix.len();
    found.push(path);
    at + usize::from(!moved)
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The tokens but for each `#[cfg(test)] mod … { … }`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const MARK: [&str; 8] = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let marked = tokens[at..].iter().take(MARK.len()).eq(MARK.iter());
        if marked && tokens.get(at + MARK.len() + 1).is_some_and(|token| token == "{") {
            at = behind_block(tokens, at + MARK.len() + 1);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// The place behind the block that opens at `at`.
fn behind_block(tokens: &[String], mut at: usize) -> usize {
    let mut depth = 0;
    while at < tokens.len() {
        depth += i32::from(tokens[at] == "{") - i32::from(tokens[at] == "}");
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

/// Names, `::` and single signs; no comments, no text.
fn tokens(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let (length, kept) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), false)
        } else if rest.starts_with("/*") {
            (rest.find("*/").map_or(rest.len(), |end| end + 2), false)
        } else if let Some(length) = text_literal(rest) {
            (length, false)
        } else if c.is_alphanumeric() || c == '_' {
            (rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()), true)
        } else if rest.starts_with("::") {
            (2, true)
        } else {
            (c.len_utf8(), !c.is_whitespace())
        };
        if kept {
            found.push(rest[..length].to_owned());
        }
        rest = &rest[length..];
    }
    found
}

/// How long the text or character is that starts here, if one does.
fn text_literal(rest: &str) -> Option<usize> {
    if let Some(raw) = rest.trim_start_matches(['b', 'c']).strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let start = rest.len() - raw.len() + hashes;
        if rest[start..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            return Some(rest[start + 1..].find(&end).map_or(rest.len(), |at| start + 1 + at + end.len()));
        }
    }
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    if quote == '\'' && !rest[1..].starts_with('\\') {
        // A lifetime, unless it closes behind one character.
        let length = rest[1..].chars().next()?.len_utf8();
        return rest[1 + length..].starts_with('\'').then_some(length + 2);
    }
    let mut escaped = false;
    let end = rest[1..].find(|c| {
        let closes = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    });
    Some(end.map_or(rest.len(), |end| end + 2))
}
