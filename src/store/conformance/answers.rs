//! Promises about answers that are kept for who asks again.

use super::Ground;
use crate::store::{
    ANSWERS_KEPT_MS, AnswerKey, AnswerPlace, Reserved, Store, StoreError, TokenId, UNDER_WAY_MS,
};

pub(in crate::store) async fn an_answer_is_kept_for_a_day_for_the_request_and_the_token_it_belongs_to(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let place = free(&*store, &key(None, "k", "body"), 100).await;
    assert_eq!(store.reserve_answer(&key(None, "k", "body"), 101).await.unwrap(), Reserved::UnderWay);
    store.keep_answer(place, b"an\0answer\xff").await.unwrap();
    let last = 100 + ANSWERS_KEPT_MS - 1;
    for now in [102, last] {
        let again = store.reserve_answer(&key(None, "k", "body"), now).await.unwrap();
        assert_eq!(again, Reserved::Answered(b"an\0answer\xff".to_vec()));
        assert_eq!(store.reserve_answer(&key(None, "k", "other"), now).await.unwrap(), Reserved::Other);
    }
    free(&*store, &key(None, "another", "body"), 103).await;
    let theirs = free(&*store, &key(Some(7), "k", "other"), 103).await;
    store.keep_answer(theirs, b"theirs").await.unwrap();
    let again = store.reserve_answer(&key(None, "k", "body"), 104).await.unwrap();
    assert_eq!(again, Reserved::Answered(b"an\0answer\xff".to_vec()));
    free(&*store, &key(None, "k", "other"), last + 1).await;
    store.close().await;
}

pub(in crate::store) async fn a_place_without_an_answer_is_free_again_when_it_is_released_or_left_behind(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let key = key(None, "k", "body");
    let place = free(&*store, &key, 0).await;
    store.release_answer(place).await.unwrap();
    free(&*store, &key, 1).await;
    assert_eq!(store.reserve_answer(&key, UNDER_WAY_MS).await.unwrap(), Reserved::UnderWay);
    let place = free(&*store, &key, 1 + UNDER_WAY_MS).await;
    store.keep_answer(place, b"done").await.unwrap();
    store.release_answer(place).await.unwrap();
    let kept = store.reserve_answer(&key, 2 + UNDER_WAY_MS).await.unwrap();
    assert_eq!(kept, Reserved::Answered(b"done".to_vec()), "an answer that is kept is not released");
    store.close().await;
}

pub(in crate::store) async fn nothing_is_kept_in_a_place_that_was_taken_over(ground: &impl Ground) {
    let store = ground.open().await;
    let key = key(None, "k", "body");
    let late = free(&*store, &key, 0).await;
    let place = free(&*store, &key, UNDER_WAY_MS).await;
    store.keep_answer(late, b"late").await.unwrap();
    store.release_answer(late).await.unwrap();
    assert_eq!(store.reserve_answer(&key, 1 + UNDER_WAY_MS).await.unwrap(), Reserved::UnderWay);
    store.keep_answer(place, b"done").await.unwrap();
    store.keep_answer(late, b"later").await.unwrap();
    let kept = store.reserve_answer(&key, 2 + UNDER_WAY_MS).await.unwrap();
    assert_eq!(kept, Reserved::Answered(b"done".to_vec()));
    store.close().await;
}

pub(in crate::store) async fn old_answers_are_forgotten_in_bounded_steps(ground: &impl Ground) {
    let store = ground.open().await;
    for n in 0..60 {
        free(&*store, &key(None, &n.to_string(), "body"), n).await;
    }
    free(&*store, &key(None, "now", "body"), 60 + ANSWERS_KEPT_MS).await;
    // Rows that are gone do not come back with their number; one still there would be under way at this time.
    let mut gone = 0;
    for n in 0..60 {
        let reserved = store.reserve_answer(&key(None, &n.to_string(), "body"), 61).await.unwrap();
        gone += i32::from(matches!(reserved, Reserved::Free(_)));
    }
    assert_eq!(gone, 50);
    store.close().await;
}

async fn free(store: &dyn Store, key: &AnswerKey, now_ms: i64) -> AnswerPlace {
    let reserved: Result<Reserved, StoreError> = store.reserve_answer(key, now_ms).await;
    match reserved.unwrap() {
        Reserved::Free(place) => place,
        taken @ (Reserved::Answered(_) | Reserved::UnderWay | Reserved::Other) => panic!("{taken:?}"),
    }
}

fn key(owner: Option<i64>, key: &str, body: &str) -> AnswerKey {
    AnswerKey::new(owner.map(TokenId), key, "POST", "/api/v1/tokens", body.as_bytes())
}
