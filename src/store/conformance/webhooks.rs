//! Promises about webhooks and notices.

use super::{Ground, name, put, spec as app_spec};
use crate::ids::{WebhookId, WorkspaceId};
use crate::machine::notice::{Told, Topic};
use crate::secret::WebhookSecret;
use crate::status::Code;
use crate::store::webhooks::{MOST_DEAD, MOST_WAITING};
use crate::store::{
    About, Action, AuditFilter, Caller, Incident, IncidentFilter, Label, LastPost, MAX_WEBHOOKS, Memory,
    NewNotice, Posts, Remember, Role, Settled, Store, StoreError, WebhookSpec, WorkspaceSpec,
};

pub(in crate::store) async fn a_webhook_is_made_changed_and_removed_and_its_secret_comes_back(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let secret = WebhookSecret::generate();
    let spec = WebhookSpec {
        topics: vec![Topic::Failed, Topic::IncidentOpened],
        label: Some(("tenant".into(), "42".into())),
        ..spec()
    };
    let made = store.add_webhook(&spec, &secret, &admin(), 7).await.unwrap();
    assert_eq!((&made.spec, made.created_ms, made.waiting, made.dead), (&spec, 7, 0, 0));
    assert_eq!(store.webhook_secrets(made.id, 7).await.unwrap(), std::slice::from_ref(&secret));
    let spec = WebhookSpec { topics: Vec::new(), label: None, is_paused: true, ..spec };
    let changed = store.change_webhook(made.id, &spec, &admin(), 8).await.unwrap().unwrap();
    assert_eq!((&changed.spec, changed.updated_ms), (&spec, 8));
    store.close().await;

    let store = ground.open().await;
    assert_eq!(store.webhooks().await.unwrap(), [changed]);
    assert_eq!(store.webhook_secrets(made.id, 7).await.unwrap(), [secret]);
    publish(&*store, &[notice("a", Topic::Ready)]).await;
    assert!(store.remove_webhook(made.id, &admin(), 8).await.unwrap());
    assert!(!store.remove_webhook(made.id, &admin(), 8).await.unwrap());
    assert_eq!(store.webhook(made.id).await.unwrap(), None);
    assert_eq!(store.webhook_secrets(made.id, 7).await.unwrap(), []);
    assert_eq!(store.next_notice(made.id).await.unwrap(), None);
    assert_eq!(store.change_webhook(made.id, &spec, &admin(), 9).await.unwrap(), None);
    store.close().await;
}

pub(in crate::store) async fn a_notice_waits_for_every_webhook_that_wants_it_until_it_is_taken(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let all = add(&*store, spec()).await;
    let failures = add(&*store, WebhookSpec { topics: vec![Topic::Failed], ..spec() }).await;
    let label = Some(("tenant".to_owned(), "42".to_owned()));
    let of_one = add(&*store, WebhookSpec { label, ..spec() }).await;
    let mut labelled = notice("a", Topic::Ready);
    labelled.labels = Some(vec![("plan".into(), "gold".into()), ("tenant".into(), "42".into())]);
    let incident = NewNotice { labels: None, ..notice("c", Topic::IncidentOpened) };
    publish(&*store, &[labelled, notice("b", Topic::Failed), incident]).await;
    for (webhook, wanted) in [(all, vec!["a", "b", "c"]), (failures, vec!["b"]), (of_one, vec!["a", "c"])] {
        assert_eq!(store.webhook(webhook).await.unwrap().unwrap().waiting, wanted.len() as u64);
        for id in wanted {
            let next = store.next_notice(webhook).await.unwrap().unwrap();
            assert_eq!((&*next.message_id, &*next.body, next.attempts), (id, "{}", 0));
            store.settle_notice(webhook, next.id, &Settled::Taken, None, 50).await.unwrap();
        }
        assert_eq!(store.next_notice(webhook).await.unwrap(), None);
        let webhook = store.webhook(webhook).await.unwrap().unwrap();
        assert_eq!((webhook.waiting, webhook.last_success_ms), (0, Some(50)));
    }
    store.close().await;
}

