//! How volumes are shown.

use std::time::Duration;

use wire::{volume_publish_status::State, volume_spec::VolumeAvailability};

use super::*;
use crate::output::json;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn ago(seconds: u64) -> Option<prost_types::Timestamp> {
    Some((now() - Duration::from_secs(seconds)).into())
}

fn named(name: &str) -> Option<wire::Annotations> {
    let labels = [("team".to_owned(), "a".to_owned())].into();
    Some(wire::Annotations { name: name.to_owned(), labels, ..Default::default() })
}

/// One of which all that can be known is known.
fn data() -> wire::Volume {
    let segments = [("rack", "1"), ("zone", "a")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let entry = |node: &str, state: State, message: &str| wire::VolumePublishStatus {
        node_id: node.to_owned(),
        state: state.into(),
        message: message.to_owned(),
        ..Default::default()
    };
    let mount = wire::volume_access_mode::MountVolume { fs_type: "ext4".into(), mount_flags: vec!["noatime".into()] };
    wire::Volume {
        id: "v1".to_owned(),
        meta: Some(wire::Meta {
            version: Some(wire::Version { index: 7 }),
            created_at: ago(3600),
            updated_at: ago(60),
            ..Default::default()
        }),
        spec: Some(wire::VolumeSpec {
            annotations: named("data"),
            group: "fast".to_owned(),
            driver: Some(wire::Driver { name: "disks".into(), options: [("kind".into(), "ssd".into())].into() }),
            access_mode: Some(wire::VolumeAccessMode {
                scope: 1,
                sharing: 2,
                access_type: Some(AccessType::Mount(mount)),
            }),
            capacity_range: Some(wire::CapacityRange { required_bytes: 1 << 30, limit_bytes: 0 }),
            availability: VolumeAvailability::Drain.into(),
            ..Default::default()
        }),
        publish_status: vec![entry("n1", State::Published, ""), entry("n2", State::PendingPublish, "it is full")],
        volume_info: Some(wire::VolumeInfo {
            capacity_bytes: 2 << 30,
            volume_id: "csi-1".to_owned(),
            accessible_topology: vec![wire::Topology { segments: segments.into() }],
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// One that waits for its driver.
fn logs() -> wire::Volume {
    let waiting =
        wire::swarmkit::orchestration::v1::Waiting { since: ago(60), message: "there is no plugin disks".to_owned() };
    wire::Volume {
        id: "v0".to_owned(),
        spec: Some(wire::VolumeSpec {
            annotations: named("logs"),
            driver: Some(wire::Driver { name: "disks".into(), ..Default::default() }),
            ..Default::default()
        }),
        waiting: Some(waiting),
        ..Default::default()
    }
}

fn lines(columns: impl std::fmt::Display) -> Vec<String> {
    let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    columns.to_string().lines().map(squeeze).collect()
}

#[test]
fn volumes_are_listed_by_name_with_how_far_they_have_come() {
    let [made, removing] = [
        wire::Volume { id: "v2".to_owned(), publish_status: Vec::new(), ..data() },
        wire::Volume { id: "v3".to_owned(), pending_delete: true, ..data() },
    ];
    let one = wire::Volume { id: "v4".to_owned(), publish_status: data().publish_status[..1].to_vec(), ..data() };
    let listed = lines(list_volumes(&[logs(), one, removing, made, data()]));
    assert_eq!(
        listed,
        [
            "ID Name Group Driver Availability Status",
            "-- ---- ----- ------ ------------ ------",
            "v1 data fast disks DRAIN in use (2 nodes)",
            "v2 data fast disks DRAIN created",
            "v3 data fast disks DRAIN removing",
            "v4 data fast disks DRAIN in use (1 node)",
            "v0 logs disks ACTIVE pending creation",
        ]
    );
}

#[test]
fn a_volume_is_shown_with_what_it_is_for_and_where_it_is() {
    assert_eq!(
        lines(inspect_volume(&data(), &Names::ids_only(), now())),
        [
            "ID : v1",
            "Name : data",
            "Labels",
            "team : a",
            "Group : fast",
            "Driver : disks",
            "Options",
            "kind : ssd",
            "Availability : DRAIN",
            "Status : in use (2 nodes)",
            "Scope : MULTI_NODE",
            "Sharing : ONE_WRITER",
            "Type : mount",
            "File System : ext4",
            "Mount Flags : noatime",
            "At Least : 1.0 GiB",
            "Volume : csi-1",
            "Capacity : 2.0 GiB",
            "Reached From : rack=1,zone=a",
            "Nodes",
            "n1 : PUBLISHED",
            "n2 : PENDING_PUBLISH (it is full)",
            "Created : 2027-01-15T07:00:00Z",
        ]
    );
    let shown = lines(inspect_volume(&logs(), &Names::ids_only(), now()));
    assert_eq!(
        shown[4..],
        [
            "Driver : disks",
            "Availability : ACTIVE",
            "Status : pending creation",
            "Waiting",
            "Since : 1 minute ago",
            "Message : there is no plugin disks",
            "Scope : SINGLE_NODE",
            "Sharing : NONE",
        ]
    );
}

#[test]
fn the_json_of_a_volume_says_the_same() {
    insta::assert_snapshot!(json::line(&json::Volume::new(&data())), @r#"{"id":"v1","name":"data","labels":{"team":"a"},"group":"fast","driver":"disks","options":{"kind":"ssd"},"availability":"DRAIN","scope":"MULTI_NODE","sharing":"ONE_WRITER","type":"mount","required_bytes":1073741824,"limit_bytes":0,"volume_id":"csi-1","capacity_bytes":2147483648,"accessible_topology":[{"rack":"1","zone":"a"}],"nodes":[{"node_id":"n1","state":"PUBLISHED","message":""},{"node_id":"n2","state":"PENDING_PUBLISH","message":"it is full"}],"waiting":null,"removing":false,"version":7,"created_at":"2027-01-15T07:00:00Z","updated_at":"2027-01-15T07:59:00Z"}"#);
    insta::assert_snapshot!(json::line(&json::Volume::new(&logs())), @r#"{"id":"v0","name":"logs","labels":{"team":"a"},"group":"","driver":"disks","options":{},"availability":"ACTIVE","scope":"SINGLE_NODE","sharing":"NONE","type":null,"required_bytes":0,"limit_bytes":0,"volume_id":null,"capacity_bytes":null,"accessible_topology":[],"nodes":[],"waiting":{"since":"2027-01-15T07:59:00Z","message":"there is no plugin disks"},"removing":false,"version":0,"created_at":null,"updated_at":null}"#);
}
