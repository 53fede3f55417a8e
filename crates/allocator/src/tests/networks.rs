//! Networks, and what they wait for.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_subnet_that_another_network_has_is_waited_for_with_all_that_follows() {
    let running = Running::on(testing::store(""), Model { subnets: 9, addresses: 9 }).await;
    running.write(|tx| tx.create(with_subnet("front", 7)).map(drop)).await;
    running.write(|tx| tx.create(with_subnet("back", 7)).map(drop)).await;
    let told = "subnet 10.7.0.0/24 overlaps with network front (front)";
    assert_eq!(running.waits("back").unwrap(), told);
    running.amend("service web network=back; task web.1").await;
    assert_eq!(running.task("web.1").status.err, told);
    let version = running.store.version();
    running.amend("network other").await;
    running.write(|tx| tx.delete::<Network>(&"other".into()).map(drop)).await;
    assert_eq!(running.store.version().0, version.0 + 3, "of no use: created, allocated, deleted");
    running.write(|tx| tx.delete::<Network>(&"front".into()).map(drop)).await;
    assert_eq!((running.waits("back"), running.networks("web.1")), (None, vec!["back 10.7.0.3/24".to_owned()]));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_second_ingress_network_waits_until_the_first_is_gone() {
    let running = Running::on(testing::store("node a; service web"), SMALL).await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    let mut second = ingress();
    second.id = "a-second".into();
    Arc::make_mut(&mut second.spec).annotations = Some(testing::named("second"));
    running.write(|tx| tx.create(second).map(drop)).await;
    running.publish("web", &[port(80, 80)]).await;
    assert_eq!(running.waits("a-second").unwrap(), "network ingress (ingress) carries the published ports already");
    assert_eq!(
        (running.attachments("a"), running.virtual_ips("web")),
        (vec!["ingress 10.1.0.2/24".to_owned()], vec!["ingress 10.1.0.3/24".to_owned()])
    );
    running.write(|tx| tx.delete::<Network>(&"ingress".into()).map(drop)).await;
    assert_eq!(running.waits("a-second"), None);
    assert_eq!(running.attachments("a"), ["a-second 10.1.0.2/24"]);
    assert_eq!(running.virtual_ips("web"), ["a-second 10.1.0.3/24"], "what publishes goes on there");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_network_waits_for_is_written_once_and_since_when() {
    let running = Running::with("network front").await;
    let waiting =
        |running: &Running| running.store.view().get::<Network>(&"front".into()).unwrap().waiting.clone().unwrap();
    let told = waiting(&running);
    assert_eq!(told.message, "network support is unavailable");
    assert!(told.since.is_some());
    let before = running.store.version().0;
    running.amend("network back").await;
    assert_eq!(running.store.version().0, before + 2, "of the new one");
    running.write(|tx| tx.delete::<Network>(&"back".into()).map(drop)).await;
    assert_eq!((running.store.version().0, waiting(&running)), (before + 3, told));
    let store = running.store.clone();
    running.end().await;

    let next = Running::on(store, SMALL).await;
    assert_eq!(next.waits("front"), None, "a provider that can makes it");
    next.end().await;
}

#[tokio::test(start_paused = true)]
async fn without_networks_every_driver_is_refused_and_the_ingress_network_needs_nothing() {
    let driver = Driver { name: "overlay".to_owned(), ..Default::default() };
    for purpose in [DriverPurpose::Network, DriverPurpose::Ingress, DriverPurpose::Ipam] {
        assert_eq!(InertNetworks.check_driver(purpose, None), Ok(()));
        assert_eq!(InertNetworks.check_driver(purpose, Some(&driver)), Err(NetworkError::Unavailable));
    }
    assert!(InertNetworks.predefined().is_empty());
    let running = Running::with("node a; service web").await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    running.publish("web", &[port(80, 80)]).await;
    running.amend("task web.1").await;
    assert_eq!((running.ports("web").unwrap(), running.task("web.1").status.state), (vec![80], TaskState::Pending));
    assert_eq!(
        (running.waits("ingress"), running.attachments("a"), running.virtual_ips("web")),
        (None, vec![], vec![])
    );
    running.end().await;
}