pub(in crate::store) async fn a_notice_that_fails_is_due_later_and_one_that_is_given_up_is_shown(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let webhook = add(&*store, spec()).await;
    publish(&*store, &[notice("a", Topic::Ready), notice("b", Topic::Ready)]).await;
    let first = store.next_notice(webhook).await.unwrap().unwrap();
    let again = Settled::Again("no answer".into(), 900);
    store.settle_notice(webhook, first.id, &again, None, 200).await.unwrap();
    let second = store.next_notice(webhook).await.unwrap().unwrap();
    assert_eq!(&*second.message_id, "b", "the other is due earlier");
    store.settle_notice(webhook, second.id, &Settled::Dead("gone".into()), None, 300).await.unwrap();
    let next = store.next_notice(webhook).await.unwrap().unwrap();
    assert_eq!((&*next.message_id, next.attempts, next.next_ms), ("a", 1, 900));
    let shown = store.webhook(webhook).await.unwrap().unwrap();
    assert_eq!((shown.waiting, shown.dead, shown.last_error), (1, 1, Some(("gone".into(), 300))));
    let paused = WebhookSpec { is_paused: true, ..spec() };
    store.change_webhook(webhook, &paused, &admin(), 400).await.unwrap();
    assert_eq!(store.next_notice(webhook).await.unwrap(), None);
    store.close().await;
}

pub(in crate::store) async fn of_too_many_notices_the_oldest_are_given_up(ground: &impl Ground) {
    let store = ground.open().await;
    let webhook = add(&*store, spec()).await;
    let most = usize::try_from(MOST_WAITING).unwrap();
    let many: Vec<_> = (0..most + 5).map(|n| notice(&n.to_string(), Topic::Ready)).collect();
    for some in many.chunks(5_000) {
        publish(&*store, some).await;
    }
    let shown = store.webhook(webhook).await.unwrap().unwrap();
    assert_eq!((shown.waiting, shown.dead), (MOST_WAITING.unsigned_abs(), 5));
    assert_eq!(&*store.next_notice(webhook).await.unwrap().unwrap().message_id, "5");
    publish(&*store, &many[..200]).await;
    let shown = store.webhook(webhook).await.unwrap().unwrap();
    assert_eq!((shown.waiting, shown.dead), (MOST_WAITING.unsigned_abs(), MOST_DEAD.unsigned_abs()));
    store.close().await;
}

pub(in crate::store) async fn what_was_told_is_remembered_over_a_reopening(ground: &impl Ground) {
    let store = ground.open().await;
    assert_eq!(store.memory().await.unwrap(), Memory::default());
    let [one, two, three] = [1, 2, 3].map(WorkspaceId);
    let told = [
        Remember::Told(one, Told::Ready),
        Remember::Told(two, Told::Ready),
        Remember::Told(three, Told::Degraded),
        Remember::Incident(70, 9),
        Remember::Told(one, Told::Failed(Code::AppUninstalled)),
        Remember::Forget(two),
    ];
    store.publish(&[], &told, 100).await.unwrap();
    store.close().await;
    let store = ground.open().await;
    let told = vec![(one, Told::Failed(Code::AppUninstalled)), (three, Told::Degraded)];
    let memory = store.memory().await.unwrap();
    assert_eq!(memory, Memory { told: told.clone(), incident: Some((70, 9)) });
    store.publish(&[], &[Remember::NoIncident], 200).await.unwrap();
    assert_eq!(store.memory().await.unwrap(), Memory { told, incident: None });
    store.close().await;
}

