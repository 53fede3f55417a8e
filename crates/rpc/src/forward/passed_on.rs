//! A service that every node answers by itself, except for what another node takes it for the leader with.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use tonic::body::Body;
use tower::{Service, ServiceExt as _};

use super::{Forward, Forwarded};
use crate::{metadata, services::AnyService};

/// See the module. What is passed on to a node that does not lead is refused, so that it is passed on to the next leader.
#[derive(Clone)]
pub(crate) struct PassedOn {
    here: AnyService,
    leader: Forwarded,
}

impl PassedOn {
    pub(crate) fn new(here: AnyService, forward: Forward) -> Self {
        Self { here: here.clone(), leader: Forwarded::new(here, forward) }
    }
}

impl Service<Request<Body>> for PassedOn {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if metadata::redirected_from(request.headers()).is_some() {
            return self.leader.call(request);
        }
        Box::pin(self.here.clone().oneshot(request))
    }
}
