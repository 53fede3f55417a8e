//! Plugins that serve the Container Storage Interface on a socket.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};
use prost::Message;
use swarmkit_api::wire::csi::v1::{
    ControllerGetCapabilitiesRequest, ControllerGetCapabilitiesResponse, ControllerPublishVolumeRequest,
    ControllerPublishVolumeResponse, ControllerUnpublishVolumeRequest, ControllerUnpublishVolumeResponse,
    CreateVolumeRequest, CreateVolumeResponse, DeleteVolumeRequest, DeleteVolumeResponse, GetPluginCapabilitiesRequest,
    GetPluginCapabilitiesResponse, Volume, controller_service_capability, controller_service_capability::rpc,
    plugin_capability, plugin_capability::service,
};
use tokio::sync::Mutex;

use crate::{
    PluginError, VolumePlugin, VolumePlugins,
    line::{Endpoint, Line},
};

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
    endpoint: Endpoint,
    connection: Mutex<Option<Connection>>,
}

/// A plugin that was reached, is ready, and has said what it can do.
#[derive(Clone, Debug)]
struct Connection {
    line: Line,
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
            (name.clone(), Arc::new(CsiPlugin { endpoint: Endpoint { name, socket }, connection: Mutex::default() }))
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
        if let Some(connection) = known.as_ref().filter(|connection| connection.line.is_open()) {
            return Ok(connection.clone());
        }
        *known = None;
        Ok(known.insert(self.connect().await?).clone())
    }

    async fn connect(&self) -> Result<Connection, PluginError> {
        let mut connection = Connection { line: self.endpoint.dial().await?, creates: false, publishes: false };
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
        self.line.call(path, request).await
    }
}
