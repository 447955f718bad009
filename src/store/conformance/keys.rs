//! Promises about changing the key.

use super::{Ground, app_token, bot_token, event, name, put, writer};
use crate::config::KeySource;
use crate::ids::Seq;
use crate::secret::WebhookSecret;
use crate::store::{
    AnswerKey, Caller, Resealed, Reserved, Store, StoreError, WebhookSpec, WorkspaceSpec, generate_key_text,
    open, open_beside,
};

pub(in crate::store) async fn what_one_key_sealed_is_sealed_anew_with_another_while_a_node_runs(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    furnish(&*store).await;
    store.close().await;

    let new = KeySource::Text(generate_key_text());
    let both = KeySource::Both(Box::new(new.clone()), Box::new(ground.key()));
    let node = open(ground.with_key(both.clone())).await.unwrap().store;
    assert_reads(&*node).await;
    let ours = writer(&*node).await;
    node.append(ours, &[event(4, "new", "payload 4")], Seq(0)).await.unwrap();

    let beside = open_beside(ground.with_key(both)).await.unwrap().store;
    let (mut next, mut sum) = (None, 0);
    loop {
        let step: Resealed = beside.reseal(next).await.unwrap();
        sum += step.resealed;
        assert_eq!(step.unreadable, 0);
        assert_reads(&*node).await;
        next = step.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(
        sum, 10,
        "token, candidate, bot token, two secrets of a webhook, answer, what was put aside, and three payloads"
    );
    beside.close().await;
    node.close().await;

    let store = open(ground.with_key(new)).await.unwrap().store;
    assert_reads(&*store).await;
    let read = store.read_events(Seq(0), 10, 1 << 20).await.unwrap();
    let payloads: Vec<_> = read.iter().map(|event| event.payload.to_string()).collect();
    assert_eq!(payloads, ["payload 1", "payload 2", "payload 3", "payload 4"]);
    store.close().await;
    let refused = open(ground.with_key(ground.key())).await.err();
    assert!(matches!(refused, Some(StoreError::Setup(_))), "{refused:?}");
}

pub(in crate::store) async fn an_event_sealed_with_a_key_that_is_not_here_waits_for_it_and_so_do_those_behind_it(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let ours = writer(&*store).await;
    store.append(ours, &[event(1, "a", "of the old key")], Seq(0)).await.unwrap();
    store.close().await;
    // One node has the new key already, another was left out.
    let both = KeySource::Both(Box::new(KeySource::Text(generate_key_text())), Box::new(ground.key()));
    let store = open(ground.with_key(both.clone())).await.unwrap().store;
    let ours = writer(&*store).await;
    store.append(ours, &[event(2, "b", "of the new key")], Seq(0)).await.unwrap();
    store.close().await;
    let store = ground.open().await;
    let ours = writer(&*store).await;
    store.append(ours, &[event(3, "c", "of the old key")], Seq(0)).await.unwrap();
    let read = store.read_events(Seq(0), 10, 1000).await.unwrap();
    assert_eq!(read.iter().map(|event| event.seq).collect::<Vec<_>>(), [Seq(1)]);
    let error = store.read_events(Seq(1), 10, 1000).await.unwrap_err();
    assert!(matches!(&error, StoreError::Sealed { what, .. } if what.contains("row 2")), "{error}");
    store.close().await;

    let store = open(ground.with_key(both)).await.unwrap().store;
    assert_eq!(store.read_events(Seq(0), 10, 1000).await.unwrap().len(), 3);
    store.close().await;
}

pub(in crate::store) async fn sealing_anew_that_broke_off_goes_on_where_it_was(ground: &impl Ground) {
    let store = ground.open().await;
    furnish(&*store).await;
    store.close().await;
    let key = |text| KeySource::Both(Box::new(KeySource::Text(text)), Box::new(ground.key()));
    let text = generate_key_text();

    let store = open(ground.with_key(key(text.clone()))).await.unwrap().store;
    let first = store.reseal(None).await.unwrap();
    assert_eq!((first.column, first.resealed), ((1, 8), 1));
    assert_eq!(store.reseal(first.next).await.unwrap().seen, 0, "that was all of the column");
    store.close().await;

    let store = open(ground.with_key(key(text))).await.unwrap().store;
    let on = store.reseal(None).await.unwrap();
    assert_eq!((on.column, on.resealed), ((2, 8), 1));
    store.close().await;

    let store = open(ground.with_key(key(generate_key_text()))).await.unwrap().store;
    let anew = store.reseal(None).await.unwrap();
    assert_eq!(anew.column, (1, 8), "to yet another key all of it has to go");
    assert_eq!((anew.resealed, anew.unreadable), (0, 1), "what the lost key sealed stays as it is");
    store.close().await;
}

const SECRETS: [&str; 2] =
    ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"];

/// One value in each column, three in the journal.
async fn furnish(store: &dyn Store) {
    let body = |token| WorkspaceSpec {
        app_token: app_token(token),
        bot_token: bot_token("xoxb-1-2-of-the-bot"),
        ..super::no_token()
    };
    put(store, "acme", &body("xapp-1-A1-1-first"), 1).await;
    put(store, "acme", &body("xapp-1-A1-2-second"), 2).await;
    let spec = WebhookSpec {
        url: "https://hooks.example.com/".into(),
        topics: Vec::new(),
        label: None,
        is_paused: false,
    };
    let by = Caller::admin("admin");
    let [first, second] = SECRETS.map(|text| WebhookSecret::parse(text).unwrap());
    let webhook = store.add_webhook(&spec, &first, &by, 1).await.unwrap().id;
    store.rotate_webhook_secret(webhook, &second, 100, &by, 2).await.unwrap();
    let ours = writer(store).await;
    let group: Vec<_> =
        (1..=3).map(|seq| event(seq, &format!("k{seq}"), &format!("payload {seq}"))).collect();
    store.append(ours, &group, Seq(0)).await.unwrap();
    store.end_writer(ours, Seq(0), 3).await.unwrap();
    store.quarantine(&event(9, "odd", "odd"), "odd", 3).await.unwrap();
    let Reserved::Free(place) = store.reserve_answer(&key(), 3).await.unwrap() else { panic!("it is free") };
    store.keep_answer(place, b"answer").await.unwrap();
}

/// Everything can be opened.
async fn assert_reads(store: &dyn Store) {
    let acme = store.workspace(&name("acme")).await.unwrap().unwrap();
    let app = store.app(acme.app).await.unwrap().unwrap();
    assert_eq!(app.token.unwrap().unwrap().expose(), "xapp-1-A1-1-first");
    assert_eq!(app.candidate.unwrap().unwrap().expose(), "xapp-1-A1-2-second");
    assert_eq!(store.bot_token(acme.id).await.unwrap().unwrap().expose(), "xoxb-1-2-of-the-bot");
    let webhook = store.webhooks().await.unwrap()[0].id;
    let secrets = store.webhook_secrets(webhook, 50).await.unwrap();
    assert_eq!(secrets.iter().map(WebhookSecret::expose).collect::<Vec<_>>(), [SECRETS[1], SECRETS[0]]);
    let kept = store.reserve_answer(&key(), 4).await.unwrap();
    assert_eq!(kept, Reserved::Answered(b"answer".to_vec()));
}

fn key() -> AnswerKey {
    AnswerKey::new(None, "k", "POST", "/", b"")
}
