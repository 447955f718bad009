//! Slack's own SDKs against the simulator.
//!
//! Each client lives its ordinary life here: what the simulator says is understood, what it does to a socket leads to what
//! that SDK really does. The SDKs differ, and where they do the tests say how.
mod line;

use std::time::Duration;

use serde_json::json;
use tautline::simulator::{
    Act, AppRecord, Arm, Ending, Fault, Handle, Load, Outcome, Outgoing, Record, Template, Which,
};

use self::line::{ALL, Line, PATIENCE, Sdk, each, each_with, slack};
use super::harness::Stage;

/// Slack's ordinary end of a socket.
const CLOSE: Ending = Ending::Close { code: Some(1000), hold_ms: 0 };

#[tokio::test]
async fn every_known_kind_is_handed_over_and_acked_at_once() {
    let slack = slack(|_| ());
    each(&slack, &ALL, async |line| {
        for template in [
            Template::Message,
            Template::AppMention,
            Template::AppUninstalled,
            Template::TokensRevoked,
            Template::BlockActions,
            Template::ViewSubmission,
            Template::ViewClosed,
            Template::BlockSuggestion,
            Template::Shortcut,
            Template::MessageAction,
        ] {
            let event = line.sent(Outgoing::template(template)).await;
            assert_eq!(event.outcome, Outcome::Acked, "{:?}, {template:?}", line.sdk);
            assert_eq!(line.received(&event.id, 0).await["type"], template.kind());
            // slack_sdk leaves an empty payload out, Node does not.
            let payload = (line.sdk != Sdk::Python).then(|| json!({}));
            assert_eq!(event.ack_payload, payload, "{:?}, {template:?}", line.sdk);
        }
        let record = line.record();
        assert!(record.anomalies.is_empty(), "{:?}", record.anomalies);
        assert_eq!((record.sockets.len(), record.counts.retried), (1, 0), "{:?}", line.sdk);
    })
    .await;
}

#[tokio::test]
async fn a_slash_command_is_answered_in_its_ack() {
    let slack = slack(|_| ());
    each(&slack, &ALL, async |line| {
        let event = line.sent(Outgoing::template(Template::SlashCommand)).await;
        assert_eq!(event.outcome, Outcome::Acked, "{:?}", line.sdk);
        assert_eq!(event.ack_payload, Some(json!({"text": "pong"})), "{:?}", line.sdk);
    })
    .await;
}

#[tokio::test]
async fn an_unknown_kind_is_acked_by_the_clients_and_by_bolt_never() {
    let slack = slack(|rules| (rules.ack_deadline_ms, rules.time_scale) = (1_000, 0.0));
    each(&slack, &ALL, async |line| {
        let event = line.sent(Outgoing::template(Template::UnknownType)).await;
        let outcome = if line.sdk == Sdk::Bolt { Outcome::GivenUp } else { Outcome::Acked };
        assert_eq!(event.outcome, outcome, "{:?}", line.sdk);
        assert_eq!(line.received(&event.id, 0).await["type"], "something_new");
    })
    .await;
}

#[tokio::test]
async fn an_event_without_an_inner_event_ends_this_node_client_and_no_other() {
    let slack = slack(|_| ());
    each(&slack, &[Sdk::Node, Sdk::Python], async |line| {
        let rate_limited = Outgoing::template(Template::AppRateLimited);
        if line.sdk == Sdk::Python {
            assert_eq!(line.sent(rate_limited).await.outcome, Outcome::Acked);
            return;
        }
        // 3.1.0 reads `payload.event.type` unguarded; 3.1.1 does not.
        slack.send(&line.app, rate_limited).unwrap();
        assert!(!line.ends_because_of("TypeError").await.success());
    })
    .await;
}

#[tokio::test]
async fn pings_are_answered_on_both_sides() {
    let slack = slack(|rules| (rules.first_ping_ms, rules.ping_every_ms) = (100, 500));
    each(&slack, &ALL, async |line| {
        line.seen("three pings and pongs", |app| {
            app.sockets.iter().any(|socket| socket.pongs >= 3 && socket.client_pings >= 3)
        })
        .await;
        assert_eq!(line.record().sockets.len(), 1, "{:?}", line.sdk);
        line.works().await;
    })
    .await;
}

