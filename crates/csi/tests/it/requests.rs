//! What plugins are asked, to the letter.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use swarmkit_api::wire::{
    self,
    csi::v1 as csi,
    volume_access_mode::{Scope, Sharing},
    volume_publish_status::State as Publish,
};
use swarmkit_testing as testing;

use crate::{
    played::Shelf,
    world::{create, edit, get, managed, settle, store, volume, waits, want, write},
};

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn zone(name: &str) -> wire::Topology {
    wire::Topology { segments: texts(&[("zone", name)]) }
}

fn told_secrets() -> Vec<wire::VolumeSecret> {
    let secret = |key: &str, secret: &str| wire::VolumeSecret { key: key.to_owned(), secret: secret.to_owned() };
    vec![secret("user", "s-user"), secret("password", "s-password"), secret("lost", "s-lost")]
}

#[tokio::test(start_paused = true)]
async fn requests_carry_what_the_volume_says_its_secrets_and_what_the_plugin_said_before() {
    let (store, shelf) = (store(), Shelf::default());
    let plugin = shelf.add("fast");
    for (name, data) in [("s-user", "me"), ("s-password", "Zq7")] {
        write(&store, |tx| tx.create(testing::secret(name, data)).map(drop));
    }
    let mut wanted = volume("v", "fast");
    let spec = Arc::make_mut(&mut wanted.spec);
    spec.driver.as_mut().unwrap().options = texts(&[("tier", "gold")]);
    spec.secrets = told_secrets();
    spec.capacity_range = Some(wire::CapacityRange { required_bytes: 10, limit_bytes: 20 });
    spec.accessibility_requirements =
        Some(wire::TopologyRequirement { requisite: vec![zone("east"), zone("west")], preferred: vec![zone("west")] });
    let mount = wire::volume_access_mode::MountVolume { fs_type: "ext4".into(), mount_flags: vec!["noatime".into()] };
    spec.access_mode.as_mut().unwrap().access_type = Some(wire::volume_access_mode::AccessType::Mount(mount));
    managed(&store, Arc::new(shelf), async || {
        create(&store, wanted);
        settle().await;
        let secrets = texts(&[("user", "me"), ("password", "Zq7")]);
        let mount = csi::volume_capability::MountVolume { fs_type: "ext4".into(), mount_flags: vec!["noatime".into()] };
        let capability = csi::VolumeCapability {
            access_type: Some(csi::volume_capability::AccessType::Mount(mount)),
            access_mode: Some(csi::volume_capability::AccessMode { mode: 1 }),
        };
        let place = |name: &str| csi::Topology { segments: texts(&[("zone", name)]) };
        let expected = csi::CreateVolumeRequest {
            name: "v".to_owned(),
            capacity_range: Some(csi::CapacityRange { required_bytes: 10, limit_bytes: 20 }),
            volume_capabilities: vec![capability.clone()],
            parameters: texts(&[("tier", "gold")]),
            secrets: secrets.clone(),
            accessibility_requirements: Some(csi::TopologyRequirement {
                requisite: vec![place("east"), place("west")],
                preferred: vec![place("west")],
            }),
        };
        assert!(plugin.created() == expected, "{:?}", plugin.created());
        assert!(!format!("{:?}", plugin.created()).contains("Zq7"), "secrets are not printed");

        want(&store, "v", "a", Publish::PendingPublish);
        settle().await;
        let expected = csi::ControllerPublishVolumeRequest {
            volume_id: "csi-v".to_owned(),
            node_id: "a-1".to_owned(),
            volume_capability: Some(capability),
            readonly: false,
            secrets: secrets.clone(),
            volume_context: texts(&[("from", "creation")]),
        };
        assert!(plugin.published() == expected, "{:?}", plugin.published());

        want(&store, "v", "a", Publish::PendingUnpublish);
        settle().await;
        let (volume_id, node_id) = ("csi-v".to_owned(), "a-1".to_owned());
        let expected = csi::ControllerUnpublishVolumeRequest { volume_id, node_id, secrets: secrets.clone() };
        assert!(plugin.unpublished() == expected, "{:?}", plugin.unpublished());
        edit(&store, "v", |volume| volume.pending_delete = true);
        settle().await;
        let expected = csi::DeleteVolumeRequest { volume_id: "csi-v".to_owned(), secrets };
        assert!(plugin.deleted() == expected, "{:?}", plugin.deleted());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn each_way_of_using_a_volume_has_its_mode() {
    use csi::volume_capability::access_mode::Mode;
    let (store, shelf) = (store(), Shelf::default());
    let plugin = shelf.add("fast");
    managed(&store, Arc::new(shelf), async || {
        for (n, (scope, sharing, mode)) in [
            (Scope::SingleNode, Sharing::None, Mode::SingleNodeWriter),
            (Scope::SingleNode, Sharing::OneWriter, Mode::SingleNodeWriter),
            (Scope::SingleNode, Sharing::All, Mode::SingleNodeWriter),
            (Scope::SingleNode, Sharing::ReadOnly, Mode::SingleNodeReaderOnly),
            (Scope::MultiNode, Sharing::ReadOnly, Mode::MultiNodeReaderOnly),
            (Scope::MultiNode, Sharing::OneWriter, Mode::MultiNodeSingleWriter),
            (Scope::MultiNode, Sharing::None, Mode::MultiNodeSingleWriter),
            (Scope::MultiNode, Sharing::All, Mode::MultiNodeMultiWriter),
        ]
        .into_iter()
        .enumerate()
        {
            let mut wanted = volume(&format!("v{n}"), "fast");
            let block = wire::volume_access_mode::AccessType::Block(Default::default());
            let access = Arc::make_mut(&mut wanted.spec).access_mode.as_mut().unwrap();
            access.set_scope(scope);
            access.set_sharing(sharing);
            access.access_type = Some(block);
            create(&store, wanted);
            settle().await;
            let asked = plugin.created().volume_capabilities.remove(0);
            assert_eq!(asked.access_mode.unwrap().mode(), mode, "{scope:?} {sharing:?}");
            assert!(matches!(asked.access_type, Some(csi::volume_capability::AccessType::Block(_))));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_not_text_is_told_and_not_sent() {
    let (store, shelf) = (store(), Shelf::default());
    let plugin = shelf.add("fast");
    let mut secret = testing::secret("s-user", "");
    Arc::make_mut(&mut secret.spec).data = Bytes::from_static(&[0xff, 0xfe]);
    write(&store, |tx| tx.create(secret).map(drop));
    let mut wanted = volume("v", "fast");
    Arc::make_mut(&mut wanted.spec).secrets = told_secrets();
    create(&store, wanted);
    managed(&store, Arc::new(shelf), async || {
        assert_eq!(waits(&store, "v").unwrap(), "error creating volume: secret s-user is not text, which plugins need");
        assert!(plugin.asked().is_empty() && get(&store, "v").unwrap().volume_info.is_none());
    })
    .await;
}
