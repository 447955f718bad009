//! A server that is slow, busy, or somebody else's at the moment.

use super::*;
use crate::status::State;
use crate::store::Transition;

#[tokio::test]
async fn an_append_waits_neither_for_readers_nor_for_changes_of_workspaces() {
    let place = Place::new().await;
    let store = place.opened().await.store;
    let writer = store.begin_writer("node", 1).await.unwrap().id;
    let change = store.begin().await.unwrap();
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(store.reader().await.unwrap());
    }
    assert_eq!(store.append(writer, &[event(1, "a", "x")], Seq(0)).await, Ok(vec![Taken::Fresh]));
    drop((change, readers));
    store.close().await;
}

#[tokio::test]
async fn an_append_that_another_session_holds_up_is_cut_and_comes_through_later() {
    let place = Place::new().await;
    let store = place.opened().await.store;
    let writer = store.begin_writer("node", 1).await.unwrap().id;
    let mut other = place.connect().await;
    other.execute("begin; lock table tautline.seen in access exclusive mode").await.unwrap();
    let group = [event(1, "a", "x")];
    let error = store.append(writer, &group, Seq(0)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("another session")), "{error}");
    other.execute("rollback").await.unwrap();
    assert_eq!(store.append(writer, &group, Seq(0)).await, Ok(vec![Taken::Fresh]));
    store.close().await;
}

#[tokio::test]
async fn a_start_has_the_time_that_a_long_backlog_takes() {
    let place = Place::new().await;
    let store = place.opened().await.store;
    // Longer than anything else may take.
    place
        .connect()
        .await
        .execute(
            "create function tautline.wait() returns trigger language plpgsql as 'begin perform pg_sleep(11); return new; end'; \
             create trigger wait before insert on tautline.writers for each row execute function tautline.wait()",
        )
        .await
        .unwrap();
    store.begin_writer("node", 1).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_read_that_takes_too_long_is_cut() {
    let place = Place::new().await;
    let store = place.opened().await.store;
    let cut = sqlx::query("select pg_sleep(60)").execute(&mut *store.reader().await.unwrap()).await;
    let error = super::super::fault::tell(cut.expect_err("cut").into(), "db");
    assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("took too long")), "{error}");
    store.ping().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_caller_gone_in_the_middle_leaves_neither_a_lock_nor_half_a_write() {
    let place = Place::new().await;
    let store = place.opened().await.store;
    let mut tx = store.begin().await.unwrap();
    sqlx::query("insert into meta (name, value) values ('half', '1')").execute(tx.db()).await.unwrap();
    drop(tx);
    store.ping().await.unwrap();
    let half: i64 = sqlx::query_scalar("select count(*) from tautline.meta where name = 'half'")
        .fetch_one(&mut place.connect().await)
        .await
        .unwrap();
    assert_eq!(half, 0);
    store.close().await;
}

#[tokio::test]
async fn a_wait_for_another_maker_of_partitions_that_is_cut_leaves_a_session_that_writes() {
    let place = Place::new().await;
    let store = place.opened().await.store;
    let writer = store.begin_writer("node", 1).await.unwrap().id;
    let mut held = store.journal().await.unwrap();
    held.db().execute("set lock_timeout = '50ms'").await.unwrap();
    held.after(Ok(())).unwrap();
    let mut other = place.connect().await;
    other.execute(super::super::locks::BEGIN_PARTITIONS).await.unwrap();
    let error = store.keep_house(THEN_MS).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("another session")), "{error}");
    other.execute("rollback").await.unwrap();
    store.keep_house(THEN_MS).await.unwrap();
    let group = [event(first_at(THEN_MS).0, "a", "x")];
    assert_eq!(store.append(writer, &group, Seq(0)).await, Ok(vec![Taken::Fresh]));
    store.close().await;
}

#[tokio::test]
async fn a_session_whose_transaction_has_failed_is_not_used_again() {
    let place = Place::new().await;
    let store = place.opened().await.store;
    let mut held = store.journal().await.unwrap();
    held.db().execute("begin").await.unwrap();
    held.db().execute("select 1 / 0").await.unwrap_err();
    let error = held.db().execute("select 1").await.unwrap_err();
    held.after(Err::<(), _>(error.into())).unwrap_err();
    store.keep_house(THEN_MS).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn many_lines_of_history_cost_few_statements() {
    let place = Place::new().await;
    let store = place.opened().await.store;
    // A database far away: each statement takes a while, and a batch must come through within ten seconds.
    place
        .connect()
        .await
        .execute(
            "create function tautline.wait() returns trigger language plpgsql as 'begin perform pg_sleep(0.1); return null; end'; \
             create trigger wait before insert or delete on tautline.transitions for each statement execute function tautline.wait()",
        )
        .await
        .unwrap();
    let change = |app| Transition {
        app: AppId(app),
        workspace: None,
        at_ms: 1,
        from: State::Connected,
        to: State::Ready,
        code: None,
        generation: None,
    };
    let lines: Vec<_> = (1..=256).map(change).collect();
    store.record(&lines).await.unwrap();
    assert_eq!(store.history(AppId(256), None, 10).await.unwrap(), [(1, change(256))]);
    store.close().await;
}

#[tokio::test]
async fn two_nodes_that_change_workspaces_at_the_same_time_do_it_one_after_the_other() {
    let place = Place::new().await;
    let (one, two) = (place.opened().await.store, place.opened().await.store);
    let name = WorkspaceName::parse("acme").unwrap();
    let spec = |token: &str| WorkspaceSpec {
        title: None,
        desired: Desired::Connected,
        delivery: DeliveryMode::Active,
        links: 1,
        labels: vec![],
        app_token: Secret::Set(AppToken::parse(token).unwrap()),
        bot_token: Secret::Keep,
    };
    let (first, second) = (spec("xapp-one"), spec("xapp-two"));
    for now in 0..20 {
        let (a, b) = tokio::join!(
            one.put_workspace(&name, &first, When::Always, now),
            two.put_workspace(&name, &second, When::Always, now)
        );
        a.unwrap();
        b.unwrap();
        one.remove_workspace(&name, When::Always, now).await.unwrap();
    }
    one.close().await;
    two.close().await;
}
