//! The flags that reserve generic resources for tasks.

use clap::Args;
use swarmkit_api::wire::TaskSpec;

use super::CtlError;
use crate::units::GenericResources;

/// What `create` and `update` say of generic resources.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct GenericFlags {
    /// Generic resources to keep for each task, such as gpu=2,licence=1; replaces all, and none are kept for ''
    #[arg(long, value_name = "KIND=N,...")]
    generic_resources: Option<GenericResources>,
}

impl GenericFlags {
    /// Puts what was given into the specification of tasks. They ask for numbers; which units they get, is decided when
    /// they are placed.
    pub(super) fn apply(&self, task: &mut TaskSpec) -> Result<(), CtlError> {
        let Some(resources) = &self.generic_resources else { return Ok(()) };
        if let Some(kind) = resources.named_kind() {
            return Err(CtlError::Usage(format!("invalid argument for resource {kind}: a task asks for a number")));
        }
        let requirements = task.resources.get_or_insert_default();
        requirements.reservations.get_or_insert_default().generic = resources.clone().into_vec();
        Ok(())
    }
}