pub(in crate::store) async fn what_is_told_is_an_incident_from_its_beginning_to_its_end_and_is_told_once(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let hook = add(&*store, spec()).await;
    let acme = put(&*store, "acme", &app_spec("xapp-1-A1-1-x"), 1).await.workspace.id;
    let failed = |code| (Remember::Told(acme, Told::Failed(code)), Some(code));
    let degraded = (Remember::Told(acme, Told::Degraded), Some(Code::ConnectionLost));
    let ready = (Remember::Told(acme, Told::Ready), None);
    let tell = async |(told, code), began_ms, now_ms| {
        let about = Some(About { told, code, began_ms, peak: 6 });
        let notice = NewNotice { about, ..notice(&format!("at {now_ms}"), Topic::Failed) };
        store.publish(&[notice], &[told], now_ms).await.unwrap();
    };
    let waiting = async || store.webhook(hook).await.unwrap().unwrap().waiting;
    let all = async |is_open| {
        let filter = IncidentFilter { is_open, ..IncidentFilter::default() };
        store.incidents(&filter, None, None, 10).await.unwrap()
    };
    tell(degraded, 70, 100).await;
    // The other node sees the same, and so does a first try of which nobody learnt that it came in.
    tell(degraded, 75, 101).await;
    assert_eq!(waiting().await, 1);
    tell(failed(Code::InvalidAuth), 70, 200).await;
    let one = Incident {
        id: all(None).await[0].id,
        workspace: Some(name("acme")),
        code: Some(Code::InvalidAuth),
        began_ms: 70,
        ended_ms: None,
        peak: 6,
        told_ms: None,
    };
    assert_eq!(all(Some(true)).await, std::slice::from_ref(&one), "one trouble, with its last reason");
    let first = store.next_notice(hook).await.unwrap().unwrap();
    store.settle_notice(hook, first.id, &Settled::Taken, None, 250).await.unwrap();
    tell(ready, 70, 300).await;
    tell(ready, 70, 301).await;
    let one = Incident { ended_ms: Some(300), told_ms: Some(250), ..one };
    assert_eq!((all(None).await, all(Some(true)).await), (vec![one.clone()], vec![]));

    tell((Remember::Incident(400, 5), Some(Code::ConnectionLost)), 400, 400).await;
    tell((Remember::Incident(410, 6), Some(Code::ConnectionLost)), 410, 410).await;
    tell((Remember::NoIncident, None), 400, 500).await;
    tell((Remember::NoIncident, None), 400, 501).await;
    let many = all(Some(false)).await;
    assert_eq!((many.len(), many[0].workspace.clone(), many[0].ended_ms), (2, None, Some(500)));
    assert_eq!((many[0].began_ms, many[0].code), (400, Some(Code::ConnectionLost)));
    let later = IncidentFilter { since_ms: Some(301), ..IncidentFilter::default() };
    assert_eq!(store.incidents(&later, None, None, 10).await.unwrap(), [many[0].clone()]);
    assert_eq!(store.incidents(&later, None, Some(many[0].id), 10).await.unwrap(), []);

    tell(failed(Code::TokenRevoked), 600, 600).await;
    store.publish(&[], &[Remember::Forget(acme)], 700).await.unwrap();
    assert_eq!(all(None).await[0].ended_ms, Some(700), "wanted off is the end of it");
    store.close().await;
}

pub(in crate::store) async fn who_sees_one_label_finds_the_incidents_of_its_workspaces_alone(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let mut ids = Vec::new();
    for (n, tenant) in [(1, "42"), (2, "43")] {
        let labels = vec![("tenant".to_owned(), tenant.to_owned())];
        let body = WorkspaceSpec { labels, ..app_spec(&format!("xapp-1-A{n}-1-x")) };
        ids.push(put(&*store, &format!("w{n}"), &body, 1).await.workspace.id);
    }
    let told = |workspace: &WorkspaceId| Remember::Told(*workspace, Told::Degraded);
    for told in ids.iter().map(told).chain([Remember::Incident(5, 5)]) {
        let about = Some(About { told, code: None, began_ms: 5, peak: 1 });
        store.publish(&[NewNotice { about, ..notice("a", Topic::Degraded) }], &[told], 9).await.unwrap();
    }
    let scope = Label::parse("tenant:43").unwrap();
    let found = store.incidents(&IncidentFilter::default(), Some(&scope), None, 10).await.unwrap();
    assert_eq!(found.iter().map(|one| one.workspace.clone()).collect::<Vec<_>>(), [Some(name("w2"))]);
    let of_another = IncidentFilter { workspace: Some(name("w1")), ..IncidentFilter::default() };
    assert_eq!(store.incidents(&of_another, Some(&scope), None, 10).await.unwrap(), []);
    assert_eq!(store.incidents(&of_another, None, None, 10).await.unwrap().len(), 1);
    store.close().await;
}

