//! What is printed, character by character. Scripts read this: a change here is a change for them.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use insta::assert_snapshot;
use prost_types::Timestamp;
use swarmkit_api::{TaskState, wire};

use super::*;

const NOW: i64 = 1_800_000_000;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.unsigned_abs())
}

fn ago(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds: NOW - seconds, nanos: 0 })
}

fn meta(version: u64, seconds: i64) -> Option<wire::Meta> {
    let version = Some(wire::Version { index: version });
    Some(wire::Meta { version, created_at: ago(seconds), updated_at: ago(seconds / 2), ..Default::default() })
}

fn named(name: &str, labels: &[(&str, &str)]) -> Option<wire::Annotations> {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Some(wire::Annotations { name: name.to_owned(), labels, ..Default::default() })
}

fn node(id: &str, hostname: &str, state: wire::node_status::State) -> wire::Node {
    wire::Node {
        id: id.to_owned(),
        meta: meta(3, 7200),
        spec: Some(wire::NodeSpec { membership: wire::node_spec::Membership::Accepted.into(), ..Default::default() }),
        description: Some(wire::NodeDescription { hostname: hostname.to_owned(), ..Default::default() }),
        status: Some(wire::NodeStatus { state: state.into(), addr: "10.0.0.7".to_owned(), ..Default::default() }),
        ..Default::default()
    }
}

fn manager(id: &str, hostname: &str, leader: bool, reachable: bool) -> wire::Node {
    use wire::raft_member_status::Reachability;

    let mut node = node(id, hostname, wire::node_status::State::Ready);
    node.role = wire::NodeRole::Manager.into();
    node.spec.as_mut().unwrap().set_desired_role(wire::NodeRole::Manager);
    let reachability = if reachable { Reachability::Reachable } else { Reachability::Unreachable };
    node.manager_status = Some(wire::ManagerStatus {
        raft_id: 1,
        addr: "10.0.0.7:4242".to_owned(),
        leader,
        reachability: reachability.into(),
    });
    node
}

