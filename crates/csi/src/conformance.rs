//! Whether a plugin keeps the obligations of [`VolumePlugin`]: for those who write one.

use swarmkit_api::wire::csi::v1::{
    ControllerPublishVolumeRequest, ControllerUnpublishVolumeRequest, CreateVolumeRequest, DeleteVolumeRequest,
};

use crate::VolumePlugin;

/// Makes two volumes, takes one through its whole life, and does everything twice.
///
/// `wanted` is a request that the plugin is to fulfill; its name is made into two. `node` is a node by the plugin's own name
/// for it.
///
/// # Panics
///
/// When an obligation is not kept, with what was expected.
pub async fn all(plugin: &dyn VolumePlugin, wanted: &CreateVolumeRequest, node: &str) {
    let named = |name: &str| CreateVolumeRequest { name: format!("{}-{name}", wanted.name), ..wanted.clone() };
    let made = plugin.create(named("one")).await.expect("it makes a volume");
    assert!(!made.volume_id.is_empty(), "a volume has an id");
    let again = plugin.create(named("one")).await.expect("it is asked for a volume that it has made");
    assert_eq!(made.volume_id, again.volume_id, "one name, one volume");
    let other = plugin.create(named("two")).await.expect("it makes another volume");
    assert_ne!(made.volume_id, other.volume_id, "another name, another volume");

    let publication = ControllerPublishVolumeRequest {
        volume_id: made.volume_id.clone(),
        node_id: node.to_owned(),
        volume_capability: wanted.volume_capabilities.first().cloned(),
        readonly: false,
        secrets: wanted.secrets.clone(),
        volume_context: made.volume_context.clone(),
    };
    let there = plugin.publish(publication.clone()).await.expect("it attaches a volume");
    let still = plugin.publish(publication).await.expect("it is asked to attach what is attached");
    assert_eq!(there, still, "what the node has to know is the same");

    let secrets = || wanted.secrets.clone();
    for time in ["it detaches a volume", "what is not attached is no error", "nor is it for all nodes"] {
        let node_id = if time.ends_with("nodes") { String::new() } else { node.to_owned() };
        let volume_id = made.volume_id.clone();
        let end = ControllerUnpublishVolumeRequest { volume_id, node_id, secrets: secrets() };
        plugin.unpublish(end).await.expect(time);
    }
    for volume in [&made, &made, &other] {
        let end = DeleteVolumeRequest { volume_id: volume.volume_id.clone(), secrets: secrets() };
        plugin.delete(end).await.expect("it deletes a volume, and one that is gone is no error");
    }
}
