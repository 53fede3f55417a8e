//! Volumes that the cluster manages.

use swarmkit_api::{Volume, VolumeId, wire};
use tonic::Code;
use wire::volume_access_mode::AccessType;

use crate::world::{World, annotations, invalid, no_argument, not_found};

fn spec(name: &str) -> wire::VolumeSpec {
    wire::VolumeSpec {
        annotations: annotations(name),
        driver: Some(wire::Driver { name: "csi".into(), ..Default::default() }),
        access_mode: Some(wire::VolumeAccessMode {
            access_type: Some(AccessType::Block(wire::volume_access_mode::BlockVolume {})),
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn create(world: &World, spec: wire::VolumeSpec) -> wire::Volume {
    let request = wire::CreateVolumeRequest { spec: Some(spec) };
    world.control().create_volume(request).await.unwrap().into_inner().volume.unwrap()
}

fn update(volume: &wire::Volume, change: impl FnOnce(&mut wire::VolumeSpec)) -> wire::UpdateVolumeRequest {
    let mut spec = volume.spec.clone();
    change(spec.as_mut().unwrap());
    wire::UpdateVolumeRequest { volume_id: volume.id.clone(), volume_version: volume.meta.unwrap().version, spec }
}

#[tokio::test]
async fn a_volume_says_who_makes_it_and_how_it_is_reached() {
    let world = World::new();
    let refused = async |spec| world.refused(world.control().create_volume(wire::CreateVolumeRequest { spec })).await;
    assert_eq!(refused(None).await, invalid("spec must not be nil"));
    let driverless = wire::VolumeSpec { driver: None, ..spec("v") };
    assert_eq!(refused(Some(driverless)).await, invalid("driver must be specified"));
    assert_eq!(refused(Some(spec(""))).await, invalid("meta: name must be provided"));
    let modeless = wire::VolumeSpec { access_mode: None, ..spec("v") };
    assert_eq!(refused(Some(modeless)).await, invalid("AccessMode must not be nil"));
    let typeless = wire::VolumeSpec { access_mode: Some(Default::default()), ..spec("v") };
    assert_eq!(refused(Some(typeless)).await, invalid("AccessMode must have an access type"));

    let secrets = |ids: &[&str]| {
        let of = |id: &&str| wire::VolumeSecret { key: "k".into(), secret: (*id).into() };
        wire::VolumeSpec { secrets: ids.iter().map(of).collect(), ..spec("v") }
    };
    assert_eq!(refused(Some(secrets(&["a"]))).await, invalid("secret not found: a"));
    assert_eq!(refused(Some(secrets(&["a", "b"]))).await, invalid("secrets not found: a, b"));
    let made = create(&world, spec("v")).await;
    assert_eq!(made.spec, Some(spec("v")));
    let get = |id: &str| wire::GetVolumeRequest { volume_id: id.into() };
    let got = world.control().get_volume(get(&made.id)).await.unwrap().into_inner().volume.unwrap();
    assert_eq!(got, made);
    assert_eq!(world.refused(world.control().get_volume(get("x"))).await, not_found("volume x not found"));
    assert_eq!(refused(Some(spec("V"))).await.0, Code::AlreadyExists);
}

#[tokio::test]
async fn labels_and_availability_change_and_nothing_else() {
    let world = World::new();
    let made = create(&world, spec("v")).await;
    let refused = async |request| world.refused(world.control().update_volume(request)).await;
    let good = update(&made, |_| {});
    let unnamed = wire::UpdateVolumeRequest { volume_id: String::new(), ..good.clone() };
    assert_eq!(refused(unnamed).await, no_argument());
    assert_eq!(refused(wire::UpdateVolumeRequest { volume_version: None, ..good.clone() }).await, no_argument());
    assert_eq!(refused(wire::UpdateVolumeRequest { spec: None, ..good.clone() }).await, no_argument());
    let unknown = wire::UpdateVolumeRequest { volume_id: "x".into(), ..good };
    assert_eq!(refused(unknown).await, not_found("volume x not found"));

    type Change = fn(&mut wire::VolumeSpec);
    let fixed: [(&str, Change); 7] = [
        ("Name", |spec| spec.annotations = annotations("w")),
        ("Group", |spec| spec.group = "g".into()),
        ("AccessibilityRequirements", |spec| spec.accessibility_requirements = Some(Default::default())),
        ("Driver", |spec| spec.driver = None),
        ("AccessMode", |spec| spec.access_mode = None),
        ("Secrets", |spec| spec.secrets = vec![Default::default()]),
        ("CapacityRange", |spec| spec.capacity_range = Some(Default::default())),
    ];
    for (field, change) in fixed {
        assert_eq!(refused(update(&made, change)).await, invalid(&format!("{field} cannot be updated")));
    }

    let drained = update(&made, |spec| {
        spec.availability = wire::volume_spec::VolumeAvailability::Drain.into();
        spec.annotations.as_mut().unwrap().labels.insert("k".into(), "v".into());
    });
    let updated = world.control().update_volume(drained.clone()).await.unwrap().into_inner().volume.unwrap();
    assert_eq!(updated.spec, drained.spec);
    assert!(updated.meta.unwrap().version.unwrap().index > made.meta.unwrap().version.unwrap().index);
    assert_eq!(refused(drained).await.1, "update out of sequence");
}

#[tokio::test]
async fn a_volume_goes_when_nobody_uses_it_or_by_force() {
    let world = World::new();
    let made = create(&world, spec("v")).await;
    let id = VolumeId::from(made.id.as_str());
    let remove = |force| wire::RemoveVolumeRequest { volume_id: made.id.clone(), force };
    world.put(|tx| tx.edit::<Volume>(&id, |volume| volume.publish_status = vec![Default::default()]).map(drop)).await;
    let refusal = world.refused(world.control().remove_volume(remove(false))).await;
    assert_eq!(refusal, (Code::FailedPrecondition, "volume is still in use".to_owned()));
    world.put(|tx| tx.edit::<Volume>(&id, |volume| volume.publish_status = Default::default()).map(drop)).await;
    world.control().remove_volume(remove(false)).await.unwrap();
    assert!(world.view().get::<Volume>(&id).unwrap().pending_delete, "whoever made it deletes it");
    world.control().remove_volume(remove(true)).await.unwrap();
    assert!(world.view().get::<Volume>(&id).is_none());
    assert_eq!(world.refused(world.control().remove_volume(remove(true))).await.0, Code::NotFound);
}
