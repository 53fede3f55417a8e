//! What plugins do on a node: staging, mounting, and saying what they call it.

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture, stream::FuturesOrdered};
use swarmkit_api::wire::{
    self,
    csi::v1::{
        NodeGetCapabilitiesRequest, NodeGetCapabilitiesResponse, NodeGetInfoRequest, NodeGetInfoResponse,
        NodePublishVolumeRequest, NodePublishVolumeResponse, NodeStageVolumeRequest, NodeStageVolumeResponse,
        NodeUnpublishVolumeRequest, NodeUnpublishVolumeResponse, NodeUnstageVolumeRequest, NodeUnstageVolumeResponse,
        node_service_capability::{Type, rpc},
    },
};
use swarmkit_executor::{ExecError, NodeVolumes, VolumeRequest};
use tokio::sync::{Mutex, Semaphore};

use crate::{
    CALL_TIME, PluginError, VOLUMES_AT_ONCE,
    line::{Endpoint, Line},
    request::capability_of,
};

const CAPABILITIES: &str = "/csi.v1.Node/NodeGetCapabilities";
const INFO: &str = "/csi.v1.Node/NodeGetInfo";
const STAGE: &str = "/csi.v1.Node/NodeStageVolume";
const UNSTAGE: &str = "/csi.v1.Node/NodeUnstageVolume";
const PUBLISH: &str = "/csi.v1.Node/NodePublishVolume";
const UNPUBLISH: &str = "/csi.v1.Node/NodeUnpublishVolume";

/// How long all plugins together may take to say what they call the node: it is part of what the node says of itself, for
/// which it has two seconds.
const DESCRIBE_TIME: Duration = Duration::from_secs(1);

/// Volumes through plugins on sockets, in folders below one that belongs to this node.
///
/// A volume is staged in `staged/<id>` and published at `published/<id>` of it, by its id in the cluster. The plugin does that, so it
/// has to see the folder under the same name, and what it mounts there has to be seen by the node.
pub struct CsiNode {
    plugins: BTreeMap<String, Plugin>,
    folder: PathBuf,
}

struct Plugin {
    endpoint: Endpoint,
    connection: Mutex<Option<Connection>>,
    /// How many more volumes it may work on.
    places: Semaphore,
    /// What it called the node when it last said so.
    said: parking_lot::Mutex<Option<wire::NodeCsiInfo>>,
}

/// A plugin that was reached, is ready, and has said what it can do.
#[derive(Clone)]
struct Connection {
    line: Line,
    /// Volumes are staged before they are published.
    stages: bool,
}

/// Where the plugin puts a volume.
struct Places {
    staged: PathBuf,
    published: PathBuf,
}

impl CsiNode {
    /// Plugins by the names that volumes give as their driver. They are connected when they are first needed, and again when
    /// they have gone and come back. `folder` has to be an absolute path; it is made when it is needed.
    #[must_use]
    pub fn new(sockets: impl IntoIterator<Item = (String, PathBuf)>, folder: impl Into<PathBuf>) -> Self {
        let plugin = |(name, socket): (String, PathBuf)| {
            let endpoint = Endpoint { name: name.clone(), socket };
            let places = Semaphore::new(VOLUMES_AT_ONCE);
            (name, Plugin { endpoint, connection: Mutex::default(), places, said: parking_lot::Mutex::default() })
        };
        Self { plugins: sockets.into_iter().map(plugin).collect(), folder: folder.into() }
    }

    fn plugin(&self, volume: &wire::VolumeAssignment) -> Result<&Plugin, ExecError> {
        let name = volume.driver.as_ref().map_or("", |driver| &driver.name);
        let missing = || ExecError::rejected(format!("this node has no storage plugin \"{name}\""));
        self.plugins.get(name).ok_or_else(missing)
    }

    /// An id becomes part of a path, so it has to be what ids are made of.
    fn places(&self, id: &str) -> Result<Places, ExecError> {
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return Err(ExecError::rejected(format!("{id:?} is no id of a volume")));
        }
        Ok(Places { staged: self.folder.join("staged").join(id), published: self.folder.join("published").join(id) })
    }
}

impl NodeVolumes for CsiNode {
    fn describe(&self) -> BoxFuture<'_, Vec<wire::NodeCsiInfo>> {
        async {
            let asked: FuturesOrdered<_> = self.plugins.values().map(Plugin::describe).collect();
            let said: Vec<_> = futures_util::StreamExt::collect(asked).await;
            said.into_iter().flatten().collect()
        }
        .boxed()
    }

    fn publish(&self, request: VolumeRequest) -> BoxFuture<'_, Result<PathBuf, ExecError>> {
        async move {
            let VolumeRequest { volume, secrets } = request;
            let (plugin, places) = (self.plugin(&volume)?, self.places(&volume.id)?);
            let secrets: BTreeMap<_, _> = secrets.into_iter().map(|(key, text)| (key, text.to_string())).collect();
            let _place = plugin.places.acquire().await;
            in_time(plugin.publish(&volume, &places, secrets)).await.map_err(later("publish", &volume))?;
            Ok(places.published)
        }
        .boxed()
    }

    fn unpublish(&self, request: VolumeRequest) -> BoxFuture<'_, Result<(), ExecError>> {
        async move {
            let (plugin, places) = (self.plugin(&request.volume)?, self.places(&request.volume.id)?);
            let _place = plugin.places.acquire().await;
            in_time(plugin.unpublish(&request.volume.volume_id, &places))
                .await
                .map_err(later("unpublish", &request.volume))
        }
        .boxed()
    }
}

