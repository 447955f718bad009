use super::*;
use crate::event::{DedupeKey, Event};
use crate::ids::{AppId, Seq, WorkspaceId};
use AckMode::{Answered, Received, Stored};

#[test]
fn without_any_route_every_handler_gets_everything() {
    let routes = Routes::new(&[], &handlers(), &[], Stored);
    for kind in [Kind::EventsApi, Kind::Interactive, Kind::SlashCommands, Kind::Unknown] {
        let verdict = routes.ask(&event(kind, "x", "{}"));
        assert_eq!((names(verdict.handlers), verdict.ack), ("abc".to_owned(), Stored));
        let may_answer = matches!(kind, Kind::Interactive | Kind::SlashCommands);
        assert_eq!(names(verdict.answering), if may_answer { "abc" } else { "" });
    }
}

#[test]
fn a_route_that_is_off_gives_nobody_anything_and_is_a_route_all_the_same() {
    let off = Route { is_on: false, ..route("a", Match::default()) };
    let routes = [off, route("b", Match::default())];
    assert_eq!(asked(&routes[..1], &message()), "");
    assert_eq!(asked(&routes, &message()), "b");
}

#[test]
fn a_route_that_says_nothing_gives_its_handler_everything() {
    for kind in [Kind::EventsApi, Kind::Interactive, Kind::SlashCommands, Kind::Unknown] {
        assert_eq!(asked(&[route("b", Match::default())], &event(kind, "x", "{}")), "b");
    }
}

#[test]
fn all_fields_must_hold_and_of_one_field_any_value_may() {
    let matches = Match {
        kinds: vec![Kind::EventsApi, Kind::Unknown],
        types: texts(&["message", "app_*"]),
        ..Match::default()
    };
    let routes = [route("a", matches)];
    assert_eq!(asked(&routes, &message()), "a");
    assert_eq!(asked(&routes, &event(Kind::Unknown, "app_mention", "{}")), "a");
    assert_eq!(asked(&routes, &event(Kind::EventsApi, "reaction_added", "{}")), "");
    assert_eq!(asked(&routes, &event(Kind::Interactive, "message", "{}")), "");
}

#[test]
fn commands_are_those_of_slash_commands_alone_and_types_are_none() {
    let command = event(Kind::SlashCommands, "/deploy", "{}");
    let by_command = route("a", Match { commands: texts(&["/dep*"]), ..Match::default() });
    let by_type = route("b", Match { types: texts(&["*"]), ..Match::default() });
    let routes = [by_command, by_type];
    assert_eq!(asked(&routes, &command), "a");
    assert_eq!(asked(&routes, &event(Kind::EventsApi, "/deploy", "{}")), "b");
    assert_eq!(asked(&routes, &event(Kind::SlashCommands, "/help", "{}")), "");
}

