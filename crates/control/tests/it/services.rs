//! Services: making, changing, going back, removing.

use swarmkit_api::{
    Service, ServiceId,
    wire::{
        self, port_config::PublishMode, secret_reference, service_spec::Mode, update_service_request::Rollback,
        update_status::UpdateState,
    },
};
use swarmkit_testing::{config, network, secret, service};
use tonic::Code;

use crate::world::{Refusal, World, annotations, invalid, no_argument, not_found, spec_of, using, web};

impl World {
    fn update_request(service: &wire::Service) -> wire::UpdateServiceRequest {
        wire::UpdateServiceRequest {
            service_id: service.id.clone(),
            service_version: service.meta.unwrap().version,
            spec: service.spec.clone(),
            rollback: Rollback::None.into(),
        }
    }

    pub(crate) async fn update(&self, service: &wire::Service) -> wire::Service {
        let answer = self.control().update_service(Self::update_request(service)).await;
        answer.unwrap().into_inner().service.unwrap()
    }

    pub(crate) async fn update_refused(&self, service: &wire::Service) -> Refusal {
        self.refused(self.control().update_service(Self::update_request(service))).await
    }

    pub(crate) fn back(service: &wire::Service) -> wire::UpdateServiceRequest {
        wire::UpdateServiceRequest { rollback: Rollback::Previous.into(), ..Self::update_request(service) }
    }

    async fn get(&self, id: &str, insert_defaults: bool) -> wire::Service {
        let request = wire::GetServiceRequest { service_id: id.to_owned(), insert_defaults };
        self.control().get_service(request).await.unwrap().into_inner().service.unwrap()
    }

    /// Adds the ingress network.
    async fn with_ingress(self) -> Self {
        let mut ingress = network("ingress");
        std::sync::Arc::make_mut(&mut ingress.spec).ingress = true;
        self.put(|tx| tx.create(ingress).map(drop)).await;
        self
    }
}

pub(crate) fn spec(service: &mut wire::Service) -> &mut wire::ServiceSpec {
    service.spec.as_mut().unwrap()
}

fn scale(service: &mut wire::Service, replicas: u64) {
    spec(service).mode = Some(Mode::Replicated(wire::ReplicatedService { replicas }));
}

fn publishing(name: &str, published_port: u32, mode: PublishMode) -> wire::ServiceSpec {
    let port = wire::PortConfig { target_port: 80, published_port, publish_mode: mode.into(), ..Default::default() };
    wire::ServiceSpec { endpoint: Some(wire::EndpointSpec { ports: vec![port], ..Default::default() }), ..web(name) }
}

#[tokio::test]
async fn a_service_that_is_made_can_be_had_and_removed() {
    let world = World::new();
    let made = world.create(web("web")).await;
    assert_eq!(made.id.len(), 25);
    assert_eq!(made.spec, Some(web("web")));
    assert_eq!(made.spec_version.unwrap().index, 0);
    assert!(made.meta.unwrap().created_at.is_some() && made.job_status.is_none());
    assert_eq!(world.get(&made.id, false).await, made);

    let get = |id: &str| wire::GetServiceRequest { service_id: id.into(), ..Default::default() };
    assert_eq!(world.refused(world.control().get_service(get(""))).await, no_argument());
    assert_eq!(world.refused(world.control().get_service(get("x"))).await, not_found("service x not found"));
    let remove = |id: &str| wire::RemoveServiceRequest { service_id: id.into(), ..Default::default() };
    assert_eq!(world.refused(world.control().remove_service(remove(""))).await, no_argument());
    world.control().remove_service(remove(&made.id)).await.unwrap();
    let (code, _) = world.refused(world.control().remove_service(remove(&made.id))).await;
    assert_eq!(code, Code::NotFound);
    assert_eq!(world.view().count::<Service>(), 0);
}

