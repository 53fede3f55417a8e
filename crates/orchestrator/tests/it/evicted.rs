//! The enforcers and the scheduler on one store: what the ones turn out the other does not put back.

use futures_util::FutureExt as _;
use proptest::prelude::*;
use swarmkit_api::{
    Node, ServiceId, Version, constraint, platform,
    resources::{Reserved, reservations},
    wire::{self, node_spec::Availability, update_config::FailureAction, update_status::UpdateState},
};

use super::*;

const GIB: i64 = 1 << 30;

/// What happens to nodes and services.
#[derive(Clone, Debug)]
enum Event {
    Memory(u8, i64),
    Gpus(u8, i64),
    Label(u8, bool),
    Linux(u8, bool),
    Availability(u8, Availability),
    Service(Wish),
    Pass(u64),
}

/// What a service comes to ask for.
#[derive(Clone, Debug)]
struct Wish {
    replicas: u64,
    memory: i64,
    gpus: i64,
    labelled: bool,
    linux: bool,
    max_replicas: u64,
}

fn event() -> impl Strategy<Value = Event> {
    let node = || 0..3_u8;
    let availability = prop::sample::select(vec![
        Availability::Active,
        Availability::Active,
        Availability::Pause,
        Availability::Drain,
    ]);
    let wish = (0..7_u64, 0..4_i64, 0..3_i64, any::<bool>(), any::<bool>(), 0..3_u64);
    let wish = wish.prop_map(|(replicas, memory, gpus, labelled, linux, max_replicas)| Wish {
        replicas,
        memory,
        gpus,
        labelled,
        linux,
        max_replicas,
    });
    prop_oneof![
        3 => (node(), 0..7_i64).prop_map(|(node, memory)| Event::Memory(node, memory)),
        2 => (node(), 0..4_i64).prop_map(|(node, gpus)| Event::Gpus(node, gpus)),
        2 => (node(), any::<bool>()).prop_map(|(node, set)| Event::Label(node, set)),
        2 => (node(), any::<bool>()).prop_map(|(node, linux)| Event::Linux(node, linux)),
        1 => (node(), availability).prop_map(|(node, availability)| Event::Availability(node, availability)),
        3 => wish.prop_map(Event::Service),
        2 => (1..20_u64).prop_map(Event::Pass),
    ]
}

fn gpus(value: i64) -> wire::GenericResource {
    let unit = wire::DiscreteGenericResource { kind: "gpu".into(), value };
    wire::GenericResource { resource: Some(wire::generic_resource::Resource::DiscreteResourceSpec(unit)) }
}

fn linux(is_linux: bool) -> wire::Platform {
    wire::Platform { os: if is_linux { "linux" } else { "windows" }.into(), ..Default::default() }
}

async fn happen(store: &Store, event: Event) {
    let edit = |number: u8, change: &dyn Fn(&mut Node)| {
        write(store, |tx| tx.edit(&format!("n{number}").as_str().into(), |node: &mut Node| change(node)).map(drop))
            .now_or_never()
            .expect("a local store commits at once");
    };
    let description = |node: &mut Node, change: &dyn Fn(&mut wire::NodeDescription)| {
        change(Arc::make_mut(node.description.get_or_insert_default()));
    };
    match event {
        Event::Memory(node, gib) => edit(node, &|node| {
            description(node, &|d| d.resources.get_or_insert_default().memory_bytes = gib * GIB);
        }),
        Event::Gpus(node, count) => edit(node, &|node| {
            description(node, &|d| d.resources.get_or_insert_default().generic = vec![gpus(count)]);
        }),
        Event::Label(node, set) => edit(node, &|node| {
            let labels = &mut Arc::make_mut(&mut node.spec).annotations.get_or_insert_default().labels;
            labels.insert("disk".into(), if set { "ssd" } else { "tape" }.into());
        }),
        Event::Linux(node, is_linux) => {
            edit(node, &|node| description(node, &|d| d.platform = Some(linux(is_linux))));
        }
        Event::Availability(node, availability) => {
            edit(node, &|node| Arc::make_mut(&mut node.spec).set_availability(availability));
        }
        Event::Service(wish) => {
            write(store, |tx| ask(tx, &wish)).await;
            // Most of the rollout is done before the next thing happens.
            pass(store, 10).await;
        }
        Event::Pass(seconds) => pass(store, seconds).await,
    }
    settle().await;
}

