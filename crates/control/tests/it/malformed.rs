//! Services that no cluster can run: each refusal names what is wrong, and changes nothing.

use prost_types::{Any, Duration};
use swarmkit_api::{
    Service,
    wire::{self, endpoint_spec::ResolutionMode, port_config::PublishMode, service_spec::Mode, task_spec::Runtime},
};
use tonic::Code;
use wire::{config_reference, secret_reference};

use crate::world::{World, annotations, invalid, no_argument, web};

type Change = fn(&mut wire::ServiceSpec);

/// Tries changes of a good service, and gives the codes and texts that they are refused with.
async fn check(cases: &[(Change, &str)]) {
    let world = World::new();
    for (change, text) in cases {
        let mut spec = web("web");
        change(&mut spec);
        assert_eq!(world.create_refused(spec).await, invalid(text));
    }
    assert_eq!(world.view().count::<Service>(), 0);
}

/// Tries changes of a good service that leave it good.
async fn accept(cases: &[Change]) {
    for change in cases {
        let mut spec = web("web");
        change(&mut spec);
        let made = World::new().create(spec.clone()).await;
        assert_eq!(made.spec, Some(spec));
    }
}

fn task(spec: &mut wire::ServiceSpec) -> &mut wire::TaskSpec {
    spec.task.as_mut().unwrap()
}

fn container(spec: &mut wire::ServiceSpec) -> &mut wire::ContainerSpec {
    match &mut task(spec).runtime {
        Some(Runtime::Container(container)) => container,
        other => panic!("{other:?}"),
    }
}

fn limits(spec: &mut wire::ServiceSpec) -> &mut wire::Resources {
    task(spec).resources.get_or_insert_default().limits.get_or_insert_default()
}

fn reservations(spec: &mut wire::ServiceSpec) -> &mut wire::Resources {
    task(spec).resources.get_or_insert_default().reservations.get_or_insert_default()
}

const SECOND: Option<Duration> = Some(Duration { seconds: 1, nanos: 0 });
const NEGATIVE: Option<Duration> = Some(Duration { seconds: 0, nanos: -1 });

#[tokio::test]
async fn a_service_needs_a_specification_a_name_a_task_and_a_mode() {
    let world = World::new();
    let nothing = world.control().create_service(wire::CreateServiceRequest { spec: None }).await.unwrap_err();
    assert_eq!((nothing.code(), nothing.message().to_owned()), no_argument());
    check(&[
        (|spec| spec.annotations = annotations(""), "meta: name must be provided"),
        (|spec| spec.annotations = None, "meta: name must be provided"),
        (|spec| spec.annotations = annotations("a b"), "name must be valid as a DNS name component"),
        (|spec| spec.annotations = annotations("-a"), "name must be valid as a DNS name component"),
        (|spec| spec.annotations = annotations(&"a".repeat(64)), "name must be 63 characters or fewer"),
        (|spec| spec.task = None, "invalid argument"),
        (|spec| task(spec).runtime = None, "TaskSpec: missing runtime"),
        (|spec| spec.mode = None, "Unrecognized service mode"),
    ])
    .await;
    accept(&[|spec| spec.annotations = annotations("n-m_e"), |spec| spec.annotations = annotations("n--d")]).await;
}

#[tokio::test]
async fn counts_are_within_their_limits() {
    check(&[
        (
            |spec| spec.mode = Some(Mode::Replicated(wire::ReplicatedService { replicas: u64::MAX })),
            "Number of replicas must be non-negative",
        ),
        (
            |spec| {
                let job = wire::ReplicatedJob { max_concurrent: 1 << 63, total_completions: 1 };
                spec.mode = Some(Mode::ReplicatedJob(job));
            },
            "Maximum concurrent jobs must be non-negative",
        ),
        (
            |spec| {
                let job = wire::ReplicatedJob { max_concurrent: 1, total_completions: u64::MAX };
                spec.mode = Some(Mode::ReplicatedJob(job));
            },
            "Total completed jobs must be non-negative",
        ),
    ])
    .await;
    accept(&[
        |spec| spec.mode = Some(Mode::Replicated(wire::ReplicatedService { replicas: 0 })),
        |spec| spec.mode = Some(Mode::Global(wire::GlobalService {})),
        |spec| spec.mode = Some(Mode::GlobalJob(wire::GlobalJob {})),
        |spec| spec.mode = Some(Mode::ReplicatedJob(wire::ReplicatedJob { max_concurrent: 1, total_completions: 9 })),
    ])
    .await;
}

