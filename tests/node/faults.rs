//! Everything Slack and the network do to a connection: the right state for the right reason, the neighbour untouched, nothing
//! lost, and `ready` again by itself.

use std::time::Duration;

use serde_json::json;
use tautline::simulator::{Act, Arm, Ending, Fault, Load, Outcome, Outgoing, Shape, Template, Which};
use tautline::status::{Actor, Code, State};

use super::harness::{Customer, Node, PROMISED, Stage, code_of};

const RESET: Act = Act::End { how: Ending::Reset };

// What breaks an open socket.

macro_rules! socket_breaks {
    ($($name:ident: $act:expr => $code:ident;)+) => {$(
        #[actix::test]
        async fn $name() {
            Scene::set().await.after($act, Code::$code).await.end().await;
        }
    )+};
}

socket_breaks! {
    a_reset_is_a_lost_connection: RESET => ConnectionLost;
    a_fin_without_a_close_frame_is_a_lost_connection: Act::End { how: Ending::Fin } => ConnectionLost;
    a_close_frame_without_a_word_before_is_slacks_doing:
        Act::End { how: Ending::Close { code: Some(1001), hold_ms: 0 } } => ClosedBySlack;
    text_that_is_no_json_ends_the_socket: text("UNAUTHENTICATED: cache_error") => NotJson;
    half_an_object_ends_the_socket: text("{\"type\":\"hel") => NotJson;
    text_that_is_no_utf8_ends_the_socket: Act::InvalidUtf8 => ProtocolViolation;
    a_reserved_opcode_ends_the_socket: Act::ReservedOpcode => ProtocolViolation;
    a_reserved_bit_ends_the_socket: Act::ReservedBit => ProtocolViolation;
    a_masked_frame_ends_the_socket: Act::MaskedFrame => ProtocolViolation;
    a_continuation_of_nothing_ends_the_socket: Act::LoneContinuation => ProtocolViolation;
}

#[actix::test]
async fn slow_silence_is_noticed_after_thirty_seconds() {
    let scene = Scene::set().await;
    let since = scene.changes().await;
    scene.act(&Act::Silence);
    scene.node.was_down("acme", since, Code::Silent, Duration::from_secs(35)).await;
    scene.end().await;
}

#[actix::test]
async fn a_frame_of_20_mib_ends_the_socket_and_leaves_a_warning() {
    let scene = Scene::set().await.after(Act::HugeFrame { bytes: 20 << 20 }, Code::FrameTooLarge).await;
    let status = scene.node.ready("acme").await;
    assert_eq!(status.warnings, [Code::FrameTooLarge]);
    scene.end().await;
}

// What does not.