#[test]
fn ids_are_looked_for_in_the_payloads_of_interactions() {
    let routes = [
        route("a", Match { callback_ids: texts(&["settings"]), ..Match::default() }),
        route("b", Match { action_ids: texts(&["approve", "deny_*"]), ..Match::default() }),
        route(
            "c",
            Match { callback_ids: texts(&["settings"]), action_ids: texts(&["save"]), ..Match::default() },
        ),
    ];
    let click = |payload| event(Kind::Interactive, "block_actions", payload);
    let in_view = r#"{"view":{"callback_id":"settings"},"actions":[{"action_id":"x"},{"action_id":"save"}]}"#;
    assert_eq!(asked(&routes, &click(in_view)), "ac");
    assert_eq!(asked(&routes, &click(r#"{"actions":[{"action_id":"deny_all"}]}"#)), "b");
    assert_eq!(asked(&routes, &click("{}")), "");
    assert_eq!(asked(&routes, &event(Kind::EventsApi, "message", in_view)), "");
}

#[test]
fn workspaces_are_known_by_their_names_and_labels_and_nobodys_events_are_no_ones() {
    let routes = [
        route("a", Match { workspaces: vec![name("acme"), name("initech")], ..Match::default() }),
        route("b", Match { labels: vec![label("tier", "gold"), label("tenant", "7")], ..Match::default() }),
        route(
            "c",
            Match { workspaces: vec![name("acme")], labels: vec![label("tier", "gold")], ..Match::default() },
        ),
    ];
    let place = |id, named, labels: &[(&str, &str)]| NamedWorkspace {
        workspace: WorkspaceId(id),
        name: name(named),
        labels: labels.iter().map(|(key, value)| label(key, value)).collect(),
    };
    let places = [
        place(1, "acme", &[("tier", "gold"), ("tenant", "1")]),
        place(2, "initech", &[("tier", "silver")]),
        place(3, "globex", &[("tenant", "7")]),
    ];
    let routes = Routes::new(&routes, &handlers(), &places, Stored);
    let of = |workspace| names(routes.ask(&Event { workspace, ..message() }).handlers);
    assert_eq!(of(Some(WorkspaceId(1))), "abc");
    assert_eq!(of(Some(WorkspaceId(2))), "a");
    assert_eq!(of(Some(WorkspaceId(3))), "b");
    assert_eq!(of(Some(WorkspaceId(4))), "", "one that is not known yet");
    assert_eq!(of(None), "");
}

#[test]
fn the_strongest_ack_of_those_that_match_wins_and_who_says_nothing_says_the_nodes() {
    let with = |handler, ack| Route { ack, ..route(handler, Match::default()) };
    let command = event(Kind::SlashCommands, "/deploy", "{}");
    for (acks, default, wins) in [
        (vec![Some(Received)], Stored, Received),
        (vec![Some(Received), None], Stored, Stored),
        (vec![Some(Received), None], Received, Received),
        (vec![Some(Received), Some(Stored)], Received, Stored),
        (vec![Some(Answered), Some(Stored), Some(Received)], Stored, Answered),
        (vec![None], Received, Received),
    ] {
        let routes: Vec<_> = acks.iter().map(|ack| with("a", *ack)).collect();
        let routes = Routes::new(&routes, &handlers(), &[], default);
        assert_eq!(routes.ask(&command).ack, wins, "{acks:?}");
    }
    let other =
        Route { ack: Some(Received), ..route("a", Match { types: texts(&["x"]), ..Match::default() }) };
    assert_eq!(
        Routes::new(&[other], &handlers(), &[], Stored).ask(&message()).ack,
        Stored,
        "it does not match"
    );
}

#[test]
fn where_no_route_says_anything_else_every_ack_is_the_nodes() {
    let with = |ack| Route { ack, ..route("a", Match { types: texts(&["message"]), ..Match::default() }) };
    for (routes, only) in [
        (vec![], Some(Stored)),
        (vec![with(None)], Some(Stored)),
        (vec![with(None), with(Some(Stored))], Some(Stored)),
        (vec![with(None), with(Some(Received))], None),
        (vec![Route { is_on: false, ..with(Some(Received)) }], Some(Stored)),
    ] {
        assert_eq!(Routes::new(&routes, &handlers(), &[], Stored).only_ack(), only, "{routes:?}");
    }
}

#[test]
fn those_answer_whose_routes_say_so_or_say_nothing_and_nobody_answers_an_event() {
    let routes = [
        Route { ack: Some(Answered), ..route("b", Match::default()) },
        Route { ack: Some(Stored), ..route("a", Match::default()) },
        route("b", Match::default()),
        route("c", Match::default()),
        Route { ack: Some(Received), ..route("c", Match::default()) },
    ];
    let routes = Routes::new(&routes, &handlers(), &[], Received);
    let verdict = routes.ask(&event(Kind::SlashCommands, "/deploy", "{}"));
    assert_eq!((names(verdict.handlers), names(verdict.answering)), ("abc".to_owned(), "bc".to_owned()));
    assert!(routes.ask(&event(Kind::Unknown, "x", "{}")).answering.is_empty());
    let verdict = routes.ask(&message());
    assert_eq!((names(verdict.answering), verdict.ack), (String::new(), Stored));
}

#[test]
fn an_answer_is_found_behind_a_weaker_route_to_the_same_handler() {
    let routes = [
        Route { ack: Some(Stored), ..route("a", Match::default()) },
        Route { ack: Some(Answered), ..route("a", Match::default()) },
    ];
    let verdict = Routes::new(&routes, &handlers(), &[], Stored).ask(&event(Kind::Interactive, "x", "{}"));
    assert_eq!((names(verdict.answering), verdict.ack), ("a".to_owned(), Answered));
}

#[test]
fn a_route_to_a_handler_that_is_not_here_says_nothing() {
    let elsewhere = Route { ack: Some(Received), ..route("z", Match::default()) };
    let routes = Routes::new(&[elsewhere], &handlers(), &[], Stored);
    let verdict = routes.ask(&message());
    assert_eq!((names(verdict.handlers), verdict.ack), (String::new(), Stored));
    assert!(!routes.is_empty());
}

fn asked(routes: &[Route], event: &Event) -> String {
    names(Routes::new(routes, &handlers(), &[], Stored).ask(event).handlers)
}

fn names(set: HandlerSet) -> String {
    set.iter().map(|at| handlers()[at].clone()).collect()
}

fn handlers() -> Vec<String> {
    texts(&["a", "b", "c"])
}

fn route(handler: &str, matches: Match) -> Route {
    let name = RouteName::parse("r").unwrap();
    Route { name, handler: handler.to_owned(), matches, ack: None, is_on: true }
}

fn message() -> Event {
    event(Kind::EventsApi, "message", "{}")
}

fn event(kind: Kind, kind_type: &str, payload: &str) -> Event {
    Event {
        seq: Seq(1),
        app: AppId(1),
        workspace: None,
        kind,
        kind_type: kind_type.into(),
        slack_id: "Ev1".into(),
        dedupe: DedupeKey([0; 16]),
        retry: 0,
        received_ms: 0,
        payload: payload.into(),
    }
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|one| (*one).to_owned()).collect()
}

fn name(text: &str) -> WorkspaceName {
    WorkspaceName::parse(text).unwrap()
}

fn label(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}
