//! Requests against a store of one process: what is answered, and that a refusal changes nothing.

use swarmkit_api::{
    Cluster, ClusterId, Kind, Network, NetworkId, Node, NodeId, Service, Task, TaskId, TaskState, wire,
    wire::{
        control_server::Control, node_status::State, port_config::PublishMode, secret_reference::Target,
        service_spec::Mode, task_spec::Runtime, update_service_request::Rollback, watch_server::Watch,
    },
};
use swarmkit_runtime::Env;
use swarmkit_store::{Store, StoreError};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request};

use crate::{ControlApi, ControlConfig, WatchApi};

fn control() -> (ControlApi, Store) {
    let env = Env::real();
    let store = Store::local(env.clone());
    (ControlApi::new(env, store.clone(), ControlConfig::default()), store)
}

fn annotations(name: &str) -> Option<wire::Annotations> {
    Some(wire::Annotations { name: name.into(), ..Default::default() })
}

fn web(name: &str) -> wire::ServiceSpec {
    let container = wire::ContainerSpec { image: "nginx:1.27".into(), ..Default::default() };
    wire::ServiceSpec {
        annotations: annotations(name),
        task: Some(wire::TaskSpec { runtime: Some(Runtime::Container(container)), ..Default::default() }),
        mode: Some(Mode::Replicated(wire::ReplicatedService { replicas: 2 })),
        ..Default::default()
    }
}

async fn create(control: &ControlApi, spec: wire::ServiceSpec) -> Result<wire::Service, (Code, String)> {
    let request = Request::new(wire::CreateServiceRequest { spec: Some(spec) });
    let answer = Control::create_service(control, request).await;
    answer.map(|answer| answer.into_inner().service.unwrap()).map_err(told)
}

async fn update(
    control: &ControlApi,
    service: &wire::Service,
    rollback: Rollback,
) -> Result<wire::Service, (Code, String)> {
    let request = Request::new(wire::UpdateServiceRequest {
        service_id: service.id.clone(),
        service_version: service.meta.unwrap().version,
        spec: service.spec.clone(),
        rollback: rollback.into(),
    });
    let answer = Control::update_service(control, request).await;
    answer.map(|answer| answer.into_inner().service.unwrap()).map_err(told)
}

