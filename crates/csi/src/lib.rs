//! Makes, attaches, mounts, detaches and deletes the volumes of a cluster, through storage plugins.
//!
//! The storage lies outside the nodes. A plugin that speaks the Container Storage Interface makes a volume, attaches it
//! to whichever node the scheduler has chosen, detaches it when the node has let go of it, and deletes it in the end.
//! [`run`] is the leader's part in that: it asks the plugins, tries again what failed, and writes down what came of it
//! in the volume. Plugins are found through [`VolumePlugins`], of which [`CsiPlugins`] is the one with sockets.
//!
//! [`CsiNode`] is the node's part: it has the plugin stage a volume and mount it in a folder of the node.
//!
//! It does not choose nodes or volumes, which the scheduler does, and does not know tasks: agents say when a volume is to be
//! there, and executors give it to tasks.
//!
//! ```
//! use std::sync::Arc;
//!
//! use swarmkit_api::{Volume, VolumeId, wire};
//! use swarmkit_csi::NoPlugins;
//! use swarmkit_runtime::{Crew, Env};
//! use swarmkit_store::{Interest, Store, StoreError};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let (store, stop) = (Store::local(Env::real()), CancellationToken::new());
//! let mut crew = Crew::under(&stop);
//! crew.spawn("volumes", |stop| swarmkit_csi::run(store.clone(), Arc::new(NoPlugins), stop));
//!
//! let mut volume = Volume::new(VolumeId::from("v1"));
//! let driver = wire::Driver { name: "nfs".to_owned(), ..Default::default() };
//! volume.spec = Arc::new(wire::VolumeSpec { driver: Some(driver), ..Default::default() });
//! store.update(|tx| tx.create(volume)).await.map_err(|e: StoreError| e)?;
//!
//! let mut updates = store.watch(Interest::all());
//! let waiting = loop {
//!     let update = updates.next().await?;
//!     let volume = update.view().get::<Volume>(&VolumeId::from("v1")).cloned();
//!     if let Some(waiting) = volume.and_then(|volume| volume.waiting.clone()) {
//!         break waiting;
//!     }
//! };
//! assert_eq!(
//!     waiting.message,
//!     "error creating volume: this manager has no storage plugin \"nfs\"; each manager needs it"
//! );
//! stop.cancel();
//! crew.finish().await
//! # }
//! ```
//!
//! # Invariants
//!
//! - Nothing is kept but in the volume itself: a new leader goes on where the last one was.
//! - No more than one part of this works on a volume at a time, and only [`VOLUMES_AT_ONCE`] volumes of one plugin.
//! - A plugin that hangs, or is not there, holds up its own volumes only.
//! - An answer is written only over what was asked about: what has changed meanwhile stays.
//! - What a node has of a volume is found by the volume's id alone, so a node that was killed remembers nothing and loses nothing.
//! - Secrets are given to the plugin of the volume, and told to nobody else.

mod act;
mod client;
pub mod conformance;
mod desk;
mod error;
mod line;
mod node;
mod plugin;
mod request;
mod run;
mod work;

pub use act::CALL_TIME;
pub use client::CsiPlugins;
pub use desk::VOLUMES_AT_ONCE;
pub use error::{Error, PluginError};
pub use node::CsiNode;
pub use plugin::{NoPlugins, VolumePlugin, VolumePlugins};
pub use run::run;