#[tokio::test]
async fn a_service_too_large_for_the_log_is_refused_whole() {
    let world = World::new();
    let mut spec = web("web");
    spec.annotations.as_mut().unwrap().labels.insert("big".into(), "x".repeat(3 << 20));
    let (code, text) = world.create_refused(spec).await;
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.contains("more than the 1572864 of one proposal"), "{text}");
    assert_eq!(world.view().count::<Service>(), 0);
}

#[tokio::test]
async fn what_no_cluster_runs_is_not_implemented() {
    let world = World::new();
    let mut spec = web("web");
    task(&mut spec).runtime = Some(Runtime::Attachment(wire::NetworkAttachmentSpec::default()));
    assert_eq!(world.create_refused(spec).await, (Code::Unimplemented, "RuntimeUnimplemented: attachment".to_owned()));
}

#[tokio::test]
async fn a_network_that_nobody_knows_may_come_later() {
    accept(&[|spec| {
        task(spec).networks = vec![wire::NetworkAttachmentConfig { target: "unknown".into(), ..Default::default() }];
    }])
    .await;
}

fn reserve(spec: &mut wire::ServiceSpec, kind: &str, value: i64) {
    let discrete = wire::DiscreteGenericResource { kind: kind.into(), value };
    let resource = Some(wire::generic_resource::Resource::DiscreteResourceSpec(discrete));
    reservations(spec).generic.push(wire::GenericResource { resource });
}

#[tokio::test]
async fn resources_are_asked_for_in_amounts_that_exist() {
    check(&[
        (|spec| limits(spec).nano_cpus = 42, "invalid cpu value 0.000000042: Must be at least 0.001"),
        (|spec| reservations(spec).nano_cpus = 42, "invalid cpu value 0.000000042: Must be at least 0.001"),
        (|spec| limits(spec).memory_bytes = 1, "invalid memory value 1: Must be at least 4MiB"),
        (|spec| reservations(spec).memory_bytes = -1, "invalid memory value -1: Must be at least 4MiB"),
        (
            |spec| {
                let named = wire::NamedGenericResource { kind: "gpu".into(), value: "a".into() };
                let resource = Some(wire::generic_resource::Resource::NamedResourceSpec(named));
                reservations(spec).generic.push(wire::GenericResource { resource });
            },
            "invalid argument for resource gpu: a task asks for a number, not for a name",
        ),
        (|spec| reserve(spec, "gpu", -1), "invalid argument for resource gpu: the number is negative"),
        (|spec| reserve(spec, " ", 1), "invalid argument for resource : it has no name"),
        (
            |spec| reservations(spec).generic.push(wire::GenericResource { resource: None }),
            "invalid argument for resource : it says nothing",
        ),
    ])
    .await;
    accept(&[
        |spec| limits(spec).nano_cpus = 1_000_000_000,
        |spec| reservations(spec).memory_bytes = 4 << 30,
        |spec| reserve(spec, "gpu", 2),
    ])
    .await;
}

