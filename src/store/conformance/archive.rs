//! Promises about what operators see of the journal and of what is owed, and what they do about it.

use std::collections::HashSet;

use super::{Ground, event, name, put, spec, writer};
use crate::event::Kind;
use crate::ids::{HandlerId, Seq};
use crate::store::{
    Action, AuditFilter, Caller, DeliveryChange, DeliveryFilter, DeliveryId, DeliveryRow, DeliveryStatus,
    EventFilter, Label, Lane, Remedy, ReplayTo, Store, StoreError, When, WorkspaceSpec,
};

use DeliveryStatus::{Cancelled, Dead, Done, Expired, Retrying, Waiting};

struct Scene {
    store: Box<dyn Store>,
    acme: Lane,
    log: HandlerId,
    echo: HandlerId,
    admin: Caller,
}

/// Events 1 to 6 of acme, of which the handlers `log` and `echo` know, and 7 of nobody's. Settled up to 5.
async fn scene(ground: &impl Ground) -> Scene {
    let store = ground.open().await;
    let labels = vec![("tenant".to_owned(), "42".to_owned())];
    let made = put(&*store, "acme", &WorkspaceSpec { labels, ..spec("xapp-1-A1-1-aaaa") }, 1).await;
    let acme = Lane { app: made.workspace.app, workspace: Some(made.workspace.id) };
    let handlers = store.declare_handlers(&["log", "echo"], 1).await.unwrap();
    let writer = writer(&*store).await;
    let group: Vec<_> = (1..=7)
        .map(|seq| {
            let mut event = (*event(seq, &format!("k{seq}"), "secret")).clone();
            (event.app, event.workspace) = (acme.app, acme.workspace.filter(|_| seq != 7));
            if seq == 2 {
                (event.kind, event.kind_type) = (Kind::SlashCommands, "/acme".into());
            }
            event.into()
        })
        .collect();
    store.append(writer, &group, Seq(0)).await.unwrap();
    store.settle(writer, Seq(5)).await.unwrap();
    let scene =
        Scene { store, acme, log: handlers[0].id, echo: handlers[1].id, admin: Caller::admin("root") };
    let rows = [
        scene.row(1, scene.log, Dead),
        scene.row(1, scene.echo, Cancelled),
        scene.row(3, scene.log, Retrying),
        scene.row(4, scene.log, Waiting),
        scene.row(5, scene.log, Dead),
        scene.row(5, scene.echo, Expired),
        DeliveryRow { lane: Lane { workspace: None, ..scene.acme }, ..scene.row(7, scene.log, Dead) },
    ];
    let changes: Vec<_> = rows.into_iter().map(DeliveryChange::Tried).collect();
    scene.store.write_deliveries(writer, &changes, 5).await.unwrap();
    scene
}

impl Scene {
    fn row(&self, seq: i64, handler: HandlerId, status: DeliveryStatus) -> DeliveryRow {
        DeliveryRow {
            id: first(seq, handler),
            lane: self.acme,
            status,
            attempts: if status == Waiting { 0 } else { 3 },
            next_ms: 1000,
            order_key: Some(7),
            hold_until_ms: Some(900),
            last_error: (status != Waiting).then(|| "busy".to_owned()),
            created_ms: 5,
            updated_ms: 6,
        }
    }

    async fn list(&self, filter: &DeliveryFilter) -> Vec<(i64, HandlerId, u32, DeliveryStatus)> {
        let page = self.store.deliveries(filter, None, None, 100).await.unwrap();
        assert_eq!(page.next, None);
        page.found
            .iter()
            .map(|one| (one.row.id.seq.0, one.row.id.handler, one.row.id.run, one.row.status))
            .collect()
    }

    async fn status(&self, id: DeliveryId) -> Option<DeliveryStatus> {
        let all = self.store.deliveries_of(&[id.seq]).await.unwrap();
        all.into_iter().find(|one| one.row.id == id).map(|one| one.row.status)
    }

    async fn audited(&self, action: Action) -> Vec<Option<String>> {
        let filter = AuditFilter { action: Some(action), ..AuditFilter::default() };
        let found = self.store.audit(&filter, None, 100).await.unwrap();
        found.into_iter().map(|entry| entry.deed.target).collect()
    }
}

const fn first(seq: i64, handler: HandlerId) -> DeliveryId {
    DeliveryId { seq: Seq(seq), handler, run: 1 }
}

