//! What tasks wait for, and what they are given.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_task_that_needs_nothing_becomes_pending() {
    let running = Running::with("service web; task web.1; task web.2 wants ready").await;
    assert_eq!(running.tasks(), "task web.1 pending\ntask web.2 pending wants ready\n");
    let task = running.task("web.1");
    assert_eq!((task.status.message.as_str(), task.status.err.as_str()), ("pending task scheduling", ""));
    assert!(task.status.timestamp.is_some());
    let before = running.store.version();
    running.amend("node a").await;
    assert_eq!(running.store.version().0, before.0 + 1, "nothing is written for a task that has all it needs");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_of_a_service_that_is_gone_is_left_alone() {
    let running = Running::with("task web.1").await;
    assert_eq!(running.tasks(), "task web.1 new\n");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_asked_to_stop_before_it_began_is_passed_on_to_be_stopped() {
    let running = Running::with("service web network=front; task web.1 wants shutdown; task web.2 wants remove").await;
    assert_eq!(running.tasks(), "task web.1 pending wants shutdown\ntask web.2 new wants remove\n");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn tasks_carry_a_copy_of_what_their_service_publishes() {
    let running = Running::with("service web").await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    running.publish("web", &[port(80, 0), port(443, 443)]).await;
    running.amend("task web.1").await;
    assert_eq!(running.ports("web").unwrap(), [30_000, 443]);
    let task = running.task("web.1");
    assert_eq!(task.status.state, TaskState::Pending);
    assert_eq!(task.endpoint, running.store.view().get::<Service>(&"web".into()).unwrap().endpoint);
    assert!(task.networks.is_empty(), "nobody looks into the ingress network of a cluster without networks");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn without_networks_a_task_that_asks_for_one_says_that_there_are_none() {
    let running =
        Running::with("network front; service web network=front; service api network=back; task web.1; task api.1")
            .await;
    assert_eq!(running.task("web.1").status.err, "network support is unavailable");
    assert_eq!(running.task("api.1").status.err, "network back does not exist");
    assert_eq!(running.tasks(), "task api.1 new\ntask web.1 new\n");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_is_attached_to_its_networks_as_soon_as_they_are_there() {
    let text = "network a; service web network=front network=late; task web.1";
    let running = Running::on(testing::store(text), SMALL).await;
    assert_eq!(running.task("web.1").status.err, "network front does not exist");
    running.amend("network front").await;
    assert_eq!(running.task("web.1").status.err, "network late does not exist");
    running.amend("network late").await;
    assert_eq!(running.task("web.1").status.err, "no subnet is available for network late");
    assert_eq!(running.waits("late").unwrap(), "no subnet is available for network late");
    running.write(|tx| tx.delete::<Network>(&"a".into()).map(drop)).await;
    assert_eq!(running.waits("late"), None);
    let task = running.task("web.1");
    assert_eq!((task.status.state, task.status.err.as_str()), (TaskState::Pending, ""));
    assert_eq!(task.networks[0].addresses, ["10.2.0.3/24"], "the service has the one before");
    assert_eq!(task.networks[1].addresses, ["10.1.0.3/24"]);
    let network = task.networks[1].network.as_ref().unwrap();
    assert_eq!(network.driver_state.as_ref().unwrap().name, "model");
    assert_eq!(network.ipam, Some(model::ipam(1)));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_address_is_free_again_when_its_task_is_over() {
    let text = "network front; service web network=front; task web.1; task web.2; task web.3";
    let running = Running::on(testing::store(text), SMALL).await;
    assert_eq!(running.tasks(), "task web.1 pending\ntask web.2 pending\ntask web.3 new\n");
    assert_eq!(running.task("web.3").status.err, "no address is available on network front");
    running
        .write(|tx| tx.edit(&"web.1".into(), |task: &mut Task| task.status.state = TaskState::Failed).map(drop))
        .await;
    assert_eq!(running.tasks(), "task web.1 failed\ntask web.2 pending\ntask web.3 pending\n");
    running.write(|tx| tx.delete::<Task>(&"web.1".into()).map(drop)).await;
    running.amend("task web.4").await;
    assert_eq!(running.task("web.4").status.state, TaskState::New, "what was freed once is not freed again");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_keeps_what_is_given_out_and_gives_none_of_it_out_again() {
    let running =
        Running::on(testing::store("network front; service web network=front; service api; task web.1"), SMALL).await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    running.publish("api", &[port(80, 8080), port(81, 0)]).await;
    let (store, before) = (running.store.clone(), running.store.version());
    let (endpoint, task) = (running.ports("api"), running.task("web.1"));
    running.end().await;

    let next = Running::on(store, SMALL).await;
    assert_eq!(next.store.version(), before, "nothing is written for what has all it needs");
    next.amend("service late; task web.2").await;
    next.publish("late", &[port(80, 8080)]).await;
    assert_eq!((next.ports("api"), next.ports("late")), (endpoint, None));
    next.publish("late", &[port(80, 0)]).await;
    assert_eq!(next.ports("late").unwrap(), [30_001]);
    assert_eq!(next.task("web.1"), task);
    assert_eq!(next.task("web.2").networks[0].addresses, ["10.1.0.4/24"]);
    next.end().await;
}

#[tokio::test(start_paused = true)]
async fn five_hundred_tasks_become_pending_in_a_few_transactions() {
    let running = Running::with("service web").await;
    let before = running.store.version().0;
    let tasks: String = (1..=500).map(|slot| format!("task web.{slot};")).collect();
    running.amend(&tasks).await;
    assert_eq!(running.store.version().0 - before, 1 + 3, "one to create them, three of at most 200 to admit them");
    assert_eq!(running.store.view().find(TaskBy::State(TaskState::Pending)).count(), 500);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn tasks_on_networks_that_every_node_has_by_itself_need_no_addresses() {
    let running = Running::on(testing::store("node a"), SMALL).await;
    running.write(|tx| tx.create(local("host")).map(drop)).await;
    running.amend("service web network=host; task web.1 on a new").await;
    assert_eq!(running.task("web.1").status.state, TaskState::Pending);
    assert_eq!(running.networks("web.1"), ["host"]);
    assert_eq!(running.virtual_ips("web"), ["host "], "as upstream: the network, and no address");
    assert_eq!(running.attachments("a"), [""; 0]);
    let view = running.store.view();
    let network = view.get::<Network>(&"host".into()).unwrap();
    assert_eq!(network.driver_state.as_ref().unwrap().name, "host");
    assert_eq!(network.ipam, Some(Default::default()));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn updates_of_what_has_all_it_asks_for_cause_no_write() {
    let running =
        Running::on(testing::store("node a; network front; service web network=front; task web.1"), SMALL).await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    let label = |spec: &mut ServiceSpec| {
        spec.annotations.get_or_insert_default().labels.insert("tier".to_owned(), "front".to_owned());
    };
    assert_eq!(running.writes_after(|tx| respec(tx, "web", label)).await, 0);
    let touched = |tx: &mut Transaction| {
        tx.edit(&"web.1".into(), |task: &mut Task| task.status.message = "found a node".to_owned()).map(drop)
    };
    assert_eq!(running.writes_after(touched).await, 0);
    assert_eq!(running.writes_after(|tx| advance(tx, "web.1", TaskState::Running)).await, 0);
    let described = |tx: &mut Transaction| {
        tx.edit(&"a".into(), |node: &mut Node| node.status.message = "well".to_owned()).map(drop)
    };
    assert_eq!(running.writes_after(described).await, 0);
    running.end().await;
}

#[tokio::test(start_paused = true)]
#[expect(deprecated, reason = "services of old clusters name their networks beside the task")]
async fn networks_of_an_old_service_count_where_its_tasks_name_none() {
    let running =
        Running::on(testing::store("network back; network front; service web; service api network=back"), SMALL).await;
    let beside = vec![NetworkAttachmentConfig { target: "front".to_owned(), ..Default::default() }];
    running.write(|tx| respec(tx, "web", |spec| spec.networks = beside.clone())).await;
    running.write(|tx| respec(tx, "api", |spec| spec.networks = beside.clone())).await;
    running.amend("task web.1; task api.1").await;
    assert_eq!(running.virtual_ips("web"), ["front 10.2.0.2/24"]);
    assert_eq!(running.networks("web.1"), ["front 10.2.0.3/24"]);
    assert_eq!(running.virtual_ips("api"), ["back 10.1.0.2/24"], "those of the task win");
    assert_eq!(running.networks("api.1"), ["back 10.1.0.3/24"]);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_asked_for_is_waited_for_and_given() {
    let text = "network front; service web network=front; task web.1";
    let running = Running::on(testing::store(text), Model { subnets: 1, addresses: 9 }).await;
    assert_eq!(running.networks("web.1"), ["front 10.1.0.3/24"]);
    let by_hand = |id: &str| {
        let mut task = Task::new(id.into(), TaskSpec::default());
        let asked = NetworkAttachmentConfig {
            target: "front".to_owned(),
            addresses: vec!["10.1.0.3".to_owned()],
            aliases: vec!["db".to_owned()],
            driver_attachment_opts: [("speed".to_owned(), "high".to_owned())].into(),
        };
        Arc::make_mut(&mut task.spec).networks = vec![asked];
        task.desired_state = TaskState::Running;
        task
    };
    running.write(|tx| tx.create(by_hand("hand")).map(drop)).await;
    let waiting = "address 10.1.0.3 on network front is already in use";
    assert_eq!(running.task("hand").status.err, waiting);
    running.amend("task web.2").await;
    running.write(|tx| tx.delete::<Task>(&"web.2".into()).map(drop)).await;
    assert_eq!(running.task("hand").status.err, waiting, "another address is of no use");
    running.write(|tx| advance(tx, "web.1", TaskState::Complete)).await;
    assert_eq!(running.networks("hand"), ["front 10.1.0.3/24"]);
    let attachment = &running.task("hand").networks[0];
    assert_eq!((attachment.aliases[0].as_str(), attachment.driver_attachment_opts["speed"].as_str()), ("db", "high"));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_free_wakes_as_many_as_can_have_it_and_writes_about_nobody_else() {
    let tasks: String = (1..=200).map(|slot| format!("task web.{slot};")).collect();
    let running = Running::on(testing::store("network front; service web network=front"), SMALL).await;
    running.amend(&tasks).await;
    let admitted =
        || running.store.view().find(TaskBy::State(TaskState::Pending)).map(|task| task.id.clone()).collect::<Vec<_>>();
    let first = admitted();
    assert_eq!(first.len(), 2, "the third address is that of the service");
    assert_eq!(running.writes_after(|tx| tx.delete::<Task>(&first[0]).map(drop)).await, 1);
    assert_eq!(admitted().len(), 2, "one more, at once");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_has_one_end_on_a_network_however_often_it_is_named() {
    let running = Running::on(testing::store("service web; service api"), SMALL).await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    running.write(|tx| attach(tx, "web", &["ingress", "ingress"])).await;
    running.publish("web", &[port(80, 80)]).await;
    running.amend("task web.1").await;
    assert_eq!(running.virtual_ips("web"), ["ingress 10.1.0.2/24"]);
    assert_eq!(running.networks("web.1"), ["ingress 10.1.0.3/24"]);
    running.end().await;
}
