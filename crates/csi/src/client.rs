//! Plugins that serve the Container Storage Interface on a socket.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};
use http::uri::PathAndQuery;
use prost::Message;
use swarmkit_api::wire::csi::v1::{
    ControllerGetCapabilitiesRequest, ControllerGetCapabilitiesResponse, ControllerPublishVolumeRequest,
    ControllerPublishVolumeResponse, ControllerUnpublishVolumeRequest, ControllerUnpublishVolumeResponse,
    CreateVolumeRequest, CreateVolumeResponse, DeleteVolumeRequest, DeleteVolumeResponse, GetPluginCapabilitiesRequest,
    GetPluginCapabilitiesResponse, ProbeRequest, ProbeResponse, Volume, controller_service_capability,
    controller_service_capability::rpc, plugin_capability, plugin_capability::service,
};
use swarmkit_rpc::{Channel, connect_plain_unix};
use swarmkit_runtime::Spawner;
use tokio::sync::Mutex;
use tonic::{Code, Request, Status, client::Grpc};
use tonic_prost::ProstCodec;

use crate::{CALL_TIME, PluginError, VolumePlugin, VolumePlugins};

const PROBE: &str = "/csi.v1.Identity/Probe";
const PLUGIN_CAPABILITIES: &str = "/csi.v1.Identity/GetPluginCapabilities";
const CONTROLLER_CAPABILITIES: &str = "/csi.v1.Controller/ControllerGetCapabilities";
const CREATE: &str = "/csi.v1.Controller/CreateVolume";
const DELETE: &str = "/csi.v1.Controller/DeleteVolume";
const PUBLISH: &str = "/csi.v1.Controller/ControllerPublishVolume";
const UNPUBLISH: &str = "/csi.v1.Controller/ControllerUnpublishVolume";

/// Plugins by name, each on a socket of its own. They are connected when they are first needed, and again when they
/// have gone and come back.
#[derive(Debug, Default)]
pub struct CsiPlugins(BTreeMap<String, Arc<CsiPlugin>>);

/// One plugin on a socket.
#[derive(Debug)]
struct CsiPlugin {
    name: String,
    socket: PathBuf,
    connection: Mutex<Option<Connection>>,
}

/// A plugin that was reached, is ready, and has said what it can do.
#[derive(Clone, Debug)]
struct Connection {
    channel: Channel,
    /// It makes and deletes volumes. If not, they are there by themselves, by their names.
    creates: bool,
    /// It has to be told to which nodes volumes go.
    publishes: bool,
}

impl CsiPlugins {
    /// The plugins at these sockets, by the names that volumes give as their driver.
    #[must_use]
    pub fn new(sockets: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        let plugin = |(name, socket): (String, PathBuf)| {
            (name.clone(), Arc::new(CsiPlugin { name, socket, connection: Mutex::default() }))
        };
        Self(sockets.into_iter().map(plugin).collect())
    }
}

impl VolumePlugins for CsiPlugins {
    fn find(&self, driver: &str) -> Option<Arc<dyn VolumePlugin>> {
        self.0.get(driver).map(|plugin| Arc::clone(plugin) as Arc<dyn VolumePlugin>)
    }
}

impl VolumePlugin for CsiPlugin {
    fn create(&self, request: CreateVolumeRequest) -> BoxFuture<'_, Result<Volume, PluginError>> {
        async move {
            let connection = self.connection().await?;
            if !connection.creates {
                return Ok(Volume { volume_id: request.name, ..Default::default() });
            }
            let answer: CreateVolumeResponse = connection.call(CREATE, request).await?;
            Ok(answer.volume.unwrap_or_default())
        }
        .boxed()
    }

    fn delete(&self, request: DeleteVolumeRequest) -> BoxFuture<'_, Result<(), PluginError>> {
        async move {
            let connection = self.connection().await?;
            if connection.creates {
                connection.call::<_, DeleteVolumeResponse>(DELETE, request).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn publish(
        &self,
        request: ControllerPublishVolumeRequest,
    ) -> BoxFuture<'_, Result<BTreeMap<String, String>, PluginError>> {
        async move {
            let connection = self.connection().await?;
            if !connection.publishes {
                return Ok(BTreeMap::new());
            }
            let answer: ControllerPublishVolumeResponse = connection.call(PUBLISH, request).await?;
            Ok(answer.publish_context)
        }
        .boxed()
    }

    fn unpublish(&self, request: ControllerUnpublishVolumeRequest) -> BoxFuture<'_, Result<(), PluginError>> {
        async move {
            let connection = self.connection().await?;
            if connection.publishes {
                connection.call::<_, ControllerUnpublishVolumeResponse>(UNPUBLISH, request).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

impl CsiPlugin {
    /// The connection that there is, or a new one.
    async fn connection(&self) -> Result<Connection, PluginError> {
        let mut known = self.connection.lock().await;
        if let Some(connection) = known.as_ref().filter(|connection| connection.channel.is_open()) {
            return Ok(connection.clone());
        }
        *known = None;
        let connection = self.connect().await?;
        tracing::info!(plugin = self.name, socket = %self.socket.display(), "connected to the storage plugin");
        Ok(known.insert(connection).clone())
    }

    async fn connect(&self) -> Result<Connection, PluginError> {
        let unavailable = |why: String| PluginError::Unavailable(format!("storage plugin {}: {why}", self.name));
        let spawner = Spawner::current().ok_or_else(|| unavailable("this manager is stopping".to_owned()))?;
        let channel =
            connect_plain_unix(&self.socket, &spawner).await.map_err(|error| unavailable(error.to_string()))?;
        let mut connection = Connection { channel, creates: false, publishes: false };
        let probe: ProbeResponse = connection.call(PROBE, ProbeRequest {}).await?;
        if probe.ready == Some(false) {
            return Err(unavailable("it is not ready yet".to_owned()));
        }
        let plugin: GetPluginCapabilitiesResponse =
            connection.call(PLUGIN_CAPABILITIES, GetPluginCapabilitiesRequest {}).await?;
        let has_controller = plugin.capabilities.iter().any(|capability| {
            matches!(&capability.r#type, Some(plugin_capability::Type::Service(kind))
                if kind.r#type() == service::Type::ControllerService)
        });
        if has_controller {
            let controller: ControllerGetCapabilitiesResponse =
                connection.call(CONTROLLER_CAPABILITIES, ControllerGetCapabilitiesRequest {}).await?;
            let can = |what: rpc::Type| {
                controller.capabilities.iter().any(|capability| {
                    matches!(&capability.r#type, Some(controller_service_capability::Type::Rpc(call))
                        if call.r#type() == what)
                })
            };
            connection.creates = can(rpc::Type::CreateDeleteVolume);
            connection.publishes = can(rpc::Type::PublishUnpublishVolume);
        }
        Ok(connection)
    }
}

impl Connection {
    async fn call<Q, A>(&self, path: &'static str, request: Q) -> Result<A, PluginError>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut client = Grpc::new(self.channel.clone());
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
