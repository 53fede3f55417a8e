//! The load balancers of nodes.

use super::*;

const ROOMY: Model = Model { subnets: 3, addresses: 9 };

#[tokio::test(start_paused = true)]
async fn a_node_has_an_address_on_ingress_and_on_each_network_that_its_tasks_use() {
    let text = "node a; node b; network idle; network used; service web network=used; task web.1 on a new";
    let running = Running::on(testing::store(text), ROOMY).await;
    assert_eq!(running.attachments("a"), ["used 10.2.0.4/24"], "there is no ingress network");
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    assert_eq!(running.attachments("a"), ["used 10.2.0.4/24", "ingress 10.3.0.2/24"]);
    assert_eq!(running.attachments("b"), ["ingress 10.3.0.3/24"]);
    running.amend("node c").await;
    assert_eq!(running.attachments("c"), ["ingress 10.3.0.4/24"]);
    let view = running.store.view();
    let network = view.get::<Node>(&"c".into()).unwrap().attachments[0].network.clone().unwrap();
    assert_eq!(network.driver_state.unwrap().name, "model", "the node is told all about the network");
    assert!(network.ipam.is_some());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_first_task_on_a_network_attaches_a_node_and_the_last_one_to_end_detaches_it() {
    let text = "node a; network front; service web network=front; task web.1 on a new; task web.2 on a new; task web.3";
    let running = Running::on(testing::store(text), ROOMY).await;
    let attached = ["front 10.1.0.6/24"];
    assert_eq!(running.attachments("a"), attached);
    let placed =
        |tx: &mut Transaction| tx.edit(&"web.3".into(), |task: &mut Task| task.node_id = Some("a".into())).map(drop);
    assert_eq!(running.writes_after(placed).await, 0, "the third adds nothing");
    assert_eq!(running.writes_after(|tx| advance(tx, "web.1", TaskState::Failed)).await, 0);
    assert_eq!(running.writes_after(|tx| tx.delete::<Task>(&"web.2".into()).map(drop)).await, 0);
    assert_eq!(running.attachments("a"), attached);
    assert_eq!(running.writes_after(|tx| advance(tx, "web.3", TaskState::Shutdown)).await, 1);
    assert_eq!(running.attachments("a"), [""; 0]);
    assert_eq!(running.writes_after(|tx| tx.delete::<Task>(&"web.3".into()).map(drop)).await, 0);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_addresses_of_a_node_that_is_deleted_are_free_again() {
    let running = Running::on(testing::store("node a; node b; node c"), SMALL).await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    running.amend("node d").await;
    assert_eq!(running.attachments("d"), [""; 0], "there are three addresses");
    running.write(|tx| tx.delete::<Node>(&"b".into()).map(drop)).await;
    assert_eq!(running.attachments("d"), ["ingress 10.1.0.3/24"], "it is not left alone until it changes");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_network_that_is_deleted_vanishes_from_all_nodes() {
    let text = "node a; node b; network front; service web network=front; task web.1 on a new; task web.2 on b new";
    let running = Running::on(testing::store(text), ROOMY).await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    assert_eq!((running.attachments("a").len(), running.attachments("b").len()), (2, 2));
    running.write(|tx| tx.delete::<Network>(&"front".into()).map(drop)).await;
    assert_eq!(running.attachments("a"), ["ingress 10.2.0.2/24"]);
    running.write(|tx| tx.delete::<Network>(&"ingress".into()).map(drop)).await;
    assert_eq!((running.attachments("a").len(), running.attachments("b").len()), (0, 0));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_node_has_too_much_is_freed_by_the_next_leader() {
    let text = "node a; network front; service web network=front; task web.1 on a new";
    let running = Running::on(testing::store(text), SMALL).await;
    assert_eq!(running.attachments("a"), ["front 10.1.0.4/24"]);
    let store = running.store.clone();
    running.end().await;
    write(&store, |tx| advance(tx, "web.1", TaskState::Complete));
    let next = Running::on(store, SMALL).await;
    assert_eq!(next.attachments("a"), [""; 0]);
    next.amend("task web.2; task web.3").await;
    assert_eq!(next.task("web.3").status.state, TaskState::Pending, "both addresses can be had");
    next.end().await;
}
