//! Removing services and networks that are still in use.

use swarmkit_api::{
    Network, NetworkId, Service, ServiceId,
    wire::{self, update_service_request::Rollback},
};
use swarmkit_testing::{network, service};
use tonic::Code;

use crate::world::{World, annotations, not_found, spec_of, web};

fn later(id: &str) -> wire::RemoveServiceRequest {
    wire::RemoveServiceRequest { service_id: id.to_owned(), deferred: true }
}

fn network_later(id: &str) -> wire::RemoveNetworkRequest {
    wire::RemoveNetworkRequest { network_id: id.to_owned(), deferred: true, ..Default::default() }
}

fn precondition(text: &str) -> (Code, String) {
    (Code::FailedPrecondition, text.to_owned())
}

#[tokio::test]
async fn a_service_that_is_removed_later_is_marked_and_stays() {
    let world = World::new();
    let made = world.create(web("web")).await;
    world.control().remove_service(later(&made.id)).await.unwrap();
    let marked = world.view().get::<Service>(&made.id.as_str().into()).unwrap().clone();
    assert!(marked.pending_delete);
    assert_eq!(marked.spec_version.map(|version| version.0), Some(0), "its tasks are not out of date");

    let before = world.store.version();
    world.control().remove_service(later(&made.id)).await.unwrap();
    assert_eq!(world.store.version(), before, "asked again, nothing changes");
    assert_eq!(world.refused(world.control().remove_service(later("x"))).await, not_found("service x not found"));

    let now = wire::RemoveServiceRequest { service_id: made.id.clone(), deferred: false };
    world.control().remove_service(now).await.unwrap();
    assert_eq!(world.view().get::<Service>(&ServiceId::from(made.id)), None, "whoever does not want to wait need not");
}

#[tokio::test]
async fn a_service_that_is_being_removed_is_not_changed_and_keeps_its_name() {
    let world = World::new();
    let made = world.create(web("web")).await;
    world.control().remove_service(later(&made.id)).await.unwrap();
    let marked = world.view().get::<Service>(&made.id.as_str().into()).unwrap().clone();
    let update = |rollback: Rollback| wire::UpdateServiceRequest {
        service_id: made.id.clone(),
        service_version: Some(marked.meta.version.into()),
        spec: made.spec.clone(),
        rollback: rollback.into(),
    };
    for rollback in [Rollback::None, Rollback::Previous] {
        let refused = world.refused(world.control().update_service(update(rollback))).await;
        assert_eq!(refused, precondition("service web is being removed and cannot be updated"));
    }
    let text = "name conflicts with an existing object: service web already exists, but is being removed: its name is \
                free when it is gone";
    assert_eq!(world.create_refused(web("web")).await, (Code::AlreadyExists, text.to_owned()));
}

#[tokio::test]
async fn a_network_in_use_is_marked_when_it_may_be_removed_later() {
    let world = World::new();
    world.put(|tx| tx.create(network("back")).map(drop)).await;
    let user = world.create(spec_of(service("web").network("back"))).await;
    let now = wire::RemoveNetworkRequest { network_id: "back".into(), ..Default::default() };
    let refused = world.refused(world.control().remove_network(now)).await;
    assert_eq!(refused, precondition(&format!("network back is in use by service {}", user.id)));
    world.control().remove_network(network_later("back")).await.unwrap();
    assert!(world.view().get::<Network>(&NetworkId::from("back")).unwrap().pending_delete);

    let before = world.store.version();
    world.control().remove_network(network_later("back")).await.unwrap();
    assert_eq!(world.store.version(), before, "asked again, nothing changes");
    let refused = world.refused(world.control().remove_network(network_later("x"))).await;
    assert_eq!(refused, not_found("network x not found"));
}

#[tokio::test]
async fn the_clusters_own_networks_are_not_removed_later_either() {
    let world = World::new();
    let mut own = network("bridge");
    let spec = std::sync::Arc::make_mut(&mut own.spec).annotations.as_mut().unwrap();
    spec.labels.insert("com.docker.swarm.predefined".into(), "true".into());
    world.put(|tx| tx.create(own).map(drop)).await;
    let (code, text) = world.refused(world.control().remove_network(network_later("bridge"))).await;
    assert!(code == Code::FailedPrecondition && text.contains("predefined network"), "{text}");
}

#[tokio::test]
async fn a_network_that_is_being_removed_gets_no_new_users_and_keeps_its_name() {
    let world = World::new();
    world.put(|tx| tx.create(network("back")).and_then(|_| tx.create(network("front"))).map(drop)).await;
    let old = world.create(spec_of(service("old").network("back"))).await;
    let other = world.create(spec_of(service("other").network("front"))).await;
    world.control().remove_network(network_later("back")).await.unwrap();

    let text = precondition("network back is being removed and cannot be used");
    assert_eq!(world.create_refused(spec_of(service("new").network("back"))).await, text);
    let update = |service: &wire::Service, spec| wire::UpdateServiceRequest {
        service_id: service.id.clone(),
        service_version: service.meta.unwrap().version,
        spec: Some(spec),
        ..Default::default()
    };
    let moved = update(&other, spec_of(service("other").network("back")));
    assert_eq!(world.refused(world.control().update_service(moved)).await, text);
    // Who uses it already can still be changed.
    let scaled = update(&old, spec_of(service("old").network("back").replicas(3)));
    world.control().update_service(scaled).await.unwrap();

    let spec = wire::NetworkSpec { annotations: annotations("back"), ..Default::default() };
    let refused = world.refused(world.control().create_network(wire::CreateNetworkRequest { spec: Some(spec) })).await;
    let text = "name conflicts with an existing object: network back already exists, but is being removed: its name is \
                free when it is gone";
    assert_eq!(refused, (Code::AlreadyExists, text.to_owned()));
}
