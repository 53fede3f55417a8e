//! Containers that a node attaches to networks by itself.

use std::sync::Arc;

use swarmkit_api::{Network, Task, TaskState, wire};
use swarmkit_testing::{network, task};
use tonic::{Code, Response, Status};
use wire::task_spec::Runtime;

use crate::world::{World, invalid, no_argument, not_found};

/// A world with a network that containers may be attached to.
async fn world() -> World {
    let world = World::new();
    world.put(|tx| tx.create(attachable("front")).map(drop)).await;
    world
}

fn attachable(name: &str) -> Network {
    let mut network = network(name);
    network.id = format!("id-of-{name}").as_str().into();
    Arc::make_mut(&mut network.spec).attachable = true;
    network
}

fn asking(target: &str) -> wire::AttachNetworkRequest {
    let config = wire::NetworkAttachmentConfig { target: target.into(), ..Default::default() };
    wire::AttachNetworkRequest { config: Some(config), container_id: "c1".into() }
}

async fn detach(world: &World, id: &str) -> Result<Response<wire::DetachNetworkResponse>, Status> {
    world.attachments().detach_network(wire::DetachNetworkRequest { attachment_id: id.into() }).await
}

#[tokio::test]
async fn an_attachment_is_a_task_on_the_node_that_asks_and_goes_with_it() {
    let world = world().await;
    for target in ["id-of-front", "Front"] {
        let mut request = asking(target);
        request.config.as_mut().unwrap().addresses = vec!["10.0.0.9".into()];
        let id = world.attachments().attach_network(request).await.unwrap().into_inner().attachment_id;
        let made = world.view().get::<Task>(&id.as_str().into()).unwrap().clone();
        assert_eq!((made.node_id.as_ref().unwrap().as_str(), &made.service_id), ("m", &None));
        assert_eq!((made.status.state, made.desired_state), (TaskState::New, TaskState::Running));
        assert_eq!(made.status.message, "created");
        assert!(made.status.timestamp.is_some());
        let Some(Runtime::Attachment(spec)) = &made.spec.runtime else { panic!("{made:?}") };
        assert_eq!(spec.container_id, "c1");
        let asked = wire::NetworkAttachmentConfig {
            target: "id-of-front".into(),
            addresses: vec!["10.0.0.9".into()],
            ..Default::default()
        };
        assert_eq!(made.spec.networks, [asked]);

        detach(&world, &id).await.unwrap();
        assert!(world.view().get::<Task>(&id.as_str().into()).is_none());
        assert_eq!(world.refused(detach(&world, &id)).await, not_found(&format!("attachment {id} not found")));
    }
}

#[tokio::test]
async fn a_network_that_is_not_there_or_not_for_containers_is_refused() {
    let world = world().await;
    world.put(|tx| tx.create(network("back")).map(drop)).await;
    let leaving = Network { pending_delete: true, ..attachable("old") };
    world.put(|tx| tx.create(leaving).map(drop)).await;
    let refused = async |request| world.refused(world.attachments().attach_network(request)).await;
    assert_eq!(refused(asking("none")).await, not_found("network none not found"));
    assert_eq!(refused(asking("")).await, not_found("network  not found"));
    let denied = |text: &str| (Code::PermissionDenied, text.to_owned());
    assert_eq!(refused(asking("back")).await, denied("network back not manually attachable"));
    let leaving = (Code::FailedPrecondition, "network old is to be deleted".to_owned());
    assert_eq!(refused(asking("old")).await, leaving);
    assert_eq!(refused(wire::AttachNetworkRequest { config: None, ..asking("front") }).await, no_argument());
    let nobody = wire::AttachNetworkRequest { container_id: String::new(), ..asking("front") };
    assert_eq!(refused(nobody).await, invalid("invalid argument"));
}

#[tokio::test]
async fn only_attachments_can_be_ended_and_only_by_their_own_node() {
    let world = world().await;
    let id = world.attachments().attach_network(asking("front")).await.unwrap().into_inner().attachment_id;
    world.put(|tx| tx.edit::<Task>(&id.as_str().into(), |task| task.node_id = Some("other".into())).map(drop)).await;
    let denied = (Code::PermissionDenied, format!("attachment {id} doesn't belong to this node"));
    assert_eq!(world.refused(detach(&world, &id)).await, denied);
    assert_eq!(world.refused(detach(&world, "")).await, no_argument());
    world.put(|tx| tx.create(task("web.1").build()).map(drop)).await;
    assert_eq!(world.refused(detach(&world, "web.1")).await, not_found("attachment web.1 not found"));
}
