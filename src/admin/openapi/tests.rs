//! The document says what the service does, and the service does what the document says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use actix_web::http::{Method, StatusCode};
use actix_web::test::TestRequest;
use serde_json::Value;

use super::super::auth::rights;
use super::super::problem;
use super::super::testing::{FakeNode, ask, ask_as_is, code};
use super::*;
use crate::machine::notice::Topic;
use crate::status;
use crate::store::{Action, Role};

const METHODS: [Method; 5] = [Method::GET, Method::PUT, Method::POST, Method::PATCH, Method::DELETE];

#[actix_web::test]
async fn the_document_is_there_for_everybody_and_is_of_this_version() {
    let answer = ask_as_is(&FakeNode::new(), TestRequest::get().uri("/openapi.json")).await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/json"));
    assert_eq!(answer.json()["openapi"], "3.1.0");
    assert_eq!(answer.json()["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_path_of_the_service_is_documented_and_no_other() {
    let mut built = BTreeSet::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin"), &mut built);
    assert!(built.len() > 15, "the paths are found where they are built: {built:?}");
    let documented: BTreeSet<_> = paths().into_keys().collect();
    let bare = |path: &String| path.strip_prefix("/api/v1").unwrap_or(path).to_owned();
    // The metrics have a scope of their own, and an empty path in it.
    let built: BTreeSet<_> =
        built.into_iter().map(|path| if path.is_empty() { "/metrics".into() } else { path }).collect();
    assert_eq!(documented.iter().map(bare).collect::<BTreeSet<_>>(), built);
}

#[actix_web::test]
async fn every_path_knows_the_methods_that_are_documented_and_no_other() {
    let node = FakeNode::new();
    for (path, operations) in paths() {
        for method in METHODS {
            // The stream would not end: it is asked for what it refuses.
            let place = path.replace("{id}", "acme").replace("/stream", "/stream?colour=red");
            let answer = ask(&node, TestRequest::default().method(method.clone()).uri(&place)).await;
            let documented = operations.contains(&method.as_str().to_ascii_lowercase());
            assert_eq!(documented, answer.status != StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            let missing = answer.status == StatusCode::NOT_FOUND && answer.text().contains("no such path");
            assert!(!missing, "{method} {path}");
        }
    }
}

#[actix_web::test]
async fn what_is_documented_without_a_token_needs_none_and_all_else_does() {
    for (path, item) in document()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let open = operation["security"] == serde_json::json!([]);
            let method: Method = method.to_ascii_uppercase().parse().unwrap();
            let request = TestRequest::default().method(method).uri(&path.replace("{id}", "acme"));
            let answer = ask_as_is(&FakeNode::new(), request).await;
            assert_eq!(open, answer.status != StatusCode::UNAUTHORIZED, "{path}");
            assert_eq!(open, operation["responses"]["401"].is_null(), "{path}");
        }
    }
}

#[actix_web::test]
async fn every_operation_names_a_parameter_it_does_not_know_and_one_that_comes_twice() {
    let node = FakeNode::new();
    node.store.insert("acme");
    let document = document();
    let api = document["paths"].as_object().unwrap().iter().filter(|(path, _)| path.starts_with("/api/"));
    for (path, method, operation) in api.flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, operation)| (path, method, operation))
    }) {
        // A workspace's, or a token's, whose ids are looked at first.
        let id = if path.contains("/tokens/") { "tok_1" } else { "acme" };
        let mut wrong = vec![("colour".to_owned(), "colour=red".to_owned(), "know")];
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let place = parameter["$ref"].as_str();
            let parameter = place.map_or(parameter, |place| document.pointer(&place[1..]).unwrap());
            let may_repeat = parameter["schema"]["type"] == "array" && parameter["explode"] == true;
            if parameter["in"] == "query" && !may_repeat {
                let name = parameter["name"].as_str().unwrap();
                let values =
                    [&parameter["example"], &parameter["example"][0], &parameter["schema"]["default"]];
                let value = values.into_iter().find(|value| !value.is_null() && !value.is_array());
                let value = value.map_or_else(|| "x".to_owned(), |value| value.to_string().replace('"', ""));
                wrong.push((name.to_owned(), format!("{name}={value}&{name}={value}"), "may be given once"));
            }
        }
        for (name, query, message) in wrong {
            let place = format!("{}?{query}", path.replace("{id}", id));
            let method: Method = method.to_ascii_uppercase().parse().unwrap();
            let answer = ask(&node, TestRequest::default().method(method.clone()).uri(&place)).await;
            assert_eq!(code(&answer), "invalid_request", "{method} {place}: {}", answer.text());
            let errors = answer.json()["errors"].clone();
            assert_eq!((&errors[0]["field"], &errors[1]), (&name.into(), &Value::Null), "{method} {place}");
            let told = errors[0]["message"].as_str().unwrap();
            assert!(told.contains(message), "{method} {place}: {told}");
        }
    }
}

