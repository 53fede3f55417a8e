//! Published ports of services.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_port_that_another_service_has_is_waited_for_and_the_task_says_so() {
    let running = Running::with("service api; service web").await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    running.publish("api", &[port(80, 8080)]).await;
    running.publish("web", &[port(80, 8080)]).await;
    running.amend("task api.1; task web.1").await;
    assert_eq!(running.tasks(), "task api.1 pending\ntask web.1 new\n");
    assert_eq!(running.task("web.1").status.err, "port 8080/tcp is already in use by service api (api)");
    let before = running.store.version();
    running.amend("task web.2").await;
    assert_eq!(running.store.version().0, before.0 + 2, "the new task is told, the other one knows");

    running.write(|tx| tx.delete::<Service>(&"api".into()).map(drop)).await;
    assert_eq!(running.ports("web").unwrap(), [8080]);
    assert_eq!(running.tasks(), "task api.1 pending\ntask web.1 pending\ntask web.2 pending\n");
    assert_eq!(running.task("web.1").status.err, "");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_ports_are_at_odds_waits_until_it_is_changed() {
    let running = Running::with("service web").await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    running.publish("web", &[port(80, 8080), port(81, 8080)]).await;
    assert_eq!(running.ports("web"), None);
    running.publish("web", &[port(80, 8080), port(81, 8081)]).await;
    assert_eq!(running.ports("web").unwrap(), [8080, 8081]);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn changing_the_ports_of_a_service_frees_the_old_ones() {
    let running = Running::with("service api; service web").await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    running.publish("api", &[port(80, 8080)]).await;
    running.publish("web", &[port(80, 8080)]).await;
    running.publish("api", &[port(80, 9090)]).await;
    assert_eq!((running.ports("api").unwrap(), running.ports("web").unwrap()), (vec![9090], vec![8080]));
    running
        .write(|tx| {
            tx.edit(&"web".into(), |service: &mut Service| Arc::make_mut(&mut service.spec).endpoint = None).map(drop)
        })
        .await;
    assert_eq!(running.ports("web"), None);
    running.publish("api", &[port(80, 8080)]).await;
    assert_eq!(running.ports("api").unwrap(), [8080]);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn host_ports_are_copied_and_need_no_ingress_network() {
    let running = Running::with("service web").await;
    let host = |published| PortConfig { publish_mode: PublishMode::Host.into(), ..port(80, published) };
    running.publish("web", &[host(80)]).await;
    assert_eq!(running.ports("web").unwrap(), [80]);
    running.publish("web", &[host(81)]).await;
    assert_eq!(running.ports("web").unwrap(), [81]);
    running.publish("web", &[port(80, 0)]).await;
    running.amend("task web.1").await;
    assert_eq!(running.task("web.1").status.err, "ingress network is missing");
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    assert_eq!((running.ports("web").unwrap(), running.task("web.1").status.state), (vec![30_000], TaskState::Pending));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn protocols_have_ports_of_their_own() {
    let running = Running::with("service web").await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    let udp = PortConfig { protocol: Protocol::Udp.into(), ..port(53, 53) };
    running.publish("web", &[port(53, 53), udp]).await;
    assert_eq!(running.ports("web").unwrap(), [53, 53]);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_port_is_free_again_when_its_service_is_deleted() {
    let running = Running::with("service web").await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    running.publish("web", &[port(80, 8080), port(81, 0)]).await;
    assert_eq!(running.ports("web").unwrap(), [8080, 30_000]);
    running.write(|tx| tx.delete::<Service>(&"web".into()).map(drop)).await;
    running.amend("service again").await;
    running.publish("again", &[port(80, 8080), port(81, 0)]).await;
    assert_eq!(running.ports("again").unwrap(), [8080, 30_001], "a number that was chosen is not reused at once");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_host_ports_leaves_the_ingress_ports_as_they_are() {
    let running = Running::with("service web").await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    let host = |published| PortConfig { publish_mode: PublishMode::Host.into(), ..port(53, published) };
    running.publish("web", &[host(5300), port(80, 0), port(81, 8081)]).await;
    assert_eq!(running.ports("web").unwrap(), [5300, 30_000, 8081]);
    running.publish("web", &[host(5301), port(80, 0), port(81, 8081)]).await;
    assert_eq!(running.ports("web").unwrap(), [5301, 8081, 30_000], "and the endpoint has a copy of what is asked for");
    let in_place_of_it = PortConfig { publish_mode: PublishMode::Ingress.into(), ..host(5301) };
    running.publish("web", &[in_place_of_it, port(80, 0), port(81, 8081)]).await;
    assert_eq!(running.ports("web").unwrap(), [5301, 8081, 30_000]);
    running.amend("service api").await;
    running.publish("api", &[port(53, 5301)]).await;
    assert_eq!(running.ports("api"), None, "now it belongs to the cluster");
    running.end().await;
}

/// What each way of asking makes of an endpoint: the same one, or another.
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_answers_what_is_asked_for_stays_and_any_other_is_made_again() {
    let running = Running::with("service web").await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    let host = |published| PortConfig { publish_mode: PublishMode::Host.into(), ..port(53, published) };
    let asked = [port(80, 8080), port(81, 0), host(0)];
    running.publish("web", &asked).await;
    let had = running.ports("web").unwrap();
    assert_eq!(had, [8080, 30_000, 0]);
    assert_eq!(running.writes_after(|tx| asks(tx, "web", &asked)).await, 0, "the same");
    let label = |spec: &mut ServiceSpec| {
        spec.annotations.get_or_insert_default().labels.insert("tier".to_owned(), "front".to_owned());
    };
    assert_eq!(running.writes_after(|tx| respec(tx, "web", label)).await, 0, "something else has changed");
    for (asked, expected) in [
        (vec![port(80, 8080), port(81, 0)], vec![8080, 30_000]),
        (vec![port(80, 8080), port(82, 0)], vec![8080, 30_001]),
        (vec![port(80, 8081), port(82, 0)], vec![8081, 30_001]),
        (vec![port(80, 8081), port(82, 31_000)], vec![8081, 31_000]),
        (vec![port(80, 8081), port(82, 31_000), host(53)], vec![8081, 31_000, 53]),
        (vec![port(80, 8081), port(82, 31_000), host(54)], vec![54, 8081, 31_000]),
        (vec![], vec![]),
    ] {
        assert_eq!(running.writes_after(|tx| asks(tx, "web", &asked)).await, 1, "{asked:?}");
        assert_eq!(running.ports("web").unwrap(), expected);
    }
    running.write(|tx| respec(tx, "web", |spec| spec.endpoint = None)).await;
    assert_eq!(running.ports("web"), None, "neither asked for nor there");
    running.end().await;
}
