//! Random clusters: small, full of differences, and easy to shrink.

mod objects;

use proptest::{prelude::*, sample::select};
use swarmkit_api::{
    TaskState,
    wire::{node_spec::Availability, port_config::PublishMode, swarmkit::scheduling::v1::Strategy as Chosen},
};

pub(super) use self::objects::{cluster, put};

/// What a node has of a resource of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Units {
    None,
    Counted(i64),
    Named(u8),
}

/// How a node is.
#[derive(Clone, Debug)]
pub(super) struct NodeShape {
    ready: bool,
    availability: Availability,
    manager: bool,
    zone: &'static str,
    rack: &'static str,
    disk: &'static str,
    platform: Option<(&'static str, &'static str)>,
    /// Processors and memory. `None`: it has not said what it has.
    has: Option<(i64, i64)>,
    gpus: Units,
    /// `None`: nothing is known of its engine.
    plugins: Option<Vec<(&'static str, &'static str)>>,
}

/// What a service asks for.
#[derive(Clone, Debug)]
pub(super) struct ServiceShape {
    global: bool,
    /// Deleted, while its tasks are still there.
    gone: bool,
    strategy: Chosen,
    constraints: Vec<&'static str>,
    pub(super) preferences: Vec<&'static str>,
    platforms: Vec<(&'static str, &'static str)>,
    max_replicas: u64,
    cpus: i64,
    memory: i64,
    gpus: Vec<i64>,
    port: Option<(u32, i32, PublishMode)>,
    needs: Needed,
}

/// What else than a plain container a service asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Needed {
    Nothing,
    Process,
    Volume(&'static str),
    Network(&'static str),
    Log(&'static str),
    ClusterVolume,
}

/// How far a task is.
#[derive(Clone, Debug)]
pub(super) struct TaskShape {
    service: u8,
    node: Option<u8>,
    pub(super) state: TaskState,
    desired: TaskState,
    version: Option<u64>,
    minutes_ago: u64,
    given: Units,
    err: &'static str,
}

/// The version of every service's specification.
const CURRENT: u64 = 2;

pub(super) const NODES: u8 = 6;
pub(super) const SERVICES: u8 = 4;

pub(super) fn node_shape() -> impl Strategy<Value = NodeShape> {
    let flags = (prop::bool::weighted(0.9), any::<bool>());
    let availability =
        prop_oneof![8 => Just(Availability::Active), 1 => Just(Availability::Pause), 1 => Just(Availability::Drain)];
    let labels = (select(vec!["", "a", "b", "c"]), select(vec!["", "1", "2"]), select(vec!["", "ssd"]));
    let platform = select(vec![
        Some(("linux", "x86_64")),
        Some(("linux", "amd64")),
        Some(("linux", "aarch64")),
        Some(("windows", "x86_64")),
        None,
    ]);
    let has = prop::option::weighted(0.9, (0..5_i64, 0..5_i64));
    let gpus = prop_oneof![Just(Units::None), (0..4_i64).prop_map(Units::Counted), (1..4_u8).prop_map(Units::Named)];
    let plugins = select(vec![
        ("Volume", "nfs"),
        ("Volume", "nfs:latest"),
        ("Network", "overlay"),
        ("Log", "gelf"),
        ("Executor", "container"),
        ("Executor", "process"),
    ]);
    let plugins = prop::option::weighted(0.8, prop::collection::vec(plugins, 0..4));
    (flags, availability, labels, platform, has, gpus, plugins).prop_map(
        |((ready, manager), availability, (zone, rack, disk), platform, has, gpus, plugins)| NodeShape {
            ready,
            availability,
            manager,
            zone,
            rack,
            disk,
            platform,
            has,
            gpus,
            plugins,
        },
    )
}

const CONSTRAINTS: [&str; 10] = [
    "node.labels.zone==A",
    "node.labels.zone != b",
    "engine.labels.disk == ssd",
    "engine.labels.disk!=ssd",
    "node.role==manager",
    "node.hostname != n1",
    "node.platform.os==LINUX",
    "node.id==n2",
    "node.colour==red",
    "node.id~n1",
];

pub(super) const PREFERENCES: [&str; 4] =
    ["node.labels.zone", "node.labels.rack", "engine.labels.disk", "something.else"];

/// How a service, or the cluster, wants nodes to be chosen.
pub(super) fn strategy() -> impl Strategy<Value = Chosen> {
    prop_oneof![4 => Just(Chosen::Unset), 1 => Just(Chosen::Spread), 2 => Just(Chosen::BinPack)]
}

/// A service, which may be `gone` while its tasks are still there.
pub(super) fn service_shape(gone: bool) -> impl Strategy<Value = ServiceShape> {
    let kind = (prop::bool::weighted(0.15), prop::bool::weighted(if gone { 0.1 } else { 0.0 }), strategy());
    let constraints =
        prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec(select(CONSTRAINTS.to_vec()), 1..3)];
    let preferences =
        prop_oneof![1 => Just(Vec::new()), 1 => prop::collection::vec(select(PREFERENCES.to_vec()), 1..4)];
    let platforms = prop_oneof![
        4 => Just(Vec::new()),
        1 => prop::collection::vec(select(vec![("linux", "amd64"), ("linux", ""), ("", "arm64")]), 1..3),
    ];
    let amounts = (
        prop_oneof![2 => Just(0), 1 => 1..3_u64],
        prop_oneof![1 => Just(0), 1 => 1..4_i64],
        prop_oneof![1 => Just(0), 1 => 1..4_i64],
        prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(0..3_i64, 1..3)],
    );
    let port = prop::option::weighted(
        0.3,
        (select(vec![80, 80, 0]), 0..2_i32, select(vec![PublishMode::Host, PublishMode::Host, PublishMode::Ingress])),
    );
    let needs = prop_oneof![
        8 => Just(Needed::Nothing),
        1 => Just(Needed::Process),
        1 => select(vec!["nfs", "local"]).prop_map(Needed::Volume),
        1 => select(vec!["overlay", "weave"]).prop_map(Needed::Network),
        1 => select(vec!["gelf", "none"]).prop_map(Needed::Log),
        1 => Just(Needed::ClusterVolume),
    ];
    (kind, constraints, preferences, platforms, amounts, port, needs).prop_map(
        |(
            (global, gone, strategy),
            constraints,
            preferences,
            platforms,
            (max_replicas, cpus, memory, gpus),
            port,
            needs,
        )| {
            ServiceShape {
                global,
                gone,
                strategy,
                constraints,
                preferences,
                platforms,
                max_replicas,
                cpus,
                memory,
                gpus,
                port,
                needs,
            }
        },
    )
}

