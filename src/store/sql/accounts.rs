//! What the admin API keeps for itself: a table of contents.

use async_trait::async_trait;

use super::Backend;
use crate::store::{
    Accounts, AnswerKey, AnswerPlace, ApiToken, AuditEntry, AuditFilter, Caller, Deed, NewToken, Reserved,
    StoreError, TokenDigest, TokenId,
};

#[async_trait]
impl Accounts for Backend {
    async fn create_token(&self, new: &NewToken, by: &Caller, now_ms: i64) -> Result<ApiToken, StoreError> {
        self.told(self.add_token(new, by, now_ms)).await
    }

    async fn tokens(&self, after: Option<TokenId>, limit: u32) -> Result<Vec<ApiToken>, StoreError> {
        self.told(self.list_tokens(after, limit)).await
    }

    async fn token(&self, id: TokenId) -> Result<Option<ApiToken>, StoreError> {
        self.told(self.find_token(id)).await
    }

    async fn living_tokens(&self) -> Result<Vec<(TokenDigest, ApiToken)>, StoreError> {
        self.told(self.tokens_in_force()).await
    }

    async fn note_use(&self, id: TokenId, at_ms: i64) -> Result<(), StoreError> {
        self.told(self.mark_used(id, at_ms)).await
    }

    async fn revoke_token(
        &self,
        id: TokenId,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<ApiToken>, StoreError> {
        self.told(self.revoke(id, by, now_ms)).await
    }

    async fn write_audit(&self, by: &Caller, deed: &Deed, now_ms: i64) -> Result<(), StoreError> {
        self.told(self.add_audit(by, deed, now_ms)).await
    }

    async fn audit(
        &self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        self.told(self.read_audit(filter, before, limit)).await
    }

    async fn reserve_answer(&self, key: &AnswerKey, now_ms: i64) -> Result<Reserved, StoreError> {
        self.told(self.reserve(key, now_ms)).await
    }

    async fn keep_answer(&self, place: AnswerPlace, answer: &[u8]) -> Result<(), StoreError> {
        self.told(self.keep_sealed(place, answer)).await
    }

    async fn release_answer(&self, place: AnswerPlace) -> Result<(), StoreError> {
        self.told(self.release(place)).await
    }
}
