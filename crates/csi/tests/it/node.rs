//! Plugins on sockets, as nodes reach them.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use swarmkit_api::wire::{self, VolumeAssignment};
use swarmkit_csi::CsiNode;
use swarmkit_executor::{NodeVolumes, VolumeRequest};
use tonic::Status;
use zeroize::Zeroizing;

use crate::{
    server::{Able, Server},
    socket::told,
};

fn node(socket: &Path) -> CsiNode {
    CsiNode::new([("disk".to_owned(), socket.to_owned())], socket.with_file_name("volumes"))
}

fn request(id: &str, driver: &str) -> VolumeRequest {
    let volume = VolumeAssignment {
        id: id.to_owned(),
        volume_id: "made-v".to_owned(),
        driver: Some(wire::Driver { name: driver.to_owned(), ..Default::default() }),
        publish_context: [("device".to_owned(), "sdb".to_owned())].into(),
        ..Default::default()
    };
    let secrets = BTreeMap::from([("password".to_owned(), Zeroizing::new("hush".to_owned()))]);
    VolumeRequest { volume: Arc::new(volume), secrets }
}

const GREETING: [&str; 2] = ["Probe", "NodeGetCapabilities"];

#[tokio::test]
async fn a_volume_is_staged_and_mounted_and_both_are_taken_back() {
    told(async |path| {
        let (server, node) = (Server::start(&path, Able::default()), node(&path));
        let published = node.publish(request("v1", "disk")).await.unwrap();
        assert_eq!(published, path.with_file_name("volumes").join("published/v1"));
        assert_eq!(server.asked(), [&GREETING[..], &["NodeStageVolume", "NodePublishVolume"]].concat());
        assert_eq!(server.given(), ["hush sdb, staged at v1", "hush sdb, from v1 to v1"]);
        assert!(path.with_file_name("volumes").join("staged/v1").is_dir(), "the folder to stage in is there");

        assert_eq!(node.publish(request("v1", "disk")).await.unwrap(), published, "again is no harm");
        assert_eq!(server.asked(), ["NodeStageVolume", "NodePublishVolume"]);
        // One that knows nothing of the first, as after a restart.
        self::node(&path).unpublish(request("v1", "disk")).await.unwrap();
        assert_eq!(server.asked(), [&GREETING[..], &["NodeUnpublishVolume", "NodeUnstageVolume"]].concat());
        assert!(!path.with_file_name("volumes").join("staged/v1").exists(), "nothing is left");
    })
    .await;
}

#[tokio::test]
async fn a_plugin_that_does_not_stage_is_not_asked_to() {
    told(async |path| {
        let (server, node) = (Server::start(&path, Able { stages: false, ..Able::default() }), node(&path));
        node.publish(request("v1", "disk")).await.unwrap();
        assert_eq!(server.given(), ["hush sdb, from nowhere to v1"]);
        node.unpublish(request("v1", "disk")).await.unwrap();
        assert_eq!(server.asked(), [&GREETING[..], &["NodePublishVolume", "NodeUnpublishVolume"]].concat());
    })
    .await;
}

#[tokio::test]
async fn plugins_say_what_they_call_the_node_and_one_that_is_away_keeps_its_name() {
    told(async |path| {
        let sockets = [("disk".to_owned(), path.clone()), ("tape".to_owned(), path.with_file_name("none.sock"))];
        let node = CsiNode::new(sockets, path.with_file_name("volumes"));
        assert!(node.describe().await.is_empty(), "nobody has said anything yet");
        let server = Server::start(&path, Able::default());
        let said = node.describe().await;
        assert_eq!(said.len(), 1, "those that do not say are left out");
        assert_eq!((said[0].plugin_name.as_str(), said[0].node_id.as_str()), ("disk", "node-1"));
        assert_eq!(said[0].max_volumes_per_node, 8);
        assert_eq!(said[0].accessible_topology.as_ref().unwrap().segments["zone"], "a");
        drop(server);
        assert_eq!(node.describe().await, said, "a plugin that is being replaced does not change what the node is");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_done_is_told_with_whether_it_ever_can() {
    told(async |path| {
        let (server, node) = (Server::start(&path, Able::default()), node(&path));
        let error = node.publish(request("v1", "tape")).await.unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.is_temporary()),
            ("this node has no storage plugin \"tape\"", false)
        );
        for id in ["", "../v1", "a/b", "."] {
            let error = node.publish(request(id, "disk")).await.unwrap_err();
            assert_eq!(error.to_string(), format!("{id:?} is no id of a volume"));
        }
        assert!(server.asked().is_empty(), "nobody was asked for any of that");
        server.able(|able| able.refuses = Some(Status::internal("no such device")));
        let error = node.publish(request("v1", "disk")).await.unwrap_err();
        let text = "cannot publish volume v1: rpc error: code = Internal desc = no such device";
        assert_eq!((error.to_string().as_str(), error.is_temporary()), (text, true));
        let error = node.unpublish(request("v1", "disk")).await.unwrap_err();
        assert!(error.is_temporary(), "{error}");
    })
    .await;
}
