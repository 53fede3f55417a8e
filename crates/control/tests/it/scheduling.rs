//! Why tasks wait, and what would become of services.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::BoxFuture;
use swarmkit_allocator::InertNetworks;
use swarmkit_api::{
    Service, Task, TaskState,
    wire::{self, service_spec::Mode, swarmkit::scheduling::v1 as scheduling},
};
use swarmkit_runtime::{Clock, Crew, Env};
use swarmkit_store::TaskBy;
use swarmkit_testing::{amend, env, service};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::world::{World, invalid, no_argument, not_found, spec_of, web};

use scheduling::{ExplainRequest, Explanation, PlanRequest, PlanResponse, explanation::Standing, need};

fn world(text: &str) -> World {
    let world = World::new();
    amend(&world.store, text);
    world
}

async fn explain(world: &World, task: &str, max_nodes: u32) -> Explanation {
    let request = ExplainRequest { task_id: task.to_owned(), max_nodes };
    let answer = world.scheduling().explain(request).await.unwrap().into_inner();
    assert_eq!(answer.version, world.store.version().0);
    answer.explanation.unwrap()
}

async fn plan(world: &World, request: PlanRequest) -> PlanResponse {
    let before = world.store.version();
    let answer = world.scheduling().plan(request).await.unwrap().into_inner();
    assert_eq!((world.store.version(), answer.version), (before, before.0), "nothing was written");
    answer
}

fn create(spec: wire::ServiceSpec) -> PlanRequest {
    PlanRequest { spec: Some(spec), ..Default::default() }
}

fn change(id: &str, spec: Option<wire::ServiceSpec>) -> PlanRequest {
    PlanRequest { spec, service_id: id.to_owned(), ..Default::default() }
}

/// Where tasks would be: `node=created+kept`.
fn places(plan: &PlanResponse) -> Vec<String> {
    let place = |one: &scheduling::Placement| format!("{}={}+{}", one.node_id, one.created, one.kept);
    plan.placements.iter().map(place).collect()
}

fn stored(world: &World, id: &str) -> wire::ServiceSpec {
    wire::ServiceSpec::clone(&world.view().get::<Service>(&id.into()).unwrap().spec)
}

// === Explain ===

#[tokio::test]
async fn a_task_that_waits_is_explained_down_to_the_need() {
    let world =
        world("node a memory=1GiB; node b memory=2GiB; node c drain; service web memory=3GiB; task web.1 pending");
    let told = explain(&world, "web.1", 2).await;
    let text = "no suitable node (insufficient resources on 2 nodes; 1 node not available for new tasks)";
    assert_eq!((told.standing(), told.message.as_str()), (Standing::Waiting, text));
    assert_eq!((told.nodes, told.open, told.refused.len(), told.refused_left_out), (3, 0, 2, 1));
    let [resources, ready] = told.refusals.as_slice() else { panic!("{:?}", told.refusals) };
    assert_eq!((resources.filter(), resources.nodes), (scheduling::Filter::Resources, 2));
    assert_eq!(resources.message, "insufficient resources on 2 nodes");
    let shortage =
        need::Shortage { resource: "memory".to_owned(), asked: 3 << 30, most_free: 2 << 30, node_id: "b".to_owned() };
    assert_eq!(resources.needs[0].need, Some(need::Need::Shortage(shortage)));
    let condition = need::Condition { state: "READY".to_owned(), availability: "DRAIN".to_owned() };
    assert_eq!(ready.needs[0].need, Some(need::Need::Condition(condition)));
    assert_eq!(told.refused[0].node_id, "a");
    assert_eq!(told.refused[0].message, "has 1 GiB of memory left of the 3 GiB of memory that a task reserves");
}

#[tokio::test]
async fn a_task_that_waits_for_no_node_says_how_far_it_has_come() {
    let world = world("node a; service web; task web.1 on a; task web.2 new; task web.3 failed");
    for (task, standing) in [("web.1", Standing::Placed), ("web.2", Standing::Unallocated), ("web.3", Standing::Over)] {
        assert_eq!(explain(&world, task, 10).await.standing(), standing, "{task}");
    }
}

#[tokio::test]
async fn who_asks_for_a_task_that_is_not_there_is_refused() {
    let world = world("node a");
    let ask = |task: &str| {
        let (mut client, request) = (world.scheduling(), ExplainRequest { task_id: task.to_owned(), max_nodes: 0 });
        async move { client.explain(request).await }
    };
    assert_eq!(world.refused(ask("")).await, no_argument());
    assert_eq!(world.refused(ask("t")).await, not_found("task t not found"));
}