fn told(status: tonic::Status) -> (Code, String) {
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn malformed_services_are_refused_and_change_nothing() {
    let (control, store) = control();
    let before = store.version();
    let refused = async |change: fn(&mut wire::ServiceSpec)| {
        let mut spec = web("web");
        change(&mut spec);
        create(&control, spec).await.expect_err("refused").0
    };
    assert_eq!(refused(|spec| spec.annotations = annotations("")).await, Code::InvalidArgument);
    assert_eq!(refused(|spec| spec.annotations = annotations("a b")).await, Code::InvalidArgument);
    assert_eq!(refused(|spec| spec.task = None).await, Code::InvalidArgument);
    assert_eq!(
        refused(|spec| spec.mode = Some(Mode::Replicated(wire::ReplicatedService { replicas: u64::MAX }))).await,
        Code::InvalidArgument
    );
    let constraint = |spec: &mut wire::ServiceSpec| {
        let placement = wire::Placement { constraints: vec!["node.role ~ x".into()], ..Default::default() };
        spec.task.as_mut().unwrap().placement = Some(placement);
    };
    assert_eq!(refused(constraint).await, Code::InvalidArgument);
    let attachment = |spec: &mut wire::ServiceSpec| {
        spec.task.as_mut().unwrap().runtime = Some(Runtime::Attachment(wire::NetworkAttachmentSpec::default()));
    };
    assert_eq!(refused(attachment).await, Code::Unimplemented);
    let ingress = |spec: &mut wire::ServiceSpec| {
        let port = wire::PortConfig { target_port: 80, published_port: 8080, ..Default::default() };
        spec.endpoint = Some(wire::EndpointSpec { ports: vec![port], ..Default::default() });
    };
    assert_eq!(refused(ingress).await, Code::FailedPrecondition);
    let huge = |spec: &mut wire::ServiceSpec| {
        spec.annotations.as_mut().unwrap().labels.insert("big".into(), "x".repeat(3 << 20));
    };
    assert_eq!(refused(huge).await, Code::InvalidArgument);
    assert_eq!(store.version(), before);
    assert_eq!(store.view().count::<Service>(), 0);
}

#[tokio::test]
async fn a_name_is_taken_in_any_spelling() {
    let (control, _) = control();
    create(&control, web("web")).await.unwrap();
    let (code, text) = create(&control, web("WEB")).await.unwrap_err();
    assert_eq!(code, Code::AlreadyExists);
    assert_eq!(text, "name conflicts with an existing object: service WEB already exists");
}

#[tokio::test]
async fn a_stale_update_is_refused_with_the_text_that_clients_match() {
    let (control, store) = control();
    let mut service = create(&control, web("web")).await.unwrap();
    let fresh = update(&control, &service, Rollback::None).await.unwrap();
    let before = store.version();
    service.spec.as_mut().unwrap().task.as_mut().unwrap().force_update = 9;
    let (_, text) = update(&control, &service, Rollback::None).await.unwrap_err();
    assert_eq!(text, "update out of sequence");
    assert_eq!(store.version(), before);
    update(&control, &fresh, Rollback::None).await.unwrap();
}

#[tokio::test]
async fn an_update_keeps_the_previous_spec_and_a_rollback_brings_it_back() {
    let (control, _) = control();
    let mut service = create(&control, web("web")).await.unwrap();
    let (code, _) = update(&control, &service, Rollback::Previous).await.unwrap_err();
    assert_eq!(code, Code::FailedPrecondition, "there is nothing to go back to");

    service.spec.as_mut().unwrap().mode = Some(Mode::Replicated(wire::ReplicatedService { replicas: 5 }));
    let updated = update(&control, &service, Rollback::None).await.unwrap();
    assert_eq!(updated.previous_spec, Some(web("web")));
    let back = update(&control, &updated, Rollback::Previous).await.unwrap();
    assert_eq!(back.spec, Some(web("web")));
    assert_eq!(back.update_status.unwrap().message, "manually requested rollback");
}

#[tokio::test]
async fn neither_name_nor_mode_of_a_service_can_change() {
    let (control, _) = control();
    let service = create(&control, web("web")).await.unwrap();
    let mut renamed = service.clone();
    renamed.spec.as_mut().unwrap().annotations = annotations("other");
    assert_eq!(
        update(&control, &renamed, Rollback::None).await.unwrap_err(),
        (Code::Unimplemented, "renaming services is not supported".to_owned())
    );
    let mut global = service;
    global.spec.as_mut().unwrap().mode = Some(Mode::Global(wire::GlobalService {}));
    assert_eq!(
        update(&control, &global, Rollback::None).await.unwrap_err(),
        (Code::Unimplemented, "service mode change is not allowed".to_owned())
    );
}

#[tokio::test]
async fn host_ports_may_be_shared_and_others_may_not() {
    let (control, store) = control();
    store
        .update(|tx| {
            let mut ingress = Network::new(NetworkId::from("ingress"));
            let spec = wire::NetworkSpec { annotations: annotations("ingress"), ingress: true, ..Default::default() };
            ingress.spec = spec.into();
            tx.create(ingress)
        })
        .await
        .unwrap();
    let publishing = |name: &str, mode: PublishMode| {
        let port =
            wire::PortConfig { target_port: 80, published_port: 80, publish_mode: mode.into(), ..Default::default() };
        let endpoint = wire::EndpointSpec { ports: vec![port], ..Default::default() };
        wire::ServiceSpec { endpoint: Some(endpoint), ..web(name) }
    };
    create(&control, publishing("a", PublishMode::Host)).await.unwrap();
    create(&control, publishing("b", PublishMode::Host)).await.unwrap();
    let (code, text) = create(&control, publishing("c", PublishMode::Ingress)).await.unwrap_err();
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.starts_with("port '80' is already in use by service '"), "{text}");
}

#[tokio::test]
async fn the_data_of_a_secret_never_comes_back_and_a_used_one_stays() {
    let (control, _) = control();
    let spec =
        wire::SecretSpec { annotations: annotations("key"), data: b"hidden".as_slice().into(), ..Default::default() };
    let request = Request::new(wire::CreateSecretRequest { spec: Some(spec) });
    let secret = Control::create_secret(&control, request).await.unwrap().into_inner().secret.unwrap();
    assert!(secret.spec.as_ref().unwrap().data.is_empty());

    let with_secret = |id: &str| {
        let mut spec = web("web");
        if let Some(Runtime::Container(container)) = &mut spec.task.as_mut().unwrap().runtime {
            container.secrets.push(wire::SecretReference {
                secret_id: id.into(),
                secret_name: "key".into(),
                target: Some(Target::File(wire::FileTarget { name: "key".into(), ..Default::default() })),
            });
        }
        spec
    };
    assert_eq!(
        create(&control, with_secret("other")).await.unwrap_err(),
        (Code::InvalidArgument, "secret not found: key".to_owned())
    );
    create(&control, with_secret(&secret.id)).await.unwrap();
    let request = Request::new(wire::RemoveSecretRequest { secret_id: secret.id });
    let (code, text) = told(Control::remove_secret(&control, request).await.unwrap_err());
    assert_eq!((code, text.as_str()), (Code::InvalidArgument, "secret 'key' is in use by the following service: web"));
}