#[tokio::test]
async fn a_name_is_taken_in_any_spelling() {
    let world = World::new();
    world.create(web("web")).await;
    let text = "name conflicts with an existing object: service WEB already exists";
    assert_eq!(world.create_refused(web("WEB")).await, (Code::AlreadyExists, text.to_owned()));
}

#[tokio::test]
async fn defaults_are_filled_in_for_who_asks_and_nowhere_else() {
    let world = World::new();
    let made = world.create(web("web")).await;
    let shown = world.get(&made.id, true).await.spec.unwrap();
    let five_seconds = Some(prost_types::Duration { seconds: 5, nanos: 0 });
    let task = shown.task.unwrap();
    assert_eq!(task.restart.unwrap().delay, five_seconds);
    assert!(task.resources.is_some() && task.placement.is_some());
    for rollout in [shown.update.unwrap(), shown.rollback.unwrap()] {
        assert_eq!((rollout.parallelism, rollout.monitor), (1, five_seconds));
    }
    assert_eq!(world.get(&made.id, false).await.spec, Some(web("web")));
}

#[tokio::test]
async fn an_update_needs_an_id_a_version_and_a_specification() {
    let world = World::new();
    let made = world.create(web("web")).await;
    let good = World::update_request(&made);
    for bad in [
        wire::UpdateServiceRequest { service_id: String::new(), ..good.clone() },
        wire::UpdateServiceRequest { service_version: None, ..good.clone() },
        wire::UpdateServiceRequest { spec: None, ..good.clone() },
    ] {
        assert_eq!(world.refused(world.control().update_service(bad)).await, no_argument());
    }
    let unknown = wire::UpdateServiceRequest { service_id: "x".into(), ..good };
    let refusal = world.refused(world.control().update_service(unknown)).await;
    assert_eq!(refusal, not_found("service x not found"));
}

#[tokio::test]
async fn a_stale_update_is_refused_with_the_text_that_clients_match() {
    let world = World::new();
    let mut first = world.create(web("web")).await;
    let fresh = world.update(&first).await;
    scale(&mut first, 9);
    let (_, text) = world.update_refused(&first).await;
    assert_eq!(text, "update out of sequence");
    world.update(&fresh).await;
}

#[tokio::test]
async fn an_update_keeps_the_previous_specification_and_a_rollback_brings_it_back() {
    let world = World::new();
    let mut made = world.create(web("web")).await;
    let refusal = world.refused(world.control().update_service(World::back(&made))).await;
    let text = format!("service {} does not have a previous spec", made.id);
    assert_eq!(refusal, (Code::FailedPrecondition, text));

    scale(&mut made, 5);
    let updated = world.update(&made).await;
    assert_eq!(updated.previous_spec, Some(web("web")));
    assert_eq!(updated.spec_version, made.meta.unwrap().version, "the version that the client saw");
    assert_eq!(updated.previous_spec_version.unwrap().index, 0);
    assert!(updated.update_status.is_none());

    let back = world.control().update_service(World::back(&updated)).await.unwrap().into_inner().service.unwrap();
    assert_eq!((back.spec.clone(), back.previous_spec.clone()), (Some(web("web")), updated.spec.clone()));
    assert_eq!((back.spec_version, back.previous_spec_version), (updated.previous_spec_version, updated.spec_version));
    let status = back.update_status.clone().unwrap();
    assert_eq!(status.state(), UpdateState::RollbackStarted);
    assert_eq!(status.message, "manually requested rollback");
    assert!(status.started_at.is_some());

    let forward = world.control().update_service(World::back(&back)).await.unwrap().into_inner().service.unwrap();
    assert_eq!(forward.spec, updated.spec, "going back twice is going forward");
    assert!(world.update(&forward).await.update_status.is_none(), "an ordinary update forgets the rollback");
}

