//! The life of a volume.

use std::sync::Arc;

use swarmkit_api::{Node, NodeId, Volume, VolumeId, wire::volume_publish_status::State as Publish};

use crate::{
    played::{Mood, Shelf},
    world::{create, edit, get, managed, places, settle, store, volume, waits, want, write},
};

#[tokio::test(start_paused = true)]
async fn a_volume_is_made_attached_detached_and_deleted() {
    let (store, shelf) = (store(), Shelf::default());
    let plugin = shelf.add("fast");
    managed(&store, Arc::new(shelf), async || {
        create(&store, volume("v", "fast"));
        settle().await;
        assert_eq!(plugin.asked(), ["create v"], "once, and not again for its own answer");
        let info = get(&store, "v").unwrap().volume_info.clone().unwrap();
        assert_eq!((info.volume_id.as_str(), info.capacity_bytes), ("csi-v", 7));
        assert_eq!(info.volume_context["from"], "creation");

        want(&store, "v", "a", Publish::PendingPublish);
        settle().await;
        assert_eq!(plugin.asked(), ["publish csi-v on a-1"]);
        assert_eq!(places(&store, "v"), ["a PUBLISHED"]);
        assert_eq!(get(&store, "v").unwrap().publish_status[0].publish_context["path"], "/dev/a-1");

        want(&store, "v", "a", Publish::PendingNodeUnpublish);
        settle().await;
        assert!(plugin.asked().is_empty(), "the node has to let go of it first");
        want(&store, "v", "a", Publish::PendingUnpublish);
        settle().await;
        assert_eq!(plugin.asked(), ["unpublish csi-v on a-1"]);
        assert!(places(&store, "v").is_empty(), "what was detached leaves no entry");

        edit(&store, "v", |volume| volume.pending_delete = true);
        settle().await;
        assert_eq!(plugin.asked(), ["delete csi-v"]);
        assert!(get(&store, "v").is_none());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_goes_on_with_everything_that_it_finds() {
    let (store, shelf) = (store(), Shelf::default());
    let plugin = shelf.add("fast");
    for name in ["made", "moved", "gone"] {
        create(&store, volume(name, "fast"));
    }
    for name in ["moved", "gone"] {
        let info = swarmkit_api::wire::VolumeInfo { volume_id: format!("csi-{name}"), ..Default::default() };
        edit(&store, name, |volume| volume.volume_info = Some(info));
    }
    want(&store, "moved", "a", Publish::PendingPublish);
    want(&store, "moved", "b", Publish::PendingUnpublish);
    edit(&store, "gone", |volume| volume.pending_delete = true);
    managed(&store, Arc::new(shelf), async || {
        let mut asked = plugin.asked();
        asked.sort();
        assert_eq!(asked, ["create made", "delete csi-gone", "publish csi-moved on a-1", "unpublish csi-moved on b-1"]);
        assert_eq!(places(&store, "moved"), ["a PUBLISHED"]);
        assert!(get(&store, "gone").is_none());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_done_for_some_nodes_is_kept_when_another_fails() {
    let (store, shelf) = (store(), Shelf::default());
    let plugin = shelf.add("fast");
    create(&store, volume("v", "fast"));
    managed(&store, Arc::new(shelf), async || {
        plugin.feel(Mood::Avoids("b-1"));
        write(&store, |tx| {
            tx.edit::<Volume>(&VolumeId::from("v"), |volume| {
                for node in ["a", "b"] {
                    volume.publish_status.push(swarmkit_api::wire::VolumePublishStatus {
                        node_id: node.to_owned(),
                        ..Default::default()
                    });
                }
            })
            .map(drop)
        });
        settle().await;
        assert_eq!(places(&store, "v"), ["a PUBLISHED", "b PENDING_PUBLISH: error publishing volume: not there"]);
        plugin.feel(Mood::Willing);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(places(&store, "v"), ["a PUBLISHED", "b PUBLISHED"], "and it no longer says what went wrong");

        plugin.feel(Mood::Fails);
        want(&store, "v", "a", Publish::PendingUnpublish);
        settle().await;
        let told = places(&store, "v");
        assert_eq!(told, ["b PUBLISHED", "a PENDING_UNPUBLISH: error unpublishing volume: not now"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_its_plugin_does_not_delete_stays_and_says_so() {
    let (store, shelf) = (store(), Shelf::default());
    let plugin = shelf.add("fast");
    create(&store, volume("v", "fast"));
    managed(&store, Arc::new(shelf), async || {
        plugin.feel(Mood::Refuses);
        edit(&store, "v", |volume| volume.pending_delete = true);
        settle().await;
        assert_eq!(waits(&store, "v").unwrap(), "error deleting volume: no");
        plugin.feel(Mood::Willing);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert!(get(&store, "v").is_none());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_never_made_can_be_deleted_and_what_may_have_been_made_is_made_first() {
    let (store, shelf) = (store(), Shelf::default());
    let plugin = shelf.add("fast");
    plugin.feel(Mood::Refuses);
    create(&store, volume("wrong", "fast"));
    managed(&store, Arc::new(shelf), async || {
        assert_eq!(waits(&store, "wrong").unwrap(), "error creating volume: no");
        edit(&store, "wrong", |volume| volume.pending_delete = true);
        settle().await;
        assert!(get(&store, "wrong").is_none(), "the plugin says that it has not made it");

        plugin.feel(Mood::Fails);
        create(&store, volume("lost", "fast"));
        edit(&store, "lost", |volume| volume.pending_delete = true);
        settle().await;
        assert_eq!(
            waits(&store, "lost").unwrap(),
            "error creating volume: not now",
            "nobody knows whether it is there"
        );
        plugin.feel(Mood::Willing);
        plugin.asked();
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(plugin.asked(), ["create lost", "delete csi-lost"]);
        assert!(get(&store, "lost").is_none());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_says_its_name_to_the_plugin_later_is_not_waited_for_in_vain() {
    let (store, shelf) = (store(), Shelf::default());
    let plugin = shelf.add("fast");
    create(&store, volume("v", "fast"));
    managed(&store, Arc::new(shelf), async || {
        plugin.asked();
        want(&store, "v", "new", Publish::PendingPublish);
        settle().await;
        let missing = "error publishing volume: CSI node ID not found for given Swarm node ID";
        assert_eq!(places(&store, "v"), [format!("new PENDING_PUBLISH: {missing}")]);
        assert!(plugin.asked().is_empty(), "the plugin is not asked about a node that it cannot know");
        tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
        write(&store, |tx| tx.create(crate::world::node("new", "new-1")).map(drop));
        settle().await;
        assert_eq!(places(&store, "v"), ["new PUBLISHED"], "at once, not after the delay");
        write(&store, |tx| {
            let renamed = crate::world::node("new", "new-2").description;
            tx.edit::<Node>(&NodeId::from("new"), |node| node.description = renamed).map(drop)
        });
        want(&store, "v", "new", Publish::PendingUnpublish);
        settle().await;
        assert_eq!(plugin.asked(), ["publish csi-v on new-1", "unpublish csi-v on new-2"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_gone_is_no_reason_to_keep_a_volume_attached() {
    let (store, shelf) = (store(), Shelf::default());
    let plugin = shelf.add("fast");
    create(&store, volume("v", "fast"));
    managed(&store, Arc::new(shelf), async || {
        for node in ["a", "b"] {
            want(&store, "v", node, Publish::PendingPublish);
        }
        settle().await;
        want(&store, "v", "a", Publish::PendingNodeUnpublish);
        settle().await;
        plugin.asked();
        write(&store, |tx| tx.delete::<Node>(&NodeId::from("a")).map(drop));
        settle().await;
        assert!(plugin.asked().is_empty(), "its name is not known, and b still uses the volume");
        let told = "node a is gone; it is detached from there once no other node uses the volume";
        assert!(places(&store, "v").contains(&format!("a PENDING_NODE_UNPUBLISH: error unpublishing volume: {told}")));
        want(&store, "v", "b", Publish::PendingUnpublish);
        tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
        assert_eq!(plugin.asked(), ["unpublish csi-v on b-1", "unpublish csi-v on "], "from all nodes, in the end");
        assert!(places(&store, "v").is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_deleted_by_force_is_let_alone() {
    let (store, shelf) = (store(), Shelf::default());
    let plugin = shelf.add("fast");
    plugin.feel(Mood::Fails);
    create(&store, volume("v", "fast"));
    managed(&store, Arc::new(shelf), async || {
        write(&store, |tx| tx.delete::<Volume>(&VolumeId::from("v")).map(drop));
        settle().await;
        plugin.asked();
        tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
        assert!(plugin.asked().is_empty() && get(&store, "v").is_none());
    })
    .await;
}
