//! Cluster volumes: which one a task is given, where, and when a node can let go of one.
//!
//! There is one table of who has which volume where ([`Volumes`]), kept up from the records of volumes and tasks. Whether
//! a volume can serve a mount on a node ([`misfit`]) and which volumes a task is given there ([`choice`]) are read off it;
//! so is what is published and used by nobody ([`freeing`]). Nothing else is remembered, so a new leader decides the same.

mod choice;
mod fit;
mod freeing;
mod mount;
mod publish;
mod set;
mod upkeep;
mod waiting;

#[cfg(test)]
mod tests;

pub(crate) use choice::{Chosen, attachments};
pub(crate) use fit::misfit;
pub(crate) use freeing::Idle;
pub(crate) use mount::{ClusterMount, Source, cluster_mounts};
pub(crate) use publish::publish;
pub(crate) use set::{Users, Volumes};
pub(crate) use waiting::{Waiter, Waiting};
