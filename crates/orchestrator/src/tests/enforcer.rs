//! The enforcer: who has to leave a node that no longer fits.

use wire::{node_spec::Availability, update_status::UpdateState};

use super::{stage::Stage, *};

fn rejected(store: &Store) -> Vec<String> {
    let view = store.view();
    let rejected = view.all::<Task>().filter(|task| task.status.state == TaskState::Rejected);
    rejected
        .map(|task| {
            assert_eq!(task.status.message, "task rejected by constraint enforcer");
            assert_eq!(task.status.err, "assigned node no longer meets constraints");
            let now = env().now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
            assert_eq!(task.status.timestamp.map(|at| at.seconds.unsigned_abs()), Some(now), "it is told when");
            task.id.to_string()
        })
        .collect()
}

async fn enforce(store: &Store, story: impl AsyncFnOnce(&Store)) {
    alone(store, |store, stop| crate::enforcer::run(env(), store, stop), story).await;
}

/// Who is rejected when node `a` changes.
async fn enforced(text: &str, change: impl FnOnce(&mut Node)) -> Vec<String> {
    let store = testing::store(text);
    enforce(&store, async |_| {}).await;
    assert_eq!(rejected(&store), [""; 0], "before the change all is well");
    enforce(&store, async |store| edit_node(store, "a", change)).await;
    rejected(&store)
}

fn placement(service: &mut Service) -> &mut wire::Placement {
    let task = Arc::make_mut(&mut service.spec).task.get_or_insert_default();
    task.placement.get_or_insert_default()
}

fn edit_service(store: &Store, id: &str, change: impl FnOnce(&mut Service)) {
    write(store, |tx| tx.edit(&id.into(), change).map(drop));
}

fn set_status(service: &mut Service, state: UpdateState) {
    service.update_status.get_or_insert_default().set_state(state);
}

fn resources(node: &mut Node) -> &mut wire::Resources {
    Arc::make_mut(node.description.as_mut().unwrap()).resources.get_or_insert_default()
}

fn relabel(node: &mut Node) {
    Arc::make_mut(&mut node.spec).annotations.get_or_insert_default().labels.insert("disk".into(), "tape".into());
}

const LABELLED: &str = "node a label:disk=ssd; service web replicas=1 constraint=node.labels.disk==ssd
    service any replicas=1; task web.1 on a; task any.1 on a";