#[tokio::test]
async fn a_rollback_to_what_cannot_be_any_more_is_refused() {
    let world = World::new();
    world.put(|tx| tx.create(secret("key", "x")).map(drop)).await;
    let mut made = world.create(using("web", &["key"], &[])).await;
    *spec(&mut made) = web("web");
    let updated = world.update(&made).await;
    world.put(|tx| tx.delete::<swarmkit_api::Secret>(&"key".into()).map(drop)).await;
    let refusal = world.refused(world.control().update_service(World::back(&updated))).await;
    assert_eq!(refusal, invalid("secret not found: key"));

    let mut made = world.create(publishing("a", 80, PublishMode::Host)).await;
    spec(&mut made).endpoint = None;
    let updated = world.update(&made).await;
    let world = world.with_ingress().await;
    world.create(publishing("b", 80, PublishMode::Ingress)).await;
    let (code, text) = world.refused(world.control().update_service(World::back(&updated))).await;
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.starts_with("port '80' is already in use by service 'b'"), "{text}");
}

#[tokio::test]
async fn neither_name_nor_mode_of_a_service_can_change() {
    let world = World::new();
    let made = world.create(web("web")).await;
    let mut renamed = made.clone();
    spec(&mut renamed).annotations = annotations("Web");
    let text = "renaming services is not supported";
    assert_eq!(world.update_refused(&renamed).await, (Code::Unimplemented, text.to_owned()));
    let mut global = made;
    spec(&mut global).mode = Some(Mode::Global(wire::GlobalService {}));
    let text = "service mode change is not allowed";
    assert_eq!(world.update_refused(&global).await, (Code::Unimplemented, text.to_owned()));
}

#[tokio::test]
#[allow(deprecated, reason = "old clients may still send it")]
async fn networks_in_their_old_place_stay_as_they_are() {
    let world = World::new();
    let attached = |id: &str| vec![wire::NetworkAttachmentConfig { target: id.into(), ..Default::default() }];
    let mut made = world.create(wire::ServiceSpec { networks: attached("a"), ..web("web") }).await;
    made = world.update(&made).await;
    let mut moved = made.clone();
    spec(&mut moved).networks = attached("b");
    let text = "networks must be migrated to TaskSpec before being changed";
    assert_eq!(world.update_refused(&moved).await, (Code::Unimplemented, text.to_owned()));
    spec(&mut moved).task.as_mut().unwrap().networks = attached("b");
    world.update(&moved).await;
}

#[tokio::test]
async fn a_job_counts_how_often_it_was_started() {
    let world = World::new();
    let made = world.create(spec_of(service("batch").job(5, 2))).await;
    let status = made.job_status.unwrap();
    assert_eq!(status.job_iteration.unwrap().index, 0);
    assert!(status.last_execution.is_some());
    let again = world.update(&made).await;
    assert_eq!(again.job_status.unwrap().job_iteration.unwrap().index, 1);
    let back = world.control().update_service(World::back(&again)).await.unwrap().into_inner().service.unwrap();
    assert_eq!(back.job_status.unwrap().job_iteration.unwrap().index, 2);
}

#[tokio::test]
async fn a_port_belongs_to_one_service_unless_each_node_has_its_own() {
    use PublishMode::{Host, Ingress};
    let world = World::new().with_ingress().await;
    world.create(publishing("a", 80, Host)).await;
    world.create(publishing("b", 80, Host)).await;
    let (code, text) = world.create_refused(publishing("c", 80, Ingress)).await;
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.starts_with("port '80' is already in use by service '"), "{text}");
    assert!(text.ends_with(") as a host-published port"), "{text}");
    let ingress = world.create(publishing("d", 443, Ingress)).await;
    let text = format!("port '443' is already in use by service 'd' ({}) as an ingress port", ingress.id);
    for mode in [Host, Ingress] {
        assert_eq!(world.create_refused(publishing("e", 443, mode)).await, invalid(&text));
    }
    world.create(publishing("f", 0, Ingress)).await;
    let mut udp = publishing("g", 443, Ingress);
    udp.endpoint.as_mut().unwrap().ports[0].protocol = wire::port_config::Protocol::Udp.into();
    world.create(udp).await;

    // What is given out counts like what is asked for.
    world
        .put(|tx| {
            let port = wire::PortConfig { published_port: 30_000, target_port: 80, ..Default::default() };
            let endpoint = wire::Endpoint { ports: vec![port], ..Default::default() };
            tx.edit::<Service>(&ServiceId::from(ingress.id.as_str()), |s| s.endpoint = Some(endpoint.into())).map(drop)
        })
        .await;
    assert_eq!(world.create_refused(publishing("h", 30_000, Ingress)).await.0, Code::InvalidArgument);
}

