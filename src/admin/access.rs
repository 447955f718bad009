//! What a handler is given: the node, as the caller may see it.

use std::future::{Ready, ready};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};

use super::Node;
use super::problem::{Code, Problem};
use crate::store::{Caller, Label, Workspaces};

/// The node in the hands of a caller. A handler that asks for it cannot be reached by nobody.
#[derive(Clone)]
pub(super) struct Access {
    node: Data<dyn Node>,
    caller: Rc<Caller>,
}

impl Access {
    /// The workspaces that the caller sees.
    pub(super) fn store(&self) -> Arc<dyn Workspaces> {
        self.node.store(&self.caller)
    }

    /// The node itself.
    pub(super) fn node(&self) -> Arc<dyn Node> {
        Arc::clone(&self.node)
    }

    /// Who asks.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What the caller sees, where that is not everything.
    pub(super) fn scope(&self) -> Option<&Label> {
        self.caller.scope.as_ref()
    }
}

impl Deref for Access {
    type Target = Arc<dyn Node>;

    fn deref(&self) -> &Self::Target {
        &self.node
    }
}

impl FromRequest for Access {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let node = request.app_data::<Data<dyn Node>>().cloned();
        let caller = request.extensions().get::<Rc<Caller>>().cloned();
        let access = node.zip(caller).map(|(node, caller)| Self { node, caller });
        ready(access.ok_or_else(|| Problem::new(Code::Internal, "nobody was asked who this is")))
    }
}
