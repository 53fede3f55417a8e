//! Doing the work: asking the plugin, and writing down what came of it.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use swarmkit_api::{
    NodeId, Volume, VolumeId, Waiting,
    wire::{self, csi::v1 as csi, volume_publish_status::State as Publish},
};
use swarmkit_store::{State, StoreError, Transaction};

use crate::{PluginError, VolumePlugin, VolumePlugins, request, work::Work};

/// How long a plugin has for an answer, as upstream.
pub const CALL_TIME: Duration = Duration::from_secs(15);

/// How many nodes a volume is attached to, or detached from, at a time.
const NODES_AT_ONCE: usize = 8;

/// What came of the work on a volume.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Created(Result<csi::Volume, PluginError>),
    Deleted(Result<(), PluginError>),
    /// Node by node: what was attached, with what the node has to know, and what was detached.
    Moved(Vec<(NodeId, Step)>),
}

/// What came of the work on a volume for one node.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Published(Result<BTreeMap<String, String>, PluginError>),
    Unpublished(Result<(), PluginError>),
}

/// Asks the plugin of a volume for what is to be done.
pub(crate) async fn act(work: Work, volume: &Volume, state: &State, plugins: &dyn VolumePlugins) -> Outcome {
    let plugin = find(volume, plugins);
    match work {
        Work::Create => Outcome::Created(create(volume, state, plugin).await),
        Work::Delete => Outcome::Deleted(delete(volume, state, plugin).await),
        Work::Move { publish, unpublish } => {
            let plugin = &plugin;
            let attach = async |node: NodeId| {
                let step = Step::Published(attach(volume, &node, state, plugin.clone()).await);
                (node, step)
            };
            let detach = async |node: NodeId| {
                let step = Step::Unpublished(detach(volume, &node, state, plugin.clone()).await);
                (node, step)
            };
            let mut steps: Vec<_> = stream::iter(unpublish).map(detach).buffer_unordered(NODES_AT_ONCE).collect().await;
            // What is let go of first may be what the next one waits for.
            steps.extend(stream::iter(publish).map(attach).buffer_unordered(NODES_AT_ONCE).collect::<Vec<_>>().await);
            Outcome::Moved(steps)
        }
    }
}

type Found = Result<Arc<dyn VolumePlugin>, PluginError>;

fn find(volume: &Volume, plugins: &dyn VolumePlugins) -> Found {
    let driver = request::driver(volume);
    let missing = || format!("this manager has no storage plugin \"{driver}\"; each manager needs it");
    plugins.find(driver).ok_or_else(|| PluginError::Unavailable(missing()))
}

async fn create(volume: &Volume, state: &State, plugin: Found) -> Result<csi::Volume, PluginError> {
    let made = in_time(plugin?.create(request::create(volume, state)?)).await?;
    if made.volume_id.is_empty() {
        return Err(PluginError::Failed("the plugin made a volume and gave it no id".to_owned()));
    }
    Ok(made)
}

async fn delete(volume: &Volume, state: &State, plugin: Found) -> Result<(), PluginError> {
    in_time(plugin?.delete(request::delete(volume, state)?)).await
}

async fn attach(
    volume: &Volume,
    node: &NodeId,
    state: &State,
    plugin: Found,
) -> Result<BTreeMap<String, String>, PluginError> {
    in_time(plugin?.publish(request::publish(volume, node, state)?)).await
}

async fn detach(volume: &Volume, node: &NodeId, state: &State, plugin: Found) -> Result<(), PluginError> {
    in_time(plugin?.unpublish(request::unpublish(volume, node, state)?)).await
}

async fn in_time<T>(call: impl Future<Output = Result<T, PluginError>>) -> Result<T, PluginError> {
    let late = |_| Err(PluginError::Unavailable(format!("no answer within {} seconds", CALL_TIME.as_secs())));
    tokio::time::timeout(CALL_TIME, call).await.unwrap_or_else(late)
}

// === impl Outcome ===

impl Outcome {
    /// Whether all of it was done.
    pub(crate) fn is_success(&self) -> bool {
        match self {
            Self::Created(result) => result.is_ok(),
            Self::Deleted(result) => result.is_ok(),
            Self::Moved(steps) => steps.iter().all(|(_, step)| match step {
                Step::Published(result) => result.is_ok(),
                Step::Unpublished(result) => result.is_ok(),
            }),
        }
    }

    /// Writes it down, as far as the volume is still there to be written about.
    pub(crate) fn write(&self, id: &VolumeId, tx: &mut Transaction) -> Result<(), StoreError> {
        let Some(stored) = tx.get::<Volume>(id).cloned() else { return Ok(()) };
        match self {
            // Nothing was made, and nothing shall be.
            Self::Created(Err(error)) if error.is_refusal() && stored.pending_delete => {
                tx.delete::<Volume>(id).map(drop)
            }
            Self::Deleted(Ok(())) if stored.pending_delete && stored.publish_status.is_empty() => {
                tx.delete::<Volume>(id).map(drop)
            }
            _ => {
                let mut volume = Volume::clone(&stored);
                self.apply(&mut volume, tx);
                if volume == *stored { Ok(()) } else { tx.update(volume).map(drop) }
            }
        }
    }

    fn apply(&self, volume: &mut Volume, tx: &Transaction) {
        match self {
            Self::Created(Ok(made)) => {
                if volume.volume_info.is_none() {
                    volume.volume_info = Some(info(made));
                }
                volume.waiting = None;
            }
            Self::Created(Err(error)) => wait(volume, format!("error creating volume: {error}"), tx),
            Self::Deleted(Ok(())) => {}
            Self::Deleted(Err(error)) => wait(volume, format!("error deleting volume: {error}"), tx),
            Self::Moved(steps) => steps.iter().for_each(|(node, step)| step.apply(node, volume)),
        }
    }
}

// === impl Step ===

impl Step {
    /// Only what is still as it was when the plugin was asked is taken on.
    fn apply(&self, node: &NodeId, volume: &mut Volume) {
        let Some(at) = volume.publish_status.iter().position(|status| status.node_id == node.as_str()) else { return };
        let status = &mut volume.publish_status[at];
        match (self, status.state()) {
            (Self::Published(Ok(context)), Publish::PendingPublish) => {
                status.set_state(Publish::Published);
                status.publish_context.clone_from(context);
                status.message.clear();
            }
            (Self::Published(Err(error)), Publish::PendingPublish) => {
                status.message = format!("error publishing volume: {error}");
            }
            (Self::Unpublished(Ok(())), Publish::PendingUnpublish | Publish::PendingNodeUnpublish) => {
                volume.publish_status.remove(at);
            }
            (Self::Unpublished(Err(error)), Publish::PendingUnpublish | Publish::PendingNodeUnpublish) => {
                status.message = format!("error unpublishing volume: {error}");
            }
            _ => {}
        }
    }
}

/// Says why a volume waits. One that waits for the same is left as it is.
fn wait(volume: &mut Volume, message: String, tx: &Transaction) {
    if volume.waiting.as_ref().is_none_or(|waiting| waiting.message != message) {
        volume.waiting = Some(Waiting { since: Some(tx.now()), message });
    }
}

fn info(made: &csi::Volume) -> wire::VolumeInfo {
    wire::VolumeInfo {
        capacity_bytes: made.capacity_bytes,
        volume_context: made.volume_context.clone(),
        volume_id: made.volume_id.clone(),
        accessible_topology: made
            .accessible_topology
            .iter()
            .map(|topology| wire::Topology { segments: topology.segments.clone() })
            .collect(),
    }
}
