//! The services of one server, each behind its row of the access table.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Limited};
use swarmkit_api::access;
use tokio::time::Instant;
use tonic::{Code, Status, body::Body, server::NamedService};
use tower::{Service, ServiceExt as _, util::BoxCloneSyncService};

use crate::{
    authorize::{Authority, is_open},
    deadline,
    forward::{Forward, Forwarded, PassedOn},
    limits, measure, metadata,
    peer::Origin,
    strangers::{StrangerLimits, Strangers},
};

/// How tonic's text on a message over the limit begins, as a header has it.
const TOO_LARGE: &[u8] = b"Error,%20decoded%20message%20length%20too%20large";

/// A service, whatever it is made of.
pub(crate) type AnyService = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// A service cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// Nothing says who may call it.
    #[error("service {service} has no row in the access table, so nobody may call it")]
    NoAccess {
        /// Its full name.
        service: &'static str,
    },
    /// It is there already.
    #[error("service {service} is mounted twice")]
    Twice {
        /// Its full name.
        service: &'static str,
    },
}

/// Services with one authority in front of them. Clones share them.
///
/// Every request is checked against the access table before a service sees it, and carries a
/// [`Peer`](crate::Peer) afterwards. Deadlines that callers set are kept here too.
#[derive(Clone)]
pub struct Services {
    authority: Authority,
    strangers: Strangers,
    mounted: Arc<BTreeMap<&'static str, AnyService>>,
}

// === impl Services ===

impl Services {
    /// No services yet.
    #[must_use]
    pub fn new(authority: Authority) -> Self {
        Self { authority, strangers: Strangers::new(StrangerLimits::default()), mounted: Arc::default() }
    }

    /// Sets how much callers may take that have shown no certificate of a member.
    #[must_use]
    pub fn bounding_strangers(self, limits: StrangerLimits) -> Self {
        Self { strangers: Strangers::new(limits), ..self }
    }

    /// Adds a generated service, answered by this node.
    ///
    /// Messages it reads are limited to 4 MiB each unless the service says otherwise
    /// (`max_decoding_message_size`).
    ///
    /// # Errors
    ///
    /// When the access table does not know it, or it is there already.
    pub fn with<S>(self, service: S) -> Result<Self, MountError>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.mount(S::NAME, BoxCloneSyncService::new(service))
    }

    /// Adds a generated service that the leader answers: this node when it leads, else calls are passed on.
    ///
    /// # Errors
    ///
    /// As [`Services::with`].
    pub fn with_forwarded<S>(self, service: S, forward: &Forward) -> Result<Self, MountError>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let service = Forwarded::new(BoxCloneSyncService::new(service), forward.clone());
        self.mount(S::NAME, BoxCloneSyncService::new(service))
    }

    /// Adds a generated service that this node answers, except for what other nodes pass on to it as to the leader: that
    /// is refused if it does not lead.
    ///
    /// # Errors
    ///
    /// As [`Services::with`].
    pub fn with_passed_on<S>(self, service: S, forward: &Forward) -> Result<Self, MountError>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let service = PassedOn::new(BoxCloneSyncService::new(service), forward.clone());
        self.mount(S::NAME, BoxCloneSyncService::new(service))
    }

    fn mount(mut self, service: &'static str, serve: AnyService) -> Result<Self, MountError> {
        if access::methods_of(service).is_empty() {
            return Err(MountError::NoAccess { service });
        }
        if Arc::make_mut(&mut self.mounted).insert(service, serve).is_some() {
            return Err(MountError::Twice { service });
        }
        Ok(self)
    }

    /// Who decides here.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// How many connections have shown no certificate of a member, or not yet.
    #[must_use]
    pub fn visits(&self) -> usize {
        self.strangers.visits()
    }

    pub(crate) fn strangers(&self) -> &Strangers {
        &self.strangers
    }

    /// Answers one request from `origin`.
    pub(crate) async fn call(&self, origin: &Origin, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path();
        let service = path.strip_prefix('/').and_then(|path| path.split_once('/')).map_or("", |(service, _)| service);
        let (Some(serve), Some(method)) = (self.mounted.get(service), access::method(path)) else {
            return Status::unimplemented(format!("unknown method {path}")).into_http();
        };
        let span = tracing::debug_span!("rpc.call", method = method.path, code = tracing::field::Empty);
        measure::told(span, exhausted(self.allowed(origin, request, serve, method).await))
    }

    async fn allowed(
        &self,
        origin: &Origin,
        mut request: Request<Body>,
        serve: &AnyService,
        method: &access::Method,
    ) -> Response<Body> {
        let vouched = metadata::vouched(request.headers());
        let peer = match self.authority.decide(method, origin, vouched.as_ref()) {
            Ok(peer) => peer,
            Err(denied) => {
                if self.authority.is_member(origin) || self.strangers.may_tell(origin.addr()) {
                    tracing::info!(method = method.path, ?origin, %denied, "call refused");
                }
                return Status::permission_denied(denied.to_string()).into_http();
            }
        };
        request.extensions_mut().insert(peer.clone());
        let until = deadline::timeout(request.headers()).map(|timeout| Instant::now() + timeout);
        if !is_open(method) {
            return within(until, serve, request).await;
        }
        let answer = within(until, serve, request.map(short));
        self.strangers.answered(&peer, method, answer).await
    }
}

/// The body of a call that anyone may make.
fn short(body: Body) -> Body {
    let too_large = || {
        Status::resource_exhausted(format!(
            "the message is larger than the {} bytes of this call",
            limits::OPEN_MESSAGE_BYTES
        ))
    };
    Body::new(Limited::new(body, limits::OPEN_MESSAGE_BYTES).map_err(move |error| match error.downcast::<Status>() {
        Ok(status) => *status,
        Err(_) => too_large(),
    }))
}

/// Calls that only ask for something, beside those that get or list.
const READING: [&str; 2] = ["NodeCertificateStatus", "Save"];

/// Whether a call asks for something and changes nothing. The answer may be a stream.
pub(crate) fn reads(method: &access::Method) -> bool {
    let reads = |name: &str| name.starts_with("Get") || name.starts_with("List") || READING.contains(&name);
    !method.client_streaming && reads(method.method)
}

/// Ends a call when its caller no longer waits.
async fn within(until: Option<Instant>, serve: &AnyService, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let Ok(answer) = serve.clone().oneshot(request).await;
        answer
    };
    let Some(until) = until else {
        return answer.await;
    };
    match tokio::time::timeout_at(until, answer).await {
        Ok(answer) => answer.map(|body| deadline::limit(body, until)),
        Err(_) => deadline::exceeded().into_http(),
    }
}

/// A message over the limit is an exhausted resource, as everywhere else in gRPC; tonic calls it out of range.
fn exhausted(mut answer: Response<Body>) -> Response<Body> {
    let headers = answer.headers();
    let too_large = || headers.get(Status::GRPC_MESSAGE).is_some_and(|text| text.as_bytes().starts_with(TOO_LARGE));
    if headers.get(Status::GRPC_STATUS).is_some_and(|code| Code::from_bytes(code.as_bytes()) == Code::OutOfRange)
        && too_large()
    {
        answer.headers_mut().insert(Status::GRPC_STATUS, HeaderValue::from(Code::ResourceExhausted as i32));
    }
    answer
}
