//! Specifications in, plans or refusals out.

use std::sync::Arc;

use swarmkit_api::{NodeId, ServiceId, TaskId};
use swarmkit_executor::PROCESS_IMAGE;

use super::*;

fn task(change: impl FnOnce(&mut wire::ContainerSpec)) -> Task {
    let mut spec = wire::ContainerSpec {
        image: PROCESS_IMAGE.into(),
        command: vec!["/bin/sh".into()],
        args: vec!["-c".into(), "true".into()],
        ..Default::default()
    };
    change(&mut spec);
    let spec = wire::TaskSpec { runtime: Some(wire::task_spec::Runtime::Container(spec)), ..Default::default() };
    Task {
        service_id: Some(ServiceId::from("s1")),
        node_id: Some(NodeId::from("n1")),
        slot: 2,
        service_annotations: Arc::new(wire::Annotations { name: "web".into(), ..Default::default() }),
        ..Task::new(TaskId::from("t1"), spec)
    }
}

fn plan_as(uid: u32, task: &Task) -> Result<Plan, String> {
    let own = User { name: Some("me".into()), uid, gid: uid, home: "/home/me".into(), groups: vec![] };
    let users = Users::read().unwrap();
    let offer = Offer {
        own: &own,
        users: &users,
        secrets_dir: Path::new("/run/secrets"),
        configs_dir: Path::new("/run/configs"),
        logs: LogLimits::default(),
        ceiling: |resource| matches!(resource, Resource::Nofile).then_some(1000),
        mode: IsolationMode::Auto,
        isolation: &Err("no rights".to_owned()),
        map: None,
        capabilities: CapabilitySet::all(),
        image: None,
        task_dir: Path::new("/state/tasks/t1"),
        volumes_dir: Path::new("/state/volumes"),
        dependencies: &swarmkit_executor::NoDependencies,
        devices: &[],
        files: &[],
    };
    let planned = Plan::decide(task, &offer).map_err(|error| {
        assert!(matches!(error, ExecError::Rejected(_)), "a plan that cannot be made is a rejection");
        error.to_string()
    });
    planned.map(|planned| planned.plan)
}

fn plan(task: &Task) -> Result<Plan, String> {
    plan_as(0, task)
}

#[test]
fn command_and_arguments_are_one_list() {
    let made = plan(&task(|_| {})).unwrap();
    assert_eq!(made.program, Path::new("/bin/sh"));
    assert_eq!(made.argv, ["/bin/sh", "-c", "true"]);
    assert_eq!(made.dir, Path::new("/"));
    assert_eq!(made.identity, None);

    let only_args = plan(&task(|spec| spec.command.clear())).unwrap_err();
    assert_eq!(only_args, "program \"-c\" not found in /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let nothing = task(|spec| {
        spec.command.clear();
        spec.args.clear();
    });
    assert_eq!(plan(&nothing).unwrap_err(), "a process needs a command");
}

#[test]
fn the_environment_is_the_base_and_then_what_the_task_asks_for() {
    let made = plan(&task(|spec| {
        spec.env = vec!["A=1".into(), "HOME".into(), "PATH=/bin".into(), "B=x=y".into(), "SWARMKIT_TASK_ID".into()]
    }));
    let env = made.unwrap().env;
    assert_eq!(env["A"], "1");
    assert_eq!(env["B"], "x=y");
    assert_eq!(env["PATH"], "/bin");
    assert!(!env.contains_key("HOME"), "an entry without a value takes the variable away");
    assert_eq!(env["SWARMKIT_TASK_ID"], "t1");
    assert_eq!(env["SWARMKIT_TASK_NAME"], "web.2.t1");
    assert_eq!(env["SWARMKIT_SERVICE_NAME"], "web");
    assert_eq!(env["SWARMKIT_NODE_ID"], "n1");
    assert!(!env.contains_key("SWARMKIT_SECRETS_DIR"), "only with secrets");

    let with_secret = plan(&task(|spec| spec.secrets.push(wire::SecretReference::default()))).unwrap();
    assert_eq!(with_secret.env["SWARMKIT_SECRETS_DIR"], "/run/secrets");
}

#[test]
fn generic_resources_are_told_in_the_environment() {
    use wire::generic_resource::Resource;

    let named = |value: &str| {
        Resource::NamedResourceSpec(wire::NamedGenericResource { kind: "gpu".into(), value: value.into() })
    };
    let count = Resource::DiscreteResourceSpec(wire::DiscreteGenericResource { kind: "ssd".into(), value: 3 });
    let resources = [named("a"), named("b"), count].map(|resource| wire::GenericResource { resource: Some(resource) });
    let given = Task { assigned_generic_resources: resources.to_vec(), ..task(|_| {}) };
    let env = plan(&given).unwrap().env;
    assert_eq!((env["DOCKER_RESOURCE_GPU"].as_str(), env["DOCKER_RESOURCE_SSD"].as_str()), ("a,b", "3"));
}