pub(in crate::store) async fn an_old_secret_signs_beside_the_new_one_until_its_time_and_one_before_that_no_more(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let [first, second, third] = [(); 3].map(|()| WebhookSecret::generate());
    let id = store.add_webhook(&spec(), &first, &admin(), 1).await.unwrap().id;
    let rotate = async |secret, until_ms, now_ms| {
        store.rotate_webhook_secret(id, secret, until_ms, &admin(), now_ms).await.unwrap()
    };
    let rotated = rotate(&second, 100, 10).await.unwrap();
    assert_eq!((rotated.old_secret_until_ms, rotated.updated_ms), (Some(100), 10));
    assert_eq!(store.webhook_secrets(id, 99).await.unwrap(), [second.clone(), first]);
    assert_eq!(store.webhook_secrets(id, 100).await.unwrap(), std::slice::from_ref(&second));
    rotate(&third, 200, 20).await;
    assert_eq!(store.webhook_secrets(id, 99).await.unwrap(), [third.clone(), second.clone()]);
    let last = WebhookSecret::generate();
    assert_eq!(rotate(&last, 30, 30).await.unwrap().old_secret_until_ms, None, "nothing is kept");
    assert_eq!(store.webhook_secrets(id, 30).await.unwrap(), [last]);
    let gone = store.rotate_webhook_secret(WebhookId(99), &third, 1, &admin(), 1).await.unwrap();
    assert_eq!(gone, None);
    store.close().await;
}

pub(in crate::store) async fn what_was_given_up_is_due_again_when_it_is_asked_for_and_posts_are_counted(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let hook = add(&*store, spec()).await;
    publish(&*store, &[notice("a", Topic::Ready), notice("b", Topic::Failed)]).await;
    let settle = async |settled: Settled, status, now_ms| {
        let next = store.next_notice(hook).await.unwrap().unwrap();
        store.settle_notice(hook, next.id, &settled, status, now_ms).await.unwrap();
    };
    settle(Settled::Dead("500".into()), Some(500), 200).await;
    settle(Settled::Taken, Some(204), 300).await;
    let list = async |is_dead| store.notices(hook, is_dead, None, 10).await.unwrap();
    let dead = list(Some(true)).await;
    let [one] = &*dead else { panic!("{dead:?}") };
    let shown = (&*one.message_id, &*one.topic, one.attempts, one.last_error.as_deref());
    assert_eq!((shown, list(Some(false)).await), (("a", "workspace.ready", 1, Some("500")), vec![]));
    assert_eq!(store.notices(hook, None, Some(one.id), 10).await.unwrap(), []);

    let again = store.resend_notice(hook, "a", 400).await.unwrap().unwrap();
    assert_eq!((again.is_dead, again.next_ms), (false, 400));
    assert_eq!(&*store.next_notice(hook).await.unwrap().unwrap().message_id, "a");
    assert_eq!(store.resend_notice(hook, "b", 400).await.unwrap(), None, "it was taken");
    settle(Settled::Again("slow".into(), 900), None, 500).await;
    let shown = store.webhook(hook).await.unwrap().unwrap();
    assert_eq!(shown.posts, Posts { taken: 1, refused: 2, given_up: 1 });
    assert_eq!(shown.last_post, Some(LastPost { at_ms: 500, status: None }));
    store.close().await;
}

