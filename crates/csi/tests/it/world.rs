//! A store with volumes and nodes, and the volume manager on it.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{Node, Volume, VolumeId, wire, wire::volume_publish_status::State as Publish};
use swarmkit_csi::VolumePlugins;
use swarmkit_runtime::Crew;
use swarmkit_store::{Store, StoreError, Transaction};
use swarmkit_testing as testing;
use tokio_util::sync::CancellationToken;

/// Runs the manager on a store for as long as the story lasts.
pub(crate) async fn managed(store: &Store, plugins: Arc<dyn VolumePlugins>, story: impl AsyncFnOnce()) {
    let stop = CancellationToken::new();
    let mut crew = Crew::under(&stop);
    crew.spawn("volumes", |stop| swarmkit_csi::run(store.clone(), plugins, stop));
    settle().await;
    story().await;
    stop.cancel();
    crew.finish().await.expect("it ends well");
}

/// Time is paused, so it only goes on when everybody waits.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Nodes `a` and `b` that the plugins `fast` and `slow` know as `a-1` and `b-1`.
pub(crate) fn store() -> Store {
    let store = Store::local(testing::env());
    for name in ["a", "b"] {
        write(&store, |tx| tx.create(node(name, &format!("{name}-1"))).map(drop));
    }
    store
}

pub(crate) fn node(name: &str, known_as: &str) -> Node {
    let mut node = testing::node(name).ready().build();
    let says = |plugin: &str| wire::NodeCsiInfo {
        plugin_name: plugin.to_owned(),
        node_id: known_as.to_owned(),
        ..Default::default()
    };
    let mut description = node.description.as_deref().cloned().unwrap_or_default();
    description.csi_info = vec![says("fast"), says("slow")];
    node.description = Some(description.into());
    node
}

/// A volume of a plugin, to be mounted, by one task at a time.
pub(crate) fn volume(name: &str, driver: &str) -> Volume {
    let mut volume = Volume::new(VolumeId::from(name));
    let access_type = Some(wire::volume_access_mode::AccessType::Mount(Default::default()));
    volume.spec = Arc::new(wire::VolumeSpec {
        annotations: Some(wire::Annotations { name: name.to_owned(), ..Default::default() }),
        driver: Some(wire::Driver { name: driver.to_owned(), ..Default::default() }),
        access_mode: Some(wire::VolumeAccessMode { access_type, ..Default::default() }),
        ..Default::default()
    });
    volume
}

pub(crate) fn create(store: &Store, volume: Volume) {
    write(store, |tx| tx.create(volume).map(drop));
}

pub(crate) fn edit(store: &Store, name: &str, change: impl FnOnce(&mut Volume)) {
    write(store, |tx| tx.edit::<Volume>(&VolumeId::from(name), change).map(drop));
}

/// Asks for a volume on a node, or for that to end, as the scheduler and the dispatcher do.
pub(crate) fn want(store: &Store, name: &str, node: &str, state: Publish) {
    edit(store, name, |volume| {
        volume.publish_status.retain(|status| status.node_id != node);
        let status = wire::VolumePublishStatus { node_id: node.to_owned(), state: state.into(), ..Default::default() };
        volume.publish_status.push(status);
    });
}

pub(crate) fn get(store: &Store, name: &str) -> Option<Arc<Volume>> {
    store.view().get::<Volume>(&VolumeId::from(name)).cloned()
}

/// Where a volume is, and how far that has come.
pub(crate) fn places(store: &Store, name: &str) -> Vec<String> {
    let volume = get(store, name).expect("the volume is there");
    let told = |status: &wire::VolumePublishStatus| {
        let told = format!("{} {}", status.node_id, status.state().as_str_name());
        if status.message.is_empty() { told } else { format!("{told}: {}", status.message) }
    };
    volume.publish_status.iter().map(told).collect()
}

/// What a volume waits for.
pub(crate) fn waits(store: &Store, name: &str) -> Option<String> {
    get(store, name).expect("the volume is there").waiting.as_ref().map(|waiting| waiting.message.clone())
}

/// Writes to a local store, which commits at once.
pub(crate) fn write(store: &Store, edit: impl FnOnce(&mut Transaction) -> Result<(), StoreError>) {
    use futures_util::FutureExt as _;
    store.update(edit).now_or_never().expect("a local store commits at once").expect("the store takes it");
}
