//! Deleting what is still in use, as soon as it is not.

use swarmkit_api::{Network, NetworkId};

use super::{stage::Stage, *};

/// Marks a service, as the control API does when it is to be removed later.
fn mark_service(store: &Store, id: &str) {
    write(store, |tx| tx.edit(&id.into(), |service: &mut Service| service.pending_delete = true).map(drop));
}

fn mark_network(store: &Store, id: &str) {
    write(store, |tx| tx.edit(&id.into(), |network: &mut Network| network.pending_delete = true).map(drop));
}

/// The names of all services and networks.
fn left(stage: &Stage) -> Vec<String> {
    let view = stage.store.view();
    let services = view.all::<Service>().map(|service| service.id.to_string());
    services.chain(view.all::<Network>().map(|network| network.id.to_string())).collect()
}

#[test]
fn the_tasks_of_a_service_that_is_to_go_are_removed_as_if_it_were_gone() {
    check(
        "node a; service web replicas=3 leaving; task web.1 on a; task web.2 on a failed wants shutdown",
        &["remove web.1", "remove web.2"],
    );
    check("node a; service web global leaving; task web.a on a", &["remove web.a"]);
    check("node a; service job job=2 leaving; task job.0 on a wants complete", &["remove job.0"]);
    check("node a; service job global-job leaving", &[]);
}

