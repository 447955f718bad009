//! Old days that go, beside who asks for something of them.

use super::*;
use crate::store::{
    Archive as _, Caller, Deliveries as _, DeliveryChange, DeliveryFilter, DeliveryId, DeliveryRow,
    DeliveryStatus, EventFilter, Lane, Remedy, ReplayTo,
};

#[tokio::test]
async fn a_day_of_which_something_is_just_being_asked_for_again_does_not_go() {
    for way in ["replay", "retry", "replay many", "retry many"] {
        for (takes, payloads) in [("events", false), ("payloads", true)] {
            let place = Place::new().await;
            let store = place.opened().await.store;
            let writer = store.begin_writer("node", 1).await.unwrap().id;
            let log = store.declare_handlers(&["log"], 1).await.unwrap()[0].id;
            let old = event(first_at(OLD_MS).0, "a", "x");
            store.append(writer, &[Arc::clone(&old)], old.seq).await.unwrap();
            store.settle(writer, old.seq).await.unwrap();
            let id = DeliveryId { seq: old.seq, handler: log, run: 1 };
            let dead = DeliveryRow {
                id,
                lane: Lane { app: AppId(1), workspace: None },
                status: DeliveryStatus::Dead,
                attempts: 3,
                next_ms: 9,
                order_key: None,
                hold_until_ms: None,
                last_error: None,
                created_ms: 1,
                updated_ms: 1,
            };
            store.write_deliveries(writer, &[DeliveryChange::Tried(dead)], 1).await.unwrap();
            assert_eq!(store.forget_seen(OLD_MS + 1, 100).await.unwrap(), 1);

            // It is made, and not yet for all to see.
            let mut other = place.connect().await;
            let trigger = "create function tautline.wait() returns trigger language plpgsql as \
                 'begin perform pg_advisory_xact_lock(77); return new; end'; \
                 create trigger wait after insert or update on tautline.deliveries for each row execute function tautline.wait(); \
                 select pg_advisory_lock(77)";
            other.execute(trigger).await.unwrap();
            let root = Caller::admin("root");
            let asked = async {
                let named = ReplayTo::Named(vec!["log".into()]);
                match way {
                    "replay" => drop(store.replay_event(old.seq, &named, &root, 5).await.unwrap().unwrap()),
                    "retry" => {
                        drop(store.remedy_delivery(id, Remedy::Retry, &root, 5).await.unwrap().unwrap());
                    }
                    "replay many" => {
                        let made = store.replay_some(&named, &EventFilter::default(), None, 5).await.unwrap();
                        assert_eq!(made.matched, 1);
                    }
                    _ => {
                        let done =
                            store.remedy_some(Remedy::Retry, &DeliveryFilter::default(), None, 5).await;
                        assert_eq!(done.unwrap().matched, 1);
                    }
                }
            };
            let later = OLD_MS + 10 * 86_400_000;
            let gone = async {
                place.until_waiting(1).await;
                let gone = async {
                    if payloads {
                        store.delete_payloads(later, 1).await
                    } else {
                        store.delete_events(later, 1).await
                    }
                };
                let released = async {
                    place.until_waiting(2).await;
                    other.execute("select pg_advisory_unlock(77)").await.unwrap();
                };
                tokio::join!(gone, released).0
            };
            let ((), gone) = tokio::join!(asked, gone);
            assert_eq!(gone, Ok(super::gone(0)), "{takes} beside a {way}");
            let due = store.read_due(log, &std::collections::HashSet::new(), &[], 9, 10).await.unwrap();
            assert!(due.len() == 1 && due[0].event.is_some(), "{takes} beside a {way}");
            store.close().await;
        }
    }
}

impl Place {
    async fn until_waiting(&self, sessions: i64) {
        let mut db = self.connect().await;
        let waits = "select count(*) from pg_stat_activity where datname = current_database() \
             and wait_event_type = 'Lock'";
        for _ in 0..1000 {
            let waiting: i64 = sqlx::query_scalar(waits).fetch_one(&mut db).await.unwrap();
            if waiting >= sessions {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("nobody waits for a lock");
    }
}