#[tokio::test]
async fn an_unacked_event_comes_again_with_its_number_and_reason() {
    let slack = slack(|rules| (rules.ack_deadline_ms, rules.time_scale) = (1_000, 0.001));
    // Bolt acks events before its listeners hear of them.
    for sdk in [Sdk::Node, Sdk::Python] {
        let mut line = Line::start(&slack, sdk, "1", &[("PEER_ACKS_FROM_RETRY", "2")]);
        line.connected(1).await;
        let event = line.sent(Outgoing::default()).await;
        assert_eq!(event.outcome, Outcome::Acked, "{sdk:?}");
        let retries: Vec<u8> = event.attempts.iter().map(|attempt| attempt.retry).collect();
        assert_eq!(retries, [0, 1, 2], "{sdk:?}");
        assert_eq!(line.received(&event.id, 0).await["retry_reason"], "");
        for retry in [1, 2] {
            let again = line.received(&event.id, retry).await;
            assert_eq!(
                (&again["id"], &again["retry_reason"]),
                (&json!(event.id), &json!("timeout")),
                "{sdk:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_event_sent_while_no_socket_is_live_arrives_as_a_retry() {
    let slack = slack(|rules| rules.time_scale = 0.01);
    each(&slack, &[Sdk::Node, Sdk::Bolt], async |line| {
        line.end(CLOSE);
        line.seen("no live socket", |app| app.live_sockets() == 0).await;
        let event = line.sent(Outgoing::default()).await;
        assert_eq!((event.outcome, event.attempts[0].socket), (Outcome::Acked, None), "{:?}", line.sdk);
        let retry = event.attempts.last().unwrap().retry;
        assert!(retry > 0);
        assert_eq!(line.received(&event.id, retry.into()).await["retry_reason"], "timeout");
    })
    .await;
}

#[tokio::test]
async fn an_announced_end_is_followed_by_a_new_socket() {
    let slack = slack(|rules| rules.refresh_to_close_ms = 10_000);
    each_with(&slack, &ALL, &["refresh_requested", "warning", "a_word_of_tomorrow"], async |line, reason| {
        line.announce(reason);
        line.connected(2).await;
        line.works().await;
        let record = line.record();
        let (old, new) = (&record.sockets[0], &record.sockets[1]);
        assert_eq!(old.announced[0].reason, *reason);
        // slack_sdk opens the new socket first, Node's client closes the old one first.
        let overlaps = old.live_until.is_none_or(|until| new.opened_at < until);
        assert_eq!(overlaps, line.sdk == Sdk::Python, "{:?}, {reason}", line.sdk);
        line.seen("one socket left", |app| app.live_sockets() == 1).await;
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_is_closed_or_reset_is_replaced() {
    let slack = slack(|_| ());
    let ends = [CLOSE, Ending::Close { code: Some(1001), hold_ms: 0 }, Ending::Reset];
    each_with(&slack, &ALL, &ends, async |line, how| {
        line.end(*how);
        line.connected(2).await;
        line.works().await;
    })
    .await;
}

#[tokio::test]
async fn text_that_is_no_json_and_other_noise_leave_the_socket_as_it_is() {
    let slack = slack(|_| ());
    each(&slack, &ALL, async |line| {
        for text in ["UNAUTHENTICATED: cache_error", "", "\n", "{\"half\":"] {
            line.act(&Act::Text { text: text.into() });
        }
        line.act(&Act::Binary { bytes: 100 });
        line.act(&Act::Ping { bytes: 125 });
        line.works().await;
        assert_eq!(line.record().sockets.len(), 1, "{:?}", line.sdk);
    })
    .await;
}

#[tokio::test]
async fn too_many_websockets_once_ends_in_a_new_try() {
    let slack = slack(|_| ());
    each(&slack, &ALL, async |line| {
        slack.ghosts(&line.app, 10).unwrap();
        line.end(CLOSE);
        line.seen("a socket refused", |app| {
            app.sockets
                .iter()
                .any(|socket| socket.announced.iter().any(|said| said.reason == "too_many_websockets"))
        })
        .await;
        slack.ghosts(&line.app, 0).unwrap();
        line.connected(2).await;
        line.works().await;
    })
    .await;
}

#[tokio::test]
async fn a_failed_open_or_upgrade_is_tried_again() {
    let slack = slack(|_| ());
    let faults = [
        (Fault::ApiStatus { method: None, status: 500, retry_after: None, body: None }, [200, 500, 200]),
        (Fault::ApiGarbage { method: None }, [200, 200, 200]),
        (Fault::DialStatus { status: 409, body: None }, [200, 200, 200]),
    ];
    each_with(&slack, &ALL, &faults, async |line, (fault, statuses)| {
        slack.arm(Some(&line.app), Arm::once(fault.clone())).unwrap();
        line.end(CLOSE);
        line.connected(2).await;
        line.works().await;
        let opens: Vec<_> = line.record().opens.iter().map(|open| open.status.unwrap()).collect();
        assert_eq!(opens, statuses, "{:?}, {fault:?}", line.sdk);
    })
    .await;
}

#[tokio::test]
async fn a_limited_open_waits_as_long_as_it_is_told() {
    let slack = slack(|_| ());
    each(&slack, &ALL, async |line| {
        // Longer than the 5 s after which each of them tries again of itself.
        let limit = Fault::ApiStatus { method: None, status: 429, retry_after: Some(7), body: None };
        slack.arm(Some(&line.app), Arm::once(limit)).unwrap();
        line.end(CLOSE);
        line.connected(2).await;
        line.works().await;
        let opens = line.record().opens;
        assert_eq!((opens.len(), opens[1].status), (3, Some(429)), "{:?}", line.sdk);
        assert!(opens[2].at.since(opens[1].at) >= Duration::from_secs(7), "{:?}: {opens:?}", line.sdk);
    })
    .await;
}

/// The longest test here. Node's clients give Slack's pings 30 s. After a bare FIN `slack_sdk` reads nothing over and over
/// until five of its pings, one every 5 s, could not be sent.
#[tokio::test]
async fn a_socket_that_dies_without_a_word_is_replaced_in_the_end() {
    enum Death {
        Fin,
        Unheard,
    }
    let slack = slack(|rules| rules.first_ping_ms = 100);
    each_with(&slack, &ALL, &[Death::Fin, Death::Unheard], async |line, death| {
        line.seen("a ping each way", |app| {
            app.sockets.iter().any(|socket| socket.client_pings > 0 && socket.pongs > 0)
        })
        .await;
        match death {
            Death::Fin => line.end(Ending::Fin),
            Death::Unheard => {
                // slack_sdk does not watch Slack's pings.
                let fault = if line.sdk == Sdk::Bolt { Fault::NoPings } else { Fault::NoPongs };
                let number = slack.arm(Some(&line.app), fault).unwrap();
                line.seen("the socket's end", |app| app.sockets[0].live_until.is_some()).await;
                slack.disarm(number);
            }
        }
        line.connected(2).await;
        line.works().await;
    })
    .await;
}

#[tokio::test]
async fn invalid_auth_at_the_start_ends_every_client() {
    let slack = slack(|_| ());
    for sdk in ALL {
        let mut line =
            Line::start(&slack, sdk, "1", &[("SLACK_APP_TOKEN", "xapp-1-A0WRONG-1-0123456789abcdef")]);
        assert_eq!(line.ends_because_of("invalid_auth").await.code(), Some(1), "{sdk:?}");
        assert!(line.record().sockets.is_empty());
    }
}

#[tokio::test]
async fn invalid_auth_at_a_reconnect_ends_node_while_python_goes_on_trying() {
    let slack = slack(|_| ());
    each(&slack, &ALL, async |line| {
        slack.refuse(&line.app, Some("invalid_auth")).unwrap();
        line.end(CLOSE);
        if line.sdk != Sdk::Python {
            assert_eq!(line.ends_because_of("invalid_auth").await.code(), Some(1), "{:?}", line.sdk);
            assert_eq!(line.record().opens.len(), 2);
            return;
        }
        line.seen("two refused opens", |app| {
            app.opens.iter().filter(|open| open.result == "invalid_auth").count() >= 2
        })
        .await;
        slack.refuse(&line.app, None).unwrap();
        line.connected(2).await;
        line.works().await;
    })
    .await;
}

/// The same refresh for the SDKs and for Tautline, Slack's side as it is: TCP stays open after a client's goodbye.
#[actix::test]
async fn a_refresh_under_load_costs_tautline_no_gap_and_no_retry() {
    let stage = Stage::with_rules(|rules| rules.time_scale = 0.01);
    let customer = stage.customer("ours");
    let node = stage.node().await;
    node.welcome(&[&customer]).await;
    let ours = async {
        refresh_under_load(&stage.slack, &customer.app_id).await;
        stage.assert_flawless(&customer);
    };
    let theirs = each(&stage.slack, &ALL, async |line| {
        refresh_under_load(&stage.slack, &line.app).await;
        let (gap, retried) = (line.longest_gap(), line.record().counts.retried);
        // Node's clients wait 5 s before they open again.
        assert_eq!(gap >= Duration::from_secs(5), line.sdk != Sdk::Python, "{:?}: {gap:?}", line.sdk);
        println!(
            "{:?}: {} ms without a socket at a refresh, {retried} events sent again",
            line.sdk,
            gap.as_millis()
        );
    });
    futures_util::join!(ours, theirs);
    node.stop().await;
}

/// 50 events a second, a refresh in their middle; comes back when the old socket is gone, a new one has acked many and all
/// is settled.
async fn refresh_under_load(slack: &Handle, app: &str) {
    let until = async |wanted: &dyn Fn(&AppRecord) -> bool| {
        let look = |record: &Record| record.app(app).is_some_and(wanted);
        slack.until(look, PATIENCE).await.unwrap_or_else(|error| panic!("{app}: {error}"));
    };
    slack.load(app, Load { rate: Some(50.0), ..Load::default() }).unwrap();
    until(&|app| app.counts.acked >= 50).await;
    let refresh = Act::Disconnect { reason: "refresh_requested".into(), after_ms: None, then: None };
    assert_eq!(slack.act(Some(app), Which::All, &refresh), Ok(1));
    until(&|app| {
        app.sockets[0].live_until.is_some() && app.sockets.iter().skip(1).any(|new| new.acked >= 100)
    })
    .await;
    slack.stop_load(app).unwrap();
    until(&|app| app.counts.acked + app.counts.given_up == app.counts.sent).await;
    until(&|app| app.live_sockets() == 1).await;
}
