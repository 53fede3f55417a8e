//! Networks that an engine has for itself.

use std::sync::Arc;

use bollard::query_parameters::ListNetworksOptions;
use swarmkit_api::{Task, wire};
use swarmkit_executor::{Assignment, Controller as _, ExecError, Executor as _, FixedDependencies};

use crate::world::{World, task, within};

/// A network of the cluster for which each node looks by itself. Its name is different for each test.
fn network(id: &str, name: &str, subnet: &str) -> wire::Network {
    let annotations = Some(wire::Annotations { name: name.into(), ..Default::default() });
    let pool = wire::IpamConfig { subnet: subnet.into(), ..Default::default() };
    let ipam = Some(wire::IpamOptions { driver: None, configs: vec![pool] });
    wire::Network {
        // Of this test alone, since the engine is everybody's.
        id: format!("{id}-{name}"),
        spec: Some(wire::NetworkSpec { annotations, ipam, ..Default::default() }),
        driver_state: Some(wire::Driver { name: "bridge".into(), ..Default::default() }),
        ..Default::default()
    }
}

/// A task of a service in some networks, in the first with an address and an alias of its own.
fn of(service: &str, script: &str, networks: &[wire::Network], address: &str) -> Task {
    let mut task = task(script, |_, _| {});
    task.service_annotations = wire::Annotations { name: service.into(), ..Default::default() }.into();
    task.slot = 1;
    let attachment = |(n, network): (usize, &wire::Network)| wire::NetworkAttachment {
        network: Some(network.clone()),
        addresses: if n == 0 { vec![address.to_owned()] } else { Vec::new() },
        aliases: if n == 0 { vec![format!("alias-of-{service}")] } else { Vec::new() },
        ..Default::default()
    };
    task.networks = networks.iter().enumerate().map(attachment).collect();
    task
}

/// The networks of the engine whose names begin so.
async fn names(world: &World, beginning: &str) -> Vec<String> {
    let all = world.ground.docker.list_networks(None::<ListNetworksOptions>).await.unwrap();
    let mut names: Vec<_> = all.into_iter().filter_map(|network| network.name).collect();
    names.retain(|name| name.starts_with(beginning));
    names.sort();
    names
}

#[tokio::test]
async fn tasks_find_each_other_in_a_network_that_comes_with_the_first_and_goes_with_the_last() {
    let Some(world) = World::find().await else { return };
    if !world.ground.has_bridge().await {
        return world.end().await;
    }
    let tag = format!("n{}a-", std::process::id());
    let networks =
        [network("net1", &format!("{tag}1"), "10.213.1.0/24"), network("net2", &format!("{tag}2"), "10.213.2.0/24")];
    let db = of("db", "exec sleep 3600", &networks, "10.213.1.77/24");
    let db = world.started(db, FixedDependencies::new()).await;
    assert_eq!(names(&world, &tag).await, [format!("{tag}1"), format!("{tag}2")]);

    // It is told from its end that it has found the other one, by three names, and how many networks it is in.
    let script = "for name in db tasks.db alias-of-db; do \
                      busybox nslookup $name 127.0.0.11 2>/dev/null | busybox grep -c 10.213.1.77; \
                  done; ls /sys/class/net | busybox grep -c eth";
    let script = script.replace("busybox", "/bin/busybox");
    let web = world.started(of("web", &script, &networks, "10.213.1.78/24"), FixedDependencies::new()).await;
    within(web.controller.wait()).await.unwrap();
    assert_eq!(web.output().await, "1\n1\n1\n2\n");

    within(web.controller.remove()).await.unwrap();
    assert_eq!(names(&world, &tag).await.len(), 2, "the other one still needs them");
    within(db.controller.remove()).await.unwrap();
    assert_eq!(names(&world, &tag).await, Vec::<String>::new());
    world.end().await;
}

