//! Decisions that are overtaken before they are written.

use swarmkit_store::{Update, View};

use super::{model::ModelAllocator, *};
use crate::{decision::Decision, world::World};

fn known(view: &View) -> (World, ModelAllocator) {
    let (mut world, mut provider) = (World::default(), SMALL.empty());
    world.absorb(&Update::Snapshot(view.clone()), &mut provider);
    (world, provider)
}

fn commit(store: &Store, decisions: &[Decision]) -> Vec<usize> {
    let write = store.write_each(decisions, Decision::write);
    tokio::task::unconstrained(write).now_or_never().expect("a local store commits at once").unwrap().refused
}

#[test]
fn a_network_that_others_have_written_to_meanwhile_is_allocated_and_keeps_what_they_wrote() {
    let store = testing::store("network front");
    let (mut world, mut provider) = known(&store.view());
    let decisions = world.plan(&mut provider);
    write(&store, |tx| tx.edit(&"front".into(), |network: &mut Network| network.pending_delete = true).map(drop));
    assert_eq!(commit(&store, &decisions), [0; 0]);
    let network = store.view().get::<Network>(&"front".into()).unwrap().clone();
    assert!(network.pending_delete && network.driver_state.is_some());
}

#[test]
fn what_was_given_to_a_network_that_is_gone_meanwhile_is_free_again() {
    let store = testing::store("node a; network front; service web network=front; task web.1");
    let (mut world, mut provider) = known(&store.view());
    let decisions = world.plan(&mut provider);
    assert_eq!(decisions.len(), 3, "network, endpoint, task: {decisions:?}");
    write(&store, |tx| tx.delete::<Network>(&"front".into()).map(drop));
    assert_eq!(commit(&store, &decisions), [0, 1, 2], "nothing is attached to what is not there");
    for decision in &decisions {
        decision.put_back(&mut world, &mut provider, &store.view());
    }
    assert_eq!(provider, SMALL.empty());
    assert_eq!(world.addresses, World::default().addresses);
}

#[test]
fn a_service_and_a_node_keep_what_others_have_written_meanwhile() {
    let store = testing::store("node a; service web network=front; network front; task web.1 on a new");
    let (mut world, mut provider) = known(&store.view());
    let decisions = world.plan(&mut provider);
    let label = |annotations: &mut Option<swarmkit_api::wire::Annotations>| {
        annotations.get_or_insert_default().labels.insert("tier".to_owned(), "front".to_owned());
    };
    write(&store, |tx| {
        tx.edit(&"a".into(), |node: &mut Node| label(&mut Arc::make_mut(&mut node.spec).annotations))?;
        tx.edit(&"web.1".into(), |task: &mut Task| label(&mut Some(std::mem::take(&mut task.annotations))))
            .map(drop)?;
        tx.edit(&"web".into(), |service: &mut Service| service.pending_delete = true).map(drop)
    });
    assert_eq!(commit(&store, &decisions), [0; 0]);
    let (mut world, mut provider) = known(&store.view());
    let decisions = world.plan(&mut provider);
    write(&store, |tx| {
        tx.edit(&"a".into(), |node: &mut Node| label(&mut Arc::make_mut(&mut node.spec).annotations)).map(drop)
    });
    assert_eq!((decisions.len(), commit(&store, &decisions)), (1, vec![]), "the node: {decisions:?}");
    let view = store.view();
    assert_eq!(told(&view.get::<Node>(&"a".into()).unwrap().attachments), ["front 10.1.0.4/24"]);
    assert!(view.get::<Node>(&"a".into()).unwrap().spec.annotations.as_ref().unwrap().labels.contains_key("tier"));
    let web = view.get::<Service>(&"web".into()).unwrap();
    assert!(web.pending_delete && web.endpoint.is_some());
}

#[test]
fn an_address_that_the_store_still_records_is_not_given_to_another_before_that_is_changed() {
    let store = testing::store("network a; network b; service web network=a; service api");
    let (mut world, mut provider) = known(&store.view());
    commit(&store, &world.plan(&mut provider));
    write(&store, |tx| {
        attach(tx, "web", &["b"])?;
        attach(tx, "api", &["a"])
    });
    let (mut world, mut provider) = known(&store.view());
    let decisions = world.plan(&mut provider);
    let given: Vec<_> = decisions
        .iter()
        .map(|decision| match decision {
            Decision::Endpoint { service, endpoint } => {
                format!("{} {}", service.id, endpoint.as_ref().unwrap().virtual_ips[0].addr)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(given, ["api 10.1.0.3/24", "web 10.2.0.2/24"], "10.1.0.2 is that of web until web has another");
}
