//! What a service, and the cluster, may ask of the scheduler.

use swarmkit_api::{
    Object as _, Service,
    wire::{
        self,
        swarmkit::scheduling::v1::{ClusterScheduling, Strategy, affinity::Direction},
    },
};
use swarmkit_testing::service;

use crate::{
    services::spec,
    world::{World, invalid, spec_of, web},
};

/// A service that has to be near another one.
fn near(name: &str, other: &str) -> wire::ServiceSpec {
    spec_of(service(name).must_be_near(other))
}

#[tokio::test]
async fn a_service_is_made_with_a_strategy_and_affinities_also_to_services_that_come_later() {
    let world = World::new();
    let zone = "node.labels.zone";
    let asked =
        service("web").strategy(Strategy::BinPack).must_be_near("db").affinity("web", Direction::Apart, zone, true);
    let made = world.create(spec_of(asked)).await;
    let scheduling = made.spec.clone().unwrap().scheduling.unwrap();
    assert_eq!((scheduling.strategy(), scheduling.affinities.len()), (Strategy::BinPack, 2));
    world.create(web("db")).await;

    let mut changed = made.clone();
    spec(&mut changed).scheduling = None;
    let changed = world.update(&changed).await;
    assert_eq!(changed.spec.unwrap().scheduling, None);
}

#[tokio::test]
async fn placement_that_makes_no_sense_is_refused_and_changes_nothing() {
    let world = World::new();
    let made = world.create(web("web")).await;
    let scope = "affinity to \"db\": \"zone\" is no scope: a label is expected, such as node.labels.zone or \
                 engine.labels.zone, or nothing for the node";
    let global = "tasks of global services run on every node: there is no strategy to choose one";
    let twice = "affinity to \"db\" is asked for twice";
    for (asked, why) in [
        (service("api").affinity("db", Direction::Near, "zone", true), scope),
        (service("api").must_be_near("db").must_be_near("db"), twice),
        (service("api").global().strategy(Strategy::BinPack), global),
    ] {
        assert_eq!(world.create_refused(spec_of(asked)).await, invalid(why));
    }
    let mut changed = made.clone();
    spec(&mut changed).scheduling.get_or_insert_default().strategy = 9;
    assert_eq!(world.update_refused(&changed).await, invalid("unknown strategy of placement: 9"));
    let stored: Vec<_> = world.view().all::<Service>().map(|service| service.to_wire()).collect();
    assert_eq!(stored, [made]);
}

#[tokio::test]
async fn who_closes_a_circle_of_services_that_need_to_be_near_each_other_is_refused() {
    let world = World::new();
    world.create(near("a", "b")).await;
    let b = world.create(near("b", "c")).await;
    let why = "services cannot all need to be near each other, since none of them could come first: c -> a -> b -> c";
    assert_eq!(world.create_refused(near("c", "a")).await, invalid(why));

    world.create(near("c", "c")).await;
    let mut changed = b;
    spec(&mut changed).scheduling = near("b", "a").scheduling;
    let why = "services cannot all need to be near each other, since none of them could come first: b -> a -> b";
    assert_eq!(world.update_refused(&changed).await, invalid(why));
}

#[tokio::test]
async fn the_cluster_has_a_strategy_that_is_known() {
    let world = World::with_cluster().await;
    let with = |strategy: i32| {
        let mut request = world.cluster_update();
        request.spec.get_or_insert_default().scheduling = Some(ClusterScheduling { strategy });
        request
    };
    let refused = world.refused(world.control().update_cluster(with(7))).await;
    assert_eq!(refused, invalid("unknown strategy of placement: 7"));
    assert_eq!(world.view().cluster().unwrap().spec.scheduling, None);
    world.control().update_cluster(with(Strategy::BinPack.into())).await.unwrap();
    let stored = world.view().cluster().unwrap().spec.scheduling.unwrap();
    assert_eq!(stored.strategy(), Strategy::BinPack);
}
