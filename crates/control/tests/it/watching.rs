//! Watching what changes.

use swarmkit_api::{Service, ServiceId, TaskState, wire};
use swarmkit_store::WATCH_QUEUE;
use swarmkit_testing::{NodeBuilder, config, node, service, task};
use tokio_stream::StreamExt as _;
use tonic::{Code, Streaming};
use wire::{select_by::By, watch_message::Event, watch_request::WatchEntry};

use crate::world::World;

const CREATE: i32 = 1;
const UPDATE: i32 = 2;
const REMOVE: i32 = 4;

fn entry(kind: &str, action: i32, by: impl IntoIterator<Item = By>) -> WatchEntry {
    let filters = by.into_iter().map(|by| wire::SelectBy { by: Some(by) }).collect();
    WatchEntry { kind: kind.into(), action, filters }
}

async fn watch(world: &World, request: wire::WatchRequest) -> Streaming<wire::WatchMessage> {
    let mut stream = world.watch().watch(request).await.unwrap().into_inner();
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(first, wire::WatchMessage::default(), "it stands");
    stream
}

async fn entries(world: &World, entries: Vec<WatchEntry>) -> Streaming<wire::WatchMessage> {
    watch(world, wire::WatchRequest { entries, ..Default::default() }).await
}

async fn next(stream: &mut Streaming<wire::WatchMessage>) -> wire::WatchMessage {
    stream.next().await.unwrap().unwrap()
}

/// What an event is about: its action and the id of its object.
fn told(event: &Event) -> (i32, String) {
    use wire::object::Object;
    let id = match event.object.as_ref().unwrap().object.as_ref().unwrap() {
        Object::Service(service) => &service.id,
        Object::Task(task) => &task.id,
        Object::Node(node) => &node.id,
        Object::Config(config) => &config.id,
        other => panic!("{other:?}"),
    };
    (event.action, id.clone())
}

async fn put_service(world: &World, name: &str) {
    world.put(|tx| tx.create(service(name).build()).map(drop)).await;
}

async fn touch(world: &World, name: &str) {
    world.put(|tx| tx.edit::<Service>(&ServiceId::from(name), |_| {}).map(drop)).await;
}

async fn remove(world: &World, name: &str) {
    world.put(|tx| tx.delete::<Service>(&ServiceId::from(name)).map(drop)).await;
}

#[tokio::test]
async fn what_was_asked_for_comes_as_it_is_committed_and_nothing_else() {
    let world = World::new();
    let mut stream = entries(&world, vec![entry("service", CREATE | REMOVE, [])]).await;
    put_service(&world, "web").await;
    world.put(|tx| tx.create(config("app", "x")).map(drop)).await;
    touch(&world, "web").await;
    remove(&world, "web").await;
    let created = next(&mut stream).await;
    let removed = next(&mut stream).await;
    assert_eq!(told(&created.events[0]), (CREATE, "web".to_owned()));
    assert_eq!(told(&removed.events[0]), (REMOVE, "web".to_owned()), "neither configs nor updates");
    assert!(removed.version.unwrap().index > created.version.unwrap().index);
    assert_eq!(removed.version.unwrap().index, world.store.version().0);
}

#[tokio::test]
async fn one_commit_is_one_message() {
    let world = World::new();
    let mut stream = entries(&world, vec![entry("service", CREATE, []), entry("config", CREATE, [])]).await;
    world
        .put(|tx| {
            tx.create(service("a").build())?;
            tx.create(config("b", "x"))?;
            tx.create(node("c").build())?;
            tx.create(service("d").build()).map(drop)
        })
        .await;
    let message = next(&mut stream).await;
    let ids: Vec<_> = message.events.iter().map(|event| told(event).1).collect();
    assert_eq!(ids, ["a", "b", "d"]);
}

#[tokio::test]
async fn filters_of_an_entry_narrow_and_entries_add_up() {
    let world = World::new();
    let (web, db) = (service("web").build(), service("db").build());
    let in_the_north = || wire::SelectByCustom { index: "place".into(), value: "north".into(), ..Default::default() };
    let place = || wire::IndexEntry { key: "place".into(), val: "north".into() };
    let north = |node: NodeBuilder| node.spec(|spec| spec.annotations.get_or_insert_default().indices.push(place()));
    let of_web_on_a = vec![By::ServiceId("web".into()), By::NodeId("a".into())];
    let stopped = [By::DesiredState(TaskState::Shutdown.into())];
    let second = [By::Slot(wire::SelectBySlot { service_id: "web".into(), slot: 2 })];
    let wanted = vec![
        entry("task", CREATE, of_web_on_a),
        entry("task", CREATE, stopped),
        entry("task", CREATE, second),
        entry("node", CREATE, [By::NamePrefix("fro".into()), By::Custom(in_the_north())]),
        entry("node", CREATE, [By::Role(1)]),
    ];
    let mut stream = entries(&world, wanted).await;
    world
        .put(|tx| {
            tx.create(task("t1").of(&web).slot(1).on("a").build())?;
            tx.create(task("t2").of(&web).slot(1).on("b").build())?;
            tx.create(task("t3").on("a").build())?;
            tx.create(task("t4").desired(TaskState::Shutdown).build())?;
            tx.create(task("t5").of(&web).slot(2).on("b").build())?;
            tx.create(task("t6").of(&db).slot(2).on("b").build())?;
            tx.create(north(node("front")).build())?;
            tx.create(node("frost").build())?;
            tx.create(north(node("rear")).build())?;
            tx.create(node("back").manager().build()).map(drop)
        })
        .await;
    let ids: Vec<_> = next(&mut stream).await.events.iter().map(|event| told(event).1).collect();
    assert_eq!(ids, ["t1", "t4", "t5", "front", "back"]);
}