#[tokio::test]
async fn times_do_not_run_backwards() {
    check(&[
        (
            |spec| task(spec).restart = Some(wire::RestartPolicy { delay: NEGATIVE, ..Default::default() }),
            "TaskSpec: restart-delay: duration must not be negative",
        ),
        (
            |spec| task(spec).restart = Some(wire::RestartPolicy { window: NEGATIVE, ..Default::default() }),
            "TaskSpec: restart-window: duration must not be negative",
        ),
        (
            |spec| spec.update = Some(wire::UpdateConfig { delay: NEGATIVE, ..Default::default() }),
            "TaskSpec: update-delay: duration must not be negative",
        ),
        (
            |spec| spec.update = Some(wire::UpdateConfig { monitor: NEGATIVE, ..Default::default() }),
            "TaskSpec: update-monitor: duration must not be negative",
        ),
        (
            |spec| spec.rollback = Some(wire::UpdateConfig { monitor: NEGATIVE, ..Default::default() }),
            "TaskSpec: rollback-monitor: duration must not be negative",
        ),
        (
            |spec| {
                let delay = Some(Duration { seconds: i64::MAX, nanos: 0 });
                spec.update = Some(wire::UpdateConfig { delay, ..Default::default() });
            },
            "TaskSpec: update-delay: duration is out of range",
        ),
    ])
    .await;
    accept(&[|spec| spec.update = Some(wire::UpdateConfig { delay: SECOND, monitor: SECOND, ..Default::default() })])
        .await;
}

#[tokio::test]
async fn a_rollout_gives_up_at_a_share_between_none_and_all() {
    let ratio: [(Change, &str); 3] = [
        (
            |spec| spec.update = Some(wire::UpdateConfig { max_failure_ratio: -0.1, ..Default::default() }),
            "TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1",
        ),
        (
            |spec| spec.update = Some(wire::UpdateConfig { max_failure_ratio: 1.1, ..Default::default() }),
            "TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1",
        ),
        (
            |spec| spec.rollback = Some(wire::UpdateConfig { max_failure_ratio: f32::NAN, ..Default::default() }),
            "TaskSpec: rollback-maxfailureratio cannot be less than 0 or bigger than 1",
        ),
    ];
    check(&ratio).await;
    accept(&[|spec| spec.update = Some(wire::UpdateConfig { max_failure_ratio: 0.5, ..Default::default() })]).await;
}

