//! What is a plugin's own runs behind a fence: a panic in it, also where something of it is dropped, ends that one thing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::LocalBoxFuture;

use crate::handlers::Outcome;

/// Does something of a plugin's; none when it panicked.
pub(super) fn behind<T>(work: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(made) => Some(made),
        Err(thrown) => {
            // What is thrown may be anything: it may panic when it is dropped, and so may what it throws then.
            if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(thrown))) {
                std::mem::forget(again);
            }
            None
        }
    }
}

/// Something of a handler's that may panic when it is dropped.
pub(super) struct Fenced<'a, T> {
    inner: Option<T>,
    handler: &'a str,
}

impl<'a, T> Fenced<'a, T> {
    /// Puts it behind the fence.
    pub(super) const fn new(inner: T, handler: &'a str) -> Self {
        Self { inner: Some(inner), handler }
    }

    /// What it is, until it has ended.
    pub(super) const fn get(&self) -> Option<&T> {
        self.inner.as_ref()
    }

    fn end(&mut self) {
        let Some(inner) = self.inner.take() else { return };
        if behind(|| drop(inner)).is_none() {
            tracing::error!(
                handler = self.handler,
                "something of the handler's panicked while it was dropped; the handler goes on"
            );
        }
    }
}

impl<T> Drop for Fenced<'_, T> {
    fn drop(&mut self) {
        self.end();
    }
}

/// None when it panicked. It is dropped as soon as it has ended.
impl Future for Fenced<'_, LocalBoxFuture<'_, Outcome>> {
    type Output = Option<Outcome>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(inner) = &mut self.inner else { return Poll::Pending };
        let end = match behind(|| inner.as_mut().poll(cx)) {
            Some(polled) => Some(ready!(polled)),
            None => None,
        };
        self.end();
        Poll::Ready(end)
    }
}