#[actix::test]
async fn odd_frames_that_break_nothing_are_let_pass() {
    let scene = Scene::set().await;
    for text in
        ["", "\n", " \r\n", "[]", "null", "\"hello\"", "{}", r#"{"type":"new_thing"}"#, r#"{"type":1}"#]
    {
        scene.act(&Act::Text { text: text.into() });
    }
    scene.act(&Act::Binary { bytes: 1_000 });
    scene.act(&Act::Ping { bytes: 0 });
    scene.act(&Act::Ping { bytes: 125 });
    scene.act(&Act::Flood { frames: 2_000, bytes: 1_000 });
    scene.undisturbed().await;
}

#[actix::test]
async fn envelopes_come_whole_out_of_fragments_single_bytes_and_a_mebibyte() {
    // A thousand bytes with a pause after each take their time on a busy machine, and what is behind them waits.
    let scene = Scene::set_on(Stage::with_rules(|rules| rules.ack_deadline_ms = 20_000)).await;
    let mut ids = Vec::new();
    for what in [
        Outgoing { fragment_bytes: Some(7), ..Outgoing::default() },
        Outgoing { byte_pause_ms: Some(1), bytes: Some(900), ..Outgoing::default() },
        Outgoing { bytes: Some(1 << 20), ..Outgoing::default() },
        Outgoing { bytes: Some(1 << 20), fragment_bytes: Some(4_000), ..Outgoing::default() },
    ] {
        ids.push(scene.send(what));
    }
    for id in &ids {
        let event = scene.node.seen.until(id).await;
        assert!(event.payload.contains(id.as_str()), "{event:?}");
    }
    assert!(scene.node.seen.until(&ids[2]).await.payload.len() >= 1 << 20);
    scene.undisturbed().await;
}

#[actix::test]
async fn an_envelope_of_an_unknown_type_is_acked_and_handled_under_its_own_name() {
    let scene = Scene::set().await;
    let id = scene.send(Outgoing::template(Template::UnknownType));
    scene.stage.until_settled(&scene.acme).await;
    let event = scene.stage.look(&scene.acme, |app| app.event(&id).unwrap().clone());
    assert_eq!(event.outcome, Outcome::Acked);
    scene.node.seen.until_any("something_new", |event| &*event.kind_type == "something_new").await;
    scene.calm().await;
}

#[actix::test]
async fn payloads_of_every_shape_are_acked_and_handled() {
    let scene = Scene::set().await;
    let payloads = [
        json!({}),
        json!(null),
        json!([1, "a"]),
        json!("text"),
        json!({ "event_id": "Ev0NOEVENT" }),
        json!({ "event_id": 7, "event": 8, "team_id": [] }),
        json!({ "event_id": "Ev\u{0}ZERO", "event": { "type": "x\u{0}\u{202e}y" } }),
        json!({ "event_id": "E".repeat(5_000), "event": { "type": "t".repeat(5_000) } }),
    ];
    let before = scene.node.seen.events().len();
    for payload in &payloads {
        scene.send(Outgoing { payload: Some(payload.clone()), ..Outgoing::default() });
    }
    scene.stage.slack.stop_load(&scene.acme.app_id).unwrap();
    scene.stage.until_settled(&scene.acme).await;
    let fates = scene.acme.sent(&scene.stage);
    assert!(fates.iter().all(|(_, fate)| *fate == Outcome::Acked), "{fates:?}");
    scene.node.seen.until_count(before + payloads.len()).await;
    let handled: Vec<_> = scene.node.seen.events().iter().map(|event| event.payload.to_string()).collect();
    for payload in payloads.iter().map(ToString::to_string) {
        assert!(handled.contains(&payload), "{payload}");
    }
    scene.calm().await;
}

#[actix::test]
async fn an_envelope_id_of_any_shape_breaks_nothing() {
    let scene = Scene::set().await;
    for id in ["", "x", "\\u0000", "\\\"}{", "caf\u{e9}\u{1f980}"] {
        scene.send(Outgoing { envelope_id: Some(id.into()), ..Outgoing::default() });
    }
    scene.stage.slack.stop_load(&scene.acme.app_id).unwrap();
    scene.stage.until(&scene.acme, "most are acked", |app| app.counts.acked + 1 >= app.counts.sent).await;
    for frame in [
        r#"{"envelope_id":7,"type":"events_api","payload":{}}"#.to_owned(),
        r#"{"envelope_id":null,"type":"events_api","payload":{}}"#.to_owned(),
        format!(r#"{{"envelope_id":"{}","type":"events_api","payload":{{}}}}"#, "x".repeat(30_000)),
    ] {
        scene.stage.slack.send(&scene.acme.app_id, Outgoing::frame(frame)).unwrap();
    }
    let id = scene.send(Outgoing::default());
    scene.node.seen.until(&id).await;
    scene.calm().await;
}

#[actix::test]
async fn what_slack_sends_twice_is_acked_twice_and_handled_once() {
    let scene = Scene::set().await;
    let id = scene.send(Outgoing { copies: Some(3), ..Outgoing::default() });
    scene.node.seen.until(&id).await;
    // The same event in a new envelope, marked as sent again, as after an ack that got lost.
    let frame = |envelope: &str, event: &str| {
        format!(
            r#"{{"envelope_id":"{envelope}","type":"events_api","payload":{{"event_id":"{event}","event":{{"type":"message"}}}},"retry_attempt":2,"retry_reason":"timeout"}}"#
        )
    };
    let repeat = |envelope: &str, event: &str| {
        scene.stage.slack.send(&scene.acme.app_id, Outgoing::frame(frame(envelope, event))).unwrap();
    };
    repeat("again-1", &id);
    // What is marked as sent again but never came before is handled.
    repeat("again-2", "Ev0NEVERSEEN");
    let event = scene.node.seen.until("Ev0NEVERSEEN").await;
    assert_eq!(event.retry, 2);
    let last = scene.send(Outgoing::default());
    scene.node.seen.until(&last).await;
    let times = scene.node.seen.times();
    assert_eq!((times[&id], times["Ev0NEVERSEEN"]), (1, 1));
    let acks =
        |app: &tautline::simulator::AppRecord| app.sockets.iter().map(|socket| socket.acked).sum::<u64>();
    assert!(scene.stage.look(&scene.acme, acks) > 0);
    // The simulator knows nothing of the two bare frames, so their acks are strange to it, and it has seen both.
    let strange =
        |app: &tautline::simulator::AppRecord| app.counts.anomalies.get("unknown_envelope").copied();
    scene.stage.until(&scene.acme, "both repeats are acked", |app| strange(app) == Some(2)).await;
    scene.calm().await;
}

// What keeps a socket from opening.

macro_rules! socket_does_not_open {
    ($($name:ident: $fault:expr => $code:ident;)+) => {$(
        #[actix::test]
        async fn $name() {
            Scene::set().await.before($fault, Code::$code).await.end().await;
        }
    )+};
}

socket_does_not_open! {
    no_hello_is_told_after_ten_seconds: Fault::NoHello => NoHello;
    an_upgrade_refused_with_408_is_told: upgrade(408) => UpgradeRefused;
    an_upgrade_refused_with_409_is_told: upgrade(409) => UpgradeRefused;
    an_upgrade_refused_with_503_is_told: upgrade(503) => UpgradeRefused;
    a_page_in_place_of_an_upgrade_is_told: upgrade(200) => UpgradeRefused;
    a_dial_that_is_reset_is_told: Fault::DialReset => DialFailed;
    a_dial_that_hangs_is_given_up_after_ten_seconds: Fault::DialHang => DialTimeout;
    a_500_with_a_page_is_told: page(500) => HttpError;
    a_503_with_a_page_is_told: page(503) => HttpError;
    a_page_in_place_of_an_answer_is_told: page(200) => BadReply;
    an_answer_that_is_no_json_is_told: Fault::ApiGarbage { method: None } => BadReply;
    an_internal_error_of_slack_is_told: refusal("internal_error") => InternalError;
    a_fatal_error_of_slack_is_told: refusal("fatal_error") => FatalError;
    a_web_api_that_breaks_off_is_unreachable: Fault::ApiReset { method: None } => Unreachable;
    a_web_api_that_hangs_is_given_up_after_ten_seconds: Fault::ApiHang { method: None } => OpenTimeout;
}

#[actix::test]
async fn a_late_hello_is_waited_for() {
    let scene = Scene::set().await;
    scene.arm(Arm::once(Fault::LateHello { ms: 4_000 }));
    scene.act(&RESET);
    scene.node.until("acme", |status| status.state == State::Connected, PROMISED).await;
    scene.node.ready("acme").await;
    let opens = scene.stage.look(&scene.acme, |app| app.counts.opens);
    assert_eq!(opens, 2, "one attempt is enough");
    scene.end().await;
}

#[actix::test]
async fn a_hello_without_debug_info_is_a_hello() {
    let scene = Scene::set().await;
    scene.arm(Arm::once(Fault::HelloWithoutDebugInfo));
    scene.after(RESET, Code::ConnectionLost).await.end().await;
}

#[actix::test]
async fn a_hello_of_another_app_is_never_ready_and_waits_for_a_person() {
    let scene = Scene::set().await;
    let elsewhere = scene.arm(Arm::from(Fault::HelloOfApp { app_id: "A0OTHER".into() }));
    scene.act(&RESET);
    let status = scene.node.failed("acme", Code::AppMismatch).await;
    assert_eq!(status.reason.unwrap().actor, Actor::Customer);
    assert_eq!(status.next_attempt_ms, None, "no probe can mend it");
    let opens = scene.stage.look(&scene.acme, |app| app.counts.opens);
    assert_eq!(opens, 2);
    scene.stage.slack.disarm(elsewhere);
    scene.off_and_on().await;
    scene.end().await;
}

#[actix::test]
async fn retry_after_is_kept_to() {
    let scene = Scene::set().await;
    let limited = Fault::ApiStatus { method: None, status: 429, retry_after: Some(5), body: None };
    scene.arm(Arm::once(limited));
    let since = scene.changes().await;
    scene.act(&RESET);
    scene.node.was_down("acme", since, Code::Ratelimited, PROMISED).await;
    // Nor does somebody's wish go before it.
    scene.off_and_on().await;
    scene.stage.look(&scene.acme, |app| {
        let refused = app.opens.iter().position(|open| open.status == Some(429)).unwrap();
        let waited = app.opens[refused + 1].at.since(app.opens[refused].at);
        assert!(waited >= Duration::from_secs(5), "asked again after {waited:?}");
    });
    scene.end().await;
}

#[actix::test]
async fn an_error_code_that_nobody_knows_is_tried_again_slowly() {
    let scene = Scene::set().await;
    scene.arm(Arm::once(refusal("mercury_in_retrograde")));
    scene.act(&RESET);
    let status = scene.waits_for("acme", Code::UnknownSlackError).await;
    assert_eq!(status.0, State::Reconnecting);
    assert!(status.1 >= Duration::from_secs(55), "the next attempt comes in {:?}", status.1);
    scene.off_and_on().await;
    scene.end().await;
}

#[actix::test]
async fn too_many_websockets_are_waited_out_for_half_a_minute() {
    let scene = Scene::set().await;
    scene.stage.slack.ghosts(&scene.acme.app_id, 10).unwrap();
    scene.act(&RESET);
    let (state, wait) = scene.waits_for("acme", Code::TooManyWebsockets).await;
    assert_eq!(state, State::Reconnecting);
    assert!(wait >= Duration::from_secs(25), "the next attempt comes in {wait:?}");
    scene.stage.slack.ghosts(&scene.acme.app_id, 0).unwrap();
    scene.off_and_on().await;
    scene.end().await;
}

// What only a person can mend.

#[actix::test]
async fn a_switched_off_app_fails_until_somebody_connects_it_again() {
    let scene = Scene::set().await;
    scene.stage.slack.disable(&scene.acme.app_id).unwrap();
    let status = scene.node.failed("acme", Code::LinkDisabled).await;
    assert_eq!(status.reason.unwrap().actor, Actor::Customer);
    let shown = scene.node.workspace("acme").await;
    assert_eq!((&shown["state"], &shown["health"]), (&json!("failed"), &json!("down")));
    assert_eq!(shown["reason"]["code"], json!("link_disabled"));
    assert!(status.next_attempt_ms.is_some(), "a probe looks whether it is switched on again");
    scene.stage.slack.refuse(&scene.acme.app_id, None).unwrap();
    // The same body once more changes nothing.
    let opens = scene.stage.look(&scene.acme, |app| app.counts.opens);
    assert_eq!(scene.node.put("acme", &scene.acme.body()).await.status, 200);
    assert_eq!(scene.node.status("acme").await.borrow().state, State::Failed);
    assert_eq!(scene.stage.look(&scene.acme, |app| app.counts.opens), opens);
    scene.off_and_on().await;
    scene.end().await;
}

#[actix::test]
async fn a_token_that_slack_refuses_fails_until_another_is_put_in_place() {
    let scene = Scene::set().await;
    scene.arm(Arm::once(refusal("invalid_auth")));
    scene.act(&RESET);
    let status = scene.node.failed("acme", Code::InvalidAuth).await;
    assert_eq!(status.reason.unwrap().actor, Actor::Customer);
    let token = scene.stage.second_token(&scene.acme);
    assert_eq!(scene.node.put("acme", &json!({ "app_token": token })).await.status, 200);
    scene.node.ready("acme").await;
    scene.end().await;
}

// What happens to all at once.

#[actix::test]
async fn an_outage_of_five_seconds_is_over_for_everyone_soon_after_it() {
    let scene = Scene::set().await;
    scene.stage.slack.outage(Duration::from_secs(5), true);
    for name in ["acme", "globex"] {
        scene.node.was_down(name, 0, Code::Unreachable, PROMISED).await;
    }
    for name in ["acme", "globex"] {
        scene
            .node
            .until(name, |status| status.state == State::Ready, Duration::from_secs(5) + PROMISED)
            .await;
    }
    let Scene { stage, node, acme, globex } = scene;
    for customer in [&acme, &globex] {
        stage.slack.stop_load(&customer.app_id).unwrap();
        stage.until_settled(customer).await;
    }
    node.seen.assert_all_handled(&stage, &[&acme, &globex]).await;
    node.stop().await;
}

#[actix::test]
async fn a_hundred_workspaces_come_back_together_after_an_outage() {
    let stage = Stage::persistent();
    let node = stage.node().await;
    let customers: Vec<_> = (0..100).map(|number| stage.customer(&format!("customer-{number}"))).collect();
    node.welcome(&customers.iter().collect::<Vec<_>>()).await;
    for customer in &customers {
        stage.slack.load(&customer.app_id, Load { rate: Some(2.0), ..Load::default() }).unwrap();
    }
    stage.slack.outage(Duration::from_secs(3), true);
    for customer in &customers {
        node.was_down(&customer.name, 0, Code::Unreachable, PROMISED).await;
    }
    for customer in &customers {
        node.until(&customer.name, |status| status.state == State::Ready, Duration::from_secs(3) + PROMISED)
            .await;
    }
    for customer in &customers {
        stage.slack.stop_load(&customer.app_id).unwrap();
    }
    for customer in &customers {
        stage.until_settled(customer).await;
    }
    node.seen.assert_each_once(&stage, &customers.iter().collect::<Vec<_>>()).await;
    node.stop().await;
}

#[actix::test]
async fn faults_in_a_row_leave_a_connection_that_works() {
    let mut scene = Scene::set().await;
    for act in [RESET, text("no json"), RESET] {
        let down = scene.stage.look(&scene.acme, |app| app.counts.sockets);
        scene.act(&act);
        scene
            .stage
            .until(&scene.acme, "the next socket is live", |app| {
                app.counts.sockets > down && app.live_sockets() == 1
            })
            .await;
    }
    scene.arm(Arm::from(Fault::Shape(Shape { fragment_bytes: Some(50), ..Shape::default() })));
    scene = scene.after(RESET, Code::ConnectionLost).await;
    scene.end().await;
}

fn text(text: &str) -> Act {
    Act::Text { text: text.into() }
}

fn upgrade(status: u16) -> Fault {
    Fault::DialStatus { status, body: None }
}

fn page(status: u16) -> Fault {
    Fault::ApiStatus { method: None, status, retry_after: None, body: None }
}

fn refusal(error: &str) -> Fault {
    Fault::ApiError { method: None, error: error.into() }
}

/// Two customers on one node under load: one is in for something, the other must not notice.
struct Scene {
    stage: Stage,
    node: Node,
    acme: Customer,
    globex: Customer,
}

impl Scene {
    async fn set() -> Self {
        Self::set_on(Stage::persistent()).await
    }

    async fn set_on(stage: Stage) -> Self {
        let node = stage.node().await;
        let (acme, globex) = (stage.customer("acme"), stage.customer("globex"));
        node.welcome(&[&acme, &globex]).await;
        for (customer, rate) in [(&acme, 20.0), (&globex, 5.0)] {
            stage.slack.load(&customer.app_id, Load { rate: Some(rate), ..Load::default() }).unwrap();
            stage.until(customer, "events flow", |app| app.counts.acked > 2).await;
        }
        Self { stage, node, acme, globex }
    }

    fn act(&self, act: &Act) {
        let done = self.stage.slack.act(Some(&self.acme.app_id), Which::All, act);
        assert_eq!(done, Ok(1), "{act:?} needs a socket");
    }

    fn arm(&self, fault: Arm) -> u64 {
        self.stage.slack.arm(Some(&self.acme.app_id), fault).unwrap()
    }

    fn send(&self, what: Outgoing) -> String {
        self.stage.slack.send(&self.acme.app_id, what).unwrap()
    }

    /// How often acme's state has changed.
    async fn changes(&self) -> usize {
        self.node.history("acme").await.len()
    }

    /// This is done to the open socket: down for this reason, and ready again.
    async fn after(self, act: Act, code: Code) -> Self {
        let since = self.changes().await;
        self.act(&act);
        self.node.was_down("acme", since, code, PROMISED).await;
        self.back_again().await;
        self
    }

    /// This lies in wait while the socket is replaced: down for this reason, and ready again.
    async fn before(self, fault: Fault, code: Code) -> Self {
        self.arm(Arm::once(fault));
        self.after(RESET, code).await
    }

    async fn back_again(&self) {
        self.node.ready("acme").await;
        self.stage.until(&self.acme, "one socket is live", |app| app.live_sockets() == 1).await;
    }

    /// The state in which the connection waits for this reason, and for how long yet.
    async fn waits_for(&self, name: &str, code: Code) -> (State, Duration) {
        let waits = |status: &tautline::status::Status| {
            code_of(status) == Some(code) && status.next_attempt_ms.is_some()
        };
        let status = self.node.until(name, waits, PROMISED).await;
        let wait = status.next_attempt_ms.unwrap() - status.since_ms;
        (status.state, Duration::from_millis(u64::try_from(wait).unwrap()))
    }

    /// Somebody switches the workspace off and on again.
    async fn off_and_on(&self) {
        self.node.put("acme", &json!({ "desired": "disconnected" })).await;
        self.node.until("acme", |status| status.state == State::Disconnected, PROMISED).await;
        self.node.put("acme", &json!({ "desired": "connected" })).await;
        self.node.ready("acme").await;
    }

    /// Nothing is lost, and the neighbour has noticed nothing.
    async fn end(self) {
        self.back_again().await;
        let Self { stage, node, acme, globex } = self;
        for customer in [&acme, &globex] {
            stage.slack.stop_load(&customer.app_id).unwrap();
            stage.until_settled(customer).await;
        }
        stage.assert_flawless(&globex);
        node.assert_always_ready("globex").await;
        node.seen.assert_each_once(&stage, &[&acme, &globex]).await;
        node.stop().await;
    }

    /// Nobody has noticed anything, and all that was sent is as if nothing had been.
    async fn undisturbed(self) {
        let id = self.send(Outgoing::default());
        self.node.seen.until(&id).await;
        self.stage.slack.stop_load(&self.acme.app_id).unwrap();
        self.stage.until_settled(&self.acme).await;
        self.stage.assert_flawless(&self.acme);
        self.node.assert_always_ready("acme").await;
        self.end().await;
    }

    /// The connection has stayed, and the neighbour's too.
    async fn calm(self) {
        self.node.assert_always_ready("acme").await;
        self.stage.slack.stop_load(&self.globex.app_id).unwrap();
        self.stage.until_settled(&self.globex).await;
        self.stage.assert_flawless(&self.globex);
        self.node.stop().await;
    }
}
