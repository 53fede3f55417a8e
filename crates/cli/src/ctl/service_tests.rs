//! What each flag does to the specification of a service.

use clap::Parser as _;
use swarmkit_api::wire::{
    port_config::{Protocol, PublishMode},
    restart_policy::RestartCondition,
    update_config::{FailureAction, UpdateOrder},
};

use super::*;
use crate::ctl::{Args, Command as Top};

/// The specification that `swarmctl service create --name web FLAGS` asks for.
fn created(flags: &[&str]) -> Result<wire::ServiceSpec, String> {
    let line = ["swarmctl", "service", "create", "--name", "web"].iter().chain(flags);
    match Args::try_parse_from(line).map_err(|error| error.to_string())?.command {
        Top::Service(Command::Create { name, mode, flags, .. }) => {
            new_spec(name, mode, &flags).map_err(|error| error.to_string())
        }
        other => panic!("{other:?}"),
    }
}

/// What `swarmctl service update web FLAGS` makes of a specification.
fn updated(spec: &wire::ServiceSpec, flags: &[&str]) -> wire::ServiceSpec {
    let line = ["swarmctl", "service", "update", "web"].iter().chain(flags);
    let Top::Service(Command::Update { flags, .. }) = Args::try_parse_from(line).unwrap().command else {
        panic!("an update")
    };
    let mut spec = spec.clone();
    flags.apply(&mut spec).unwrap();
    spec
}

fn task(flags: &[&str]) -> wire::TaskSpec {
    created(&[&["--image", "nginx"], flags].concat()).unwrap().task.unwrap()
}