#[tokio::test]
async fn no_more_nodes_are_told_one_by_one_than_there_may_be() {
    let nodes: String = (0..1_100).map(|n| format!("node n{n:04} down;")).collect();
    let world = world(&format!("{nodes} service web; task web.1 pending"));
    let told = explain(&world, "web.1", u32::MAX).await;
    assert_eq!((told.refused.len(), told.refused_left_out), (1_000, 100));
    assert_eq!(explain(&world, "web.1", 0).await.refused_left_out, 1_100);
}

// === Plan ===

#[tokio::test]
async fn a_new_service_is_told_where_its_tasks_would_go_and_which_would_wait() {
    let world = world("node a memory=2GiB; node b memory=1GiB; node c down; service other; task other.1 on a");
    let told = plan(&world, create(spec_of(service("web").replicas(5).reserve_memory(1 << 30)))).await;
    assert_eq!((told.created, told.kept, told.replaced, told.given_up), (5, 0, 0, 0));
    assert_eq!(places(&told), ["a=2+0", "b=1+0"]);
    let [wait] = told.waits.as_slice() else { panic!("{:?}", told.waits) };
    let text = "no suitable node (insufficient resources on 2 nodes; 1 node not available for new tasks)";
    assert_eq!((wait.tasks, wait.explanation.as_ref().unwrap().message.as_str()), (2, text));
    let nodes = told.nodes.unwrap();
    assert_eq!((nodes.nodes, nodes.open, nodes.message.as_str()), (3, 2, ""), "before anything is placed");
    assert_eq!(nodes.refusals.len(), 1);
    assert_eq!(told.waits_for, "");
}

#[tokio::test]
async fn a_service_is_told_what_another_scale_would_do() {
    let world = world("node a; node b; node c; service web replicas=2; task web.1 on a; task web.2 on b");
    let mut spec = stored(&world, "web");
    let mut scaled = |replicas| {
        spec.mode = Some(Mode::Replicated(wire::ReplicatedService { replicas }));
        change("web", Some(spec.clone()))
    };
    let told = plan(&world, scaled(4)).await;
    assert_eq!((told.created, told.kept), (2, 2));
    assert_eq!(places(&told).len(), 3);
    let told = plan(&world, scaled(1)).await;
    assert_eq!((told.created, told.kept, told.given_up), (0, 1, 1));
    assert_eq!(places(&told), ["a=0+1"]);
    let as_it_is = plan(&world, change("web", None)).await;
    assert_eq!((as_it_is.created, as_it_is.kept), (0, 2));
    assert_eq!(places(&as_it_is), ["a=0+1", "b=0+1"]);
}

#[tokio::test]
async fn a_service_is_told_where_the_tasks_of_a_change_would_go() {
    let world = world(
        "node a memory=1GiB; node b memory=4GiB; service web replicas=2 memory=1GiB version=40; task web.1 on a; task web.2 on b",
    );
    let mut spec = stored(&world, "web");
    let task = spec.task.get_or_insert_default();
    task.resources.as_mut().unwrap().reservations.as_mut().unwrap().memory_bytes = 2 << 30;
    let told = plan(&world, change("web", Some(spec))).await;
    assert_eq!((told.created, told.replaced, told.kept), (2, 2, 0));
    assert_eq!(places(&told), ["b=2+0"], "what is replaced has made room");
}

#[tokio::test]
async fn a_global_service_is_told_on_which_nodes_it_would_be() {
    let world = world("node a label:z=1 memory=1MiB; node b; node c label:z=1 memory=1GiB; node d drain label:z=1");
    let spec = spec_of(service("web").global().constraint("node.labels.z==1").reserve_memory(1 << 30));
    let told = plan(&world, create(spec)).await;
    assert_eq!(places(&told), ["c=1+0"]);
    assert_eq!(told.waits.len(), 1);
    assert_eq!(told.waits[0].explanation.as_ref().unwrap().message, "insufficient resources on 1 node");
    assert_eq!(told.nodes.unwrap().nodes, 4, "all nodes are told of, not that of one task");
}

#[tokio::test]
async fn a_service_that_would_wait_for_others_says_so() {
    let world = world("node a; service db");
    let spec = spec_of(
        service("web").replicas(1).after("db", wire::swarmkit::orchestration::v1::dependency::Condition::Running),
    );
    let told = plan(&world, create(spec)).await;
    assert_eq!(told.waits_for, "waits for db to run");
    assert_eq!(places(&told), ["a=1+0"], "as if it had come");
}