impl Plugin {
    async fn publish(
        &self,
        volume: &wire::VolumeAssignment,
        places: &Places,
        secrets: BTreeMap<String, String>,
    ) -> Result<(), PluginError> {
        let connection = self.connection().await?;
        let capability = volume.access_mode.as_ref().map(capability_of);
        let mut staging_target_path = String::new();
        if connection.stages {
            make(&places.staged).await?;
            staging_target_path = text(&places.staged)?;
            let stage = NodeStageVolumeRequest {
                volume_id: volume.volume_id.clone(),
                publish_context: volume.publish_context.clone(),
                staging_target_path: staging_target_path.clone(),
                volume_capability: capability.clone(),
                secrets: secrets.clone(),
                volume_context: volume.volume_context.clone(),
            };
            let _: NodeStageVolumeResponse = connection.line.call(STAGE, stage).await?;
        }
        make(places.published.parent().unwrap_or(&places.published)).await?;
        let publish = NodePublishVolumeRequest {
            volume_id: volume.volume_id.clone(),
            publish_context: volume.publish_context.clone(),
            staging_target_path,
            target_path: text(&places.published)?,
            volume_capability: capability,
            // Who only reads has it mounted so; others on the same node may write.
            readonly: false,
            secrets,
            volume_context: volume.volume_context.clone(),
        };
        connection.line.call::<_, NodePublishVolumeResponse>(PUBLISH, publish).await.map(drop)
    }

    async fn unpublish(&self, volume_id: &str, places: &Places) -> Result<(), PluginError> {
        let connection = self.connection().await?;
        let unpublish =
            NodeUnpublishVolumeRequest { volume_id: volume_id.to_owned(), target_path: text(&places.published)? };
        let _: NodeUnpublishVolumeResponse = connection.line.call(UNPUBLISH, unpublish).await?;
        if connection.stages {
            let unstage = NodeUnstageVolumeRequest {
                volume_id: volume_id.to_owned(),
                staging_target_path: text(&places.staged)?,
            };
            let _: NodeUnstageVolumeResponse = connection.line.call(UNSTAGE, unstage).await?;
        }
        // The plugin removes what it mounted on. What is left is empty, or is not ours to remove.
        let _ = tokio::fs::remove_dir(&places.staged).await;
        let _ = tokio::fs::remove_dir(&places.published).await;
        Ok(())
    }

    /// What it calls the node now, or what it called it last.
    async fn describe(&self) -> Option<wire::NodeCsiInfo> {
        match tokio::time::timeout(DESCRIBE_TIME, self.info()).await {
            Ok(Ok(info)) => *self.said.lock() = Some(info),
            Ok(Err(error)) => {
                tracing::debug!(plugin = self.endpoint.name, %error, "the plugin does not describe the node")
            }
            Err(_) => tracing::debug!(plugin = self.endpoint.name, "the plugin does not describe the node in time"),
        }
        self.said.lock().clone()
    }

    async fn info(&self) -> Result<wire::NodeCsiInfo, PluginError> {
        let answer: NodeGetInfoResponse = self.connection().await?.line.call(INFO, NodeGetInfoRequest {}).await?;
        Ok(wire::NodeCsiInfo {
            plugin_name: self.endpoint.name.clone(),
            node_id: answer.node_id,
            max_volumes_per_node: answer.max_volumes_per_node,
            accessible_topology: answer
                .accessible_topology
                .map(|topology| wire::Topology { segments: topology.segments }),
        })
    }

    /// The connection that there is, or a new one.
    async fn connection(&self) -> Result<Connection, PluginError> {
        let mut known = self.connection.lock().await;
        if let Some(connection) = known.as_ref().filter(|connection| connection.line.is_open()) {
            return Ok(connection.clone());
        }
        *known = None;
        let line = self.endpoint.dial().await?;
        let answer: NodeGetCapabilitiesResponse = line.call(CAPABILITIES, NodeGetCapabilitiesRequest {}).await?;
        let stages = answer.capabilities.iter().any(|capability| {
            matches!(&capability.r#type, Some(Type::Rpc(call)) if call.r#type() == rpc::Type::StageUnstageVolume)
        });
        Ok(known.insert(Connection { line, stages }).clone())
    }
}

/// Staging and publishing may each take as long as a call may.
async fn in_time<T>(work: impl Future<Output = Result<T, PluginError>>) -> Result<T, PluginError> {
    let late = |_| Err(PluginError::Unavailable(format!("no answer within {} seconds", 2 * CALL_TIME.as_secs())));
    tokio::time::timeout(2 * CALL_TIME, work).await.unwrap_or_else(late)
}

/// Whatever a plugin says, it may do it later: what it lacks may come, and nobody else can do it here.
fn later(what: &'static str, volume: &Arc<wire::VolumeAssignment>) -> impl FnOnce(PluginError) -> ExecError {
    move |error| ExecError::temporary(format!("cannot {what} volume {}: {error}", volume.id))
}

async fn make(folder: &Path) -> Result<(), PluginError> {
    let made = tokio::fs::create_dir_all(folder).await;
    made.map_err(|error: io::Error| PluginError::Failed(format!("cannot make {}: {error}", folder.display())))
}

fn text(path: &Path) -> Result<String, PluginError> {
    let refused = || PluginError::Refused(format!("{} is not text, which plugins need", path.display()));
    path.to_str().map(str::to_owned).ok_or_else(refused)
}