async fn seqs(store: &dyn Store, filter: &EventFilter) -> Vec<i64> {
    let page = store.events(filter, None, None, 100).await.unwrap();
    assert_eq!(page.next, None);
    page.found.iter().map(|event| event.seq.0).collect()
}

fn undone(handlers: &[&str]) -> ReplayTo {
    ReplayTo::Undone(handlers.iter().map(|name| (*name).to_owned()).collect())
}

fn tenant(value: &str) -> Label {
    Label { key: "tenant".into(), value: value.into() }
}

pub(in crate::store) async fn events_are_found_newest_first_by_what_is_asked_of_them(ground: &impl Ground) {
    let scene = scene(ground).await;
    let store = &*scene.store;
    let any = EventFilter::default;
    assert_eq!(seqs(store, &any()).await, [7, 6, 5, 4, 3, 2, 1]);
    let acme = Some(name("acme"));
    assert_eq!(seqs(store, &EventFilter { workspace: acme, ..any() }).await, [6, 5, 4, 3, 2, 1]);
    let command = EventFilter { kind: Some(Kind::SlashCommands), ..any() };
    assert_eq!(seqs(store, &command).await, [2]);
    assert_eq!(seqs(store, &EventFilter { kind_type: Some("/acme".into()), ..any() }).await, [2]);
    assert_eq!(seqs(store, &EventFilter { app_id: Some("A1".into()), ..any() }).await.len(), 7);
    assert_eq!(seqs(store, &EventFilter { app_id: Some("A2".into()), ..any() }).await, [0; 0]);
    let between = EventFilter { from: Some(Seq(3)), below: Some(Seq(6)), ..any() };
    assert_eq!(seqs(store, &between).await, [5, 4, 3]);
    assert_eq!(seqs(store, &EventFilter { after: Some(Seq(5)), ..any() }).await, [7, 6]);
    let page = store.events(&any(), None, Some(Seq(7)), 2).await.unwrap();
    assert_eq!((page.found.len(), page.next), (2, Some(Seq(5))));
    store.close().await;
}

pub(in crate::store) async fn an_event_is_shown_whose_it_is_and_whether_it_is_settled(ground: &impl Ground) {
    let scene = scene(ground).await;
    let store = &*scene.store;
    let shown = store.event(Seq(5), None).await.unwrap().unwrap();
    let workspace = (scene.acme.workspace.unwrap(), name("acme"));
    assert_eq!((shown.workspace, shown.slack_app_id.as_deref()), (Some(workspace), Some("A1")));
    assert_eq!((shown.is_settled, shown.has_payload, shown.bytes), (true, true, 6));
    let in_hand = store.event(Seq(6), None).await.unwrap().unwrap();
    assert!(!in_hand.is_settled, "above what its writer has settled");
    assert_eq!(store.event(Seq(8), None).await.unwrap(), None);
    let rows = store.deliveries_of(&[Seq(5), Seq(1)]).await.unwrap();
    let shown: Vec<_> =
        rows.iter().map(|one| (one.row.id.seq.0, one.handler.as_str(), one.row.status)).collect();
    assert_eq!(shown, [(5, "echo", Expired), (5, "log", Dead), (1, "echo", Cancelled), (1, "log", Dead)]);
    store.close().await;
    // The next process has taken over what is not settled.
    let store = ground.open().await;
    let next = store.begin_writer("node", 9).await.unwrap();
    assert!(!store.event(Seq(6), None).await.unwrap().unwrap().is_settled);
    store.settle(next.id, Seq(7)).await.unwrap();
    store.end_writer(next.id, Seq(7), 10).await.unwrap();
    assert!(store.event(Seq(5), None).await.unwrap().unwrap().is_settled);
    store.close().await;
}