#[tokio::test]
async fn an_update_may_not_take_the_port_of_another_and_may_keep_its_own() {
    let world = World::new().with_ingress().await;
    world.create(publishing("a", 80, PublishMode::Ingress)).await;
    let mut other = world.create(publishing("b", 81, PublishMode::Ingress)).await;
    other = world.update(&other).await;
    spec(&mut other).endpoint = publishing("b", 80, PublishMode::Ingress).endpoint;
    assert_eq!(world.update_refused(&other).await.0, Code::InvalidArgument);
}

#[tokio::test]
async fn publishing_through_the_ingress_network_needs_one() {
    let world = World::new();
    let text = "service needs ingress network, but no ingress network is present";
    let needs = (Code::FailedPrecondition, text.to_owned());
    assert_eq!(world.create_refused(publishing("a", 80, PublishMode::Ingress)).await, needs);
    let mut made = world.create(web("a")).await;
    spec(&mut made).endpoint = publishing("a", 80, PublishMode::Ingress).endpoint;
    assert_eq!(world.update_refused(&made).await, needs);
    let world = world.with_ingress().await;
    world.update(&made).await;
}

#[tokio::test]
async fn nobody_attaches_to_the_ingress_network_by_hand() {
    let world = World::new().with_ingress().await;
    let text = "Service cannot be explicitly attached to the ingress network \"ingress\"";
    assert_eq!(world.create_refused(spec_of(service("web").network("ingress"))).await, invalid(text));
    let mut made = world.create(web("web")).await;
    *spec(&mut made) = spec_of(service("web").network("ingress"));
    assert_eq!(world.update_refused(&made).await, invalid(text));
}

#[tokio::test]
async fn secrets_and_configs_that_are_not_there_are_all_named() {
    let world = World::new();
    world.put(|tx| tx.create(secret("a", "x")).and_then(|_| tx.create(config("a", "x"))).map(drop)).await;
    let one = using("web", &["b"], &[]);
    assert_eq!(world.create_refused(one).await, invalid("secret not found: b"));
    let two = using("web", &["a", "b", "c"], &[]);
    assert_eq!(world.create_refused(two.clone()).await, invalid("secrets not found: b, c"));
    let one = using("web", &[], &["b"]);
    assert_eq!(world.create_refused(one).await, invalid("config not found: b"));
    let both = using("web", &[], &["b", "c"]);
    assert_eq!(world.create_refused(both).await, invalid("configs not found: b, c"));

    let mut made = world.create(using("web", &["a"], &["a"])).await;
    *spec(&mut made) = two;
    assert_eq!(world.update_refused(&made).await, invalid("secrets not found: b, c"));
}

#[tokio::test]
async fn a_secret_must_have_the_name_that_it_is_called_by_and_may_have_two_places() {
    let world = World::new();
    world.put(|tx| tx.create(secret("a", "x")).map(drop)).await;
    let with = |references: &[(&str, &str)]| {
        spec_of(service("web").container(|container| {
            container.secrets = references
                .iter()
                .map(|&(name, file)| wire::SecretReference {
                    secret_id: "a".into(),
                    secret_name: name.into(),
                    target: Some(secret_reference::Target::File(wire::FileTarget {
                        name: file.into(),
                        ..Default::default()
                    })),
                })
                .collect();
        }))
    };
    assert_eq!(world.create_refused(with(&[("other", "f")])).await, invalid("secret not found: other"));
    world.create(with(&[("a", "f"), ("a", "../odd name")])).await;
}
