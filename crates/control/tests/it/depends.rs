//! What services may wait for.

use swarmkit_api::wire::{
    self,
    service_spec::Mode,
    swarmkit::orchestration::v1::{Dependency, dependency::Condition},
    update_service_request::Rollback,
};

use crate::world::{Refusal, World, invalid, web};

fn after(name: &str, others: &[(&str, Condition)]) -> wire::ServiceSpec {
    let dependency = |(service, condition): &(&str, Condition)| Dependency {
        service: (*service).to_owned(),
        condition: (*condition).into(),
    };
    wire::ServiceSpec { depends_on: others.iter().map(dependency).collect(), ..web(name) }
}

fn job(name: &str) -> wire::ServiceSpec {
    let mode = Mode::ReplicatedJob(wire::ReplicatedJob { max_concurrent: 1, total_completions: 1 });
    wire::ServiceSpec { mode: Some(mode), ..web(name) }
}

fn request(service: &wire::Service, spec: wire::ServiceSpec) -> wire::UpdateServiceRequest {
    wire::UpdateServiceRequest {
        service_id: service.id.clone(),
        service_version: service.meta.unwrap().version,
        spec: Some(spec),
        rollback: Rollback::None.into(),
    }
}

async fn update(world: &World, service: &wire::Service, spec: wire::ServiceSpec) -> wire::Service {
    let answer = world.control().update_service(request(service, spec)).await;
    answer.unwrap().into_inner().service.unwrap()
}

async fn update_refused(world: &World, service: &wire::Service, spec: wire::ServiceSpec) -> Refusal {
    world.refused(world.control().update_service(request(service, spec))).await
}

#[tokio::test]
async fn what_a_service_waits_for_may_come_later() {
    let world = World::new();
    let made = world.create(after("web", &[("db", Condition::Healthy), ("init", Condition::Completed)])).await;
    assert_eq!(made.spec.unwrap().depends_on.len(), 2);
    world.create(web("db")).await;
}

#[tokio::test]
async fn a_dependency_that_makes_no_sense_is_refused() {
    let world = World::new();
    let running = Condition::Running;
    let text = "service web cannot depend on itself";
    assert_eq!(world.create_refused(after("web", &[("Web", running)])).await, invalid(text));
    let text = "depends on db twice";
    assert_eq!(world.create_refused(after("web", &[("db", running), ("db", Condition::Healthy)])).await, invalid(text));
    let text = "depends on \"d.b\": name must be valid as a DNS name component";
    assert_eq!(world.create_refused(after("web", &[("d.b", running)])).await, invalid(text));
    let many: Vec<_> = (0..65).map(|number| format!("s{number}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), running)).collect();
    let text = "a service may depend on at most 64 others, not 65";
    assert_eq!(world.create_refused(after("web", &many)).await, invalid(text));
}

#[tokio::test]
async fn only_jobs_can_be_waited_for_to_complete() {
    let world = World::new();
    world.create(web("db")).await;
    world.create(job("init")).await;
    let text = "service db is no job and never completes: wait for it to run or to be healthy";
    assert_eq!(world.create_refused(after("web", &[("db", Condition::Completed)])).await, invalid(text));
    let made = world.create(after("web", &[("init", Condition::Completed), ("later", Condition::Completed)])).await;
    assert_eq!(update_refused(&world, &made, after("web", &[("db", Condition::Completed)])).await, invalid(text));
    // What came later is no reason to refuse changes of something else.
    world.create(web("later")).await;
    let mut spec = made.spec.clone().unwrap();
    spec.mode = Some(Mode::Replicated(wire::ReplicatedService { replicas: 7 }));
    update(&world, &made, spec).await;
}

#[tokio::test]
async fn who_closes_a_cycle_is_refused() {
    let world = World::new();
    let running = Condition::Running;
    world.create(after("a", &[("b", running)])).await;
    let text = "services cannot wait for each other: b -> a -> b";
    assert_eq!(world.create_refused(after("b", &[("a", running)])).await, invalid(text));
    let b = world.create(web("b")).await;
    assert_eq!(update_refused(&world, &b, after("b", &[("a", running)])).await, invalid(text));
    world.create(after("c", &[("a", running)])).await;
    let text = "services cannot wait for each other: b -> c -> a -> b";
    assert_eq!(update_refused(&world, &b, after("b", &[("x", running), ("c", running)])).await, invalid(text));
}

#[tokio::test]
async fn going_back_to_what_would_close_a_cycle_is_refused() {
    let world = World::new();
    let running = Condition::Running;
    let a = world.create(after("a", &[("b", running)])).await;
    let a = update(&world, &a, web("a")).await;
    world.create(after("b", &[("a", running)])).await;
    let back = wire::UpdateServiceRequest { rollback: Rollback::Previous.into(), ..request(&a, web("a")) };
    let text = "services cannot wait for each other: a -> b -> a";
    assert_eq!(world.refused(world.control().update_service(back)).await, invalid(text));
}