#[test]
fn only_root_can_run_a_task_as_another_user() {
    let nobody = task(|spec| spec.user = "65534:65534".into());
    let identity = plan(&nobody).unwrap().identity.unwrap();
    assert_eq!((identity.uid, identity.gid), (65534, 65534));
    let refused = plan_as(1000, &nobody).unwrap_err();
    assert_eq!(
        refused,
        "cannot run as user \"65534:65534\": this node runs as user 1000, and only root can change that"
    );
    assert_eq!(plan_as(1000, &task(|spec| spec.user = "1000:1000".into())).unwrap().identity, None);
    let groups = plan_as(1000, &task(|spec| spec.groups = vec!["0".into()])).unwrap_err();
    assert_eq!(groups, "cannot join groups: this node runs as user 1000, and only root can");
}

#[test]
fn what_a_process_cannot_have_is_refused_by_name() {
    let asks = task(|spec| {
        spec.hostname = "db".into();
        spec.tty = true;
        spec.mounts.push(wire::Mount::default());
    });
    assert_eq!(plan(&asks).unwrap_err(), "a process cannot have: tty");
    let asks = task(|spec| {
        spec.hostname = "db".into();
        spec.mounts.push(wire::Mount::default());
    });
    assert_eq!(plan(&asks).unwrap_err(), "a process cannot have here: hostname, mounts (no rights)");
    let port = |published_port, mode: wire::port_config::PublishMode| wire::PortConfig {
        published_port,
        target_port: 80,
        publish_mode: mode.into(),
        ..Default::default()
    };
    let with_port = |port: wire::PortConfig| Task {
        endpoint: Some(Arc::new(wire::Endpoint { ports: vec![port], ..Default::default() })),
        ..task(|_| {})
    };
    for listening in [0, 80] {
        assert!(plan(&with_port(port(listening, wire::port_config::PublishMode::Host))).is_ok());
    }
    let moved = plan(&with_port(port(8080, wire::port_config::PublishMode::Host))).unwrap_err();
    assert_eq!(moved, "a process cannot have: host ports other than the ports that it listens on");
    let routed = plan(&with_port(port(80, wire::port_config::PublishMode::Ingress))).unwrap_err();
    assert_eq!(routed, "a process cannot have: ports in ingress mode (use host mode)");
    let image = task(|spec| spec.image = "nginx".into());
    assert_eq!(plan(&image).unwrap_err(), "this node runs processes, not the image \"nginx\"");
    type Change = fn(&mut wire::ContainerSpec);
    let cases: [(&str, Change); 6] = [
        ("the directory \"srv\" is not absolute", |spec| spec.dir = "srv".into()),
        ("unknown stop signal \"SIGSOFTLY\"", |spec| spec.stop_signal = "SIGSOFTLY".into()),
        ("an environment entry has no name", |spec| spec.env = vec!["=x".into()]),
        ("no user \"n-o-n-e\" on this machine", |spec| spec.user = "n-o-n-e".into()),
        ("the command, environment or directory holds a zero byte", |spec| spec.args = vec!["a\0b".into()]),
        ("the OOM score adjustment is not between -1000 and 1000", |spec| spec.oom_score_adj = 1001),
    ];
    for (text, change) in cases {
        assert_eq!(plan(&task(change)).unwrap_err(), text);
    }
}

#[test]
fn limits_are_read_as_engines_write_them() {
    let ulimit = |name: &str, soft, hard| wire::container_spec::Ulimit { name: name.into(), soft, hard };
    let made = plan(&task(|spec| spec.ulimits = vec![ulimit("nofile", 64, 128), ulimit("core", -1, -1)])).unwrap();
    assert_eq!(made.rlimits[0], Rlimit { name: "nofile".into(), soft: Some(64), hard: Some(128) });
    assert_eq!(made.rlimits[1], Rlimit { name: "core".into(), soft: None, hard: None });
    let unknown = plan(&task(|spec| spec.ulimits = vec![ulimit("files", 1, 1)])).unwrap_err();
    assert_eq!(unknown, "unknown ulimit \"files\"");
    let raised = |hard| plan(&task(|spec| spec.ulimits = vec![ulimit("nofile", 64, hard)])).unwrap_err();
    assert_eq!(raised(1001), "ulimit nofile: the hard limit 1001 is above that of the node, 1000");
    assert_eq!(raised(-1), "ulimit nofile: the hard limit unlimited is above that of the node, 1000");
    let upside_down = plan(&task(|spec| spec.ulimits = vec![ulimit("nofile", -1, 1)])).unwrap_err();
    assert_eq!(upside_down, "ulimit nofile: the soft limit is above the hard one");
}

#[test]
fn a_task_says_how_it_is_stopped() {
    assert_eq!(Stop::of(&task(|_| {})).unwrap(), Stop { signal: Signal::TERM, grace: Duration::from_secs(10) });
    let own = task(|spec| {
        spec.stop_signal = "SIGINT".into();
        spec.stop_grace_period = Some(prost_types::Duration { seconds: 0, nanos: 250_000_000 });
    });
    assert_eq!(Stop::of(&own).unwrap(), Stop { signal: Signal::INT, grace: Duration::from_millis(250) });
}