pub(in crate::store) async fn what_is_stuck_is_found_by_status_handler_workspace_and_time(
    ground: &impl Ground,
) {
    let scene = scene(ground).await;
    let (log, echo) = (scene.log, scene.echo);
    let any = DeliveryFilter::default;
    let of = |statuses: &[DeliveryStatus]| DeliveryFilter { statuses: statuses.to_vec(), ..any() };
    assert_eq!(scene.list(&any()).await.len(), 7);
    assert_eq!(scene.list(&of(&[Dead])).await, [(7, log, 1, Dead), (5, log, 1, Dead), (1, log, 1, Dead)]);
    assert_eq!(scene.list(&of(&[Retrying, Waiting])).await, [(4, log, 1, Waiting), (3, log, 1, Retrying)]);
    let to_echo = DeliveryFilter { handler: Some("echo".into()), ..any() };
    assert_eq!(scene.list(&to_echo).await, [(5, echo, 1, Expired), (1, echo, 1, Cancelled)]);
    let late = DeliveryFilter { workspace: Some(name("acme")), from: Some(Seq(2)), ..of(&[Dead]) };
    assert_eq!(scene.list(&late).await, [(5, log, 1, Dead)]);
    let early = DeliveryFilter { below: Some(Seq(5)), ..of(&[Dead]) };
    assert_eq!(scene.list(&early).await, [(1, log, 1, Dead)]);
    let mut before = None;
    let mut paged = Vec::new();
    loop {
        let page = scene.store.deliveries(&any(), None, before, 2).await.unwrap();
        paged.extend(page.found.iter().map(|one| one.row.id));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let whole = scene.store.deliveries(&any(), None, None, 100).await.unwrap();
    assert_eq!(paged, whole.found.iter().map(|one| one.row.id).collect::<Vec<_>>());
    let dead = whole.found.iter().find(|one| one.row.id.seq == Seq(5)).unwrap();
    assert_eq!(dead.what, Some((Kind::EventsApi, "message".to_owned())));
    assert_eq!(dead.row.last_error.as_deref(), Some("busy"));
    scene.store.close().await;
}

pub(in crate::store) async fn who_sees_one_label_finds_and_changes_the_deliveries_of_its_workspaces_alone(
    ground: &impl Ground,
) {
    let scene = scene(ground).await;
    let store = &*scene.store;
    for (label, events, deliveries) in [("42", 6, 6), ("43", 0, 0)] {
        let scope = tenant(label);
        let found = store.events(&EventFilter::default(), Some(&scope), None, 100).await.unwrap().found;
        assert_eq!(found.len(), events, "{label}");
        let found =
            store.deliveries(&DeliveryFilter::default(), Some(&scope), None, 100).await.unwrap().found;
        assert_eq!(found.len(), deliveries, "{label}");
    }
    assert_eq!(store.event(Seq(7), Some(&tenant("42"))).await.unwrap(), None, "nobody's");
    let other = Caller { scope: Some(tenant("43")), ..scene.admin.clone() };
    let id = first(5, scene.log);
    assert_eq!(store.remedy_delivery(id, Remedy::Retry, &other, 50).await.unwrap(), None);
    assert_eq!(store.replay_event(Seq(5), &undone(&["log"]), &other, 50).await.unwrap(), None);
    assert_eq!(scene.status(id).await, Some(Dead));
    let theirs = Caller { scope: Some(tenant("42")), ..scene.admin.clone() };
    assert!(store.remedy_delivery(id, Remedy::Retry, &theirs, 50).await.unwrap().is_some());
    store.close().await;
}

pub(in crate::store) async fn what_has_died_is_tried_anew_and_its_end_stays_to_be_seen(ground: &impl Ground) {
    let scene = scene(ground).await;
    let store = &*scene.store;
    let id = first(5, scene.log);
    let now = store.remedy_delivery(id, Remedy::Retry, &scene.admin, 50).await.unwrap().unwrap();
    assert_eq!((now.row.status, now.row.attempts, now.row.next_ms), (Retrying, 0, 50));
    assert_eq!((now.row.hold_until_ms, now.row.last_error.as_deref()), (None, Some("busy")));
    let due = store.read_due(scene.log, &HashSet::new(), &[], 10, 50).await.unwrap();
    assert_eq!(due.iter().map(|owed| owed.row.id).collect::<Vec<_>>(), [id]);
    let hurried = first(3, scene.log);
    let hurried = store.remedy_delivery(hurried, Remedy::Retry, &scene.admin, 60).await.unwrap().unwrap();
    assert_eq!((hurried.row.attempts, hurried.row.next_ms), (3, 60), "its tries count on");
    assert_eq!(hurried.row.hold_until_ms, Some(900), "and it holds up what it held up");
    let waits = store.remedy_delivery(first(4, scene.log), Remedy::Retry, &scene.admin, 60).await;
    assert!(matches!(waits, Err(StoreError::Conflict(_))), "{waits:?}");
    let nothing = store.remedy_delivery(first(2, scene.log), Remedy::Retry, &scene.admin, 60).await;
    assert_eq!(nothing.unwrap(), None);
    assert_eq!(
        scene.audited(Action::DeliveryRetry).await,
        [Some(format!("dlv_3-{}-1", scene.log)), Some(format!("dlv_5-{}-1", scene.log))]
    );
    let writer = writer(store).await;
    store.write_deliveries(writer, &[DeliveryChange::Done(id)], 70).await.unwrap();
    assert_eq!(scene.status(id).await, Some(Done), "one that had died is not forgotten when it is done");
    store.close().await;
}

pub(in crate::store) async fn what_is_discarded_is_given_to_nobody(ground: &impl Ground) {
    let scene = scene(ground).await;
    let store = &*scene.store;
    for (seq, status) in [(3, Retrying), (4, Waiting), (5, Dead)] {
        let id = first(seq, scene.log);
        let now = store.remedy_delivery(id, Remedy::Discard, &scene.admin, 50).await.unwrap().unwrap();
        assert_eq!(now.row.status, Cancelled, "{status:?}");
        let again = store.remedy_delivery(id, Remedy::Discard, &scene.admin, 50).await;
        assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
    }
    assert_eq!(store.read_due(scene.log, &HashSet::new(), &[], 10, i64::MAX).await.unwrap().len(), 0);
    assert_eq!(store.backlogs(None, 100).await.unwrap(), []);
    assert_eq!(scene.audited(Action::DeliveryDiscard).await.len(), 3);
    store.close().await;
}

pub(in crate::store) async fn a_replay_is_a_new_run_for_those_named_or_those_not_done(ground: &impl Ground) {
    let scene = scene(ground).await;
    let store = &*scene.store;
    let undone = undone(&["echo", "log"]);
    let made = store.replay_event(Seq(5), &undone, &scene.admin, 50).await.unwrap().unwrap();
    let second = |seq, handler| DeliveryId { run: 2, ..first(seq, handler) };
    assert_eq!(made.made, [(second(5, scene.log), "log".to_owned())], "what has expired would again");
    let due = store.read_due(scene.log, &HashSet::new(), &[], 10, 50).await.unwrap();
    assert_eq!(due.iter().map(|owed| owed.row.id).collect::<Vec<_>>(), [second(5, scene.log)]);
    assert_eq!((due[0].row.lane, due[0].row.order_key), (scene.acme, None));
    assert!(due[0].event.is_some());
    let dead = DeliveryFilter { statuses: vec![Dead, Expired], ..DeliveryFilter::default() };
    assert_eq!(scene.list(&dead).await.len(), 3, "what is replayed is stuck no more");
    let old = store.remedy_delivery(first(5, scene.log), Remedy::Retry, &scene.admin, 60).await;
    assert!(matches!(old, Err(StoreError::Conflict(_))), "{old:?}");
    let again = store.replay_event(Seq(5), &undone, &scene.admin, 60).await.unwrap().unwrap();
    assert_eq!((again.made.len(), again.under_way.len()), (0, 0));
    // Done, and never written down.
    let log = ReplayTo::Named(vec!["log".into(), "log".into()]);
    let made = store.replay_event(Seq(2), &log, &scene.admin, 70).await.unwrap().unwrap();
    assert_eq!(made.made, [(second(2, scene.log), "log".to_owned())]);
    let again = store.replay_event(Seq(2), &log, &scene.admin, 70).await.unwrap().unwrap();
    assert_eq!((again.made.len(), again.under_way), (0, vec!["log".to_owned()]));
    // Neither done nor written down: it is in memory.
    let in_hand = store.replay_event(Seq(6), &log, &scene.admin, 70).await.unwrap().unwrap();
    assert_eq!((in_hand.made.len(), in_hand.under_way), (0, vec!["log".to_owned()]));
    let called_off = store.replay_event(Seq(1), &undone, &scene.admin, 70).await.unwrap().unwrap();
    assert_eq!(called_off.made.len(), 2, "one event is named, so what was called off of it is meant");
    let nobody = ReplayTo::Named(vec!["nobody".into()]);
    let unknown = store.replay_event(Seq(2), &nobody, &scene.admin, 70).await;
    assert!(matches!(unknown, Err(StoreError::Absent(_))), "{unknown:?}");
    assert_eq!(store.replay_event(Seq(9), &log, &scene.admin, 70).await.unwrap(), None);
    assert_eq!(
        scene.audited(Action::EventReplay).await,
        [Some("evt_1".into()), Some("evt_2".into()), Some("evt_5".into())]
    );
    store.close().await;
}

pub(in crate::store) async fn many_are_counted_and_then_changed_in_steps(ground: &impl Ground) {
    let scene = scene(ground).await;
    let store = &*scene.store;
    let dead =
        DeliveryFilter { statuses: vec![Dead], workspace: Some(name("acme")), ..DeliveryFilter::default() };
    let counted = store.count_remedies(Remedy::Retry, &dead, None, 50).await.unwrap();
    assert_eq!((counted.matched, counted.next), (2, None));
    let done = store.remedy_some(Remedy::Retry, &dead, Some(Seq(5)), 50).await.unwrap();
    assert_eq!(done.matched, 1, "below the place alone");
    assert_eq!(scene.status(first(1, scene.log)).await, Some(Retrying));
    assert_eq!(store.remedy_some(Remedy::Retry, &dead, None, 50).await.unwrap().matched, 1);
    assert_eq!(scene.status(first(7, scene.log)).await, Some(Dead), "nobody's is not acme's");
    let all = DeliveryFilter::default();
    let counted = store.count_remedies(Remedy::Discard, &all, None, 50).await.unwrap().matched;
    let done = store.remedy_some(Remedy::Discard, &all, None, 60).await.unwrap().matched;
    assert_eq!((counted, done), (6, 6), "all but the one that is cancelled already");
    assert!(scene.list(&all).await.iter().all(|(.., status)| *status == Cancelled));
    store.close().await;
}

pub(in crate::store) async fn many_are_replayed_in_steps_to_those_not_done_or_to_those_named(
    ground: &impl Ground,
) {
    let scene = scene(ground).await;
    let store = &*scene.store;
    let acme = EventFilter { workspace: Some(name("acme")), ..EventFilter::default() };
    let since = EventFilter { from: Some(Seq(2)), ..acme.clone() };
    let undone = undone(&["log", "nobody"]);
    assert_eq!(store.count_replays(&undone, &since, None, 50).await.unwrap().matched, 1);
    assert_eq!(store.replay_some(&undone, &since, None, 50).await.unwrap().matched, 1);
    assert_eq!(store.replay_some(&undone, &since, None, 50).await.unwrap().matched, 0, "they are under way");
    let second = |seq, handler| DeliveryId { run: 2, ..first(seq, handler) };
    assert_eq!(scene.status(second(5, scene.log)).await, Some(Retrying));
    let both = ReplayTo::Named(vec!["echo".into(), "log".into()]);
    // To echo 1 to 5, to log 1 and 2: the others are owed already, and 6 is in memory.
    assert_eq!(store.count_replays(&both, &acme, None, 60).await.unwrap().matched, 7);
    assert_eq!(store.replay_some(&both, &acme, Some(Seq(5)), 60).await.unwrap().matched, 6);
    assert_eq!(store.replay_some(&both, &acme, None, 60).await.unwrap().matched, 1);
    assert_eq!(scene.status(second(5, scene.echo)).await, Some(Retrying), "by its name");
    assert_eq!(scene.status(second(6, scene.log)).await, None);
    store.close().await;
}

pub(in crate::store) async fn what_was_called_off_or_has_expired_or_is_a_removed_customers_is_not_brought_back(
    ground: &impl Ground,
) {
    let scene = scene(ground).await;
    let store = &*scene.store;
    let writer = writer(store).await;
    let command = DeliveryChange::Tried(scene.row(2, scene.echo, Expired));
    store.write_deliveries(writer, &[command], 6).await.unwrap();
    let expired = first(5, scene.echo);
    let refused = store.remedy_delivery(expired, Remedy::Retry, &scene.admin, 50).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    let all = DeliveryFilter::default();
    let count = async |filter: &DeliveryFilter, now_ms| {
        store.count_remedies(Remedy::Retry, filter, None, now_ms).await.unwrap().matched
    };
    // Of log 1, 3, 5 and 7, of echo the command.
    assert_eq!(count(&all, 50).await, 5);
    assert_eq!(count(&all, 50 + 30 * 60_000).await, 4, "too late for the command");
    let named = DeliveryFilter { statuses: vec![Cancelled, Dead], ..all.clone() };
    assert_eq!(count(&named, 50).await, 4, "what was called off is asked for");
    let to_echo = DeliveryFilter { among: Some(vec!["echo".into(), "nobody".into()]), ..all.clone() };
    assert_eq!(count(&to_echo, 50).await, 1);
    let answered =
        store.remedy_delivery(first(2, scene.echo), Remedy::Retry, &scene.admin, 50).await.unwrap();
    assert_eq!(answered.unwrap().row.status, Retrying);
    let events = EventFilter::default();
    let replays = async |to: &ReplayTo| store.count_replays(to, &events, None, 50).await.unwrap().matched;
    assert_eq!(replays(&undone(&["log", "echo"])).await, 3, "of log 1, 5 and 7");
    store.remove_workspace(&name("acme"), When::Always, 60).await.unwrap();
    assert_eq!(count(&all, 60).await, 1, "nobody's");
    assert_eq!(store.remedy_some(Remedy::Retry, &all, None, 60).await.unwrap().matched, 1);
    assert_eq!(replays(&undone(&["log", "echo"])).await, 0);
    assert_eq!(replays(&ReplayTo::Named(vec!["echo".into()])).await, 0);
    store.close().await;
}

pub(in crate::store) async fn a_handler_is_shown_with_what_weighs_on_it_and_paused_by_somebody(
    ground: &impl Ground,
) {
    let scene = scene(ground).await;
    let store = &*scene.store;
    let burdens = store.burdens(100).await.unwrap();
    let shown: Vec<_> = burdens
        .iter()
        .map(|one| (one.handler.name.as_str(), one.waiting, one.retrying, one.dead, one.oldest))
        .collect();
    assert_eq!(shown, [("echo", 0, 0, 1, None), ("log", 1, 1, 3, Some(Seq(3)))]);
    let paused = store.steer_handler("log", true, &scene.admin, 50).await.unwrap().unwrap();
    assert_eq!(paused.paused_ms, Some(50));
    let again = store.steer_handler("log", true, &scene.admin, 60).await.unwrap().unwrap();
    assert_eq!(again.paused_ms, Some(50), "since it was first");
    assert_eq!(store.steer_handler("nobody", true, &scene.admin, 60).await.unwrap(), None);
    let resumed = store.steer_handler("log", false, &scene.admin, 70).await.unwrap().unwrap();
    assert_eq!((resumed.paused_ms, store.known_handlers().await.unwrap()[1].paused_ms), (None, None));
    assert_eq!(scene.audited(Action::HandlerPause).await, [Some("log".to_owned())]);
    assert_eq!(scene.audited(Action::HandlerResume).await, [Some("log".to_owned())]);
    store.close().await;
}

pub(in crate::store) async fn the_oldest_that_a_handler_owes_is_found_whatever_else_is_owed(
    ground: &impl Ground,
) {
    let scene = scene(ground).await;
    let store = &*scene.store;
    // Of a writer of before, which never ended.
    let second = writer(store).await;
    let beta = Lane { workspace: None, ..scene.acme };
    let rows = [
        DeliveryRow { lane: beta, ..scene.row(6, scene.echo, Waiting) },
        scene.row(7, scene.echo, Waiting),
        DeliveryRow { lane: beta, next_ms: 1, ..scene.row(5, scene.log, Retrying) },
        DeliveryRow { next_ms: 9, ..scene.row(2, scene.log, Retrying) },
    ];
    let changes: Vec<_> = rows.into_iter().map(DeliveryChange::Tried).collect();
    store.write_deliveries(second, &changes, 5).await.unwrap();
    let oldest = async |most| -> Vec<_> {
        let burdens = store.burdens(most).await.unwrap();
        burdens.iter().map(|one| (one.waiting, one.retrying, one.oldest)).collect()
    };
    assert_eq!(oldest(100).await, [(2, 0, Some(Seq(6))), (1, 2, Some(Seq(2)))]);
    assert_eq!(
        oldest(1).await,
        [(1, 0, Some(Seq(6))), (1, 1, Some(Seq(2)))],
        "counts are bounded, that is not"
    );
    let waiting = [scene.row(1, scene.echo, Waiting)].map(DeliveryChange::Tried);
    store.write_deliveries(second, &waiting, 5).await.unwrap();
    assert_eq!(oldest(100).await[0].2, Some(Seq(6)), "what was called off is owed no more");
    let lanes = store.backlogs(None, 100).await.unwrap();
    let lanes: Vec<_> = lanes.iter().map(|one| (one.handler, one.lane, one.oldest)).collect();
    let mut all =
        [(scene.log, scene.acme, Seq(4)), (scene.echo, beta, Seq(6)), (scene.echo, scene.acme, Seq(7))];
    all.sort_by_key(|(handler, lane, _)| (*handler, lane.app, lane.workspace));
    assert_eq!(lanes, all);
    store.close().await;
}