#[tokio::test]
async fn a_network_stays_for_a_task_that_was_not_started_and_is_made_anew_for_another_network_of_the_name() {
    let Some(world) = World::find().await else { return };
    if !world.ground.has_bridge().await {
        return world.end().await;
    }
    let tag = format!("n{}b-", std::process::id());
    let name = format!("{tag}1");
    let old = [network("net1", &name, "10.214.1.0/24")];
    let first = world.started(of("a", "exec sleep 3600", &old, "10.214.1.7/24"), FixedDependencies::new()).await;
    let second = world.controller(of("b", "true", &old, "10.214.1.8/24"), FixedDependencies::new()).await;
    within(second.controller.prepare()).await.unwrap();
    within(first.controller.remove()).await.unwrap();
    assert_eq!(names(&world, &tag).await, std::slice::from_ref(&name), "the second one was promised to start at once");

    let new = [network("net2", &name, "10.214.2.0/24")];
    let third = world.controller(of("c", "true", &new, "10.214.2.9/24"), FixedDependencies::new()).await;
    let error = within(third.controller.prepare()).await.unwrap_err();
    assert!(error.is_temporary() && error.to_string().contains("still has tasks"), "{error:?}");
    within(second.controller.start()).await.unwrap();
    within(second.controller.wait()).await.unwrap();
    within(second.controller.remove()).await.unwrap();
    for _ in 0..2 {
        within(third.controller.prepare()).await.unwrap();
    }
    within(third.controller.start()).await.unwrap();
    within(third.controller.wait()).await.unwrap();
    // What nobody asks for any more takes its network with it.
    within(world.executor.reconcile(&[])).await.unwrap();
    assert_eq!(names(&world, &tag).await, Vec::<String>::new());
    world.end().await;
}

#[tokio::test]
async fn a_container_that_is_not_yet_in_all_its_networks_is_put_into_them_before_its_start() {
    let Some(world) = World::find().await else { return };
    if !world.ground.has_bridge().await {
        return world.end().await;
    }
    let tag = format!("n{}c-", std::process::id());
    let networks =
        [network("net1", &format!("{tag}1"), "10.215.1.0/24"), network("net2", &format!("{tag}2"), "10.215.2.0/24")];
    let task = of("web", "ls /sys/class/net | /bin/busybox grep -c eth", &networks, "10.215.1.7/24");
    let run = world.controller(task, FixedDependencies::new()).await;
    within(run.controller.prepare()).await.unwrap();
    // As if its agent had been killed in between.
    let out = bollard::models::NetworkDisconnectRequest { container: format!("web.1.{}", run.task.id), force: None };
    world.ground.docker.disconnect_network(&format!("{tag}2"), out).await.unwrap();
    let next = world.executor.controller(Assignment::new(Arc::clone(&run.task))).await.unwrap();
    within(next.prepare()).await.unwrap();
    within(next.start()).await.unwrap();
    within(next.wait()).await.unwrap();
    assert_eq!(run.output().await, "2\n");
    world.end().await;
}

#[tokio::test]
async fn a_network_that_spans_nodes_is_refused_by_its_name() {
    let Some(world) = World::find().await else { return };
    let mut back = network("net1", "back", "10.216.1.0/24");
    back.driver_state = Some(wire::Driver { name: "overlay".into(), ..Default::default() });
    let error = world.refusal(of("web", "true", &[back], "10.216.1.7/24")).await;
    assert!(matches!(error, ExecError::Rejected(_)), "{error:?}");
    assert_eq!(error.to_string(), "the engine cannot do: attaching to the network back, which spans nodes");
    let description = within(world.executor.describe()).await.unwrap();
    let drivers = description.engine.unwrap().plugins.into_iter().filter(|plugin| plugin.r#type == "Network");
    let drivers: Vec<_> = drivers.map(|plugin| plugin.name).collect();
    assert!(
        drivers.iter().any(|name| name == "bridge") && !drivers.iter().any(|name| name == "overlay"),
        "{drivers:?}"
    );
    world.end().await;
}
