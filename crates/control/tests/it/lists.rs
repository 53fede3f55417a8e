//! Lists: which objects they give, and in which order.

use std::collections::BTreeMap;

use swarmkit_api::{NodeRole, wire, wire::node_spec::Membership};
use swarmkit_testing::{config, network, node, secret, service};

use crate::world::World;

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

async fn services(world: &World, filters: wire::list_services_request::Filters) -> Vec<String> {
    let request = wire::ListServicesRequest { filters: Some(filters) };
    let answer = world.control().list_services(request).await.unwrap().into_inner().services;
    answer.into_iter().map(|service| service.id).collect()
}

async fn with_services() -> World {
    let world = World::new();
    world
        .put(|tx| {
            tx.create(service("web").label("tier", "front").label("zone", "a").build())?;
            tx.create(service("web-admin").label("tier", "front").build())?;
            tx.create(service("db").label("tier", "").build())?;
            let payload = prost_types::Any { type_url: "x".into(), value: vec![1] };
            let generic = wire::GenericRuntimeSpec { kind: "Batch".into(), payload: Some(payload) };
            let batch = service("batch").task(|task| task.runtime = Some(wire::task_spec::Runtime::Generic(generic)));
            tx.create(batch.build()).map(drop)
        })
        .await;
    world
}

#[tokio::test]
async fn without_filters_everything_comes_in_the_order_of_ids() {
    let world = with_services().await;
    assert_eq!(services(&world, Default::default()).await, ["batch", "db", "web", "web-admin"]);
    let unfiltered = world.control().list_services(wire::ListServicesRequest::default()).await.unwrap().into_inner();
    assert_eq!(unfiltered.services.len(), 4);
}

#[tokio::test]
async fn values_of_one_filter_add_up_and_filters_narrow_each_other() {
    use wire::list_services_request::Filters;
    let world = with_services().await;
    let names = Filters { names: texts(&["web", "db", "web", "none"]), ..Default::default() };
    assert_eq!(services(&world, names).await, ["web", "db"], "in the order asked for, each once");
    let prefix = Filters { name_prefixes: texts(&["web"]), ..Default::default() };
    assert_eq!(services(&world, prefix.clone()).await, ["web", "web-admin"]);
    let both = Filters { id_prefixes: texts(&["web-"]), ..prefix };
    assert_eq!(services(&world, both).await, ["web-admin"]);
    let upper = Filters { names: texts(&["WEB"]), ..Default::default() };
    assert!(services(&world, upper).await.is_empty(), "names mind the case");
    let none = Filters { names: texts(&["web"]), id_prefixes: texts(&["db"]), ..Default::default() };
    assert!(services(&world, none).await.is_empty());
    let batch = Filters { runtimes: texts(&["batch"]), ..Default::default() };
    assert_eq!(services(&world, batch).await, ["batch"]);
    let container = Filters { runtimes: texts(&["container"]), name_prefixes: texts(&["d"]), ..Default::default() };
    assert_eq!(services(&world, container).await, ["db"]);
}

#[tokio::test]
async fn labels_must_all_be_there_with_their_values_unless_none_is_asked_for() {
    use wire::list_services_request::Filters;
    let world = with_services().await;
    let by =
        async |pairs: &[(&str, &str)]| services(&world, Filters { labels: labels(pairs), ..Default::default() }).await;
    assert_eq!(by(&[("tier", "front")]).await, ["web", "web-admin"]);
    assert_eq!(by(&[("tier", "")]).await, ["db", "web", "web-admin"]);
    assert_eq!(by(&[("tier", "front"), ("zone", "a")]).await, ["web"]);
    assert!(by(&[("tier", "back")]).await.is_empty());
    assert!(by(&[("tier", "front"), ("rack", "")]).await.is_empty());
}