/// A task of any kind: most wait, some are on a node, some, if such are wanted, are `over`.
pub(super) fn task_shape(over: bool) -> impl Strategy<Value = TaskShape> {
    let waiting = Just((None, TaskState::Pending));
    let preassigned = (0..NODES + 1).prop_map(|node| (Some(node), TaskState::Pending));
    let states = vec![
        TaskState::Assigned,
        TaskState::Preparing,
        TaskState::Running,
        TaskState::Running,
        TaskState::Running,
        TaskState::Complete,
        TaskState::Shutdown,
        TaskState::Rejected,
        TaskState::Orphaned,
    ];
    let states = if over { states } else { states[..5].to_vec() };
    let placed = (0..NODES + 1, select(states)).prop_map(|(node, state)| (Some(node), state));
    // Often on the same node, so that five come together.
    let failed = (0..2_u8).prop_map(|node| (Some(node), TaskState::Failed));
    let new = Just((None, TaskState::New));
    let place = prop_oneof![8 => waiting, 2 => preassigned, 8 => placed, if over { 4 } else { 0 } => failed, 1 => new];
    let desired = prop_oneof![
        8 => Just(TaskState::Running),
        1 => Just(TaskState::Complete),
        1 => Just(TaskState::Shutdown),
        1 => Just(TaskState::Remove),
    ];
    let version = select(vec![Some(CURRENT), Some(CURRENT), Some(CURRENT), Some(CURRENT), Some(1), None]);
    let given = prop_oneof![
        2 => Just(Units::None),
        1 => (1..3_i64).prop_map(Units::Counted),
        1 => (1..4_u8).prop_map(Units::Named),
    ];
    let err = select(vec!["", "", "no suitable node"]);
    (0..SERVICES, place, desired, version, 0..8_u64, given, err).prop_map(
        |(service, (node, state), desired, version, minutes_ago, given, err)| TaskShape {
            service,
            node,
            state,
            desired,
            version,
            minutes_ago,
            given,
            err,
        },
    )
}

/// Tasks of one service that failed on one node, often as many as make it a bad choice.
pub(super) fn failures() -> impl Strategy<Value = Vec<TaskShape>> {
    (0..SERVICES, 0..NODES, 3..7_usize, 3..6_u64).prop_map(|(service, node, count, minutes_ago)| {
        let failed = TaskShape {
            service,
            node: Some(node),
            state: TaskState::Failed,
            desired: TaskState::Shutdown,
            version: Some(CURRENT),
            minutes_ago,
            given: Units::None,
            err: "",
        };
        vec![failed; count]
    })
}

/// Nothing but waiting and running tasks of one service.
pub(super) fn plain_task() -> impl Strategy<Value = TaskShape> {
    let running = (0..NODES).prop_map(|node| (Some(node), TaskState::Running));
    prop_oneof![4 => Just((None, TaskState::Pending)), 1 => running].prop_map(|(node, state)| TaskShape {
        service: 0,
        node,
        state,
        desired: TaskState::Running,
        version: Some(CURRENT),
        minutes_ago: 0,
        given: Units::None,
        err: "",
    })
}

/// A service that only spreads, with this much to reserve.
pub(super) fn plain_service() -> impl Strategy<Value = ServiceShape> {
    let preferences = prop::collection::vec(select(PREFERENCES.to_vec()), 0..4);
    (preferences, 0..3_i64, 0..3_u64).prop_map(|(preferences, memory, max_replicas)| ServiceShape {
        global: false,
        gone: false,
        strategy: Chosen::Unset,
        constraints: Vec::new(),
        preferences,
        platforms: Vec::new(),
        max_replicas,
        cpus: 0,
        memory,
        gpus: Vec::new(),
        port: None,
        needs: Needed::Nothing,
    })
}