#[tokio::test]
async fn jobs_are_not_rolled_out() {
    let rollout = "Jobs may not have an update config";
    check(&[
        (
            |spec| {
                spec.mode = Some(Mode::GlobalJob(wire::GlobalJob {}));
                spec.update = Some(wire::UpdateConfig::default());
            },
            rollout,
        ),
        (
            |spec| {
                spec.mode = Some(Mode::ReplicatedJob(wire::ReplicatedJob::default()));
                spec.update = Some(wire::UpdateConfig::default());
            },
            rollout,
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_bad_constraint_is_named() {
    let world = World::new();
    for bad in ["node.role ~ x", "node.role", "== x", "node.role = manager"] {
        let mut spec = web("web");
        let placement = wire::Placement { constraints: vec![bad.to_owned()], ..Default::default() };
        task(&mut spec).placement = Some(placement);
        let (code, text) = world.create_refused(spec).await;
        assert_eq!(code, Code::InvalidArgument);
        assert!(text.contains(bad), "{text}");
    }
    accept(&[|spec| task(spec).placement.get_or_insert_default().constraints = vec!["node.role == manager".into()]])
        .await;
}

#[tokio::test]
async fn an_image_is_a_reference() {
    check(&[
        (|spec| container(spec).image.clear(), "ContainerSpec: image reference must be provided"),
        (
            |spec| container(spec).image = "busybox###".into(),
            "ContainerSpec: \"busybox###\" is not a valid repository/tag",
        ),
    ])
    .await;
    accept(&[|spec| container(spec).image = "registry.example.com:5000/team/app:v1".into()]).await;
}

#[tokio::test]
async fn placeholders_are_tried_before_they_are_taken() {
    check(&[
        (
            |spec| container(spec).hostname = "{{.Node.Hostnaem}}".into(),
            "invalid template: expanding hostname failed: line 1, column 8: .Node has no field Hostnaem",
        ),
        (
            |spec| container(spec).image = "{{.Service.Name}} {{.Task.Slot}}".into(),
            "ContainerSpec: \"{{.Service.Name}} {{.Task.Slot}}\" is not a valid repository/tag",
        ),
    ])
    .await;
    accept(&[|spec| {
        spec.annotations.as_mut().unwrap().labels.insert("tier".into(), "front".into());
        container(spec).hostname = "{{.Service.Name}}-{{.Task.Slot}}-{{.Service.Labels.tier}}".into();
        container(spec).env = vec!["NODE={{.Node.Hostname}}".into()];
    }])
    .await;
}

#[tokio::test]
async fn a_place_is_mounted_once() {
    fn mount(target: &str) -> wire::Mount {
        wire::Mount { target: target.into(), ..Default::default() }
    }
    check(&[(
        |spec| container(spec).mounts = vec![mount("/a"), mount("/a")],
        "ContainerSpec: duplicate mount point: /a",
    )])
    .await;
    accept(&[|spec| container(spec).mounts = vec![mount("/a"), mount("/b")]]).await;
}

#[tokio::test]
async fn a_health_check_takes_a_millisecond_at_least() {
    fn with(spec: &mut wire::ServiceSpec, change: impl FnOnce(&mut wire::HealthConfig)) {
        change(container(spec).healthcheck.get_or_insert_default());
    }
    check(&[
        (
            |spec| with(spec, |health| health.interval = NEGATIVE),
            "ContainerSpec: Interval in HealthConfig cannot be less than 1ms",
        ),
        (
            |spec| with(spec, |health| health.timeout = NEGATIVE),
            "ContainerSpec: Timeout in HealthConfig cannot be less than 1ms",
        ),
        (
            |spec| with(spec, |health| health.start_period = NEGATIVE),
            "ContainerSpec: StartPeriod in HealthConfig cannot be less than 1ms",
        ),
        (
            |spec| with(spec, |health| health.start_interval = NEGATIVE),
            "ContainerSpec: StartInterval in HealthConfig cannot be less than 1ms",
        ),
        (|spec| with(spec, |health| health.retries = -1), "ContainerSpec: Retries in HealthConfig cannot be negative"),
    ])
    .await;
    accept(&[
        |spec| with(spec, |health| health.interval = SECOND),
        |spec| with(spec, |health| health.interval = Some(Duration::default())),
    ])
    .await;
}

#[tokio::test]
async fn a_generic_runtime_says_what_it_is_and_what_it_runs() {
    fn generic(spec: &mut wire::ServiceSpec, kind: &str, payload: Option<(&str, &[u8])>) {
        let payload = payload.map(|(kind, value)| Any { type_url: kind.into(), value: value.into() });
        task(spec).runtime = Some(Runtime::Generic(wire::GenericRuntimeSpec { kind: kind.into(), payload }));
    }
    const GOOD: Option<(&str, &[u8])> = Some(("type", b"x"));
    check(&[
        (|spec| generic(spec, "", GOOD), "Generic runtime: invalid name \"\""),
        (|spec| generic(spec, "c", GOOD), "Generic runtime: invalid name \"c\""),
        (|spec| generic(spec, "CONTAINER", GOOD), "Generic runtime: invalid name \"CONTAINER\""),
        (|spec| generic(spec, "attachment", GOOD), "Generic runtime: invalid name \"attachment\""),
        (|spec| generic(spec, "custom", None), "Generic runtime is missing payload"),
        (|spec| generic(spec, "custom", Some(("", b"x"))), "Generic runtime is missing payload type"),
        (|spec| generic(spec, "custom", Some(("type", b""))), "Generic runtime has an empty payload"),
    ])
    .await;
    accept(&[|spec| generic(spec, "custom", GOOD)]).await;
}

fn port(published_port: u32, publish_mode: PublishMode) -> wire::PortConfig {
    wire::PortConfig { target_port: 80, published_port, publish_mode: publish_mode.into(), ..Default::default() }
}

fn endpoint(spec: &mut wire::ServiceSpec, mode: ResolutionMode, ports: Vec<wire::PortConfig>) {
    spec.endpoint = Some(wire::EndpointSpec { mode: mode.into(), ports });
}

#[tokio::test]
async fn a_port_is_published_once_and_in_a_way_that_works() {
    use PublishMode::{Host, Ingress};
    check(&[
        (
            |spec| endpoint(spec, ResolutionMode::Dnsrr, vec![port(80, Ingress)]),
            "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
        ),
        (
            |spec| endpoint(spec, ResolutionMode::Vip, vec![port(80, Host), port(80, Host)]),
            "EndpointSpec: duplicate published ports provided",
        ),
        (
            |spec| endpoint(spec, ResolutionMode::Vip, vec![port(80, Host), port(80, Ingress)]),
            "EndpointSpec: duplicate published ports provided",
        ),
        (
            |spec| endpoint(spec, ResolutionMode::Vip, vec![port(65_536, Host)]),
            "EndpointSpec: a port must be at most 65535",
        ),
    ])
    .await;
    accept(&[
        |spec| endpoint(spec, ResolutionMode::Dnsrr, vec![port(80, Host)]),
        |spec| endpoint(spec, ResolutionMode::Vip, vec![port(0, Host), port(0, Host)]),
        |spec| {
            let udp = wire::PortConfig { protocol: wire::port_config::Protocol::Udp.into(), ..port(80, Host) };
            endpoint(spec, ResolutionMode::Vip, vec![port(80, Host), udp]);
        },
    ])
    .await;
}

fn file(name: &str) -> wire::FileTarget {
    wire::FileTarget { name: name.into(), ..Default::default() }
}

fn secret(name: &str, target: Option<&str>) -> wire::SecretReference {
    let target = target.map(|target| secret_reference::Target::File(file(target)));
    wire::SecretReference { secret_id: "id".into(), secret_name: name.into(), target }
}

fn config(name: &str, target: Option<&str>) -> wire::ConfigReference {
    let target = target.map(|target| config_reference::Target::File(file(target)));
    wire::ConfigReference { config_id: "id".into(), config_name: name.into(), target }
}

#[tokio::test]
async fn references_to_secrets_and_configs_are_whole() {
    check(&[
        (|spec| container(spec).secrets = vec![secret("", Some("f"))], "malformed secret reference"),
        (|spec| container(spec).secrets = vec![secret("s", None)], "malformed secret reference, no target provided"),
        (
            |spec| container(spec).secrets = vec![secret("s", Some(""))],
            "malformed file secret reference, invalid target file name provided",
        ),
        (
            |spec| container(spec).secrets = vec![secret("a", Some("f")), secret("b", Some("f"))],
            "secret references 'a' and 'b' have a conflicting target: 'f'",
        ),
        (
            |spec| container(spec).secrets = vec![secret("a", Some("f")), secret("a", Some("f"))],
            "secret references 'a' and 'a' have a conflicting target: 'f'",
        ),
        (|spec| container(spec).configs = vec![config("", Some("f"))], "malformed config reference"),
        (|spec| container(spec).configs = vec![config("c", None)], "malformed config reference, no target provided"),
        (
            |spec| container(spec).configs = vec![config("c", Some(""))],
            "malformed file config reference, invalid target file name provided",
        ),
        (
            |spec| container(spec).configs = vec![config("a", Some("f")), config("b", Some("f"))],
            "config references 'a' and 'b' have a conflicting target: 'f'",
        ),
        (
            |spec| {
                let source = Some(wire::privileges::credential_spec::Source::Config("id".into()));
                let credential_spec = Some(wire::privileges::CredentialSpec { source });
                container(spec).privileges = Some(wire::Privileges { credential_spec, ..Default::default() });
                container(spec).configs = vec![config("c", Some("f"))];
            },
            "CredentialSpec references config \"id\", but that config isn't in config references with RuntimeTarget",
        ),
    ])
    .await;
}
