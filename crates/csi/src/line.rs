//! Reaching a plugin on its socket, and calling it.

use std::path::PathBuf;

use http::uri::PathAndQuery;
use prost::Message;
use swarmkit_api::wire::csi::v1::{ProbeRequest, ProbeResponse};
use swarmkit_rpc::{Channel, connect_plain_unix};
use swarmkit_runtime::Spawner;
use tonic::{Code, Request, Status, client::Grpc};
use tonic_prost::ProstCodec;

use crate::{CALL_TIME, PluginError};

const PROBE: &str = "/csi.v1.Identity/Probe";

/// Where a plugin is.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) socket: PathBuf,
}

/// A plugin that was reached, and is ready.
#[derive(Clone, Debug)]
pub(crate) struct Line(Channel);

impl Endpoint {
    pub(crate) async fn dial(&self) -> Result<Line, PluginError> {
        let unavailable = |why: String| PluginError::Unavailable(format!("storage plugin {}: {why}", self.name));
        let spawner = Spawner::current().ok_or_else(|| unavailable("this program is stopping".to_owned()))?;
        let channel =
            connect_plain_unix(&self.socket, &spawner).await.map_err(|error| unavailable(error.to_string()))?;
        let line = Line(channel);
        let probe: ProbeResponse = line.call(PROBE, ProbeRequest {}).await?;
        if probe.ready == Some(false) {
            return Err(unavailable("it is not ready yet".to_owned()));
        }
        tracing::info!(plugin = self.name, socket = %self.socket.display(), "connected to the storage plugin");
        Ok(line)
    }
}

impl Line {
    pub(crate) fn is_open(&self) -> bool {
        self.0.is_open()
    }

    pub(crate) async fn call<Q, A>(&self, path: &'static str, request: Q) -> Result<A, PluginError>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut client = Grpc::new(self.0.clone());
        client.ready().await.map_err(|status| error(&status))?;
        let mut request = Request::new(request);
        request.set_timeout(CALL_TIME);
        let answer = client.unary(request, PathAndQuery::from_static(path), ProstCodec::<Q, A>::default()).await;
        answer.map(tonic::Response::into_inner).map_err(|status| error(&status))
    }
}

/// What a plugin's status means. The interface says of which codes nothing was done; after any other, something may have been.
fn error(status: &Status) -> PluginError {
    let text = format!("rpc error: code = {:?} desc = {}", status.code(), status.message());
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => PluginError::Refused(text),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => PluginError::Unavailable(text),
        _ => PluginError::Failed(text),
    }
}