#[tokio::test]
async fn ports_of_nodes_and_networks_count_as_they_would() {
    let world = world("node a; node b; service other; task other.1 on a");
    let port = wire::PortConfig { published_port: 80, target_port: 80, publish_mode: 1, ..Default::default() };
    world
        .put(|tx| {
            let endpoint = Some(Arc::new(wire::Endpoint { ports: vec![port.clone()], ..Default::default() }));
            tx.edit::<Task>(&"other.1".into(), |task| task.endpoint = endpoint).map(drop)
        })
        .await;
    let endpoint = Some(wire::EndpointSpec { ports: vec![port], ..Default::default() });
    let told = plan(&world, create(wire::ServiceSpec { endpoint, ..web("web") })).await;
    assert_eq!(places(&told), ["b=1+0"]);
    let message = &told.waits[0].explanation.as_ref().unwrap().message;
    assert_eq!(message, "no suitable node (host-mode port already in use on 2 nodes)");
    let told = plan(&world, create(spec_of(service("netted").replicas(1).network("gone")))).await;
    let told = told.waits[0].explanation.clone().unwrap();
    assert_eq!((told.standing(), told.message.as_str()), (Standing::Unallocated, "network gone does not exist"));
}

#[tokio::test]
async fn a_service_that_is_more_important_is_told_who_would_make_room() {
    let world = world("node a memory=2GiB; service old memory=1GiB; task old.1 on a; task old.2 on a");
    let told = plan(&world, create(spec_of(service("web").replicas(1).reserve_memory(1 << 30).priority(5)))).await;
    assert_eq!(places(&told), ["a=1+0"]);
    let [preempted] = told.preempted.as_slice() else { panic!("{:?}", told.preempted) };
    assert_eq!((preempted.service_id.as_str(), preempted.node_id.as_str()), ("old", "a"));
    assert!(told.waits.is_empty(), "{:?}", told.waits);
    let told = plan(&world, create(spec_of(service("web").replicas(1).reserve_memory(1 << 30)))).await;
    assert_eq!((told.preempted.len(), told.waits.len()), (0, 1));
}

#[tokio::test]
async fn what_services_are_near_to_or_apart_from_is_told() {
    let world = world("node a; node b; service db; task db.1 on a");
    let near = spec_of(service("web").replicas(2).must_be_near("db"));
    let told = plan(&world, create(near)).await;
    assert_eq!(places(&told), ["a=2+0"]);
    let refusal = &told.nodes.unwrap().refusals[0];
    assert_eq!((refusal.filter(), refusal.nodes), (scheduling::Filter::Affinity, 1));
    let Some(need::Need::Affinity(affinity)) = &refusal.needs[0].need else { panic!("{refusal:?}") };
    assert_eq!((affinity.service.as_str(), affinity.required), ("db", true));
}

#[tokio::test]
async fn what_could_not_be_created_or_changed_is_refused_in_the_same_words() {
    let world = world("node a; service web replicas=1; task web.1 on a");
    let refused = async |request: PlanRequest| {
        let mut client = world.scheduling();
        world.refused(async move { client.plan(request).await }).await
    };
    assert_eq!(refused(PlanRequest::default()).await, no_argument());
    assert_eq!(refused(change("none", None)).await, not_found("service none not found"));
    let (code, text) = refused(create(web("web"))).await;
    assert_eq!(
        (code, text.as_str()),
        (Code::AlreadyExists, "name conflicts with an existing object: service web already exists")
    );
    for spec in [wire::ServiceSpec::default(), spec_of(service("x").constraint("node.id~a"))] {
        assert_eq!(refused(create(spec.clone())).await, world.create_refused(spec).await);
    }
    let renamed = wire::ServiceSpec { annotations: web("other").annotations, ..stored(&world, "web") };
    let text = "renaming services is not supported".to_owned();
    assert_eq!(refused(change("web", Some(renamed))).await, (Code::Unimplemented, text));
    let many = spec_of(service("many").replicas(100_001));
    assert_eq!(refused(create(many)).await, invalid("plans are made for at most 100000 tasks, not for 100001"));
}

// === What is planned is what happens ===

/// The clock of tests.
struct TestClock(Env);

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        self.0.now()
    }

    fn sleep(&self, period: Duration) -> BoxFuture<'static, ()> {
        let env = self.0.clone();
        Box::pin(async move { env.sleep(period).await })
    }
}

/// Chance of its own: ids that are drawn here are not those that the services draw.
fn chance(seed: u64) -> Env {
    Env::seeded(seed, TestClock(env()))
}

