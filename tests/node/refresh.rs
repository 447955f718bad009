//! Slack takes sockets away and the next one is up before: under 200 events a second, not a moment without a live socket and not
//! one event sent twice.

use std::time::Duration;

use tautline::simulator::{Act, AppRecord, Arm, Ending, Fault, Load, Outgoing, Template, Which};
use tautline::status::State;

use super::harness::{Customer, Node, Stage};

#[actix::test]
async fn a_refresh_leaves_no_gap() {
    Run::start(Stage::new()).await.replace("refresh_requested", None).await.end(2).await;
}

#[actix::test]
async fn a_warning_leaves_no_gap() {
    let stage = Stage::with_rules(|rules| rules.warning_to_close_ms = 4_000);
    Run::start(stage).await.replace("warning", None).await.end(2).await;
}

#[actix::test]
async fn a_reason_that_nobody_knows_is_met_like_a_warning() {
    let stage = Stage::with_rules(|rules| rules.warning_to_close_ms = 4_000);
    Run::start(stage).await.replace("gone_fishing", None).await.end(2).await;
}

#[actix::test]
async fn several_refreshes_in_a_row_leave_no_gap() {
    let mut run = Run::start(Stage::new()).await;
    for _ in 0..4 {
        run = run.replace("refresh_requested", None).await;
    }
    run.end(2).await;
}

#[actix::test]
async fn sockets_go_by_fin_after_a_refresh_and_leave_no_gap() {
    let run = Run::start(Stage::new()).await;
    run.replace("refresh_requested", Some(Ending::Fin)).await.end(2).await;
}

#[actix::test]
async fn a_refresh_leaves_no_gap_while_slack_takes_its_time_to_issue_addresses() {
    let run = Run::start(Stage::with_rules(|rules| rules.warning_to_close_ms = 4_000)).await;
    run.stage.slack.arm(Some(&run.acme.app_id), Fault::ApiDelay { method: None, ms: 700 }).unwrap();
    run.replace("refresh_requested", None).await.replace("warning", Some(Ending::Fin)).await.end(2).await;
}

#[actix::test]
async fn a_refresh_leaves_no_gap_when_the_first_successors_cannot_open() {
    let stage = Stage::with_rules(|rules| rules.warning_to_close_ms = 10_000);
    let run = Run::start(stage).await;
    let down = Fault::ApiStatus { method: None, status: 503, retry_after: None, body: None };
    run.stage.slack.arm(Some(&run.acme.app_id), Arm { count: Some(2), ..Arm::from(down) }).unwrap();
    run.stage
        .slack
        .arm(Some(&run.acme.app_id), Arm::once(Fault::DialStatus { status: 408, body: None }))
        .unwrap();
    run.replace("warning", None).await.end(2).await;
}

#[actix::test]
async fn a_socket_nears_the_end_of_its_planned_time_and_leaves_no_gap() {
    // Hello promises 16 seconds; the simulator warns 2 seconds before they are over.
    let stage = Stage::with_rules(|rules| {
        rules.approximate_connection_time = 16;
        rules.warning_to_close_ms = 2_000;
    });
    let run = Run::start(stage).await;
    run.until_replaced(1).await;
    run.end(2).await;
}

#[actix::test]
async fn each_of_several_links_is_refreshed_without_a_gap() {
    let run = Run::start(Stage::new()).await;
    run.node.put("acme", &serde_json::json!({ "links": 3 })).await;
    run.stage.until(&run.acme, "three sockets are live", |app| app.live_sockets() == 3).await;
    let refresh = Act::Disconnect { reason: "refresh_requested".into(), after_ms: None, then: None };
    assert_eq!(run.stage.slack.act(Some(&run.acme.app_id), Which::All, &refresh), Ok(3));
    run.until_replaced(3).await;
    run.end(4).await;
}

#[actix::test]
async fn several_refreshes_in_a_row_leave_no_gap_while_slack_holds_every_old_socket_open() {
    let mut run = Run::start(Stage::new()).await;
    for reason in ["refresh_requested", "warning", "refresh_requested"] {
        let act = Act::Disconnect {
            reason: reason.into(),
            after_ms: Some(2_000),
            then: Some(Ending::Hold { ms: 600_000 }),
        };
        run = run.replace_by(act).await;
    }
    run.end(2).await;
}

#[actix::test]
async fn slow_a_socket_that_slack_holds_open_for_ever_is_let_go_and_leaves_no_gap() {
    let run =
        Run::start(Stage::new()).await.replace("refresh_requested", Some(Ending::Hold { ms: 600_000 })).await;
    run.until_let_go(Duration::from_secs(90)).await;
    run.end(2).await;
}