#[tokio::test]
async fn a_node_that_is_up_stays_and_one_that_is_down_leaves_orphans() {
    let (control, store) = control();
    store
        .update(|tx| {
            let mut cluster = Cluster::new(ClusterId::from("c"));
            cluster.spec = wire::ClusterSpec { annotations: annotations("default"), ..Default::default() }.into();
            tx.create(cluster)?;
            let mut node = Node::new(NodeId::from("n"));
            node.status.state = State::Ready.into();
            tx.create(node)?;
            for (id, state) in [("running", TaskState::Running), ("done", TaskState::Complete)] {
                let mut task = Task::new(TaskId::from(id), wire::TaskSpec::default());
                task.node_id = Some(NodeId::from("n"));
                task.status.state = state;
                tx.create(task)?;
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    let remove = async |force| {
        let request = Request::new(wire::RemoveNodeRequest { node_id: "n".into(), force });
        Control::remove_node(&control, request).await.map_err(told)
    };
    let (code, text) = remove(false).await.unwrap_err();
    assert_eq!((code, text.as_str()), (Code::FailedPrecondition, "node n is not down and can't be removed"));
    remove(true).await.unwrap();
    let view = store.view();
    assert!(view.get::<Node>(&"n".into()).is_none());
    assert_eq!(view.get::<Task>(&"running".into()).unwrap().status.state, TaskState::Orphaned);
    assert_eq!(view.get::<Task>(&"done".into()).unwrap().status.state, TaskState::Complete);
    assert!(view.cluster().unwrap().blacklisted_certificates.contains_key("n"));
}

#[tokio::test]
async fn lists_narrow_by_all_filters_and_keep_the_order_of_ids() {
    let (control, _) = control();
    for name in ["web", "web-admin", "db"] {
        create(&control, web(name)).await.unwrap();
    }
    let list = |filters: wire::list_services_request::Filters| {
        let request = wire::ListServicesRequest { filters: Some(filters) };
        control.list_services(request).services
    };
    let all = list(Default::default());
    assert!(all.is_sorted_by_key(|service| service.id.clone()));
    assert_eq!(all.len(), 3);
    let prefix = list(wire::list_services_request::Filters { name_prefixes: vec!["web".into()], ..Default::default() });
    assert_eq!(prefix.len(), 2);
    let upper = list(wire::list_services_request::Filters { names: vec!["WEB".into()], ..Default::default() });
    assert!(upper.is_empty(), "the second pass minds the case");
}

#[tokio::test]
async fn a_watch_says_that_it_stands_and_then_what_is_committed() {
    let (control, store) = control();
    let watch = WatchApi::new(store, CancellationToken::new());
    let entry = wire::watch_request::WatchEntry { kind: "service".into(), action: 1 | 4, filters: Vec::new() };
    let request = wire::WatchRequest { entries: vec![entry], ..Default::default() };
    let mut stream = watch.watch(Request::new(request)).await.unwrap().into_inner();
    assert_eq!(stream.next().await.unwrap().unwrap(), wire::WatchMessage::default());

    let service = create(&control, web("web")).await.unwrap();
    let updated = update(&control, &service, Rollback::None).await.unwrap();
    let request = Request::new(wire::RemoveServiceRequest { service_id: updated.id.clone() });
    Control::remove_service(&control, request).await.unwrap();
    let created = stream.next().await.unwrap().unwrap();
    assert_eq!(created.events[0].action, 1);
    let removed = stream.next().await.unwrap().unwrap();
    assert_eq!(removed.events[0].action, 4, "updates were not asked for");
    assert!(removed.version.unwrap().index > created.version.unwrap().index);
}

#[tokio::test]
async fn a_watch_with_a_selector_that_cannot_fit_is_refused() {
    let (_, store) = control();
    let watch = WatchApi::new(store, CancellationToken::new());
    let refused = async |kind: &str, action, by: Vec<wire::select_by::By>| {
        let filters = by.into_iter().map(|by| wire::SelectBy { by: Some(by) }).collect();
        let entry = wire::watch_request::WatchEntry { kind: kind.into(), action, filters };
        let request = wire::WatchRequest { entries: vec![entry], ..Default::default() };
        let answer = watch.watch(Request::new(request)).await;
        answer.err().map(|status| (status.code(), status.message().to_owned()))
    };
    let invalid = |text: &str| Some((Code::InvalidArgument, text.to_owned()));
    use wire::select_by::By;
    assert_eq!(refused("", 1, vec![]).await, invalid("no kind of object specified"));
    assert_eq!(refused("task", 0, vec![]).await, invalid("unrecognized action"));
    let twice = vec![By::Id("a".into()), By::IdPrefix("b".into())];
    assert_eq!(refused("task", 1, twice).await, invalid("conflicting filters specified"));
    let role = vec![By::Role(1)];
    assert_eq!(refused(Kind::Task.as_str(), 1, role).await, invalid("a task cannot be selected by role"));
}