#[tokio::test(start_paused = true)]
async fn a_node_that_loses_its_label_loses_the_tasks_that_need_it() {
    assert_eq!(enforced(LABELLED, relabel).await, ["web.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_of_another_role_or_platform_loses_the_tasks_that_need_the_old_one() {
    let text = "node a manager os=linux; service web replicas=1 constraint=node.role==manager; task web.1 on a
                service any replicas=1; task any.1 on a";
    assert_eq!(enforced(text, |node| node.role = swarmkit_api::NodeRole::Worker).await, ["web.1"]);

    let store = testing::store("node a os=linux; service any replicas=1; task any.1 on a");
    let mut service = testing::service("web").replicas(1).build();
    placement(&mut service).platforms = vec![wire::Platform { os: "linux".into(), ..Default::default() }];
    write(&store, |tx| {
        tx.create(testing::task("web.1").of(&service).on("a").state(TaskState::Running).build())?;
        tx.create(service).map(drop)
    });
    let reinstall = |node: &mut Node| {
        let platform = Some(wire::Platform { os: "windows".into(), ..Default::default() });
        Arc::make_mut(node.description.as_mut().unwrap()).platform = platform;
    };
    enforce(&store, async |_| {}).await;
    assert_eq!(rejected(&store), [""; 0]);
    enforce(&store, async |store| edit_node(store, "a", reinstall)).await;
    assert_eq!(rejected(&store), ["web.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_paused_or_drained_is_left_alone_until_it_is_active_again() {
    for availability in [Availability::Pause, Availability::Drain] {
        let store = testing::store(LABELLED);
        let change = |node: &mut Node| {
            relabel(node);
            set_availability(node, availability);
        };
        enforce(&store, async |store| edit_node(store, "a", change)).await;
        assert_eq!(rejected(&store), [""; 0]);
        enforce(&store, async |store| edit_node(store, "a", |node| set_availability(node, Availability::Active))).await;
        assert_eq!(rejected(&store), ["web.1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn at_its_start_the_enforcer_looks_at_every_node() {
    let store = testing::store(
        "node a; node b label:disk=ssd; service web replicas=2 constraint=node.labels.disk==ssd
         task web.1 on a; task web.2 on b",
    );
    enforce(&store, async |_| {}).await;
    assert_eq!(rejected(&store), ["web.1"]);
    let before = store.version();
    enforce(&store, async |_| {}).await;
    assert_eq!(store.version(), before, "nothing is written twice");
}

#[tokio::test(start_paused = true)]
async fn only_tasks_that_are_wanted_and_have_come_to_their_node_are_turned_out() {
    let store = testing::store(
        "node a; service web replicas=9 constraint=node.labels.disk==ssd; task web.1 on a pending; task web.2 on a assigned
         task web.3 on a ready wants ready; task web.4 on a running wants shutdown; task web.5 on a running wants remove
         task web.6 on a failed; task web.7 on a complete wants complete",
    );
    enforce(&store, async |_| {}).await;
    assert_eq!(rejected(&store), ["web.2", "web.3"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_service_is_gone_is_judged_by_what_it_was_made_with() {
    let store = testing::store(LABELLED);
    write(&store, |tx| tx.delete::<Service>(&"web".into()).map(drop));
    enforce(&store, async |store| edit_node(store, "a", relabel)).await;
    assert_eq!(rejected(&store), ["web.1"]);
}

#[tokio::test(start_paused = true)]
async fn constraints_that_cannot_be_read_turn_nobody_out() {
    let text = "node a; service web replicas=1 constraint=nonsense; task web.1 on a";
    assert_eq!(enforced(text, relabel).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_shrinks_keeps_the_tasks_that_were_there_first() {
    let shrink = |node: &mut Node| resources(node).memory_bytes = 2 << 30;
    let text = "node a memory=4GiB; service web replicas=3 memory=1GiB
                task web.1 on a; task web.2 on a; task web.3 on a";
    assert_eq!(enforced(text, shrink).await, ["web.3"]);
    let job = "node a memory=4GiB; service job job=3 memory=1GiB; task job.0 on a complete wants complete
               task job.1 on a wants complete; task job.2 on a wants complete";
    assert_eq!(enforced(job, shrink).await, [""; 0], "what is complete reserves nothing");
    let forget = |node: &mut Node| node.description = None;
    assert_eq!(enforced(text, forget).await, ["web.1", "web.2", "web.3"], "who describes nothing has nothing");
}

#[tokio::test(start_paused = true)]
async fn a_node_with_fewer_generic_resources_loses_who_holds_them_and_the_others_are_looked_at_all_the_same() {
    let count = |value| {
        let unit = wire::DiscreteGenericResource { kind: "gpu".into(), value };
        let resource = wire::generic_resource::Resource::DiscreteResourceSpec(unit);
        wire::GenericResource { resource: Some(resource) }
    };
    let store = testing::store(
        "node a memory=2GiB generic:gpu=3; service web replicas=2; service big replicas=2 memory=1GiB
         task web.1 on a; task web.2 on a; task big.1 on a; task big.2 on a",
    );
    write(&store, |tx| {
        tx.edit(&"web.1".into(), |task: &mut Task| task.assigned_generic_resources = vec![count(1)])?;
        tx.edit(&"web.2".into(), |task: &mut Task| task.assigned_generic_resources = vec![count(2)]).map(drop)
    });
    enforce(&store, async |store| {
        edit_node(store, "a", |node| {
            resources(node).generic = vec![count(1)];
            resources(node).memory_bytes = 1 << 30;
        });
    })
    .await;
    assert_eq!(rejected(&store), ["big.2", "web.2"]);
}

#[tokio::test(start_paused = true)]
async fn of_a_service_that_has_more_on_a_node_than_it_may_the_oldest_stay() {
    let store = testing::store("node a; service web replicas=3; task web.1 on a; task web.2 on a; task web.3 on a");
    // As a manager that knows no such limit has left it.
    edit_service(&store, "web", |service| placement(service).max_replicas = 2);
    enforce(&store, async |_| {}).await;
    assert_eq!(rejected(&store), ["web.3"]);
    // One of another version that the scheduler has put beside them by its own limit is replaced anyway.
    let store = testing::store(
        "node a; service web replicas=3 version=2; task web.1 on a version=1; task web.2 on a version=2",
    );
    edit_service(&store, "web", |service| placement(service).max_replicas = 1);
    enforce(&store, async |_| {}).await;
    assert_eq!(rejected(&store), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_asks_for_other_nodes_is_moved_by_its_rollout_and_by_the_enforcer_only_when_that_is_over() {
    let store = testing::store("node a label:disk=ssd; service web replicas=1; task web.1 on a");
    let elsewhere = |service: &mut Service| {
        service.spec_version = Some(Version(2));
        placement(service).constraints = vec!["node.labels.disk == tape".into()];
    };
    enforce(&store, async |store| edit_service(store, "web", elsewhere)).await;
    assert_eq!(rejected(&store), [""; 0], "at the pace of the rollout");
    for state in [UpdateState::Updating, UpdateState::Paused] {
        enforce(&store, async |store| edit_service(store, "web", |service| set_status(service, state))).await;
        assert_eq!(rejected(&store), [""; 0], "{state:?}");
    }
    enforce(&store, async |store| edit_service(store, "web", |service| set_status(service, UpdateState::Completed)))
        .await;
    assert_eq!(rejected(&store), ["web.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_goes_back_to_constraints_that_a_node_has_lost_since_loses_the_tasks_there() {
    let store = testing::store(LABELLED);
    let before = store.view().get::<Service>(&"web".into()).unwrap().clone();
    edit_service(&store, "web", |service| {
        service.spec_version = Some(Version(2));
        placement(service).constraints.clear();
    });
    enforce(&store, async |store| edit_node(store, "a", relabel)).await;
    assert_eq!(rejected(&store), [""; 0], "its service does not ask for the label any more");
    let back = |service: &mut Service| {
        service.spec_version = before.spec_version;
        service.spec = before.spec.clone();
    };
    enforce(&store, async |store| edit_service(store, "web", back)).await;
    assert_eq!(rejected(&store), ["web.1"], "no rollout moves a task that is of the present version");
}

#[tokio::test(start_paused = true)]
async fn what_is_rejected_is_placed_elsewhere() {
    let mut stage = Stage::open("node a label:disk=ssd; service web replicas=1 constraint=node.labels.disk==ssd").await;
    assert_eq!(stage.told(), ["web.1 running"]);
    stage.edit_node("a", relabel).await;
    stage.amend("node b label:disk=ssd").await;
    stage.pass(Duration::from_secs(5)).await;
    assert_eq!(stage.told(), ["web.1 running"]);
    assert_eq!(stage.tasks().last().unwrap().node_id, Some("b".into()));
}