#[actix::test]
async fn slow_a_socket_that_slack_announces_and_never_ends_is_let_go_a_minute_later() {
    let run = Run::start(Stage::new()).await;
    let act = Act::Disconnect { reason: "warning".into(), after_ms: Some(600_000), then: None };
    run.stage.slack.act(Some(&run.acme.app_id), Which::All, &act).unwrap();
    run.until_let_go(Duration::from_secs(90)).await;
    run.end(2).await;
}

#[actix::test]
async fn what_slack_sends_right_before_its_close_frame_is_acked_all_the_same() {
    let run = Run::start(Stage::new()).await;
    run.stage.slack.stop_load(&run.acme.app_id).unwrap();
    run.stage.until_settled(&run.acme).await;
    for round in 1..=2 {
        for _ in 0..3 {
            run.stage.slack.send(&run.acme.app_id, Outgoing::template(Template::Message)).unwrap();
        }
        let close = Act::End { how: Ending::Close { code: Some(1000), hold_ms: 0 } };
        assert_eq!(run.stage.slack.act(Some(&run.acme.app_id), Which::All, &close), Ok(1));
        run.stage
            .until(&run.acme, "a new socket is live", |app| ended(app) >= round && app.live_sockets() == 1)
            .await;
    }
    run.stage.until_settled(&run.acme).await;
    assert_eq!(run.stage.look(&run.acme, |app| app.counts.retried), 0);
    run.node.stop().await;
}

/// A ready workspace under 200 events a second.
struct Run {
    stage: Stage,
    node: Node,
    acme: Customer,
}

impl Run {
    async fn start(stage: Stage) -> Self {
        let node = stage.node().await;
        let acme = stage.customer("acme");
        node.welcome(&[&acme]).await;
        stage.slack.load(&acme.app_id, Load { rate: Some(200.0), ..Load::default() }).unwrap();
        stage.until(&acme, "events flow", |app| app.counts.acked >= 100).await;
        Self { stage, node, acme }
    }

    /// Slack announces the end of the newest socket, and ends it; events flow over the next one.
    async fn replace(self, reason: &str, then: Option<Ending>) -> Self {
        self.replace_by(Act::Disconnect { reason: reason.into(), after_ms: None, then }).await
    }

    async fn replace_by(self, act: Act) -> Self {
        let ended = self.stage.look(&self.acme, ended);
        assert_eq!(self.stage.slack.act(Some(&self.acme.app_id), Which::Newest, &act), Ok(1));
        self.until_replaced(ended + 1).await;
        self
    }

    /// So many sockets are over, and events have flowed since.
    async fn until_replaced(&self, count: usize) {
        self.stage.until(&self.acme, "the old socket is over", |app| ended(app) >= count).await;
        let acked = self.stage.look(&self.acme, |app| app.counts.acked);
        self.stage.until(&self.acme, "events flow on", |app| app.counts.acked >= acked + 100).await;
    }

    /// The node drops the TCP connection of a socket that Slack leaves open.
    async fn until_let_go(&self, within: Duration) {
        let gone = |app: &AppRecord| app.sockets.iter().any(|socket| socket.tcp_closed_at.is_some());
        let app_id = &self.acme.app_id;
        let gone = self.stage.slack.until(|record| record.app(app_id).is_some_and(gone), within).await;
        assert!(gone.is_ok(), "the old socket is still there after {within:?}");
    }

    async fn end(self, most_sockets: usize) {
        let Self { stage, node, acme } = self;
        stage.slack.stop_load(&acme.app_id).unwrap();
        stage.until_settled(&acme).await;
        stage.assert_flawless(&acme);
        let most = stage.look(&acme, most_at_once);
        assert!(most <= most_sockets, "{most} sockets at one time, wanted {most_sockets} at most");
        node.seen.assert_each_once(&stage, &[&acme]).await;
        node.assert_always_ready("acme").await;
        node.until(
            "acme",
            |status| status.state == State::Ready && status.reason.is_none(),
            Duration::from_secs(40),
        )
        .await;
        node.stop().await;
    }
}

/// Sockets over which nothing comes any more.
fn ended(app: &AppRecord) -> usize {
    app.sockets.iter().filter(|socket| socket.live_until.is_some()).count()
}

/// The most TCP connections at one time, those included that Slack no longer counts.
fn most_at_once(app: &AppRecord) -> usize {
    let there = |at| {
        app.sockets.iter().filter(|s| s.opened_at <= at && s.tcp_closed_at.is_none_or(|end| at < end)).count()
    };
    app.sockets.iter().map(|socket| there(socket.opened_at)).max().unwrap_or_default()
}