pub(in crate::store) async fn who_sees_one_label_has_webhooks_for_it_and_no_others(ground: &impl Ground) {
    let store = ground.open().await;
    let by = Caller { scope: Label::parse("tenant:42"), role: Role::Operator, ..admin() };
    let label = |value: &str| Some(("tenant".to_owned(), value.to_owned()));
    let (topics, secret) = (vec![Topic::Failed], WebhookSecret::generate());
    let theirs = WebhookSpec { label: label("42"), topics: topics.clone(), ..spec() };
    for wrong in [
        WebhookSpec { label: None, topics: topics.clone(), ..spec() },
        WebhookSpec { label: label("43"), topics, ..spec() },
        WebhookSpec { topics: Vec::new(), ..theirs.clone() },
        WebhookSpec { topics: vec![Topic::Failed, Topic::IncidentOpened], ..theirs.clone() },
    ] {
        let refused = store.add_webhook(&wrong, &secret, &by, 1).await;
        assert!(matches!(refused, Err(StoreError::Forbidden(_))), "{wrong:?}: {refused:?}");
    }
    let made = store.add_webhook(&theirs, &secret, &by, 1).await.unwrap().id;
    let open = WebhookSpec { label: None, ..theirs.clone() };
    let refused = store.change_webhook(made, &open, &by, 2).await;
    assert!(matches!(refused, Err(StoreError::Forbidden(_))), "{refused:?}");
    let others = add(&*store, spec()).await;
    assert_eq!(store.change_webhook(others, &theirs, &by, 2).await.unwrap(), None);
    assert_eq!(store.rotate_webhook_secret(others, &secret, 9, &by, 2).await.unwrap(), None);
    assert!(!store.remove_webhook(others, &by, 2).await.unwrap());
    assert!(store.remove_webhook(made, &by, 2).await.unwrap());
    store.close().await;
}

pub(in crate::store) async fn a_webhook_that_is_told_of_more_than_its_label_is_not_changed_by_who_sees_that_alone(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let by = Caller { scope: Label::parse("tenant:42"), role: Role::Operator, ..admin() };
    let secret = WebhookSecret::generate();
    let wide = WebhookSpec { label: Some(("tenant".into(), "42".into())), ..spec() };
    let id = store.add_webhook(&wide, &secret, &admin(), 1).await.unwrap().id;
    let narrow = WebhookSpec { topics: vec![Topic::Failed], url: "https://other".into(), ..wide };
    let other = WebhookSecret::generate();
    for refused in [
        store.change_webhook(id, &narrow, &by, 2).await.map(|_| ()),
        store.rotate_webhook_secret(id, &other, 9, &by, 2).await.map(|_| ()),
        store.remove_webhook(id, &by, 2).await.map(|_| ()),
    ] {
        assert!(matches!(refused, Err(StoreError::Forbidden(_))), "{refused:?}");
    }
    assert_eq!(store.webhook_secrets(id, 3).await.unwrap(), [secret]);
    store.close().await;
}