#[test]
fn the_role_that_an_operation_is_documented_with_is_the_one_it_takes() {
    for (path, item) in document()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["security"] == serde_json::json!([]) {
                continue;
            }
            let method: Method = method.to_ascii_uppercase().parse().unwrap();
            let takes = rights::of(&method, &path.replace("{id}", "acme").replace("{notice}", "msg_1")).role;
            assert_eq!(operation["security"][0]["bearer"][0], takes.as_str(), "{method} {path}");
        }
    }
}

#[test]
fn the_closed_lists_are_those_in_the_code() {
    fn names<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> Vec<String> {
        all.iter().map(|one| name(*one).to_owned()).collect()
    }
    let document = document();
    let listed = |schema: &str| -> Vec<String> {
        let list = document["components"]["schemas"][schema]["enum"].as_array().unwrap();
        list.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed("ProblemCode"), names(problem::Code::ALL, problem::Code::as_str));
    assert_eq!(listed("ReasonCode"), names(status::Code::ALL, status::Code::as_str));
    assert_eq!(listed("State"), names(status::State::ALL, status::State::as_str));
    assert_eq!(listed("Health"), names(status::Health::ALL, status::Health::as_str));
    assert_eq!(listed("Role"), names(&Role::ALL, Role::as_str));
    assert_eq!(listed("AuditAction"), names(&Action::ALL, Action::as_str));
    assert_eq!(listed("Topic"), names(Topic::ALL, Topic::as_str));
}

#[test]
fn every_body_has_an_example() {
    let document = document();
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap());
    for (_, operation) in operations {
        let answers = operation["responses"].as_object().unwrap().iter();
        let answers = answers.filter(|(status, _)| status.starts_with('2')).map(|(_, answer)| answer);
        for content in answers.chain([&operation["requestBody"]]).filter_map(|one| one["content"].as_object())
        {
            for reference in content.values().filter_map(|content| content["schema"]["$ref"].as_str()) {
                let schema = document.pointer(&reference[1..]).unwrap();
                assert!(schema["examples"].is_array(), "{reference}");
            }
        }
    }
}

#[test]
fn every_problem_is_told_under_its_own_status() {
    let document = document();
    let mut told = BTreeMap::new();
    for item in
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values())
    {
        for (status, response) in item["responses"].as_object().unwrap() {
            if let Some(place) = response["$ref"].as_str() {
                told.insert(
                    status.clone(),
                    document.pointer(&place[1..]).unwrap()["description"].to_string(),
                );
            }
        }
    }
    for code in problem::Code::ALL {
        let description = &told[code.status().as_str()];
        assert!(description.contains(code.as_str()), "{}: {description}", code.as_str());
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_a_name_of_its_own() {
    fn walk(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| walk(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = document();
    let mut references = Vec::new();
    walk(&document, &mut references);
    for reference in references {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
    }
    let mut names = BTreeSet::new();
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            assert!(names.insert(operation["operationId"].to_string()), "{}", operation["operationId"]);
        }
    }
}

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

/// Each documented path with its methods.
fn paths() -> BTreeMap<String, BTreeSet<String>> {
    let document = document();
    let paths = document["paths"].as_object().unwrap().iter();
    paths.map(|(path, item)| (path.clone(), item.as_object().unwrap().keys().cloned().collect())).collect()
}

/// The paths that the source builds resources of. actix-web does not tell which it serves.
fn collect(folder: &Path, built: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, built);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        // In two parts, lest it be found here.
        let start = ["resource", "(\""].concat();
        built.extend(text.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
}
