//! `/docs`: the API for people, as one page made of the same document as `/openapi.json`. It has no script and asks for nothing else, so
//! it is there wherever the node is.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_SECURITY_POLICY;
use actix_web::web::ServiceConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::openapi::DOCUMENT;
use super::paths::read_resource;

const FRAME: &str = include_str!("docs/frame.html");
const STYLE: &str = include_str!("docs/style.css");

static PAGE: LazyLock<String> =
    LazyLock::new(|| serde_json::from_str(DOCUMENT).map_or_else(|_| String::new(), |all| Page(&all).show()));
/// The one style is allowed, by its digest, and nothing else.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let digest = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(read_resource("/docs", read));
}

async fn read() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, POLICY.as_str()))
        .body(PAGE.as_str())
}

/// The whole document, to look things up in.
struct Page<'a>(&'a Value);

impl<'a> Page<'a> {
    fn show(&self) -> String {
        let (mut nav, mut main) = (String::new(), String::new());
        for tag in list(&self.0["tags"]) {
            let (mut links, mut shown) = (String::new(), String::new());
            for (place, items) in ["paths", "webhooks"].into_iter().flat_map(|part| fields(&self.0[part])) {
                for (method, operation) in
                    fields(items).filter(|(_, one)| list(&one["tags"]).any(|t| t == &tag["name"]))
                {
                    let (id, title) = (escaped(&operation["operationId"]), escaped(&operation["summary"]));
                    links.extend([format!(
                        r##"<a href="#{id}"><b class="{method}">{method}</b> {title}</a>"##
                    )]);
                    shown += &self.operation(place, method, operation);
                }
            }
            let (name, about) = (escaped(&tag["name"]), escaped(&tag["description"]));
            nav.extend([format!("<h2>{name}</h2>{links}")]);
            main.extend([format!("<section><h2>{name}</h2><p>{about}</p>{shown}</section>")]);
        }
        let schemas = fields(at(self.0, "/components/schemas")).map(|(name, schema)| {
            format!(r#"<article id="{name}"><h3>{name}</h3>{}</article>"#, self.body(schema))
        });
        let info = at(self.0, "/info");
        let parts = [
            ("style", STYLE.to_owned()),
            ("title", escaped(&info["title"])),
            ("version", escaped(&info["version"])),
            ("summary", escaped(&info["summary"])),
            ("about", escaped(&info["description"])),
            ("nav", nav),
            ("schemas", concat(schemas)),
            ("operations", main),
        ];
        parts.iter().fold(FRAME.to_owned(), |page, (name, part)| page.replace(&format!("[[{name}]]"), part))
    }

    /// The name stands inside: who follows a link to it finds it open.
    fn operation(&self, place: &str, method: &str, operation: &'a Value) -> String {
        let id = escaped(&operation["operationId"]);
        let role = at(operation, "/security/0/bearer/0").as_str().unwrap_or("no token");
        let (title, about) = (escaped(&operation["summary"]), escaped(&operation["description"]));
        let parameters = concat(list(&operation["parameters"]).map(|one| {
            let one = self.followed(one);
            let (name, place) = (escaped(&one["name"]), escaped(&one["in"]));
            row(&name, one["required"] == true, &format!("{place} · {}", kind(&one["schema"])), one)
        }));
        let parameters = titled("Parameters", &table(&parameters));
        let bodies = concat(
            fields(at(operation, "/requestBody/content"))
                .map(|(kind, body)| format!("<p><code>{}</code></p>{}", escape(kind), self.content(body))),
        );
        let answers = concat(fields(&operation["responses"]).map(|(status, answer)| {
            let answer = self.followed(answer);
            // Those of problems are all alike.
            let contents = fields(&answer["content"]).filter(|_| status.starts_with('2'));
            let content = concat(contents.map(|(_, content)| self.content(content)));
            format!("<dt>{status}</dt><dd>{}{content}</dd>", escaped(&answer["description"]))
        }));
        format!(
            r#"<details><summary><b class="{method}">{method}</b> <code>{place}</code> <span>{title}</span> <i>{role}</i></summary><p id="{id}">{about}</p>{parameters}{}<h4>Answers</h4><dl>{answers}</dl></details>"#,
            titled("Body", &bodies)
        )
    }

    fn content(&self, content: &'a Value) -> String {
        if content["example"].is_null() { self.body(&content["schema"]) } else { pre(&content["example"]) }
    }

    /// A schema: what it is, its fields, an example.
    fn body(&self, schema: &'a Value) -> String {
        let whole = self.followed(schema);
        let required: Vec<_> = list(&whole["required"]).collect();
        let rows = concat(fields(&whole["properties"]).map(|(name, field)| {
            row(&escape(name), required.iter().any(|one| *one == name), &kind(field), self.followed(field))
        }));
        let (kind, about) = (kind(schema), escaped(&whole["description"]));
        let example = concat(list(&whole["examples"]).map(pre));
        format!("<p>{kind}. {about}</p>{}{example}", table(&rows))
    }

    fn followed(&self, one: &'a Value) -> &'a Value {
        let place = one["$ref"].as_str().and_then(|place| place.strip_prefix('#'));
        place.and_then(|place| self.0.pointer(place)).unwrap_or(one)
    }
}

/// What a schema allows, in a line.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|place| place.rsplit('/').next()) {
        return format!(r##"<a href="#{name}">{name}</a>"##);
    }
    let all = |key: &str, by: &str, show: fn(&Value) -> String| {
        list(&schema[key]).map(show).collect::<Vec<_>>().join(by)
    };
    let array = if schema["type"] == "array" {
        format!("array of {}", kind(&schema["items"]))
    } else {
        String::new()
    };
    let ways = [all("oneOf", " or ", kind), all("enum", " ", word), word(&schema["const"]), array];
    let plain = [all("type", " or ", escaped), escaped(&schema["type"])];
    let said = ways.into_iter().chain(plain).find(|said| !said.is_empty()).unwrap_or_default();
    let limits = [
        ("minimum", "from "),
        ("maximum", "to "),
        ("maxLength", "at most "),
        ("default", "default "),
        ("pattern", ""),
    ];
    let limits = limits.into_iter().filter(|(key, _)| !schema[*key].is_null());
    said + &concat(limits.map(|(key, told)| format!(" {told}{}", word(&schema[key]))))
}

/// As it is written; nothing for what is not there.
fn word(one: &Value) -> String {
    if one.is_null() { String::new() } else { format!("<code>{}</code>", escaped(one)) }
}

fn at<'a>(value: &'a Value, place: &str) -> &'a Value {
    static NOTHING: Value = Value::Null;
    value.pointer(place).unwrap_or(&NOTHING)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn concat(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().concat()
}

