//! What has changed since somebody looked: one queue for all apps. A change of an app that is in it already adds nothing, so it never
//! holds more than there are apps, and who marks one waits for nobody.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::ids::AppId;

/// What of an app may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// What its connection says.
    Status,
    /// What is stored of it, too.
    Rows,
}

/// Apps that have changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    apps: Mutex<HashMap<AppId, What>>,
    marked: Notify,
}

impl Changes {
    /// Something of an app has changed.
    pub(super) fn mark(&self, app: AppId, what: What) {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let known = apps.entry(app).or_insert(what);
        *known = what.max(*known);
        drop(apps);
        self.marked.notify_one();
    }

    /// Takes all that has changed.
    pub(super) fn take(&self) -> HashMap<AppId, What> {
        std::mem::take(&mut self.apps.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Resolves when something was marked since the last time.
    pub(super) async fn marked(&self) {
        self.marked.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn marks_of_one_app_are_one_and_the_larger_stays() {
        let changes = Changes::default();
        for what in [What::Status, What::Rows, What::Status] {
            changes.mark(AppId(1), what);
        }
        changes.mark(AppId(2), What::Status);
        changes.marked().await;
        assert_eq!(changes.take(), [(AppId(1), What::Rows), (AppId(2), What::Status)].into());
        assert_eq!(changes.take(), [].into());
    }
}
