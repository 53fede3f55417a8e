//! The seam to storage on this machine.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use futures_util::future::BoxFuture;
use swarmkit_api::wire;
use zeroize::Zeroizing;

use crate::ExecError;

/// Brings volumes of the cluster to this machine, and takes them away again.
///
/// # Obligations
///
/// - Every call may be made again with the same request, also after it succeeded, and by a later program that knows nothing of
///   this one. A volume that is there is given as it is; one that is not there is no error when it is taken away.
/// - Calls about different volumes may be made at the same time; those about one are made one after the other.
/// - Every call ends, in time that the implementation bounds.
pub trait NodeVolumes: Send + Sync + 'static {
    /// What each storage plugin of this machine calls it. Plugins that do not say so now are left out. Asked often, so what
    /// does not change is remembered.
    fn describe(&self) -> BoxFuture<'_, Vec<wire::NodeCsiInfo>>;

    /// Makes a volume usable here, and says where it is. The place of a volume is always the same.
    ///
    /// # Errors
    ///
    /// [`ExecError::Temporary`] for what may work later. [`ExecError::Rejected`] when this machine can never have it.
    fn publish(&self, volume: VolumeRequest) -> BoxFuture<'_, Result<PathBuf, ExecError>>;

    /// Takes a volume away. Nobody uses it any more.
    ///
    /// # Errors
    ///
    /// As [`NodeVolumes::publish`].
    fn unpublish(&self, volume: VolumeRequest) -> BoxFuture<'_, Result<(), ExecError>>;
}

/// A volume, and what its plugin has to know in secret, by the names that the plugin knows.
#[derive(Clone)]
pub struct VolumeRequest {
    /// As managers sent it.
    pub volume: Arc<wire::VolumeAssignment>,
    /// Secrets that are not here are not among them. Empty when the volume is taken away.
    pub secrets: BTreeMap<String, Zeroizing<String>>,
}

impl std::fmt::Debug for VolumeRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VolumeRequest").field("volume", &self.volume.id).finish_non_exhaustive()
    }
}