#[tokio::test]
async fn what_an_object_was_is_told_on_request() {
    let world = World::new();
    put_service(&world, "web").await;
    for include_old_object in [false, true] {
        let entries = vec![entry("service", UPDATE, [])];
        let mut stream = watch(&world, wire::WatchRequest { entries, include_old_object, resume_from: None }).await;
        touch(&world, "web").await;
        assert_eq!(next(&mut stream).await.events[0].old_object.is_some(), include_old_object);
    }
}

#[tokio::test]
async fn a_watch_goes_on_where_another_ended() {
    let world = World::new();
    put_service(&world, "a").await;
    let seen = world.store.version();
    put_service(&world, "b").await;
    touch(&world, "a").await;
    let request = wire::WatchRequest {
        entries: vec![entry("service", CREATE | UPDATE, [])],
        resume_from: Some(seen.into()),
        include_old_object: false,
    };
    let mut stream = watch(&world, request.clone()).await;
    put_service(&world, "c").await;
    let mut events = Vec::new();
    for _ in 0..3 {
        events.extend(next(&mut stream).await.events.iter().map(told));
    }
    let expected = [(CREATE, "b"), (UPDATE, "a"), (CREATE, "c")].map(|(action, id)| (action, id.to_owned()));
    assert_eq!(events, expected, "each once, and no gap");

    // The version of a message is as good as that of the store.
    let mut again = watch(&world, request.clone()).await;
    let first = next(&mut again).await;
    let mut third = watch(&world, wire::WatchRequest { resume_from: first.version, ..request.clone() }).await;
    assert_eq!(next(&mut third).await.events.iter().map(told).collect::<Vec<_>>(), expected[1..2]);
    assert_eq!(next(&mut third).await.events.iter().map(told).collect::<Vec<_>>(), expected[2..]);
    put_service(&world, "d").await;
    assert_eq!(told(&next(&mut third).await.events[0]).1, "d");

    let future = wire::WatchRequest { resume_from: Some(wire::Version { index: 1000 }), ..request };
    assert_eq!(world.watch().watch(future).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn selectors_that_cannot_fit_are_refused() {
    let world = World::new();
    let refused = async |entry| {
        let request = wire::WatchRequest { entries: vec![entry], ..Default::default() };
        let status = world.watch().watch(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        status.message().to_owned()
    };
    assert_eq!(refused(entry("", CREATE, [])).await, "no kind of object specified");
    assert_eq!(refused(entry("task", 0, [])).await, "unrecognized action");
    assert_eq!(refused(entry("task", 8, [])).await, "unrecognized action", "there are three");
    let conflicting = "conflicting filters specified";
    let slot = || By::Slot(wire::SelectBySlot { service_id: "s".into(), slot: 1 });
    for twice in [
        [By::Id("a".into()), By::Id("b".into())],
        [By::Id("a".into()), By::IdPrefix("b".into())],
        [By::Name("a".into()), By::NamePrefix("b".into())],
        [By::ServiceId("a".into()), slot()],
        [By::NodeId("a".into()), By::NodeId("a".into())],
    ] {
        assert_eq!(refused(entry("task", CREATE, twice)).await, conflicting);
    }
    assert_eq!(refused(entry("task", CREATE, [By::Role(1)])).await, "a task cannot be selected by role");
    assert_eq!(refused(entry("node", CREATE, [slot()])).await, "a node cannot be selected by slot");
    let network = By::ReferencedNetworkId("n".into());
    assert_eq!(
        refused(entry("secret", CREATE, [network])).await,
        "a secret cannot be selected by referenced_network_id"
    );
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_is_told_to_list_again() {
    let world = World::new();
    let mut stream = entries(&world, vec![entry("service", CREATE, [])]).await;
    put_service(&world, "first").await;
    assert_eq!(told(&next(&mut stream).await.events[0]).1, "first");
    // Nobody else gets a turn meanwhile, so what is committed waits for the stream.
    tokio::task::unconstrained(async {
        for number in 0..=WATCH_QUEUE {
            put_service(&world, &number.to_string()).await;
        }
    })
    .await;
    let end = loop {
        match stream.next().await.expect("the stream does not end without a word") {
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::Aborted);
    let version = world.store.version().0;
    let text = format!("the watcher fell behind and missed changes up to version {version}: list again, then watch");
    assert_eq!(end.message(), text);
}

#[tokio::test]
async fn streams_end_when_the_server_does_also_those_that_asked_for_nothing() {
    let world = World::new();
    let mut some = entries(&world, vec![entry("service", CREATE, [])]).await;
    let mut nothing = entries(&world, Vec::new()).await;
    put_service(&world, "web").await;
    assert_eq!(told(&next(&mut some).await.events[0]).1, "web");
    world.stop.cancel();
    assert!(some.next().await.is_none());
    assert!(nothing.next().await.is_none());
}
