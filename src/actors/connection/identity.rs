//! Whose installation a workspace is, where nobody has said: Slack tells by its bot token. Workspaces that share an app are
//! told apart by nothing else.

use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;

use super::Connection;
use crate::actors::intake::Learnt;
use crate::ids::WorkspaceId;
use crate::slack::web::WebApi;
use crate::store::Workspaces;

impl Connection {
    /// Asks for every workspace whose team is not known. One without a bot token learns it from its first event, if it is
    /// the app's only one.
    pub(super) fn identify(&self, ctx: &mut Context<Self>) {
        for seat in
            self.app.seats.iter().filter(|seat| seat.team_id.is_none() && seat.enterprise_id.is_none())
        {
            let (workspace, name) = (seat.workspace, seat.name.clone());
            let (web, store) = (Rc::clone(&self.web), Arc::clone(&self.shared.store));
            let identities = Arc::clone(&self.shared.identities);
            let asking = async move {
                let _permit = identities.acquire_owned().await;
                ask(&web, &*store, workspace).await
            };
            ctx.spawn(asking.into_actor(self).map(move |learnt, act, ctx| match learnt {
                Ok(Some(learnt)) => act.learn_team(learnt, ctx),
                Ok(None) => {}
                Err(problem) => {
                    tracing::warn!(workspace = %name, problem, "whose bot token this is could not be found out");
                }
            }));
        }
    }
}

async fn ask(web: &WebApi, store: &dyn Workspaces, workspace: WorkspaceId) -> Result<Option<Learnt>, String> {
    let Some(token) = store.bot_token(workspace).await.map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let identity = web.auth_test(&token).await.map_err(|error| error.to_string())?;
    // An install in a whole organisation has a team in the answer that says nothing of it.
    let team_id = identity.team_id.filter(|_| !identity.is_enterprise_install);
    Ok(Some(Learnt {
        workspace,
        team_id: team_id.map(Into::into),
        enterprise_id: identity.enterprise_id.map(Into::into),
    }))
}