/// Changes the service as the control API does.
fn ask(tx: &mut Transaction, wish: &Wish) -> Result<(), StoreError> {
    let version = Version(tx.version().0 + 1);
    tx.edit(&ServiceId::from("web"), |service: &mut Service| {
        service.previous_spec = Some(service.spec.clone());
        service.previous_spec_version = service.spec_version;
        service.spec_version = Some(version);
        service.update_status = None;
        let spec = Arc::make_mut(&mut service.spec);
        let replicated = wire::ReplicatedService { replicas: wish.replicas };
        spec.mode = Some(wire::service_spec::Mode::Replicated(replicated));
        let failure_action = FailureAction::Continue.into();
        spec.update = Some(wire::UpdateConfig { parallelism: 2, failure_action, ..Default::default() });
        let task = spec.task.get_or_insert_default();
        let generic = (wish.gpus > 0).then(|| gpus(wish.gpus)).into_iter().collect();
        let reserved = wire::Resources { memory_bytes: wish.memory * GIB, generic, ..Default::default() };
        task.resources.get_or_insert_default().reservations = Some(reserved);
        task.placement = Some(wire::Placement {
            constraints: wish.labelled.then(|| "node.labels.disk == ssd".to_owned()).into_iter().collect(),
            platforms: wish.linux.then(|| linux(true)).into_iter().collect(),
            max_replicas: wish.max_replicas,
            ..Default::default()
        });
    })
    .map(drop)
}

/// What agents do with their tasks.
fn act(store: &Store) {
    let view = store.view();
    for task in view.all::<Task>().filter(|task| task.status.state >= TaskState::Assigned) {
        let state = match (task.desired_state > TaskState::Running, task.status.state) {
            (true, state) if state <= TaskState::Running => TaskState::Shutdown,
            (false, TaskState::Assigned) if task.desired_state == TaskState::Running => TaskState::Running,
            _ => continue,
        };
        write(store, |tx| tx.edit(&task.id, |task: &mut Task| task.status.state = state).map(drop))
            .now_or_never()
            .expect("a local store commits at once");
    }
}

async fn pass(store: &Store, seconds: u64) {
    for _ in 0..seconds {
        act(store);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// What nodes that take part have is not given out twice, and nobody is where the rules of the service shut it out.
fn check(store: &Store) {
    let view = store.view();
    for node in view.all::<Node>().filter(|node| node.spec.availability() == Availability::Active) {
        let described = node.description.as_ref().and_then(|d| d.resources.clone()).unwrap_or_default();
        let on_node = view.find(TaskBy::Node(Some(&node.id)));
        let at_work = on_node.filter(|task| {
            task.desired_state <= TaskState::Complete
                && (TaskState::Assigned..TaskState::Complete).contains(&task.status.state)
        });
        let (mut reserved, mut of_web) = (Reserved::default(), 0);
        let service_of = |task: &Task| {
            let id = task.service_id.as_ref().expect("each is of a service");
            view.get::<Service>(id).expect("no service is deleted")
        };
        // Those that are going to be replaced may be one too many beside the others.
        let (present, others): (Vec<_>, Vec<_>) =
            at_work.partition(|task| task.spec_version == service_of(task).spec_version);
        for task in present.into_iter().chain(others) {
            let wanted = reservations(&task.spec).cloned().unwrap_or_default();
            let wanted = wire::Resources { generic: Vec::new(), ..wanted };
            assert!(reserved.fits(&described, &wanted), "{} has no room on {}", task.id, node.id);
            assert!(reserved.honours(&described, &task.assigned_generic_resources), "{} on {}", task.id, node.id);
            reserved.add(task);
            let service = service_of(task);
            of_web += u64::from(service.id.as_str() == "web");
            let others = if service.id.as_str() == "web" { of_web - 1 } else { 0 };
            let status = service.update_status.as_ref().map(wire::UpdateStatus::state);
            // A rollout that cannot go on, since there is no room, leaves where they are whom it has not come to.
            let waits = task.spec_version != service.spec_version && status != Some(UpdateState::Completed);
            let admits = admits(service.spec.task.as_ref(), node, others);
            assert!(admits || (waits && self::admits(Some(&*task.spec), node, others)), "{} on {}", task.id, node.id);
        }
    }
}

/// Whether a node that has that many others of the service is one that a specification asks for.
fn admits(spec: Option<&wire::TaskSpec>, node: &Node, others: u64) -> bool {
    let placement = spec.and_then(|spec| spec.placement.clone()).unwrap_or_default();
    let constraints = constraint::parse_all(&placement.constraints).expect("they are well formed");
    constraint::all_match(&constraints, node)
        && platform::any_matches(&placement.platforms, node)
        && (placement.max_replicas == 0 || others < placement.max_replicas)
}

async fn play(events: Vec<Event>) {
    let text = "node n0 memory=4GiB generic:gpu=2 os=linux label:disk=ssd; node n1 memory=4GiB os=linux; node n2
                service web replicas=3 memory=1GiB restart=any delay=1s; service all global memory=1GiB restart=any delay=1s";
    with_loops(text, async |store: &Store| {
        for event in events {
            happen(store, event).await;
        }
        // Longer than a rollout over all slots takes.
        pass(store, 60).await;
        check(store);
        let before = store.version();
        pass(store, 60).await;
        assert_eq!(store.version(), before, "nobody undoes what another has done");
    })
    .await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..Default::default() })]

    #[test]
    fn what_is_turned_out_is_not_put_back_whatever_happens_to_nodes_and_services(
        events in prop::collection::vec(event(), 1..16)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(events));
    }
}