pub(in crate::store) async fn a_webhook_that_is_told_of_less_keeps_no_notice_of_the_rest(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let hook = add(&*store, spec()).await;
    let of = |id: &str, topic, tenant: &str| {
        let body = format!(r#"{{"data":{{"labels":{{"tenant":"{tenant}"}}}}}}"#);
        let labels = Some(vec![("tenant".to_owned(), tenant.to_owned())]);
        NewNotice { body, labels, ..notice(id, topic) }
    };
    let incident = |id| NewNotice { labels: None, ..notice(id, Topic::IncidentOpened) };
    publish(&*store, &[incident("dead")]).await;
    let dead = store.next_notice(hook).await.unwrap().unwrap().id;
    store.settle_notice(hook, dead, &Settled::Dead("gone".into()), None, 200).await.unwrap();
    publish(
        &*store,
        &[
            of("a", Topic::Failed, "42"),
            of("b", Topic::Failed, "43"),
            of("c", Topic::Ready, "42"),
            incident("d"),
        ],
    )
    .await;
    let label = Some(("tenant".to_owned(), "42".to_owned()));
    let narrow = WebhookSpec { label, topics: vec![Topic::Failed], ..spec() };
    let changed = store.change_webhook(hook, &narrow, &admin(), 300).await.unwrap().unwrap();
    let kept = store.notices(hook, None, None, 10).await.unwrap();
    assert_eq!(kept.iter().map(|kept| &*kept.message_id).collect::<Vec<_>>(), ["a"]);
    assert_eq!((changed.waiting, changed.dead, changed.posts.given_up), (1, 0, 4));
    assert_eq!(store.resend_notice(hook, "dead", 400).await.unwrap(), None, "it comes back by no door");
    store.close().await;
}

pub(in crate::store) async fn who_sees_one_label_takes_the_webhooks_of_no_other(ground: &impl Ground) {
    let store = ground.open().await;
    let made = async |tenant: u32| {
        let label = Some(("tenant".to_owned(), tenant.to_string()));
        let spec = WebhookSpec { label, topics: vec![Topic::Failed], ..spec() };
        let by = Caller { scope: Label::parse(&format!("tenant:{tenant}")), role: Role::Operator, ..admin() };
        let mut made = 0;
        loop {
            match store.add_webhook(&spec, &WebhookSecret::generate(), &by, 1).await {
                Ok(_) => made += 1,
                Err(StoreError::Conflict(_)) => return made,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let mut counts = Vec::new();
    for tenant in 1..=5 {
        counts.push(made(tenant).await);
    }
    assert_eq!(counts, [10, 10, 10, 10, 0]);
    for _ in 40..MAX_WEBHOOKS {
        add(&*store, spec()).await;
    }
    let refused = store.add_webhook(&spec(), &WebhookSecret::generate(), &admin(), 1).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    store.close().await;
}

pub(in crate::store) async fn changes_of_webhooks_are_written_down_without_their_secret(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let secret = WebhookSecret::generate();
    let id = store.add_webhook(&spec(), &secret, &admin(), 1).await.unwrap().id;
    let paused = WebhookSpec { is_paused: true, ..spec() };
    store.change_webhook(id, &paused, &admin(), 2).await.unwrap();
    store.change_webhook(id, &paused, &admin(), 3).await.unwrap();
    store.rotate_webhook_secret(id, &WebhookSecret::generate(), 9, &admin(), 4).await.unwrap();
    store.remove_webhook(id, &admin(), 5).await.unwrap();
    let entries = store.audit(&AuditFilter::default(), None, 10).await.unwrap();
    let deeds: Vec<_> = entries.iter().rev().map(|entry| (entry.at_ms, entry.deed.action)).collect();
    let expected = [
        (1, Action::WebhookCreate),
        (2, Action::WebhookUpdate),
        (4, Action::WebhookRotate),
        (5, Action::WebhookRemove),
    ];
    assert_eq!(deeds, expected, "what changes nothing is not written");
    assert!(entries.iter().all(|entry| entry.deed.target == Some(format!("whk_{id}"))));
    let update = serde_json::Value::Object(entries[2].deed.changes.0.clone());
    assert_eq!(update, serde_json::json!({ "paused": { "from": false, "to": true } }));
    assert!(!format!("{entries:?}").contains("whsec_"));
    store.close().await;
}

fn admin() -> Caller {
    Caller::admin("admin")
}

fn spec() -> WebhookSpec {
    let url = "https://hooks.example.com/tautline".to_owned();
    WebhookSpec { url, topics: Vec::new(), label: None, is_paused: false }
}

async fn add(store: &dyn Store, spec: WebhookSpec) -> WebhookId {
    store.add_webhook(&spec, &WebhookSecret::generate(), &admin(), 1).await.unwrap().id
}

fn notice(id: &str, topic: Topic) -> NewNotice {
    NewNotice { message_id: id.into(), topic, body: "{}".into(), labels: Some(Vec::new()), about: None }
}

async fn publish(store: &dyn Store, notices: &[NewNotice]) {
    store.publish(notices, &[], 100).await.unwrap();
}