fn made(flags: &[&str]) -> wire::ContainerSpec {
    let mut spec = created(&[&["--image", "nginx"], flags].concat()).unwrap();
    container(&mut spec).unwrap().clone()
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

#[test]
fn only_what_is_given_enters_the_specification() {
    let expected = wire::ServiceSpec {
        annotations: Some(wire::Annotations { name: "web".into(), ..Default::default() }),
        mode: Some(wire::service_spec::Mode::Replicated(wire::ReplicatedService { replicas: 1 })),
        task: Some(wire::TaskSpec {
            runtime: Some(task_spec::Runtime::Container(wire::ContainerSpec {
                image: "nginx".into(),
                ..Default::default()
            })),
            restart: Some(wire::RestartPolicy { condition: RestartCondition::Any.into(), ..Default::default() }),
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(created(&["--image", "nginx"]).unwrap(), expected);
}

#[test]
fn flags_of_the_container_are_mapped() {
    let container = made(&[
        "--hostname",
        "h",
        "--command",
        "/bin/sh,-c",
        "--args",
        "\"a, b\",c",
        "--env",
        "A=1,B=2",
        "--env",
        "C=3",
        "--dir",
        "/srv",
        "--user",
        "33:33",
        "--stop-grace-period",
        "1m30s",
    ]);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let expected = wire::ContainerSpec {
        image: "nginx".into(),
        hostname: "h".into(),
        command: words(&["/bin/sh", "-c"]),
        args: words(&["a, b", "c"]),
        env: words(&["A=1", "B=2", "C=3"]),
        dir: "/srv".into(),
        user: "33:33".into(),
        stop_grace_period: seconds(90),
        ..Default::default()
    };
    assert_eq!(container, expected);
}

#[test]
fn a_command_line_after_two_dashes_is_taken_word_for_word() {
    let mut spec = created(&["--", "sh", "-c", "echo a, b"]).unwrap();
    let process = container(&mut spec).unwrap();
    assert_eq!(process.image, swarmkit_executor::PROCESS_IMAGE);
    assert!(process.command.is_empty());
    assert_eq!(process.args, ["sh", "-c", "echo a, b"]);
    assert_eq!(made(&["--", "nginx", "-g"]).args, ["nginx", "-g"]);
}

#[test]
fn a_service_needs_an_image_or_a_command() {
    assert_eq!(created(&[]).unwrap_err(), "--image is mandatory unless a command is given");
    let mut spec = created(&["--command", "sleep", "--args", "60"]).unwrap();
    assert_eq!(container(&mut spec).unwrap().image, swarmkit_executor::PROCESS_IMAGE);
}

#[test]
fn flags_of_resources_and_placement_are_mapped() {
    let task = task(&[
        "--cpu-reservation",
        "0.25",
        "--cpu-limit",
        "1.5",
        "--memory-reservation",
        "64m",
        "--memory-limit",
        "1g",
        "--constraint",
        "node.labels.zone==a,node.role!=manager",
        "--replicas-max-per-node",
        "2",
    ]);
    let resources = |nano_cpus, memory_bytes| Some(wire::Resources { nano_cpus, memory_bytes, ..Default::default() });
    let expected = wire::ResourceRequirements {
        reservations: resources(250_000_000, 67_108_864),
        limits: resources(1_500_000_000, 1_073_741_824),
        ..Default::default()
    };
    assert_eq!(task.resources, Some(expected));
    let placement = task.placement.unwrap();
    assert_eq!(placement.constraints, ["node.labels.zone==a", "node.role!=manager"]);
    assert_eq!(placement.max_replicas, 2);
}

#[test]
fn generic_resources_are_reserved_by_number_replace_what_was_and_go_with_nothing() {
    let reserved = |spec: &wire::ServiceSpec| {
        let resources = spec.task.clone().unwrap().resources.unwrap_or_default();
        let generic = resources.reservations.unwrap_or_default().generic;
        let tell = |unit: wire::GenericResource| match unit.resource.unwrap() {
            wire::generic_resource::Resource::DiscreteResourceSpec(unit) => format!("{} {}", unit.value, unit.kind),
            wire::generic_resource::Resource::NamedResourceSpec(unit) => panic!("{unit:?}"),
        };
        generic.into_iter().map(tell).collect::<Vec<_>>()
    };
    let spec = created(&["--image", "nginx", "--memory-reservation", "64m", "--generic-resources", "gpu=2,licence=1"]);
    let spec = spec.unwrap();
    assert_eq!(reserved(&spec), ["2 gpu", "1 licence"]);
    assert_eq!(reserved(&updated(&spec, &["--memory-reservation", "32m"])), ["2 gpu", "1 licence"]);
    assert_eq!(reserved(&updated(&spec, &["--generic-resources", "fpga=3"])), ["3 fpga"]);
    let none = updated(&spec, &["--generic-resources", ""]);
    assert_eq!(reserved(&none), Vec::<String>::new());
    assert_eq!(none.task.unwrap().resources.unwrap().reservations.unwrap().memory_bytes, 64 << 20);

    let refusal = |text: &str| created(&["--image", "nginx", "--generic-resources", text]).unwrap_err();
    assert_eq!(refusal("gpu=UUID1"), "invalid argument for resource gpu: a task asks for a number");
    let text = refusal("gpu=1,gpu=2");
    assert!(text.contains("could not parse GenericResource: gpu has more than one number"), "{text}");
}

#[test]
fn flags_of_restart_and_rollout_are_mapped() {
    let spec = created(&[
        "--image",
        "nginx",
        "--restart-condition",
        "failure",
        "--restart-delay",
        "1s",
        "--restart-max-attempts",
        "3",
        "--restart-window",
        "1m",
        "--update-parallelism",
        "2",
        "--update-delay",
        "5s",
        "--update-on-failure",
        "rollback",
        "--update-order",
        "start-first",
        "--rollback-parallelism",
        "0",
        "--rollback-on-failure",
        "continue",
    ])
    .unwrap();
    let restart = wire::RestartPolicy {
        condition: RestartCondition::OnFailure.into(),
        delay: seconds(1),
        max_attempts: 3,
        window: seconds(60),
        ..Default::default()
    };
    assert_eq!(spec.task.unwrap().restart, Some(restart));
    let update = wire::UpdateConfig {
        parallelism: 2,
        delay: seconds(5),
        failure_action: FailureAction::Rollback.into(),
        order: UpdateOrder::StartFirst.into(),
        ..Default::default()
    };
    assert_eq!(spec.update, Some(update));
    let rollback = wire::UpdateConfig { failure_action: FailureAction::Continue.into(), ..Default::default() };
    assert_eq!(spec.rollback, Some(rollback));
}

#[test]
fn flags_of_rebalancing_are_mapped() {
    use wire::swarmkit::orchestration::v1::{Rebalance, rebalance::Mode};
    let spec = created(&["--image", "x", "--rebalance", "on", "--rebalance-rate", "4"]).unwrap();
    assert_eq!(spec.rebalance, Some(Rebalance { mode: Mode::On.into(), moves_per_minute: 4 }));
    assert_eq!(created(&["--image", "x"]).unwrap().rebalance, None);
    assert_eq!(updated(&spec, &["--rebalance", "off"]).rebalance.unwrap().mode(), Mode::Off);
}

#[test]
fn every_flag_of_rollouts_and_restarts_is_mapped_and_a_limit_of_0_is_none() {
    let flags = |update: &[&str]| -> Vec<String> {
        let both = ["update", "rollback"].into_iter();
        both.flat_map(|kind| update.iter().map(move |flag| flag.replacen("--", &format!("--{kind}-"), 1))).collect()
    };
    let given = flags(&[
        "--monitor=7s",
        "--max-failure-ratio=0.25",
        "--progress-deadline=1m",
        "--max-unavailable=2",
        "--parallelism=3",
        "--delay=1s",
        "--order=start-first",
        "--on-failure=continue",
    ]);
    let given: Vec<_> = given.iter().map(String::as_str).collect();
    let restart = ["--restart-max-delay=5m", "--restart-stable-after=10m"];
    let spec = created(&[&["--image", "nginx"], &given[..], &restart].concat()).unwrap();
    let expected = wire::UpdateConfig {
        parallelism: 3,
        delay: seconds(1),
        failure_action: FailureAction::Continue.into(),
        monitor: seconds(7),
        max_failure_ratio: 0.25,
        order: UpdateOrder::StartFirst.into(),
        progress_deadline: seconds(60),
        max_unavailable: 2,
    };
    assert_eq!((spec.update, spec.rollback), (Some(expected), Some(expected)));
    let policy = spec.task.as_ref().unwrap().restart.unwrap();
    assert_eq!((policy.max_delay, policy.stable_after), (seconds(300), seconds(600)));

    let none = flags(&["--progress-deadline=0", "--max-unavailable=0"]);
    let none: Vec<_> = none.iter().map(String::as_str).chain(["--restart-max-delay=0"]).collect();
    let spec = updated(&spec, &none);
    let expected = wire::UpdateConfig { progress_deadline: None, max_unavailable: 0, ..expected };
    assert_eq!((spec.update, spec.rollback), (Some(expected), Some(expected)));
    assert_eq!(spec.task.unwrap().restart, Some(wire::RestartPolicy { max_delay: None, ..policy }));

    let plain = created(&["--image", "nginx"]).unwrap();
    let same = updated(&plain, &["--hostname", "h"]);
    assert_eq!((same.update, same.rollback), (None, None), "what is not given is not asked for");
    for bad in ["--update-max-failure-ratio=1.5", "--update-max-failure-ratio=x", "--rollback-on-failure=rollback"] {
        assert!(created(&["--image", "nginx", bad]).is_err(), "{bad}");
    }
}

#[test]
fn labels_and_modes_are_mapped() {
    let spec = created(&["--image", "x", "--label", "a=1,b=", "--mode", "global"]).unwrap();
    let labels = spec.annotations.unwrap().labels;
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), [("a".into(), "1".into()), ("b".into(), String::new())]);
    assert_eq!(spec.mode, Some(wire::service_spec::Mode::Global(wire::GlobalService {})));
    let spec = created(&["--image", "x", "--mode", "replicated-job", "--replicas", "4"]).unwrap();
    let job = wire::ReplicatedJob { max_concurrent: 4, total_completions: 4 };
    assert_eq!(spec.mode, Some(wire::service_spec::Mode::ReplicatedJob(job)));
}

#[test]
fn ports_are_published_on_the_node() {
    let spec = created(&["--image", "x", "--ports", "http:80:8080,dns:53/udp:53/udp,any:9"]).unwrap();
    let port = |name: &str, protocol: Protocol, target_port, published_port| wire::PortConfig {
        name: name.into(),
        protocol: protocol.into(),
        target_port,
        published_port,
        publish_mode: PublishMode::Host.into(),
    };
    let expected =
        [port("http", Protocol::Tcp, 80, 8080), port("dns", Protocol::Udp, 53, 53), port("any", Protocol::Tcp, 9, 0)];
    assert_eq!(spec.endpoint.unwrap().ports, expected);
}

#[test]
fn malformed_values_are_refused() {
    for (flags, expected) in [
        (["--ports", "http"], "malformed port \"http\": expected name:target"),
        (["--ports", "a:1:2:3"], "malformed port \"a:1:2:3\": expected name:target:published"),
        (["--ports", "a:x"], "malformed port \"a:x\": a port is a number up to 65535"),
        (["--ports", "a:1/icmp"], "malformed port \"a:1/icmp\": the protocol must be tcp, udp or sctp"),
        (["--ports", "a:1/udp:2"], "malformed port \"a:1/udp:2\": both protocols must be the same"),
        (["--label", "a"], "malformed label \"a\": expected key=value"),
        (["--replicas", "2"], "the number of tasks can be set for replicated services only"),
    ] {
        let flags = [&["--image", "x", "--mode", "global"], &flags[..]].concat();
        assert_eq!(created(&flags).unwrap_err(), expected);
    }
    for flags in [["--cpu-limit", "0.0000000001"], ["--memory-limit", "lots"], ["--update-delay", "5"]] {
        let error = created(&flags).unwrap_err();
        assert!(error.contains("invalid value"), "{error}");
    }
}

#[test]
fn an_update_changes_only_what_is_given() {
    let spec = created(&["--image", "nginx", "--env", "A=1", "--replicas", "3", "--label", "a=1"]).unwrap();
    assert_eq!(updated(&spec, &[]), spec);
    let mut bare = spec.clone();
    bare.task.as_mut().unwrap().restart = None;
    assert_eq!(updated(&bare, &[]), bare);
    let changed = updated(&spec, &["--replicas", "5", "--env", "B=2"]);
    let mut expected = spec.clone();
    expected.mode = Some(wire::service_spec::Mode::Replicated(wire::ReplicatedService { replicas: 5 }));
    container(&mut expected).unwrap().env = vec!["B=2".into()];
    assert_eq!(changed, expected);
}

#[test]
fn references_are_added_once_and_taken_away_by_name() {
    let reference = |name: &str| wire::SecretReference {
        secret_id: format!("id-{name}"),
        secret_name: name.to_owned(),
        target: Some(secret_reference::Target::File(parse_file_ref(name).unwrap().1)),
    };
    let mut container = wire::ContainerSpec::default();
    let added = References { secrets: vec![reference("a"), reference("b")], configs: Vec::new() };
    added.add_to(&mut container);
    added.add_to(&mut container);
    assert_eq!(container.secrets, [reference("a"), reference("b")]);
    let name = |name: &str| vec![name.parse::<Csv>().unwrap()];
    remove_references(&mut container, &name("a"), &[]).unwrap();
    assert_eq!(container.secrets, [reference("b")]);
    let error = remove_references(&mut container, &name("a"), &[]).unwrap_err();
    assert_eq!(error.to_string(), "the service does not use a secret called a");
    assert!(parse_file_ref("a:").is_err() && parse_file_ref(":b").is_err());
}

#[test]
fn scales_are_read_as_service_and_number() {
    assert_eq!(parse_scale("web=50"), Ok(("web".to_owned(), 50)));
    assert_eq!(parse_scale("web"), Err("expected SERVICE=N".to_owned()));
    assert_eq!(parse_scale("web=-1"), Err("expected a whole number after =".to_owned()));
}

#[test]
fn what_a_service_depends_on_is_given_replaced_and_left_alone() {
    use wire::swarmkit::orchestration::v1::{Dependency, dependency::Condition};

    let one = |name: &str, condition: Condition| Dependency { service: name.into(), condition: condition.into() };
    let spec =
        created(&["--image", "nginx", "--depends-on", "db:healthy,cache", "--depends-on", "init:completed"]).unwrap();
    let (db, cache) = (one("db", Condition::Healthy), one("cache", Condition::Running));
    assert_eq!(spec.depends_on, [db.clone(), cache, one("init", Condition::Completed)]);
    assert_eq!(updated(&spec, &["--image", "other"]).depends_on, spec.depends_on);
    assert_eq!(updated(&spec, &["--depends-on", "db:healthy"]).depends_on, [db]);
    let why = created(&["--image", "nginx", "--depends-on", "db:up"]).unwrap_err();
    assert!(why.starts_with("malformed dependency \"db:up\""), "{why}");

    let line = ["swarmctl", "service", "update", "web", "--rm-depends-on", "db", "--rm-depends-on", "cache"];
    let Top::Service(Command::Update { rm_depends_on, .. }) = Args::try_parse_from(line).unwrap().command else {
        panic!("an update")
    };
    let mut spec = spec;
    depend_flags::take_away(&mut spec, &rm_depends_on).unwrap();
    assert_eq!(spec.depends_on, [one("init", Condition::Completed)]);
}

#[test]
fn a_service_is_removed_now_unless_asked_otherwise() {
    for (flags, expected) in [(&[][..], false), (&["--deferred"], true)] {
        let line = [&["swarmctl", "service", "rm", "web"], flags].concat();
        let Top::Service(Command::Remove { deferred, .. }) = Args::try_parse_from(line).unwrap().command else {
            panic!("a removal")
        };
        assert_eq!(deferred, expected);
    }
}

#[test]
fn a_job_has_a_schedule_and_limits_as_its_flags_say() {
    use swarmkit_api::wire::swarmkit::orchestration::v1::{
        JobLimits, Schedule,
        schedule::{Concurrency, Missed},
    };

    let job = ["--mode", "replicated-job", "--image", "nginx"];
    let flags = [
        "--replicas",
        "5",
        "--max-concurrent",
        "2",
        "--schedule",
        "0 3 * * *",
        "--time-zone",
        "Europe/Berlin",
        "--schedule-concurrency",
        "forbid",
        "--schedule-missed",
        "skip",
        "--schedule-deadline",
        "5m",
        "--keep-succeeded",
        "2",
        "--keep-failed",
        "0",
        "--suspend",
        "--job-deadline",
        "1h",
        "--job-max-failures",
        "3",
        "--job-ttl",
        "0",
    ];
    let spec = created(&[&job[..], &flags].concat()).unwrap();
    let expected = Schedule {
        cron: "0 3 * * *".to_owned(),
        time_zone: "Europe/Berlin".to_owned(),
        concurrency: Concurrency::Forbid.into(),
        missed: Missed::Skip.into(),
        starting_deadline: seconds(300),
        succeeded_history: Some(2),
        failed_history: Some(0),
        suspended: true,
    };
    assert_eq!(spec.schedule, Some(expected.clone()));
    let limits = JobLimits { deadline: seconds(3600), max_failures: 3, time_to_live: seconds(0) };
    assert_eq!(spec.job_limits, Some(limits));
    let mode = wire::ReplicatedJob { max_concurrent: 2, total_completions: 5 };
    assert_eq!(spec.mode, Some(service_spec::Mode::ReplicatedJob(mode)));

    let resumed = updated(&spec, &["--resume", "--schedule", "0 4 * * *", "--schedule-deadline", "none"]);
    let expected = Schedule { cron: "0 4 * * *".to_owned(), starting_deadline: None, suspended: false, ..expected };
    assert_eq!(resumed.schedule, Some(expected), "what is not given stays");
    let free =
        updated(&spec, &["--no-schedule", "--job-deadline", "none", "--job-max-failures", "0", "--job-ttl", "none"]);
    assert_eq!((free.schedule, free.job_limits), (None, None));

    let refused = created(&[&job[..], &["--time-zone", "Europe/Berlin"]].concat()).unwrap_err();
    assert_eq!(refused, "the job has no schedule: give it one with --schedule");
    let refused = created(&["--image", "nginx", "--max-concurrent", "2"]).unwrap_err();
    assert_eq!(refused, "--max-concurrent is for replicated jobs");
    assert!(created(&[&job[..], &["--suspend", "--resume"]].concat()).is_err());
}