fn container() -> wire::ContainerSpec {
    wire::ContainerSpec {
        image: "nginx:1.27".to_owned(),
        command: vec!["/bin/sh".to_owned(), "-c".to_owned()],
        args: vec!["echo \"a\"".to_owned(), "b".to_owned()],
        env: vec!["A=1".to_owned(), "B=2".to_owned()],
        secrets: vec![wire::SecretReference {
            secret_id: "s1".to_owned(),
            secret_name: "token".to_owned(),
            target: Some(wire::secret_reference::Target::File(file("api-token"))),
        }],
        configs: vec![wire::ConfigReference {
            config_id: "c1".to_owned(),
            config_name: "motd".to_owned(),
            target: Some(wire::config_reference::Target::File(file("/etc/motd"))),
        }],
        mounts: vec![wire::Mount {
            r#type: wire::mount::Type::Bind.into(),
            source: "/srv".to_owned(),
            target: "/data".to_owned(),
            readonly: true,
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn file(name: &str) -> wire::FileTarget {
    wire::FileTarget { name: name.to_owned(), mode: 0o444, ..Default::default() }
}

fn service() -> wire::Service {
    let resources = |nano_cpus, memory_bytes| Some(wire::Resources { nano_cpus, memory_bytes, ..Default::default() });
    let task = wire::TaskSpec {
        runtime: Some(wire::task_spec::Runtime::Container(container())),
        resources: Some(wire::ResourceRequirements {
            limits: resources(500_000_000, 536_870_912),
            reservations: resources(0, 134_217_728),
            ..Default::default()
        }),
        restart: Some(wire::RestartPolicy {
            condition: wire::restart_policy::RestartCondition::Any.into(),
            delay: Some(prost_types::Duration { seconds: 5, nanos: 0 }),
            ..Default::default()
        }),
        placement: Some(wire::Placement {
            constraints: vec!["node.labels.zone == a".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    };
    let port =
        wire::PortConfig { name: "http".to_owned(), target_port: 80, published_port: 8080, ..Default::default() };
    wire::Service {
        id: "svc1".to_owned(),
        meta: meta(42, 3600),
        spec: Some(wire::ServiceSpec {
            annotations: named("web", &[("tier", "front"), ("app", "shop")]),
            task: Some(task),
            mode: Some(wire::service_spec::Mode::Replicated(wire::ReplicatedService { replicas: 3 })),
            update: Some(wire::UpdateConfig { parallelism: 2, ..Default::default() }),
            ..Default::default()
        }),
        update_status: Some(wire::UpdateStatus {
            state: wire::update_status::UpdateState::Updating.into(),
            started_at: ago(90),
            message: "update in progress".to_owned(),
            ..Default::default()
        }),
        endpoint: Some(wire::Endpoint { ports: vec![port], ..Default::default() }),
        ..Default::default()
    }
}

fn task(id: &str, slot: u64, state: TaskState, seconds: i64) -> wire::Task {
    let desired = if state > TaskState::Running { TaskState::Shutdown } else { TaskState::Running };
    let exit_code = if state == TaskState::Failed { 137 } else { 0 };
    let container_status = wire::ContainerStatus { container_id: "swarm-1".to_owned(), pid: 4711, exit_code };
    wire::Task {
        id: id.to_owned(),
        meta: meta(50, seconds),
        spec: service().spec.unwrap().task,
        service_id: "svc1".to_owned(),
        service_annotations: named("web", &[]),
        slot,
        node_id: "n1".to_owned(),
        desired_state: desired.into(),
        status: Some(wire::TaskStatus {
            timestamp: ago(seconds),
            state: state.into(),
            message: "started".to_owned(),
            err: if exit_code == 0 { String::new() } else { "task: non-zero exit (137)".to_owned() },
            runtime_status: Some(wire::task_status::RuntimeStatus::Container(container_status)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn names() -> Names {
    Names::of(&[node("n1", "ada", wire::node_status::State::Ready)])
}

/// Trailing blanks are part of the layout; make them visible.
fn visible(text: impl ToString) -> String {
    text.to_string().lines().map(|line| format!("{line}|\n")).collect()
}

#[test]
fn nodes_are_listed_with_their_part_in_the_management() {
    let mut wanted = node("n4", "dan", wire::node_status::State::Unknown);
    wanted.spec.as_mut().unwrap().set_desired_role(wire::NodeRole::Manager);
    let mut worker = node("n3", "cleo", wire::node_status::State::Down);
    worker.spec.as_mut().unwrap().set_availability(wire::node_spec::Availability::Drain);
    worker.spec.as_mut().unwrap().annotations = named("spare", &[]);
    let nodes = [manager("n1", "ada", true, true), manager("n2", "bob", false, false), worker, wanted];
    assert_snapshot!(visible(list_nodes(&nodes)), @r"
    ID  Name   Membership  Status   Availability  Manager Status|
    --  ----   ----------  ------   ------------  --------------|
    n1  ada    ACCEPTED    READY    ACTIVE        REACHABLE *|
    n2  bob    ACCEPTED    READY    ACTIVE        UNREACHABLE|
    n3  spare  ACCEPTED    DOWN     DRAIN         |
    n4  dan    ACCEPTED    UNKNOWN  ACTIVE        UNKNOWN|
    ");
}

#[test]
fn a_node_is_inspected() {
    let mut node = manager("n1", "ada", true, true);
    node.spec.as_mut().unwrap().annotations = named("", &[("zone", "a"), ("disk", "ssd")]);
    let description = node.description.as_mut().unwrap();
    description.platform = Some(wire::Platform { architecture: "x86_64".to_owned(), os: "linux".to_owned() });
    let gpu = |value: &str| wire::GenericResource {
        resource: Some(wire::generic_resource::Resource::NamedResourceSpec(wire::NamedGenericResource {
            kind: "gpu".to_owned(),
            value: value.to_owned(),
        })),
    };
    description.resources = Some(wire::Resources {
        nano_cpus: 4_500_000_000,
        memory_bytes: 8_375_186_227,
        generic: vec![gpu("u1"), gpu("u2")],
    });
    description.engine = Some(wire::EngineDescription {
        engine_version: "0.1.0".to_owned(),
        labels: [("os".to_owned(), "debian".to_owned())].into(),
        plugins: vec![swarmkit_executor::Workload::Process.plugin()],
    });
    let accessible_topology = Some(wire::Topology { segments: [("zone".to_owned(), "a".to_owned())].into() });
    description.csi_info = vec![wire::NodeCsiInfo {
        plugin_name: "disk".to_owned(),
        node_id: "d-1".to_owned(),
        max_volumes_per_node: 8,
        accessible_topology,
    }];
    assert_snapshot!(visible(inspect_node(&node, &[task("t1", 1, TaskState::Running, 60)], &names(), now())), @r"
    ID                          : n1|
    Hostname                    : ada|
    Node Labels                 : disk=ssd zone=a|
    Status:                     |
      State                     : READY|
      Availability              : ACTIVE|
      Address                   : 10.0.0.7|
    Manager status:             |
      Address                   : 10.0.0.7:4242|
      Raft status               : REACHABLE|
      Leader                    : yes|
    Platform:                   |
      Operating System          : linux|
      Architecture              : x86_64|
    Resources:                  |
      CPUs                      : 4|
      Memory                    : 7.8 GiB|
      Generic Resources:        |
        gpu                     : u1, u2|
    Plugins:                    |
      Executor                  : [process]|
    Engine Version              : 0.1.0|
    Engine Labels               : os=debian|
    Storage:                    |
      disk                      : d-1, at most 8 volumes, zone=a|
    |
    Task ID    Service    Slot    Image         Desired State    Last State              Node|
    -------    -------    ----    -----         -------------    ----------              ----|
    t1         web        1       nginx:1.27    RUNNING          RUNNING 1 minute ago    ada|
    ");
    assert_snapshot!(json::line(&json::Node::new(&node)), @r#"{"id":"n1","hostname":"ada","name":"","labels":{"disk":"ssd","zone":"a"},"role":"MANAGER","desired_role":"MANAGER","membership":"ACCEPTED","availability":"ACTIVE","state":"READY","message":"","address":"10.0.0.7","manager":{"address":"10.0.0.7:4242","leader":true,"reachability":"REACHABLE"},"os":"linux","architecture":"x86_64","nano_cpus":4500000000,"memory_bytes":8375186227,"generic_resources":{"gpu":["u1","u2"]},"plugins":{"Executor":["process"]},"engine_labels":{"os":"debian"},"storage":[{"plugin":"disk","node_id":"d-1","max_volumes":8,"topology":{"zone":"a"}}],"version":3,"created_at":"2027-01-15T06:00:00Z","updated_at":"2027-01-15T07:00:00Z"}"#);
}

#[test]
fn services_are_listed_with_what_runs_on_live_nodes() {
    let mode = |name: &str, mode| {
        let mut service = service();
        service.id = format!("id-{name}");
        let spec = service.spec.as_mut().unwrap();
        (spec.annotations, spec.mode) = (named(name, &[]), Some(mode));
        service
    };
    use wire::service_spec::Mode;
    let job = wire::ReplicatedJob { max_concurrent: 2, total_completions: 5 };
    let services = [
        service(),
        mode("agent", Mode::Global(wire::GlobalService {})),
        mode("once", Mode::ReplicatedJob(job)),
        mode("each", Mode::GlobalJob(wire::GlobalJob {})),
    ];
    let on = |node: &str, service: &str, state| wire::Task {
        node_id: node.to_owned(),
        service_id: service.to_owned(),
        ..task("t", 1, state, 1)
    };
    let tasks = [
        on("n1", "svc1", TaskState::Running),
        on("n1", "svc1", TaskState::Failed),
        on("n2", "svc1", TaskState::Running),
        on("n1", "id-once", TaskState::Complete),
        on("n1", "id-once", TaskState::Running),
    ];
    let nodes = [node("n1", "ada", wire::node_status::State::Ready), node("n2", "bob", wire::node_status::State::Down)];
    assert_snapshot!(visible(list_services(&services, &running_on_live_nodes(&tasks, &nodes), now())), @r"
    ID        Name   Image       Replicas|
    --        ----   -----       --------|
    svc1      web    nginx:1.27  1/3 (updating)|
    id-agent  agent  nginx:1.27  global (updating)|
    id-once   once   nginx:1.27  1/5 completed (updating)|
    id-each   each   nginx:1.27  0 completed (updating)|
    ");
}

#[test]
fn a_service_is_inspected() {
    let tasks = [
        task("t1", 2, TaskState::Running, 60),
        task("t0", 1, TaskState::Failed, 90),
        task("t2", 1, TaskState::Starting, 1),
    ];
    assert_snapshot!(visible(inspect_service(&service(), (1, 0), &tasks, &names(), now())), @r#"
    ID                       : svc1|
    Name                     : web|
    Labels                   |
      app                    : shop|
      tier                   : front|
    Replicas                 : 1/3|
    Update Status            |
     State                   : UPDATING|
     Started                 : 1 minute ago|
     Message                 : update in progress|
    Update Config            |
     Parallelism             : 2|
     On Failure              : PAUSE|
     Failure Ratio           : 0|
     Order                   : STOP_FIRST|
    Restart Policy           |
     Condition               : ANY|
     Delay                   : 5s|
    Template                 |
     Container               |
      Image                  : nginx:1.27|
      Command                : "/bin/sh" "-c"|
      Args                   : [echo "a", b]|
      Env                    : [A=1, B=2]|
      Constraints            : [node.labels.zone == a]|
      Resources              |
        Reservations:        |
          Memory             : 128 MiB|
        Limits:              |
          CPU                : 0.5|
          Memory             : 512 MiB|
    |
    Ports:|
        - Name             : http|
          Protocol         : TCP|
          Port             : 80|
          SwarmPort        : 8080|
      Mounts:|
        - target          : /data|
          source          : /srv|
          readonly        : true|
          type            : bind|
      Secrets:|
        [FILE] token@s1:api-token|
      Configs:|
        [FILE] motd@c1:/etc/motd|
    |
    Task ID    Service    Slot    Image         Desired State    Last State               Node|
    -------    -------    ----    -----         -------------    ----------               ----|
    t2         web        1       nginx:1.27    RUNNING          STARTING 1 second ago    ada|
    t0         web        1       nginx:1.27    SHUTDOWN         FAILED 1 minute ago      ada|
    t1         web        2       nginx:1.27    RUNNING          RUNNING 1 minute ago     ada|
    "#);
    assert_snapshot!(json::line(&json::Service::new(&service(), (1, 0))), @r#"{"id":"svc1","name":"web","labels":{"app":"shop","tier":"front"},"mode":"replicated","replicas":3,"running":1,"completed":0,"depends_on":[],"waiting":null,"removing":false,"waiting_tasks":[],"image":"nginx:1.27","command":["/bin/sh","-c"],"args":["echo \"a\"","b"],"env":["A=1","B=2"],"dir":"","user":"","constraints":["node.labels.zone == a"],"limits":{"nano_cpus":500000000,"memory_bytes":536870912,"generic_resources":{}},"reservations":{"nano_cpus":0,"memory_bytes":134217728,"generic_resources":{}},"restart":{"condition":"ANY","delay_ms":5000,"max_attempts":0,"window_ms":null,"max_delay_ms":null,"stable_after_ms":null},"update":{"parallelism":2,"delay_ms":null,"failure_action":"PAUSE","monitor_ms":null,"max_failure_ratio":0.0,"order":"STOP_FIRST","progress_deadline_ms":null,"max_unavailable":0},"rollback":null,"update_status":{"state":"UPDATING","started_at":"2027-01-15T07:58:30Z","completed_at":null,"message":"update in progress"},"rebalance":null,"strategy":null,"affinities":[],"preferences":[],"priority":null,"max_disrupted":null,"ports":[{"name":"http","protocol":"TCP","target":80,"published":8080,"mode":"INGRESS"}],"mounts":[{"type":"BIND","source":"/srv","target":"/data","readonly":true}],"secrets":[{"id":"s1","name":"token","target":"api-token"}],"configs":[{"id":"c1","name":"motd","target":"/etc/motd"}],"schedule":null,"job_limits":null,"next_run":null,"runs":[],"version":42,"created_at":"2027-01-15T07:00:00Z","updated_at":"2027-01-15T07:30:00Z"}"#);
}

#[test]
fn how_far_an_update_has_come_and_what_was_asked_for_is_shown() {
    use wire::update_status::UpdateState;

    let mut paused = service();
    let told = "update in progress; it stands still: as many slots as may be are without a task that runs";
    paused.update_status.as_mut().unwrap().message = told.to_owned();
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let spec = paused.spec.as_mut().unwrap();
    spec.rollback = Some(wire::UpdateConfig {
        progress_deadline: seconds(90),
        max_unavailable: 2,
        monitor: seconds(7),
        max_failure_ratio: 0.25,
        ..Default::default()
    });
    let restart = spec.task.as_mut().unwrap().restart.as_mut().unwrap();
    (restart.max_delay, restart.stable_after, restart.max_attempts) = (seconds(300), seconds(600), 3);
    let text = inspect_service(&paused, (0, 0), &[], &names(), now()).to_string();
    let lines: Vec<_> = text.lines().skip(6).take_while(|line| !line.starts_with("Template")).collect();
    assert_snapshot!(visible(lines.join("\n")), @r"
    Update Status            |
     State                   : UPDATING|
     Started                 : 1 minute ago|
     Message                 : update in progress; it stands still: as many slots as may be are without a task that runs|
    Update Config            |
     Parallelism             : 2|
     On Failure              : PAUSE|
     Failure Ratio           : 0|
     Order                   : STOP_FIRST|
    Rollback Config          |
     Parallelism             : all|
     Monitor                 : 7s|
     On Failure              : PAUSE|
     Failure Ratio           : 0.25|
     Order                   : STOP_FIRST|
     Deadline                : 1m30s|
     Max Unavailable         : 2|
    Restart Policy           |
     Condition               : ANY|
     Delay                   : 5s|
     Max Delay               : 5m0s|
     Stable After            : 10m0s|
     Max Attempts            : 3|
    ");
    let json = json::line(&json::Service::new(&paused, (0, 0)));
    assert!(json.contains(r#""progress_deadline_ms":90000,"max_unavailable":2"#), "{json}");
    assert!(json.contains(r#""max_delay_ms":300000,"stable_after_ms":600000"#), "{json}");
    for (state, expected) in [
        (UpdateState::Updating, "1/3 (updating)"),
        (UpdateState::Paused, "1/3 (update paused)"),
        (UpdateState::RollbackStarted, "1/3 (rolling back)"),
        (UpdateState::RollbackPaused, "1/3 (rollback paused)"),
        (UpdateState::Completed, "1/3"),
        (UpdateState::RollbackCompleted, "1/3"),
    ] {
        paused.update_status.as_mut().unwrap().set_state(state);
        let list = list_services(&[paused.clone()], &[("svc1".to_owned(), (1, 0))].into(), now()).to_string();
        assert_eq!(list.lines().last().unwrap().trim_end().rsplit("  ").next().unwrap(), expected);
    }
}

#[test]
fn a_service_that_waits_or_goes_says_so() {
    use wire::swarmkit::orchestration::v1::{Dependency, Waiting, dependency::Condition};

    let mut waits = service();
    let depends_on =
        |(name, condition): (&str, Condition)| Dependency { service: name.into(), condition: condition.into() };
    waits.spec.as_mut().unwrap().depends_on =
        [("db", Condition::Healthy), ("init", Condition::Completed), ("cache", Condition::Running)]
            .map(depends_on)
            .into();
    waits.waiting = Some(Waiting { since: ago(90), message: "waits for db to be healthy".to_owned() });
    let goes = wire::Service { id: "svc2".to_owned(), pending_delete: true, ..service() };
    assert_snapshot!(visible(list_services(&[waits.clone(), goes.clone()], &BTreeMap::new(), now())), @r"
    ID    Name  Image       Replicas|
    --    ----  -----       --------|
    svc1  web   nginx:1.27  0/3 (waiting)|
    svc2  web   nginx:1.27  0/3 (removing)|
    ");
    let lines = |service: &wire::Service| {
        let text = inspect_service(service, (0, 0), &[], &names(), now()).to_string();
        text.lines()
            .skip(5)
            .take_while(|line| !line.starts_with("Update"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_snapshot!(visible(lines(&waits)), @r"
    Replicas                 : 0/3|
    Depends On               : db:healthy, init:completed, cache:running|
    Waiting                  |
     Since                   : 1 minute ago|
     Message                 : waits for db to be healthy|
    ");
    assert_snapshot!(visible(lines(&goes)), @r"
    Replicas                 : 0/3|
    Removing                 : when its tasks have stopped|
    ");
    let json = json::line(&json::Service::new(&waits, (0, 0)));
    let expected = r#""depends_on":[{"service":"db","condition":"HEALTHY"},{"service":"init","condition":"COMPLETED"},{"service":"cache","condition":"RUNNING"}],"waiting":{"since":"2027-01-15T07:58:30Z","message":"waits for db to be healthy"},"removing":false"#;
    assert!(json.contains(expected), "{json}");
    assert!(json::line(&json::Service::new(&goes, (0, 0))).contains(r#""waiting":null,"removing":true"#));
}

#[test]
fn tasks_are_listed_by_name_or_by_id() {
    let mut global = task("t2", 0, TaskState::Pending, 0);
    global.node_id = String::new();
    let tasks = [task("t1", 3, TaskState::Running, 3600), global];
    assert_snapshot!(visible(list_tasks(&tasks, &names(), now())), @r"
    ID  Service  Desired State  Last State          Node|
    --  -------  -------------  ----------          ----|
    t1  web.3    RUNNING        RUNNING 1 hour ago  ada|
    t2  web      RUNNING        PENDING now         |
    ");
    assert_snapshot!(visible(list_tasks(&tasks, &Names::ids_only(), now())), @r"
    ID  Service  Desired State  Last State          Node|
    --  -------  -------------  ----------          ----|
    t1  svc1.3   RUNNING        RUNNING 1 hour ago  n1|
    t2  svc1     RUNNING        PENDING now         |
    ");
}

#[test]
fn a_task_is_inspected_with_its_parents() {
    let failed = task("t0", 1, TaskState::Failed, 90);
    let parents = [failed.clone(), task("t2", 1, TaskState::Running, 1)];
    assert_snapshot!(visible(inspect_task(&failed, &parents, &names(), now())), @r#"
    ID                     : t0|
    Slot                   : 1|
    Service                : web|
    Status                 |
      Desired State        : SHUTDOWN|
      Last State           : FAILED|
      Timestamp            : 2027-01-15T07:58:30Z|
      Message              : started|
      Error                : task: non-zero exit (137)|
      ContainerID:         : swarm-1|
      Pid                  : 4711|
      ExitCode             : 137|
    Node                   : ada|
    Spec                   |
      Image                : nginx:1.27|
      Command              : "/bin/sh" "-c"|
      Args                 : [echo "a", b]|
      Env                  : [A=1, B=2]|
      Secrets:|
        [FILE] token:api-token|
      Configs:|
        [FILE] motd:/etc/motd|
    |
    ===> Task Parents|
    Task ID    Service    Slot    Image         Desired State    Last State              Node|
    -------    -------    ----    -----         -------------    ----------              ----|
    t2         web        1       nginx:1.27    RUNNING          RUNNING 1 second ago    ada|
    t0         web        1       nginx:1.27    SHUTDOWN         FAILED 1 minute ago     ada|
    "#);
    assert_snapshot!(json::line(&json::Task::new(&failed, &names())), @r#"{"id":"t0","service_id":"svc1","service":"web","slot":1,"node_id":"n1","node":"ada","desired_state":"SHUTDOWN","state":"FAILED","state_since":"2027-01-15T07:58:30Z","message":"started","error":"task: non-zero exit (137)","waiting_for":null,"origin":null,"preemption":null,"generic_resources":{},"volumes":[],"container_id":"swarm-1","pid":4711,"exit_code":137,"image":"nginx:1.27","command":["/bin/sh","-c"],"args":["echo \"a\"","b"],"env":["A=1","B=2"],"networks":[],"created_at":"2027-01-15T07:58:30Z","updated_at":"2027-01-15T07:59:15Z"}"#);
}

#[test]
fn the_cluster_is_inspected_with_its_tokens() {
    let cluster = wire::Cluster {
        id: "c1".to_owned(),
        meta: meta(9, 60),
        spec: Some(wire::ClusterSpec {
            annotations: named("default", &[]),
            orchestration: Some(wire::OrchestrationConfig { task_history_retention_limit: 5, ..Default::default() }),
            dispatcher: Some(wire::DispatcherConfig {
                heartbeat_period: Some(prost_types::Duration { seconds: 5, nanos: 0 }),
            }),
            ca_config: Some(wire::CaConfig {
                node_cert_expiry: Some(prost_types::Duration { seconds: 7_776_000, nanos: 0 }),
                ..Default::default()
            }),
            ..Default::default()
        }),
        root_ca: Some(wire::RootCa {
            join_tokens: Some(wire::JoinTokens { worker: "SWMTKN-1-w".to_owned(), manager: "SWMTKN-1-m".to_owned() }),
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_snapshot!(visible(inspect_cluster(&cluster, None)), @r"
    ID          : c1|
    Name        : default|
    Orchestration settings:|
      Task history entries: 5|
    Dispatcher settings:|
      Dispatcher heartbeat period: 5s|
    Certificate Authority settings:|
      Certificate Validity Duration: 2160h0m0s|
      Join Tokens:|
        Worker: SWMTKN-1-w|
        Manager: SWMTKN-1-m|
    ");
    let laggard = |id: &str| swarmkit_issuer::Laggard { id: id.to_owned(), hostname: format!("host-{id}") };
    let progress = swarmkit_issuer::Progress { converged: 2, waiting: vec![laggard("a")], down: vec![laggard("b")] };
    let shown = visible(inspect_cluster(&cluster, Some(&progress))).to_string();
    let line = "  Root Rotation: 2 of 4 nodes have a certificate of the next root; waiting for host-a; down, to be brought back \
                or removed: host-b|";
    assert!(shown.lines().any(|shown| shown == line), "{shown}");
    let told = json::line(&json::Cluster::new(&cluster, Some(&progress)));
    assert!(told.contains(r#""root_rotation":{"nodes":4,"converged":2,"waiting":["a"],"down":["b"]}"#), "{told}");
    assert_snapshot!(visible(list_clusters(std::slice::from_ref(&cluster))), @r"
    ID  Name|
    --  ----|
    c1  default|
    ");
    assert_snapshot!(json::line(&json::Cluster::new(&cluster, None)), @r#"{"id":"c1","name":"default","task_history_limit":5,"rebalance":null,"strategy":null,"exec":"allow","heartbeat_period_ms":5000,"node_cert_expiry_ms":7776000000,"auto_lock":false,"worker_join_token":"SWMTKN-1-w","manager_join_token":"SWMTKN-1-m","root_rotation":null,"version":9,"created_at":"2027-01-15T07:59:00Z","updated_at":"2027-01-15T07:59:30Z"}"#);
}

#[test]
fn the_unlock_key_is_shown_or_that_there_is_none() {
    let key = swarmkit_ca::UnlockKey::from_bytes(&[7; 32]).unwrap();
    let text = "SWMKEY-1-BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
    assert_eq!(unlock_key(Some(&key)), format!("Managers auto-locked.  Unlock key: {text}\n"));
    assert_eq!(unlock_key(None), "Managers not auto-locked\n");
    assert_eq!(json::line(&json::UnlockKey::new(Some(&key))), format!(r#"{{"auto_lock":true,"unlock_key":"{text}"}}"#));
    assert_eq!(json::line(&json::UnlockKey::new(None)), r#"{"auto_lock":false,"unlock_key":null}"#);
}

#[test]
fn secrets_and_configs_are_shown_the_newest_first_and_secrets_without_content() {
    let secret = |id: &str, seconds| wire::Secret {
        id: id.to_owned(),
        meta: meta(1, seconds),
        spec: Some(wire::SecretSpec { annotations: named("token", &[("a", "b")]), ..Default::default() }),
        internal: false,
    };
    let config = wire::Config {
        id: "c1".to_owned(),
        meta: meta(1, 60),
        spec: Some(wire::ConfigSpec { annotations: named("motd", &[]), data: "hello".into(), ..Default::default() }),
    };
    assert_snapshot!(visible(list_secrets(&[secret("old", 7200), secret("new", 60)], now())), @r"
    ID     Name     Driver    Created|
    --     ----     ------    -------|
    new    token              1 minute ago|
    old    token              2 hours ago|
    ");
    assert_snapshot!(visible(inspect_secret(&secret("s1", 60))), @r"
    ID             : s1|
    Name           : token|
    Labels         |
      a            : b|
    Created        : 2027-01-15T07:59:00Z|
    ");
    let mut provided = secret("s1", 60);
    provided.spec.as_mut().unwrap().driver = Some(wire::Driver { name: "vault".into(), ..Default::default() });
    assert_snapshot!(visible(inspect_secret(&provided)), @r"
    ID             : s1|
    Name           : token|
    Labels         |
      a            : b|
    Created        : 2027-01-15T07:59:00Z|
    Driver         : vault|
    ");
    assert_snapshot!(json::line(&json::Blob::of_secret(&provided)), @r#"{"id":"s1","name":"token","labels":{"a":"b"},"data":null,"driver":"vault","version":1,"created_at":"2027-01-15T07:59:00Z","updated_at":"2027-01-15T07:59:30Z"}"#);
    assert_snapshot!(visible(list_configs(std::slice::from_ref(&config), now())), @r"
    ID    Name    Created|
    --    ----    -------|
    c1    motd    1 minute ago|
    ");
    assert_snapshot!(visible(String::from_utf8(inspect_config(&config)).unwrap()), @r"
    ID             : c1|
    Name           : motd|
    Created        : 2027-01-15T07:59:00Z|
    |
    Payload:|
    hello|
    ");
    assert_snapshot!(json::line(&json::Blob::of_secret(&secret("s1", 60))), @r#"{"id":"s1","name":"token","labels":{"a":"b"},"data":null,"version":1,"created_at":"2027-01-15T07:59:00Z","updated_at":"2027-01-15T07:59:30Z"}"#);
    assert_snapshot!(json::line(&json::Blob::of_config(&config)), @r#"{"id":"c1","name":"motd","labels":{},"data":"hello","version":1,"created_at":"2027-01-15T07:59:00Z","updated_at":"2027-01-15T07:59:30Z"}"#);
}

/// A job that runs at three each night, has run twice, and is asked about at eight.
fn nightly() -> wire::Service {
    use swarmkit_api::wire::swarmkit::orchestration::v1::{JobLimits, JobRun, Schedule, job_run::Outcome};

    let at = |ago: u64| Some(Timestamp::from(now() - Duration::from_secs(ago)));
    let run = |iteration, ago, ended, outcome: Outcome, message: &str| JobRun {
        iteration,
        scheduled_for: at(ago),
        started_at: at(ago),
        ended_at: ended,
        outcome: outcome.into(),
        message: message.to_owned(),
    };
    let job = wire::ReplicatedJob { max_concurrent: 1, total_completions: 4 };
    let spec = wire::ServiceSpec {
        annotations: Some(wire::Annotations { name: "nightly".into(), ..Default::default() }),
        mode: Some(wire::service_spec::Mode::ReplicatedJob(job)),
        schedule: Some(Schedule { cron: "0 3 * * *".into(), time_zone: "Europe/Berlin".into(), ..Default::default() }),
        job_limits: Some(JobLimits {
            deadline: Some(prost_types::Duration { seconds: 5400, nanos: 0 }),
            max_failures: 3,
            time_to_live: None,
        }),
        ..Default::default()
    };
    wire::Service {
        id: "svc2".into(),
        spec: Some(spec),
        decided_until: at(6 * 3600),
        runs: vec![
            run(7, 30 * 3600, at(29 * 3600), Outcome::Failed, "took longer than its deadline"),
            run(8, 6 * 3600, None, Outcome::Running, ""),
        ],
        ..Default::default()
    }
}

#[test]
fn a_job_shows_its_schedule_its_limits_and_its_runs() {
    let text = visible(inspect_service(&nightly(), (1, 0), &[], &names(), now()));
    assert_snapshot!(text, @r"
    ID                  : svc2|
    Name                : nightly|
    Replicas            : 0/4 completed|
    Schedule            |
     Cron               : 0 3 * * *|
     Time Zone          : Europe/Berlin|
     Concurrency        : allow|
     Missed             : run-once|
     Next Run           : 2027-01-16T02:00:00Z (18 hours from now)|
    Limits              |
     Deadline           : 1h 30m|
     Failures           : 3|
    Runs                |
     7                  : failed, for 2027-01-14T02:00:00Z, 1 day ago: took longer than its deadline|
     8                  : running, for 2027-01-15T02:00:00Z, 6 hours ago|
    Template            |
     Container          |
    ");
    assert_snapshot!(visible(list_services(&[service(), nightly()], &BTreeMap::new(), now())), @r"
    ID    Name     Image       Replicas        Next Run|
    --    ----     -----       --------        --------|
    svc1  web      nginx:1.27  0/3 (updating)  |
    svc2  nightly              0/4 completed   18 hours from now|
    ");
    let mut suspended = nightly();
    suspended.spec.as_mut().unwrap().schedule.as_mut().unwrap().suspended = true;
    assert_snapshot!(visible(list_services(&[suspended.clone()], &BTreeMap::new(), now())), @r"
    ID    Name     Image  Replicas       Next Run|
    --    ----     -----  --------       --------|
    svc2  nightly         0/4 completed  suspended|
    ");
    assert_eq!(next_run(&suspended), None);
    let json = json::line(&json::Service::new(&nightly(), (1, 0)));
    let job = json.split_once("\"configs\":[],").unwrap().1.split_once(",\"version\"").unwrap().0;
    assert_snapshot!(job, @r#""schedule":{"cron":"0 3 * * *","time_zone":"Europe/Berlin","concurrency":"ALLOW","missed":"RUN_ONCE","starting_deadline_ms":null,"succeeded_history":null,"failed_history":null,"suspended":false},"job_limits":{"deadline_ms":5400000,"max_failures":3,"time_to_live_ms":null},"next_run":"2027-01-16T02:00:00Z","runs":[{"iteration":7,"scheduled_for":"2027-01-14T02:00:00Z","started_at":"2027-01-14T02:00:00Z","ended_at":"2027-01-14T03:00:00Z","outcome":"FAILED","message":"took longer than its deadline"},{"iteration":8,"scheduled_for":"2027-01-15T02:00:00Z","started_at":"2027-01-15T02:00:00Z","ended_at":null,"outcome":"RUNNING","message":""}]"#);
}

#[test]
fn of_a_job_the_tasks_count_that_have_completed_in_its_last_run() {
    let task = |iteration| wire::Task {
        service_id: "svc2".into(),
        job_iteration: Some(wire::Version { index: iteration }),
        status: Some(wire::TaskStatus { state: TaskState::Complete.into(), ..Default::default() }),
        ..Default::default()
    };
    let counts = running_on_live_nodes(&[task(2), task(1), task(2), task(1), task(1)], &[]);
    assert_eq!(counts["svc2"], (0, 2));
}

#[test]
fn whether_tasks_are_moved_is_shown_where_somebody_says_so() {
    use wire::swarmkit::orchestration::v1::{Rebalance, rebalance::Mode};
    let said = |mode: Mode, moves_per_minute| Some(Rebalance { mode: mode.into(), moves_per_minute });
    let line = |rebalance| {
        let mut service = service();
        service.spec.as_mut().unwrap().rebalance = rebalance;
        let text = inspect_service(&service, (3, 0), &[], &names(), now());
        text.lines().find(|line| line.starts_with("Rebalancing")).map(|line| line.replace("  ", ""))
    };
    assert_eq!(line(None), None);
    assert_eq!(line(said(Mode::On, 0)).as_deref(), Some("Rebalancing: on, at most 10 moves a minute"));
    assert_eq!(line(said(Mode::Off, 3)).as_deref(), Some("Rebalancing: off"));
    let inherits = "Rebalancing: as the cluster says, at most 3 moves a minute";
    assert_eq!(line(said(Mode::Unset, 3)).as_deref(), Some(inherits));
    let mut service = service();
    service.spec.as_mut().unwrap().rebalance = said(Mode::On, 0);
    let json = json::line(&json::Service::new(&service, (3, 0)));
    assert!(json.contains(r#""rebalance":{"mode":"ON","moves_per_minute":10}"#), "{json}");
    let orchestration = wire::OrchestrationConfig { rebalance: said(Mode::On, 4), ..Default::default() };
    let spec = wire::ClusterSpec { orchestration: Some(orchestration), ..Default::default() };
    let cluster = wire::Cluster { spec: Some(spec), ..Default::default() };
    let text = inspect_cluster(&cluster, None).to_string();
    assert!(text.contains("  Rebalancing: on, at most 4 moves a minute\n"), "{text}");
    let json = json::line(&json::Cluster::new(&cluster, None));
    assert!(json.contains(r#""rebalance":{"mode":"ON","moves_per_minute":4}"#), "{json}");
}

#[test]
fn a_task_that_was_moved_says_why() {
    let mut moved = task("t2", 2, TaskState::Running, 60);
    let message = "moved from node ada, which has 3 tasks of this service, to even out 3 and 0".to_owned();
    moved.origin = Some(wire::swarmkit::orchestration::v1::Origin { replaces: "t1".to_owned(), message });
    let text = inspect_task(&moved, &[], &names(), now());
    let origin =
        "  Origin               : moved from node ada, which has 3 tasks of this service, to even out 3 and 0\n";
    assert!(text.contains(origin), "{text}");
    assert!(text.contains("  Replaces             : t1\n"), "{text}");
    let text =
        inspect_service(&service(), (1, 0), &[task("t3", 1, TaskState::Running, 60), moved.clone()], &names(), now());
    let told =
        "\nMoved tasks:\n  t2 (web.2): moved from node ada, which has 3 tasks of this service, to even out 3 and 0\n";
    assert!(text.ends_with(told), "{text}");
    let json = json::line(&json::Task::new(&moved, &names()));
    assert!(json.contains(r#""origin":{"replaces":"t1","message":"moved from node ada"#), "{json}");
}

#[test]
fn what_a_service_says_about_priorities_is_shown_where_it_says_something() {
    use wire::swarmkit::scheduling::v1::ServiceScheduling;
    let told = |scheduling: Option<ServiceScheduling>| {
        let mut service = service();
        service.spec.as_mut().unwrap().scheduling = scheduling;
        let text = inspect_service(&service, (3, 0), &[], &names(), now());
        let lines = text.lines().filter(|line| line.starts_with("Priority") || line.starts_with("Disruption"));
        let lines: Vec<_> = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        (lines, json::line(&json::Service::new(&service, (3, 0))))
    };
    let said = |priority, max_disrupted| Some(ServiceScheduling { priority, max_disrupted, ..Default::default() });
    let (lines, json) = told(None);
    assert!(lines.is_empty(), "{lines:?}");
    assert!(json.contains(r#""priority":null,"max_disrupted":null"#), "{json}");
    let (lines, json) = told(said(Some(-3), Some(1)));
    assert_eq!(lines, ["Priority : -3", "Disruption : at most 1 task missing"]);
    assert!(json.contains(r#""priority":-3,"max_disrupted":1"#), "{json}");
    assert_eq!(told(said(None, Some(2))).0, ["Disruption : at most 2 tasks missing"]);
    assert_eq!(told(said(Some(0), Some(0))).0, ["Priority : 0", "Disruption : no task may be made to go"]);
}

#[test]
fn tasks_that_make_room_and_those_that_wait_for_it_say_so() {
    use wire::swarmkit::scheduling::v1::{
        Preemption,
        preemption::{Claim, Side, Yield},
    };
    let mut waiting = task("t2", 2, TaskState::Pending, 60);
    let claim = Claim { node_id: "n1".to_owned(), tasks: vec!["t8".to_owned(), "t9".to_owned()] };
    waiting.preemption = Some(Preemption { side: Some(Side::Claim(claim)) });
    let text = inspect_task(&waiting, &[], &names(), now());
    assert!(text.contains("  Room On              : ada\n  Made By              : t8, t9\n"), "{text}");
    let json = json::line(&json::Task::new(&waiting, &names()));
    assert!(json.contains(r#""preemption":{"claim":{"node_id":"n1","tasks":["t8","t9"]}}"#), "{json}");

    let mut gone = task("t9", 1, TaskState::Shutdown, 60);
    let message = "made room for db.2 (priority 10 over 0)".to_owned();
    let given = Yield { task_id: "t2".to_owned(), service_id: "svc2".to_owned(), message };
    gone.preemption = Some(Preemption { side: Some(Side::Yield(given)) });
    let text = inspect_task(&gone, &[], &names(), now());
    let told = "  Made Room            : made room for db.2 (priority 10 over 0)\n  Room For             : t2\n";
    assert!(text.contains(told), "{text}");
    let text = inspect_service(&service(), (1, 0), &[waiting, gone.clone()], &names(), now());
    assert!(
        text.ends_with("\nTasks that made room:\n  t9 (web.1): made room for db.2 (priority 10 over 0)\n"),
        "{text}"
    );
    let json = json::line(&json::Task::new(&gone, &names()));
    let told = r#""preemption":{"yield":{"task_id":"t2","service_id":"svc2","message":"made room for db.2"#;
    assert!(json.contains(told), "{json}");
}

#[test]
fn a_task_of_a_job_is_current_until_it_has_ended() {
    let task = |desired: TaskState, state: TaskState| wire::Task {
        desired_state: desired.into(),
        status: Some(wire::TaskStatus { state: state.into(), ..Default::default() }),
        ..Default::default()
    };
    for (desired, state, expected) in [
        (TaskState::Complete, TaskState::Pending, true),
        (TaskState::Complete, TaskState::Running, true),
        (TaskState::Complete, TaskState::Complete, false),
        (TaskState::Running, TaskState::Failed, true),
        (TaskState::Shutdown, TaskState::Running, false),
    ] {
        assert_eq!(is_current(&task(desired, state)), expected, "{desired:?}, {state:?}");
    }
}

#[test]
fn generic_resources_are_shown_by_kind_as_numbers_or_names() {
    use wire::generic_resource::Resource;
    let unit = |resource| wire::GenericResource { resource: Some(resource) };
    let named = |value: &str| {
        let unit = wire::NamedGenericResource { kind: "gpu".to_owned(), value: value.to_owned() };
        wire::GenericResource { resource: Some(Resource::NamedResourceSpec(unit)) }
    };
    let count = |kind: &str, value| {
        unit(Resource::DiscreteResourceSpec(wire::DiscreteGenericResource { kind: kind.to_owned(), value }))
    };
    let mut task = task("t1", 1, TaskState::Running, 60);
    task.assigned_generic_resources = vec![named("/dev/a"), count("licence", 2), named("/dev/b")];
    let text = inspect_task(&task, &[], &names(), now());
    assert!(text.contains(": gpu=/dev/a, licence=2, gpu=/dev/b\n"), "{text}");
    let json = json::line(&json::Task::new(&task, &names()));
    assert!(json.contains(r#""generic_resources":{"gpu":["/dev/a","/dev/b"],"licence":2}"#), "{json}");

    let mut service = service();
    let resources = service.spec.as_mut().unwrap().task.as_mut().unwrap().resources.as_mut().unwrap();
    resources.reservations.as_mut().unwrap().generic = vec![count("gpu", 2)];
    let text = inspect_service(&service, (1, 0), &[], &names(), now());
    let line = text.lines().find(|line| line.starts_with("      Generic Resources")).unwrap_or_default();
    assert!(line.ends_with(" : gpu=2"), "{text}");
    let json = json::line(&json::Service::new(&service, (1, 0)));
    assert!(json.contains(r#""memory_bytes":134217728,"generic_resources":{"gpu":2}}"#), "{json}");
}

fn network() -> wire::Network {
    let pool = wire::IpamConfig {
        family: wire::ipam_config::AddressFamily::Ipv4.into(),
        subnet: "10.0.1.0/24".to_owned(),
        range: "10.0.1.128/25".to_owned(),
        gateway: "10.0.1.1".to_owned(),
        reserved: BTreeMap::from([("printer".to_owned(), "10.0.1.130".to_owned())]),
    };
    let ids = BTreeMap::from([("com.docker.network.driver.overlay.vxlanid_list".to_owned(), "4097".to_owned())]);
    wire::Network {
        id: "net1".to_owned(),
        meta: meta(9, 60),
        spec: Some(wire::NetworkSpec {
            annotations: named("back", &[("team", "a")]),
            internal: true,
            ..Default::default()
        }),
        driver_state: Some(wire::Driver { name: "overlay".to_owned(), options: ids }),
        ipam: Some(wire::IpamOptions {
            driver: Some(wire::Driver { name: "default".to_owned(), ..Default::default() }),
            configs: vec![pool],
        }),
        ..Default::default()
    }
}

fn waiting_network() -> wire::Network {
    let message = "subnet 10.0.1.0/25 overlaps with network back (net1)".to_owned();
    wire::Network {
        id: "net2".to_owned(),
        spec: Some(wire::NetworkSpec { annotations: named("front", &[]), ipv6_enabled: true, ..Default::default() }),
        waiting: Some(wire::swarmkit::orchestration::v1::Waiting { since: ago(120), message }),
        ..Default::default()
    }
}

#[test]
fn networks_are_listed_with_what_they_were_given() {
    assert_snapshot!(list_networks(&[network(), waiting_network()]), @r"
    ID    Name   Driver   Subnets
    --    ----   ------   -------
    net1  back   overlay  10.0.1.0/24
    net2  front           (waiting)
    ");
}

#[test]
fn a_network_is_shown_with_its_pools_or_with_what_it_waits_for() {
    assert_snapshot!(visible(inspect_network(&network(), now())), @r"
    ID                                                        : net1|
    Name                                                      : back|
    Spec                                                      |
      Labels                                                  |
        team                                                  : a|
      IPv6Enabled                                             : false|
      Internal                                                : true|
      Attachable                                              : false|
      Ingress                                                 : false|
    Driver                                                    |
      Name                                                    : overlay|
      Options                                                 |
        com.docker.network.driver.overlay.vxlanid_list        : 4097|
    IPAM                                                      |
      Driver                                                  : default|
      IPAM Config                                             |
        Family                                                : IPV4|
        Subnet                                                : 10.0.1.0/24|
        Range                                                 : 10.0.1.128/25|
        Gateway                                               : 10.0.1.1|
        Reserved printer                                      : 10.0.1.130|
    ");
    assert_snapshot!(visible(inspect_network(&waiting_network(), now())), @r"
    ID                   : net2|
    Name                 : front|
    Waiting              |
     Since               : 2 minutes ago|
     Message             : subnet 10.0.1.0/25 overlaps with network back (net1)|
    Spec                 |
      IPv6Enabled        : true|
      Internal           : false|
      Attachable         : false|
      Ingress            : false|
    ");
}

#[test]
fn a_network_is_one_line_of_json() {
    assert_snapshot!(json::line(&json::Network::new(&network())), @r#"{"id":"net1","name":"back","labels":{"team":"a"},"ipv6":false,"internal":true,"attachable":false,"ingress":false,"removing":false,"waiting":null,"driver":{"name":"overlay","options":{"com.docker.network.driver.overlay.vxlanid_list":"4097"}},"ipam_driver":{"name":"default","options":{}},"pools":[{"family":"IPV4","subnet":"10.0.1.0/24","range":"10.0.1.128/25","gateway":"10.0.1.1","reserved":{"printer":"10.0.1.130"}}],"version":9,"created_at":"2027-01-15T07:59:00Z","updated_at":"2027-01-15T07:59:30Z"}"#);
    let waiting: serde_json::Value =
        serde_json::from_str(&json::line(&json::Network::new(&waiting_network()))).unwrap();
    assert_eq!(waiting["waiting"]["message"], "subnet 10.0.1.0/25 overlaps with network back (net1)");
    assert_eq!((&waiting["driver"], &waiting["pools"]), (&serde_json::Value::Null, &serde_json::json!([])));
}