fn row(name: &str, required: bool, kind: &str, one: &Value) -> String {
    let star = if required { "<sup>*</sup>" } else { "" };
    let about = escaped(&one["description"]);
    format!("<tr><td><code>{name}</code>{star}</td><td>{kind}</td><td>{about}</td></tr>")
}

fn table(rows: &str) -> String {
    if rows.is_empty() { String::new() } else { format!("<table>{rows}</table>") }
}

fn titled(title: &str, what: &str) -> String {
    if what.is_empty() { String::new() } else { format!("<h4>{title}</h4>{what}") }
}

fn pre(example: &Value) -> String {
    let pretty = || serde_json::to_string_pretty(example).unwrap_or_default();
    format!("<pre>{}</pre>", escape(&example.as_str().map_or_else(pretty, str::to_owned)))
}

/// A text of the document, or what else stands there, in HTML; nothing for what is not there.
fn escaped(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => escape(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => escape(&value.to_string()),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::super::testing::{FakeNode, ask_as_is};
    use super::*;

    #[actix_web::test]
    async fn every_operation_and_every_schema_is_on_the_page_and_every_link_on_it_leads_somewhere() {
        let answer = ask_as_is(&FakeNode::new(), TestRequest::get().uri("/docs")).await;
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        let page = answer.text();
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        for (_, operation) in fields(&document["paths"]).flat_map(|(_, item)| fields(item)) {
            let id = operation["operationId"].as_str().unwrap();
            assert!(page.contains(&format!("<p id=\"{id}\">")), "{id}");
        }
        for (name, _) in fields(&document["components"]["schemas"]) {
            assert!(page.contains(&format!("<article id=\"{name}\">")), "{name}");
        }
        for link in page.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(page.contains(&format!("id=\"{link}\"")), "{link}");
        }
    }

    #[actix_web::test]
    async fn the_page_runs_nothing_asks_for_nothing_and_its_policy_allows_its_style_alone() {
        let answer = ask_as_is(&FakeNode::new(), TestRequest::get().uri("/docs")).await;
        for word in ["<script", "src=", "@import", "url(", "style=", "href=\"http"] {
            assert!(!answer.text().contains(word), "{word}");
        }
        let style = answer.text().split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        let digest = STANDARD.encode(Sha256::digest(style));
        let policy = answer.header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains(&format!("'sha256-{digest}'")),
            "{policy}"
        );
    }
}
