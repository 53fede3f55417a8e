//! The seam to storage plugins.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::BoxFuture;
use swarmkit_api::wire::csi::v1::{
    ControllerPublishVolumeRequest, ControllerUnpublishVolumeRequest, CreateVolumeRequest, DeleteVolumeRequest, Volume,
};

use crate::PluginError;

/// Finds the plugin that a volume names as its driver.
///
/// It is asked again for each piece of work, so plugins may come and go.
pub trait VolumePlugins: Send + Sync + 'static {
    /// The plugin of that name. `None`: this manager does not have it, and the volume waits.
    fn find(&self, driver: &str) -> Option<Arc<dyn VolumePlugin>>;
}

/// A storage plugin: what its controller does, in the messages of the Container Storage Interface.
///
/// # Obligations
///
/// - Every call may be made again with the same request, also after it succeeded, since a manager may die between the answer
///   and the write that keeps it. A volume that is there is given as it is; one that is gone, or not attached, is no error.
/// - [`PluginError::Refused`] means that nothing was done. What is not certain is another error.
/// - Calls about different volumes may be made at the same time; those about one are made one after the other, but for
///   different nodes.
/// - A call that is dropped, or not answered within [`CALL_TIME`](crate::CALL_TIME), may go on or not.
pub trait VolumePlugin: Send + Sync + 'static {
    /// Makes a volume.
    fn create(&self, request: CreateVolumeRequest) -> BoxFuture<'_, Result<Volume, PluginError>>;

    /// Deletes a volume with all that is on it.
    fn delete(&self, request: DeleteVolumeRequest) -> BoxFuture<'_, Result<(), PluginError>>;

    /// Attaches a volume to a node, and gives what the plugin's part there has to know.
    fn publish(
        &self,
        request: ControllerPublishVolumeRequest,
    ) -> BoxFuture<'_, Result<BTreeMap<String, String>, PluginError>>;

    /// Detaches a volume from a node; from all of them, if the request names none.
    fn unpublish(&self, request: ControllerUnpublishVolumeRequest) -> BoxFuture<'_, Result<(), PluginError>>;
}

/// A manager without storage plugins: volumes of the cluster wait for one.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPlugins;

impl VolumePlugins for NoPlugins {
    fn find(&self, _: &str) -> Option<Arc<dyn VolumePlugin>> {
        None
    }
}
