//! A call on its way to the leader, in a form that can be sent more than once.

use bytes::Bytes;
use http::{Request, request::Parts};
use http_body_util::{BodyExt as _, Full, Limited};
use swarmkit_api::access::{self, Method};
use tonic::{Status, body::Body};

use crate::{deadline, limits, metadata, peer::Peer, services::reads};

/// Calls that may be made twice since they say the same again, beside those that read.
const REPEATABLE: [&str; 4] = ["Heartbeat", "Join", "UpdateTaskStatus", "UpdateVolumeStatus"];

/// One call.
pub(super) struct Call {
    head: Parts,
    body: Payload,
    method: Option<&'static Method>,
}

enum Payload {
    /// The one message of the caller.
    Whole(Bytes),
    /// Its messages as they come. Gone once they were sent.
    Stream(Option<Body>),
}

impl Call {
    /// Takes a call over. Where the caller sends one message, it is read.
    ///
    /// # Errors
    ///
    /// The message is too large, or does not come.
    pub(super) async fn new(request: Request<Body>) -> Result<Self, Status> {
        let (head, body) = request.into_parts();
        let method = access::method(head.uri.path());
        let body = if method.is_none_or(|method| method.client_streaming) {
            Payload::Stream(Some(body))
        } else {
            let read = Limited::new(body, limits::MESSAGE_BYTES).collect().await;
            Payload::Whole(read.map_err(|error| unreadable(&*error))?.to_bytes())
        };
        Ok(Self { head, body, method })
    }

    /// Whether the caller sends one message and gets one.
    pub(super) fn is_unary(&self) -> bool {
        self.method.is_some_and(|method| !method.client_streaming && !method.server_streaming)
    }

    /// Whether the call would last for ever if nobody answers.
    pub(super) fn lacks_deadline(&self) -> bool {
        self.is_unary() && deadline::timeout(&self.head.headers).is_none()
    }

    /// Whether nothing of it is gone, so that it can be sent (again).
    pub(super) fn is_whole(&self) -> bool {
        match &self.body {
            Payload::Whole(_) => true,
            Payload::Stream(body) => body.is_some(),
        }
    }

    /// Whether doing it twice is as good as doing it once.
    pub(super) fn may_be_repeated(&self) -> bool {
        let is_harmless = self.method.is_some_and(|method| REPEATABLE.contains(&method.method));
        self.is_unary() && (self.reads() || is_harmless)
    }

    /// Whether it asks for something and changes nothing. The answer may be a stream.
    pub(super) fn reads(&self) -> bool {
        self.method.is_some_and(reads)
    }

    /// Who passed it on already, if somebody did.
    pub(super) fn redirected_from(&self) -> Option<String> {
        metadata::redirected_from(&self.head.headers)
    }

    /// The call as it came.
    pub(super) fn request(&mut self) -> Request<Body> {
        let body = match &mut self.body {
            Payload::Whole(bytes) => Body::new(Full::new(bytes.clone())),
            Payload::Stream(body) => body.take().unwrap_or_default(),
        };
        Request::from_parts(self.head.clone(), body)
    }

    /// The call as this node passes it on, in the name of its caller.
    ///
    /// # Errors
    ///
    /// `Internal` if it was not authorized, or the caller has a name that cannot be passed on.
    pub(super) fn vouched_request(&mut self) -> Result<Request<Body>, Status> {
        let peer = self.head.extensions.get::<Peer>().cloned();
        let peer = peer.ok_or_else(|| Status::internal("request was not authorized"))?;
        let mut request = self.request();
        request.extensions_mut().remove::<Peer>();
        metadata::vouch(request.headers_mut(), &peer)?;
        Ok(request)
    }
}

/// Why the one message of a caller is not there.
fn unreadable(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Status {
    match error.downcast_ref::<Status>() {
        Some(status) => status.clone(),
        None => {
            Status::out_of_range(format!("the message is larger than the {} bytes of one call", limits::MESSAGE_BYTES))
        }
    }
}
