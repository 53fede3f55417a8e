//! A plugin as a program of its own would be: on a socket, with the services of the Container Storage Interface.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    path::{Path, PathBuf},
    sync::Arc,
};

use http::{Request, Response};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use prost::Message;
use swarmkit_api::wire::csi::v1::{
    ControllerGetCapabilitiesRequest, ControllerGetCapabilitiesResponse, ControllerPublishVolumeRequest,
    ControllerPublishVolumeResponse, ControllerServiceCapability, ControllerUnpublishVolumeRequest,
    ControllerUnpublishVolumeResponse, CreateVolumeRequest, CreateVolumeResponse, DeleteVolumeRequest,
    DeleteVolumeResponse, GetPluginCapabilitiesRequest, GetPluginCapabilitiesResponse, NodeGetCapabilitiesRequest,
    NodeGetCapabilitiesResponse, NodeGetInfoRequest, NodeGetInfoResponse, NodePublishVolumeRequest,
    NodePublishVolumeResponse, NodeServiceCapability, NodeStageVolumeRequest, NodeStageVolumeResponse,
    NodeUnpublishVolumeRequest, NodeUnpublishVolumeResponse, NodeUnstageVolumeRequest, NodeUnstageVolumeResponse,
    PluginCapability, ProbeRequest, ProbeResponse, Topology, Volume,
    controller_service_capability::{self, Rpc, rpc},
    node_service_capability,
    plugin_capability::{self, Service, service},
};
use swarmkit_runtime::Spawner;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, server::UnaryService};
use tonic_prost::ProstCodec;

/// What a plugin is able to do, and how it is.
#[derive(Clone, Debug)]
pub(crate) struct Able {
    pub(crate) ready: Option<bool>,
    pub(crate) controller: bool,
    pub(crate) calls: Vec<rpc::Type>,
    /// On a node it stages before it mounts.
    pub(crate) stages: bool,
    /// What it answers to all calls of its controller, if not what was asked for.
    pub(crate) refuses: Option<Status>,
}

impl Default for Able {
    fn default() -> Self {
        let calls = vec![rpc::Type::CreateDeleteVolume, rpc::Type::PublishUnpublishVolume];
        Self { ready: Some(true), controller: true, calls, stages: true, refuses: None }
    }
}

/// A plugin on a socket, for as long as this is held.
pub(crate) struct Server {
    pub(crate) path: PathBuf,
    state: Arc<State>,
    stop: CancellationToken,
}

struct State {
    able: Mutex<Able>,
    asked: Mutex<Vec<String>>,
    /// What came with calls to mount: the secret, the device, and the names of the folders.
    given: Mutex<Vec<String>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Server {
    /// Listens from when this returns.
    pub(crate) fn start(path: &Path, able: Able) -> Self {
        let listener = UnixListener::bind(path).expect("the socket is free");
        let state = Arc::new(State { able: Mutex::new(able), asked: Mutex::default(), given: Mutex::default() });
        let spawner = Spawner::current().expect("a part runs in its crew");
        let stop = spawner.stop().child_token();
        let (served, over) = (state.clone(), stop.clone());
        drop(spawner.spawn("plugin", async move {
            tokio::select! { biased; // nobody is served by what has ended
                () = over.cancelled() => {}
                () = serve(listener, served) => {}
            }
        }));
        Self { path: path.to_owned(), state, stop }
    }

    /// The methods that were called since this was last looked at.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.state.asked.lock())
    }

    /// What came with calls to mount since this was last looked at.
    pub(crate) fn given(&self) -> Vec<String> {
        std::mem::take(&mut *self.state.given.lock())
    }

    pub(crate) fn able(&self, change: impl FnOnce(&mut Able)) {
        change(&mut self.state.able.lock());
    }
}

async fn serve(listener: UnixListener, state: Arc<State>) {
    let mut connections = futures_util::stream::FuturesUnordered::new();
    loop {
        use futures_util::StreamExt as _;
        tokio::select! { biased; // either may come first
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("a connection");
                let state = state.clone();
                let answer = service_fn(move |request| answer(state.clone(), request));
                connections.push(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer));
            }
            Some(_) = connections.next(), if !connections.is_empty() => {}
        }
    }
}

