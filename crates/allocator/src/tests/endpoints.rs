//! Virtual addresses of services.

use swarmkit_api::wire::endpoint_spec::ResolutionMode;

use super::*;

fn mode(tx: &mut Transaction, service: &str, mode: ResolutionMode) -> Result<(), StoreError> {
    respec(tx, service, |spec| spec.endpoint.get_or_insert_default().mode = mode.into())
}

#[tokio::test(start_paused = true)]
async fn a_service_has_one_virtual_address_on_each_network_and_on_that_of_its_ports() {
    let running = Running::on(testing::store("network back; network front"), Model { subnets: 3, addresses: 9 }).await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    running.amend("service web network=front network=back; service api; service db network=back; task web.1").await;
    running.publish("web", &[port(80, 0)]).await;
    assert_eq!(running.virtual_ips("web"), ["front 10.2.0.2/24", "back 10.1.0.3/24", "ingress 10.3.0.2/24"]);
    assert_eq!(running.virtual_ips("db"), ["back 10.1.0.2/24"]);
    assert_eq!(running.virtual_ips("api"), [""; 0]);
    running.amend("task web.2").await;
    assert_eq!(running.networks("web.2"), ["ingress 10.3.0.3/24", "front 10.2.0.4/24", "back 10.1.0.5/24"]);
    let endpoint = running.store.view().get::<Service>(&"web".into()).unwrap().endpoint.clone();
    assert_eq!(running.task("web.2").endpoint, endpoint, "a task has a copy");
    running.publish("web", &[]).await;
    assert_eq!(running.virtual_ips("web"), ["front 10.2.0.2/24", "back 10.1.0.3/24"], "no port, no ingress");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn networks_that_come_and_go_leave_the_addresses_on_the_others_as_they_are() {
    let text = "network a; network b; network c; service web network=a network=b";
    let running = Running::on(testing::store(text), Model { subnets: 3, addresses: 2 }).await;
    assert_eq!(running.virtual_ips("web"), ["a 10.1.0.2/24", "b 10.2.0.2/24"]);
    running.write(|tx| attach(tx, "web", &["c", "b"])).await;
    assert_eq!(running.virtual_ips("web"), ["b 10.2.0.2/24", "c 10.3.0.2/24"]);
    running.amend("service api network=a network=b; service db network=a").await;
    assert_eq!(running.virtual_ips("api"), ["a 10.1.0.2/24", "b 10.2.0.3/24"], "what was freed can be had");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn without_load_balancing_there_are_no_virtual_addresses_and_both_ways_can_be_changed() {
    let text = "network front; service web network=front; task web.1";
    let running = Running::on(testing::store(text), Model { subnets: 1, addresses: 2 }).await;
    assert_eq!(running.virtual_ips("web"), ["front 10.1.0.2/24"]);
    running.write(|tx| mode(tx, "web", ResolutionMode::Dnsrr)).await;
    assert_eq!(running.virtual_ips("web"), [""; 0]);
    running.amend("task web.2").await;
    assert_eq!(running.networks("web.2"), ["front 10.1.0.2/24"], "it is free for others");

    running.write(|tx| mode(tx, "web", ResolutionMode::Vip)).await;
    running.amend("task web.3").await;
    assert_eq!(running.task("web.3").status.err, "no address is available on network front");
    running.write(|tx| tx.delete::<Task>(&"web.1".into()).map(drop)).await;
    assert_eq!(running.virtual_ips("web"), ["front 10.1.0.3/24"], "services come before tasks");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_have_all_its_addresses_has_none_and_lets_its_ports_go() {
    let text = "network a; network full; service x network=full; service y network=full; service z network=full";
    let running = Running::on(testing::store(text), Model { subnets: 3, addresses: 3 }).await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    running.amend("service web network=a network=full; service api network=a").await;
    running.publish("web", &[port(80, 80)]).await;
    running.amend("task web.1").await;
    assert_eq!(running.ports("web"), None);
    assert_eq!(running.task("web.1").status.err, "no address is available on network full");
    running.publish("api", &[port(80, 80)]).await;
    assert_eq!(running.ports("api").unwrap(), [80], "nobody has it");
    running.write(|tx| tx.delete::<Service>(&"x".into()).map(drop)).await;
    assert_eq!(running.task("web.1").status.err, "port 80/tcp is already in use by service api (api)");
    running.write(|tx| tx.delete::<Service>(&"y".into()).map(drop)).await;
    running.write(|tx| tx.delete::<Service>(&"api".into()).map(drop)).await;
    assert_eq!((running.ports("web").unwrap(), running.task("web.1").status.state), (vec![80], TaskState::Pending));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_service_no_longer_asks_for_is_freed() {
    let running = Running::on(testing::store("network front; service web network=front; service api"), SMALL).await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    running.publish("web", &[port(80, 80)]).await;
    assert_eq!(running.virtual_ips("web").len(), 2);
    running.write(|tx| respec(tx, "web", |spec| spec.endpoint = None)).await;
    let view = running.store.view();
    let endpoint = view.get::<Service>(&"web".into()).unwrap().endpoint.clone().unwrap();
    assert_eq!((endpoint.spec.clone(), endpoint.ports.len()), (None, 0));
    assert_eq!(running.virtual_ips("web"), ["front 10.1.0.2/24"]);
    running.publish("api", &[port(80, 80)]).await;
    assert_eq!(running.virtual_ips("api"), ["ingress 10.2.0.2/24"]);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_keeps_virtual_addresses_and_gives_none_of_them_out_again() {
    let text = "node a; network front; service web network=front; task web.1";
    let running = Running::on(testing::store(text), Model { subnets: 2, addresses: 9 }).await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    running.publish("web", &[port(80, 0)]).await;
    let (store, before) = (running.store.clone(), running.store.version());
    let (addresses, attachments) = (running.virtual_ips("web"), running.attachments("a"));
    assert_eq!((addresses.len(), attachments.len()), (2, 1));
    running.end().await;

    let next = Running::on(store, Model { subnets: 2, addresses: 9 }).await;
    assert_eq!(next.store.version(), before, "nothing is written for what has all it needs");
    next.amend("service late network=front; task late.1").await;
    assert_eq!((next.virtual_ips("web"), next.attachments("a")), (addresses, attachments));
    assert_eq!(next.virtual_ips("late"), ["front 10.1.0.4/24"]);
    assert_eq!(next.networks("late.1"), ["front 10.1.0.5/24"]);
    next.end().await;
}