#[tokio::test(start_paused = true)]
async fn a_service_goes_exactly_with_its_last_task() {
    for tasks in [1, 2, 5, 10] {
        let mut stage = Stage::open(&format!("node a; service web replicas={tasks}; service other")).await;
        stage.stubborn = vec!["image"];
        mark_service(&stage.store, "web");
        stage.pass(Duration::from_secs(5)).await;
        for slot in 1..=tasks {
            assert_eq!(left(&stage), ["other", "web"], "{} of {tasks} tasks are left", tasks - slot + 1);
            let view = stage.store.view();
            let of_web = |task: &&Arc<Task>| task.service_id == Some("web".into()) && task.slot == slot;
            let task = view.all::<Task>().find(of_web).unwrap();
            assert_eq!(task.desired_state, TaskState::Remove);
            edit_task(&stage.store, task.id.as_str(), |task| task.status.state = TaskState::Shutdown);
            stage.settle().await;
        }
        assert_eq!(left(&stage), ["other"]);
        assert_eq!(stage.told(), ["other.1 running"]);
        stage.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_without_tasks_goes_at_once() {
    let mut stage = Stage::open("service web replicas=0").await;
    mark_service(&stage.store, "web");
    stage.settle().await;
    assert_eq!(left(&stage), [""; 0]);
    stage.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_marked_stays() {
    let mut stage =
        Stage::open("node a; network back; network front; service web replicas=0; service db network=back").await;
    for id in ["web", "db"] {
        write(&stage.store, |tx| {
            tx.edit(&id.into(), |service: &mut Service| {
                Arc::make_mut(&mut service.spec)
                    .annotations
                    .get_or_insert_default()
                    .labels
                    .insert("a".into(), "b".into());
            })
            .map(drop)
        });
    }
    write(&stage.store, |tx| {
        tx.edit(&"front".into(), |front: &mut Network| {
            Arc::make_mut(&mut front.spec).annotations.get_or_insert_default().labels.insert("a".into(), "b".into());
        })
        .map(drop)
    });
    stage.settle().await;
    assert_eq!(left(&stage), ["db", "web", "back", "front"]);
    // A network that is not marked stays also when its only service goes.
    mark_service(&stage.store, "db");
    stage.settle().await;
    assert_eq!(left(&stage), ["web", "back", "front"]);
    stage.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_network_goes_in_the_transaction_of_the_last_service_that_used_it() {
    let text = "node a; network back; network front; service db network=back; service web network=back network=front";
    let mut stage = Stage::open(text).await;
    let mut watch = stage.store.watch([swarmkit_api::Kind::Service, swarmkit_api::Kind::Network]);
    assert!(matches!(watch.try_next(), Ok(Some(Update::Snapshot(_)))));
    for id in ["back", "front"] {
        mark_network(&stage.store, id);
    }
    for id in ["db", "web"] {
        mark_service(&stage.store, id);
        stage.settle().await;
        if id == "db" {
            assert_eq!(left(&stage), ["web", "back", "front"], "the other service still uses it");
        }
    }
    assert_eq!(left(&stage), [""; 0]);
    let mut deletions = Vec::new();
    while let Some(update) = watch.try_next().unwrap() {
        let Update::Delta(delta) = update else { continue };
        let gone = |change: &swarmkit_store::Change| match change {
            swarmkit_store::Change::Service(edit) if edit.after.is_none() => {
                edit.before.as_ref().map(|it| it.id.to_string())
            }
            swarmkit_store::Change::Network(edit) if edit.after.is_none() => {
                edit.before.as_ref().map(|it| it.id.to_string())
            }
            _ => None,
        };
        let gone: Vec<_> = delta.changes.iter().filter_map(gone).collect();
        if !gone.is_empty() {
            deletions.push(gone);
        }
    }
    assert_eq!(deletions, [vec!["db".to_owned()], ["web", "back", "front"].map(str::to_owned).to_vec()]);
    stage.close().await;
}

#[tokio::test(start_paused = true)]
async fn services_and_networks_may_be_deleted_in_any_order() {
    // Each letter is one deletion: of a service, later or now, or of a network.
    for order in ["sSn", "snS", "nsS", "Sns", "nSs", "Ssn"] {
        let mut stage = Stage::open("node a; network back; service one network=back; service two network=back").await;
        for step in order.chars() {
            match step {
                's' => mark_service(&stage.store, "one"),
                'S' => write(&stage.store, |tx| tx.delete::<Service>(&"two".into()).map(drop)),
                _ => mark_network(&stage.store, "back"),
            }
            stage.settle().await;
        }
        assert_eq!(left(&stage), [""; 0], "{order}");
        assert_eq!(stage.tasks().len(), 0, "{order}");
        stage.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn networks_that_a_service_names_in_the_old_place_are_honoured() {
    let mut stage = Stage::open("node a; network back; service web").await;
    write(&stage.store, |tx| {
        tx.edit(&"web".into(), |web: &mut Service| {
            let attachment = wire::NetworkAttachmentConfig { target: "back".into(), ..Default::default() };
            #[allow(deprecated, reason = "this is about them")]
            Arc::make_mut(&mut web.spec).networks.push(attachment);
        })
        .map(drop)
    });
    mark_network(&stage.store, "back");
    stage.settle().await;
    assert_eq!(left(&stage), ["web", "back"]);
    mark_service(&stage.store, "web");
    stage.settle().await;
    assert_eq!(left(&stage), [""; 0]);
    stage.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_network_that_nobody_uses_goes_at_once_and_others_when_tasks_have_let_go() {
    let mut stage = Stage::open("node a; network empty; network back; service web network=back").await;
    mark_network(&stage.store, "empty");
    stage.settle().await;
    assert_eq!(left(&stage), ["web", "back"]);
    // The service is gone, but its task still runs.
    stage.stubborn = vec!["image"];
    mark_network(&stage.store, "back");
    write(&stage.store, |tx| tx.delete::<Service>(&"web".into()).map(drop));
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(left(&stage), ["back"]);
    stage.stubborn = Vec::new();
    stage.settle().await;
    assert_eq!(left(&stage), [""; 0]);
    stage.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_ingress_network_stays_as_long_as_a_service_publishes_through_it() {
    let mut stage = Stage::open("node a; network ingress; service web").await;
    write(&stage.store, |tx| {
        tx.edit(&NetworkId::from("ingress"), |ingress: &mut Network| Arc::make_mut(&mut ingress.spec).ingress = true)?;
        tx.edit(&"web".into(), |web: &mut Service| {
            let port = wire::PortConfig { target_port: 80, published_port: 80, ..Default::default() };
            Arc::make_mut(&mut web.spec).endpoint.get_or_insert_default().ports.push(port);
        })
        .map(drop)
    });
    mark_network(&stage.store, "ingress");
    stage.settle().await;
    assert_eq!(left(&stage), ["web", "ingress"]);
    mark_service(&stage.store, "web");
    stage.settle().await;
    assert_eq!(left(&stage), [""; 0]);
    stage.close().await;
}

#[tokio::test(start_paused = true)]
async fn another_leader_goes_on_with_what_is_marked() {
    let text = "node a; network back; service web replicas=2 network=back; network other";
    let mut stage = Stage::open(text).await;
    stage.stubborn = vec!["image"];
    mark_network(&stage.store, "back");
    mark_service(&stage.store, "web");
    stage.settle().await;
    assert_eq!(stage.history(), ["web.1 running wants remove", "web.2 running wants remove"]);
    let (env, store) = stage.close().await;
    // Meanwhile nobody leads, and all that is left is that the objects are there.
    for task in store.view().all::<Task>().cloned().collect::<Vec<_>>() {
        write(&store, |tx| tx.delete::<Task>(&task.id).map(drop));
    }
    let stage = Stage::on(env, store).await;
    assert_eq!(left(&stage), ["other"]);
    stage.close().await;
}

#[tokio::test(start_paused = true)]
async fn no_task_is_made_for_a_service_that_was_marked_a_moment_ago() {
    let store = testing::store("node a; service web replicas=2");
    let now = env().now();
    let mut world = World::default();
    world.absorb(&Update::Snapshot(store.view()), now);
    let due = world.take_due();
    let plan = world.plan(&due, now);
    assert_eq!(told(&plan), ["make web.1", "make web.2"]);
    mark_service(&store, "web");
    let env = env();
    let written = store.write_each(&plan.steps, |step, tx| step.write(tx, &env, None)).await.unwrap();
    assert_eq!((written.refused, store.view().count::<Task>()), (vec![0, 1], 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_marked_is_no_work_once_it_waits() {
    let mut stage =
        Stage::open("node a; network back; service web network=back replicas=2; service other replicas=2").await;
    stage.stubborn = vec!["image"];
    mark_network(&stage.store, "back");
    mark_service(&stage.store, "web");
    stage.settle().await;
    let before = stage.store.version();
    stage.pass(Duration::from_secs(600)).await;
    assert_eq!(stage.store.version(), before, "nothing is written before something stops");
    stage.close().await;
}
