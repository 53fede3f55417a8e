//! Extensions, and the resources that belong to them.

use prost_types::Any;
use swarmkit_api::{Extension, Resource, wire};
use tonic::Code;

use crate::world::{World, annotations, invalid, no_argument, not_found};

impl World {
    async fn extension(&self, name: &str) -> wire::Extension {
        let request = wire::CreateExtensionRequest { annotations: annotations(name), ..Default::default() };
        self.control().create_extension(request).await.unwrap().into_inner().extension.unwrap()
    }

    async fn resource(&self, name: &str, kind: &str) -> wire::Resource {
        let request = wire::CreateResourceRequest { annotations: annotations(name), kind: kind.into(), payload: None };
        self.control().create_resource(request).await.unwrap().into_inner().resource.unwrap()
    }
}

#[tokio::test]
async fn an_extension_has_a_name_of_its_own() {
    let world = World::new();
    let made = world.extension("gpu").await;
    let get = |id: &str| wire::GetExtensionRequest { extension_id: id.into() };
    let got = world.control().get_extension(get(&made.id)).await.unwrap().into_inner().extension.unwrap();
    assert_eq!(got, made);
    let refusal = world.refused(world.control().get_extension(get(""))).await;
    assert_eq!(refusal, invalid("extension ID must be provided"));
    assert_eq!(world.refused(world.control().get_extension(get("x"))).await, not_found("extension x not found"));
    let nameless = world.refused(world.control().create_extension(wire::CreateExtensionRequest::default())).await;
    assert_eq!(nameless, invalid("extension name must be provided"));
    for taken in ["gpu", "GPU", "service", "Task"] {
        let request = wire::CreateExtensionRequest { annotations: annotations(taken), ..Default::default() };
        let text = format!("name conflicts with an existing object: extension {taken} already exists");
        let refusal = world.refused(world.control().create_extension(request)).await;
        assert_eq!(refusal, (Code::AlreadyExists, text));
    }
}

#[tokio::test]
async fn an_extension_stays_while_it_has_resources() {
    let world = World::new();
    let made = world.extension("gpu").await;
    for number in 10..22 {
        world.resource(&format!("r{number}"), "gpu").await;
    }
    let remove = || wire::RemoveExtensionRequest { extension_id: made.id.clone() };
    let (code, text) = world.refused(world.control().remove_extension(remove())).await;
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.starts_with("extension gpu is in use by the following resources: "), "{text}");
    assert_eq!(text.matches(", ").count(), 9, "ten are named: {text}");
    for resource in
        world.control().list_resources(wire::ListResourcesRequest::default()).await.unwrap().into_inner().resources
    {
        let request = wire::RemoveResourceRequest { resource_id: resource.id };
        world.control().remove_resource(request).await.unwrap();
    }
    world.control().remove_extension(remove()).await.unwrap();
    assert_eq!(world.refused(world.control().remove_extension(remove())).await.0, Code::NotFound);
    assert_eq!(world.view().count::<Extension>(), 0);
}

#[tokio::test]
async fn a_resource_has_a_name_and_a_kind_that_is_registered() {
    let world = World::new();
    world.extension("gpu").await;
    let made = world.resource("a", "gpu").await;
    let create = |name: &str, kind: &str| wire::CreateResourceRequest {
        annotations: annotations(name),
        kind: kind.into(),
        payload: None,
    };
    let refused = async |request| world.refused(world.control().create_resource(request)).await;
    assert_eq!(refused(wire::CreateResourceRequest::default()).await, invalid("Resource must have a name"));
    assert_eq!(refused(create("", "gpu")).await, invalid("Resource must have a name"));
    assert_eq!(refused(create("b", "")).await, invalid("Resource must belong to an Extension"));
    assert_eq!(refused(create("b", "tpu")).await, invalid("Kind tpu is not registered"));
    assert_eq!(refused(create("A", "gpu")).await.0, Code::AlreadyExists);

    let get = |id: &str| wire::GetResourceRequest { resource_id: id.into() };
    let got = world.control().get_resource(get(&made.id)).await.unwrap().into_inner().resource.unwrap();
    assert_eq!(got, made);
    let refusal = world.refused(world.control().get_resource(get(""))).await;
    assert_eq!(refusal, invalid("resource ID must be provided"));
    assert_eq!(world.refused(world.control().get_resource(get("x"))).await, not_found("resource x not found"));
    let remove = |id: &str| wire::RemoveResourceRequest { resource_id: id.into() };
    assert_eq!(world.refused(world.control().remove_resource(remove(""))).await.0, Code::InvalidArgument);
    assert_eq!(world.refused(world.control().remove_resource(remove("x"))).await.0, Code::NotFound);
}

#[tokio::test]
async fn a_resource_changes_in_what_is_given() {
    let world = World::new();
    world.extension("gpu").await;
    let mut resource = world.resource("a", "gpu").await;
    let payload = Any { type_url: "type".into(), value: vec![1] };
    let mut labelled = annotations("a");
    labelled.as_mut().unwrap().labels.insert("k".into(), "v".into());
    for (annotations, payload) in
        [(labelled.clone(), None), (None, Some(payload.clone())), (labelled.clone(), Some(payload.clone()))]
    {
        let request = wire::UpdateResourceRequest {
            resource_id: resource.id.clone(),
            resource_version: resource.meta.unwrap().version,
            annotations,
            payload,
        };
        resource = world.control().update_resource(request).await.unwrap().into_inner().resource.unwrap();
        assert_eq!(resource.annotations, labelled);
    }
    assert_eq!(resource.payload, Some(payload));

    let good = wire::UpdateResourceRequest {
        resource_id: resource.id.clone(),
        resource_version: resource.meta.unwrap().version,
        ..Default::default()
    };
    let refused = async |request| world.refused(world.control().update_resource(request)).await;
    let unnamed = wire::UpdateResourceRequest { resource_id: String::new(), ..good.clone() };
    assert_eq!(refused(unnamed).await, no_argument());
    assert_eq!(refused(wire::UpdateResourceRequest { resource_version: None, ..good.clone() }).await, no_argument());
    let unknown = wire::UpdateResourceRequest { resource_id: "x".into(), ..good.clone() };
    assert_eq!(refused(unknown).await, not_found("resource x not found"));
    let renamed = wire::UpdateResourceRequest { annotations: annotations("b"), ..good.clone() };
    assert_eq!(refused(renamed).await.0, Code::InvalidArgument);
    world.control().update_resource(good.clone()).await.unwrap();
    assert_eq!(refused(good).await, invalid("update out of sequence"));
    assert_eq!(world.view().count::<Resource>(), 1);
}
