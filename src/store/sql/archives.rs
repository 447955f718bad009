//! The journal and what is owed, as operators see and steer them: a table of contents.

use async_trait::async_trait;

use super::Backend;
use crate::ids::Seq;
use crate::store::{
    Archive, Burden, Caller, DeliveryFilter, DeliveryId, EventFilter, KnownHandler, Label, Page, Remedy,
    ReplayTo, Replayed, Stepped, StoreError, StoredDelivery, StoredEvent,
};

#[async_trait]
impl Archive for Backend {
    async fn events(
        &self,
        filter: &EventFilter,
        scope: Option<&Label>,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Page<StoredEvent, Seq>, StoreError> {
        self.told(self.list_events(filter, scope, before, limit)).await
    }

    async fn event(&self, seq: Seq, scope: Option<&Label>) -> Result<Option<StoredEvent>, StoreError> {
        self.told(self.read_event(seq, scope)).await
    }

    async fn deliveries_of(&self, seqs: &[Seq]) -> Result<Vec<StoredDelivery>, StoreError> {
        self.told(self.list_deliveries_of(seqs)).await
    }

    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        scope: Option<&Label>,
        before: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Page<StoredDelivery, DeliveryId>, StoreError> {
        self.told(self.list_deliveries(filter, scope, before, limit)).await
    }

    async fn remedy_delivery(
        &self,
        id: DeliveryId,
        remedy: Remedy,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<StoredDelivery>, StoreError> {
        self.told(self.change_delivery(id, remedy, by, now_ms)).await
    }

    async fn replay_event(
        &self,
        seq: Seq,
        to: &ReplayTo,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<Replayed>, StoreError> {
        self.told(self.replay_one(seq, to, by, now_ms)).await
    }

    async fn count_remedies(
        &self,
        remedy: Remedy,
        filter: &DeliveryFilter,
        before: Option<Seq>,
        now_ms: i64,
    ) -> Result<Stepped, StoreError> {
        self.told(self.count_changes(remedy, filter, before, now_ms)).await
    }

    async fn remedy_some(
        &self,
        remedy: Remedy,
        filter: &DeliveryFilter,
        before: Option<Seq>,
        now_ms: i64,
    ) -> Result<Stepped, StoreError> {
        self.told(self.change_some(remedy, filter, before, now_ms)).await
    }

    async fn count_replays(
        &self,
        to: &ReplayTo,
        filter: &EventFilter,
        before: Option<Seq>,
        now_ms: i64,
    ) -> Result<Stepped, StoreError> {
        self.told(self.count_new(to, filter, before, now_ms)).await
    }

    async fn replay_some(
        &self,
        to: &ReplayTo,
        filter: &EventFilter,
        before: Option<Seq>,
        now_ms: i64,
    ) -> Result<Stepped, StoreError> {
        self.told(self.make_new(to, filter, before, now_ms)).await
    }

    async fn known_handlers(&self) -> Result<Vec<KnownHandler>, StoreError> {
        self.told(self.list_handlers()).await
    }

    async fn burdens(&self, most: u32) -> Result<Vec<Burden>, StoreError> {
        self.told(self.weigh_handlers(most)).await
    }

    async fn steer_handler(
        &self,
        name: &str,
        is_paused: bool,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<KnownHandler>, StoreError> {
        self.told(self.note_steering(name, is_paused, by, now_ms)).await
    }
}