#[tokio::test]
async fn nodes_are_found_by_host_name_role_membership_and_two_kinds_of_labels() {
    use wire::list_nodes_request::Filters;
    let world = World::new();
    let pending = |spec: &mut wire::NodeSpec| spec.membership = Membership::Pending.into();
    world
        .put(|tx| {
            tx.create(node("m").manager().label("disk", "ssd").build())?;
            tx.create(node("w1").engine_label("disk", "ssd").build())?;
            tx.create(node("w2").label("disk", "ssd").engine_label("disk", "hdd").spec(pending).build())?;
            tx.create(node("quiet").with(|node| node.description = None).build()).map(drop)
        })
        .await;
    let list = async |filters: Filters| {
        let request = wire::ListNodesRequest { filters: Some(filters) };
        let nodes = world.control().list_nodes(request).await.unwrap().into_inner().nodes;
        nodes.into_iter().map(|node| node.id).collect::<Vec<_>>()
    };
    assert_eq!(list(Filters::default()).await, ["m", "quiet", "w1", "w2"]);
    assert_eq!(list(Filters { names: texts(&["w1"]), ..Default::default() }).await, ["w1"]);
    assert_eq!(list(Filters { name_prefixes: texts(&["w", "q"]), ..Default::default() }).await, ["w1", "w2"]);
    assert_eq!(list(Filters { id_prefixes: texts(&["q"]), ..Default::default() }).await, ["quiet"]);
    assert_eq!(list(Filters { roles: vec![NodeRole::Manager.into()], ..Default::default() }).await, ["m"]);
    let accepted = Filters { memberships: vec![Membership::Pending.into()], ..Default::default() };
    assert_eq!(list(accepted).await, ["w2"]);
    let ssd = labels(&[("disk", "ssd")]);
    assert_eq!(list(Filters { labels: ssd.clone(), ..Default::default() }).await, ["w1"], "what engines say");
    assert_eq!(list(Filters { node_labels: ssd.clone(), ..Default::default() }).await, ["m", "w2"]);
    let both = Filters { labels: labels(&[("disk", "hdd")]), node_labels: ssd, ..Default::default() };
    assert_eq!(list(both).await, ["w2"]);
}

#[tokio::test]
async fn secrets_and_configs_are_a_union_narrowed_by_labels() {
    let world = World::new();
    world
        .put(|tx| {
            for name in ["alpha", "beta", "gamma"] {
                let mut secret = secret(name, "x");
                let mut config = config(name, "x");
                if name != "beta" {
                    let label = |annotations: &mut Option<wire::Annotations>| {
                        annotations.as_mut().unwrap().labels.insert("k".into(), "v".into());
                    };
                    label(&mut std::sync::Arc::make_mut(&mut secret.spec).annotations);
                    label(&mut std::sync::Arc::make_mut(&mut config.spec).annotations);
                }
                tx.create(secret)?;
                tx.create(config)?;
            }
            Ok(())
        })
        .await;
    let secrets = async |filters: wire::list_secrets_request::Filters| {
        let request = wire::ListSecretsRequest { filters: Some(filters) };
        let secrets = world.control().list_secrets(request).await.unwrap().into_inner().secrets;
        secrets.into_iter().map(|secret| secret.id).collect::<Vec<_>>()
    };
    let union = wire::list_secrets_request::Filters {
        names: texts(&["beta"]),
        id_prefixes: texts(&["al"]),
        name_prefixes: texts(&["be"]),
        ..Default::default()
    };
    assert_eq!(secrets(union.clone()).await, ["beta", "alpha"]);
    let labelled = wire::list_secrets_request::Filters { labels: labels(&[("k", "v")]), ..union };
    assert_eq!(secrets(labelled).await, ["alpha"]);
    let request = wire::ListConfigsRequest {
        filters: Some(wire::list_configs_request::Filters {
            names: texts(&["ALPHA"]),
            name_prefixes: texts(&["g"]),
            ..Default::default()
        }),
    };
    let configs = world.control().list_configs(request).await.unwrap().into_inner().configs;
    assert_eq!(configs.into_iter().map(|config| config.id).collect::<Vec<_>>(), ["alpha", "gamma"]);
}

#[tokio::test]
async fn networks_and_the_cluster_are_found_like_services() {
    let world = World::with_cluster().await;
    world.put(|tx| tx.create(network("back")).and_then(|_| tx.create(network("front"))).map(drop)).await;
    let request = wire::ListNetworksRequest {
        filters: Some(wire::list_networks_request::Filters { name_prefixes: texts(&["b"]), ..Default::default() }),
        ..Default::default()
    };
    let networks = world.control().list_networks(request).await.unwrap().into_inner().networks;
    assert_eq!(networks.into_iter().map(|network| network.id).collect::<Vec<_>>(), ["back"]);
    let everything = world.control().list_networks(wire::ListNetworksRequest::default()).await.unwrap().into_inner();
    assert_eq!(everything.networks.len(), 2);
    for (names, found) in [(texts(&["default"]), 1), (texts(&["other"]), 0)] {
        let filters = Some(wire::list_clusters_request::Filters { names, ..Default::default() });
        let request = wire::ListClustersRequest { filters };
        assert_eq!(world.control().list_clusters(request).await.unwrap().into_inner().clusters.len(), found);
    }
}