/// Runs all who decide until nothing is left to do.
async fn live(world: &World, env: &Env) {
    let stop = CancellationToken::new();
    let mut crew = Crew::under(&stop);
    let store = &world.store;
    crew.spawn("orchestrator", |stop| swarmkit_orchestrator::run(env.clone(), store.clone(), stop));
    crew.spawn("allocator", |stop| swarmkit_allocator::run(env.clone(), store.clone(), Arc::new(InertNetworks), stop));
    crew.spawn("scheduler", |stop| swarmkit_scheduler::run(env.clone(), store.clone(), stop));
    // Time is paused, so it only goes on when every part waits.
    tokio::time::sleep(Duration::from_millis(1)).await;
    stop.cancel();
    crew.finish().await.unwrap();
}

/// Where the live tasks of a service are, and what those without a node are told.
fn as_it_came(world: &World, name: &str) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
    let view = world.view();
    let id = view.service_by_name(name).unwrap().id.clone();
    let (mut places, mut waits) = (BTreeMap::new(), BTreeMap::new());
    for task in view.find(TaskBy::Service(&id)).filter(|task| task.desired_state <= TaskState::Complete) {
        if task.status.state >= TaskState::Assigned {
            *places.entry(task.node_id.as_ref().unwrap().to_string()).or_default() += 1;
        } else {
            *waits.entry(task.status.err.clone()).or_default() += 1;
        }
    }
    (places, waits)
}

fn as_planned(plan: &PlanResponse) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
    let places = plan.placements.iter().map(|one| (one.node_id.clone(), one.created + one.kept));
    let waits = plan.waits.iter().map(|one| (one.explanation.as_ref().unwrap().message.clone(), one.tasks));
    (places.collect(), waits.collect())
}

/// Some cluster, another for each chance; and some service for it.
fn some_case(env: &Env) -> (String, wire::ServiceSpec) {
    let pick = |of: u64| {
        let mut bytes = [0; 8];
        env.fill_random(&mut bytes);
        u64::from_le_bytes(bytes) % of
    };
    let mut text = String::from("cluster default; service old memory=1GiB;");
    let nodes = pick(6);
    for n in 0..nodes {
        let condition = ["ready", "ready", "ready", "down", "drain", "pause"][usize::try_from(pick(6)).unwrap()];
        text += &format!("node n{n} {condition} memory={}GiB label:z={};", pick(5), pick(3));
    }
    for t in 0..pick(8) {
        if nodes > 0 {
            text += &format!("task old.{} on n{};", t + 1, pick(nodes));
        }
    }
    let web = service("web").reserve_memory(i64::try_from(pick(3)).unwrap() << 30);
    let web = match pick(4) {
        0 => web.global(),
        1 => web.job(pick(6), 1 + pick(4)),
        2 => web.replicas(pick(9)).spread_over("node.labels.z"),
        _ => web.replicas(pick(9)),
    };
    let web = match pick(3) {
        0 => web.constraint("node.labels.z!=1"),
        _ => web,
    };
    (text, spec_of(web))
}

#[tokio::test(start_paused = true)]
async fn what_is_planned_for_a_new_service_is_what_becomes_of_it() {
    for seed in 0..60 {
        let env = chance(seed);
        let (text, spec) = some_case(&env);
        let world = world(&text);
        // What is there settles first: a plan is about one service in a cluster that is otherwise quiet.
        live(&world, &env).await;
        let planned = plan(&world, create(spec.clone())).await;
        world.create(spec).await;
        live(&world, &env).await;
        assert_eq!(as_planned(&planned), as_it_came(&world, "web"), "seed {seed}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_planned_for_another_scale_is_what_becomes_of_it() {
    for seed in 0..60 {
        let env = chance(seed);
        let (text, mut spec) = some_case(&env);
        let Some(Mode::Replicated(mode)) = spec.mode else { continue };
        let world = world(&text);
        let created = world.create(spec.clone()).await;
        live(&world, &env).await;
        spec.mode = Some(Mode::Replicated(wire::ReplicatedService { replicas: (mode.replicas * 7 + 3) % 11 }));
        let planned = plan(&world, change(&created.id, Some(spec.clone()))).await;
        let service_version =
            Some(world.view().get::<Service>(&created.id.as_str().into()).unwrap().meta.version.into());
        let request =
            wire::UpdateServiceRequest { service_id: created.id, service_version, spec: Some(spec), rollback: 0 };
        world.control().update_service(request).await.unwrap();
        live(&world, &env).await;
        assert_eq!(as_planned(&planned), as_it_came(&world, "web"), "seed {seed}: {text}");
    }
}