async fn answer(state: Arc<State>, request: Request<hyper::body::Incoming>) -> Result<Response<Body>, Infallible> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    state.asked.lock().push(method.clone());
    let able = state.able.lock().clone();
    let refusal = able.refuses.clone().filter(|_| method != "Probe" && !method.ends_with("Capabilities"));
    let request = request.map(Body::new);
    Ok(match method.as_str() {
        "Probe" => unary(request, |_: ProbeRequest| Ok(ProbeResponse { ready: able.ready })).await,
        "GetPluginCapabilities" => {
            let service = Service { r#type: service::Type::ControllerService.into() };
            let one = PluginCapability { r#type: Some(plugin_capability::Type::Service(service)) };
            let capabilities = able.controller.then_some(one).into_iter().collect();
            unary(request, |_: GetPluginCapabilitiesRequest| Ok(GetPluginCapabilitiesResponse { capabilities })).await
        }
        "ControllerGetCapabilities" => {
            let one = |call: rpc::Type| ControllerServiceCapability {
                r#type: Some(controller_service_capability::Type::Rpc(Rpc { r#type: call.into() })),
            };
            let capabilities = able.calls.into_iter().map(one).collect();
            unary(request, |_: ControllerGetCapabilitiesRequest| Ok(ControllerGetCapabilitiesResponse { capabilities }))
                .await
        }
        "CreateVolume" => {
            let make = |asked: CreateVolumeRequest| {
                let volume = Volume { volume_id: format!("made-{}", asked.name), ..Default::default() };
                refusal.map_or(Ok(CreateVolumeResponse { volume: Some(volume) }), Err)
            };
            unary(request, make).await
        }
        "DeleteVolume" => {
            unary(request, |_: DeleteVolumeRequest| refusal.map_or(Ok(DeleteVolumeResponse {}), Err)).await
        }
        "ControllerPublishVolume" => {
            let publish = |asked: ControllerPublishVolumeRequest| {
                let publish_context = [("on".to_owned(), asked.node_id)].into();
                refusal.map_or(Ok(ControllerPublishVolumeResponse { publish_context }), Err)
            };
            unary(request, publish).await
        }
        "ControllerUnpublishVolume" => {
            let detach =
                |_: ControllerUnpublishVolumeRequest| refusal.map_or(Ok(ControllerUnpublishVolumeResponse {}), Err);
            unary(request, detach).await
        }
        "NodeGetCapabilities" => {
            let staging = node_service_capability::rpc::Type::StageUnstageVolume;
            let call = node_service_capability::Rpc { r#type: staging.into() };
            let one = NodeServiceCapability { r#type: Some(node_service_capability::Type::Rpc(call)) };
            let capabilities = able.stages.then_some(one).into_iter().collect();
            unary(request, |_: NodeGetCapabilitiesRequest| Ok(NodeGetCapabilitiesResponse { capabilities })).await
        }
        "NodeGetInfo" => {
            let accessible_topology = Some(Topology { segments: [("zone".to_owned(), "a".to_owned())].into() });
            let info =
                NodeGetInfoResponse { node_id: "node-1".to_owned(), max_volumes_per_node: 8, accessible_topology };
            unary(request, |_: NodeGetInfoRequest| Ok(info)).await
        }
        "NodeStageVolume" => {
            let stage = |asked: NodeStageVolumeRequest| {
                let place = name(&asked.staging_target_path);
                let (secret, device) = (&asked.secrets["password"], &asked.publish_context["device"]);
                state.given.lock().push(format!("{secret} {device}, staged at {place}"));
                refusal.map_or(Ok(NodeStageVolumeResponse {}), Err)
            };
            unary(request, stage).await
        }
        "NodePublishVolume" => {
            let publish = |asked: NodePublishVolumeRequest| {
                let (from, to) = (name(&asked.staging_target_path), name(&asked.target_path));
                let (secret, device) = (&asked.secrets["password"], &asked.publish_context["device"]);
                state.given.lock().push(format!("{secret} {device}, from {from} to {to}"));
                refusal.map_or(Ok(NodePublishVolumeResponse {}), Err)
            };
            unary(request, publish).await
        }
        "NodeUnpublishVolume" => {
            unary(request, |_: NodeUnpublishVolumeRequest| refusal.map_or(Ok(NodeUnpublishVolumeResponse {}), Err))
                .await
        }
        "NodeUnstageVolume" => {
            unary(request, |_: NodeUnstageVolumeRequest| refusal.map_or(Ok(NodeUnstageVolumeResponse {}), Err)).await
        }
        _ => Status::unimplemented(method).into_http(),
    })
}

/// The last part of a path.
fn name(path: &str) -> &str {
    Path::new(path).file_name().map_or("nowhere", |name| name.to_str().expect("text"))
}

/// Answers one call with what a function makes of it.
async fn unary<Q, A>(request: Request<Body>, answer: impl FnOnce(Q) -> Result<A, Status>) -> Response<Body>
where
    Q: Message + Default + Send + 'static,
    A: Message + Default + Send + 'static,
{
    struct Once<F>(Option<F>);
    impl<Q, A, F: FnOnce(Q) -> Result<A, Status>> UnaryService<Q> for Once<F> {
        type Response = A;
        type Future = Ready<Result<tonic::Response<A>, Status>>;

        fn call(&mut self, request: tonic::Request<Q>) -> Self::Future {
            let answer = self.0.take().expect("one call, one answer");
            ready(answer(request.into_inner()).map(tonic::Response::new))
        }
    }
    tonic::server::Grpc::new(ProstCodec::<A, Q>::default()).unary(Once(Some(answer)), request).await
}
