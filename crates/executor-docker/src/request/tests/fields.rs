//! The fields that are passed on as they are.

use serde_json::json;
use swarmkit_api::wire::{
    DiscreteGenericResource, GenericResource, HealthConfig, NamedGenericResource, Placement, Platform,
    container_spec::{DnsConfig, Isolation, PullOptions},
    generic_resource::Resource,
};

use super::*;

#[test]
fn with_a_command_the_program_of_the_image_is_replaced_and_without_only_its_arguments() {
    let both = asked(|spec| {
        spec.command = strings(&["sh", "-c"]);
        spec.args = strings(&["true"]);
    });
    assert_eq!(both, json!({ "Entrypoint": ["sh", "-c"], "Cmd": ["true"] }));
    assert_eq!(asked(|spec| spec.args = strings(&["-v"])), json!({ "Cmd": ["-v"] }));
    assert_eq!(asked(|spec| spec.command = strings(&["sh"])), json!({ "Entrypoint": ["sh"] }));
}

#[test]
fn what_surrounds_the_program_is_as_asked() {
    assert_eq!(asked(|spec| spec.hostname = "web-2".into()), json!({ "Hostname": "web-2" }));
    assert_eq!(asked(|spec| spec.dir = "/srv".into()), json!({ "WorkingDir": "/srv" }));
    assert_eq!(asked(|spec| spec.user = "joe:staff".into()), json!({ "User": "joe:staff" }));
    assert_eq!(asked(|spec| spec.groups = strings(&["audio", "20"])), json!({ "GroupAdd": ["audio", "20"] }));
    assert_eq!(asked(|spec| spec.env = strings(&["A=b", "C"])), json!({ "Env": ["A=b", "C"] }));
    assert_eq!(asked(|spec| spec.tty = true), json!({ "Tty": true }));
    assert_eq!(asked(|spec| spec.open_stdin = true), json!({ "OpenStdin": true }));
    assert_eq!(asked(|spec| spec.read_only = true), json!({ "ReadonlyRootfs": true }));
    let sysctls = asked(|spec| drop(spec.sysctls.insert("net.core.somaxconn".into(), "1024".into())));
    assert_eq!(sysctls, json!({ "Sysctls": { "net.core.somaxconn": "1024" } }));
}

#[test]
fn an_init_is_as_asked_or_as_the_engine_has_it() {
    assert_eq!(asked(|spec| spec.init = Some(true)), json!({ "Init": true }));
    assert_eq!(asked(|spec| spec.init = Some(false)), json!({ "Init": false }));
}

#[test]
fn isolation_is_named_unless_it_is_the_engines_own() {
    assert_eq!(asked(|spec| spec.set_isolation(Isolation::Default)), json!({}));
    assert_eq!(asked(|spec| spec.set_isolation(Isolation::Process)), json!({ "Isolation": "process" }));
    assert_eq!(asked(|spec| spec.set_isolation(Isolation::Hyperv)), json!({ "Isolation": "hyperv" }));
}

#[test]
fn a_stop_by_hand_is_like_one_by_the_swarm() {
    assert_eq!(asked(|spec| spec.stop_signal = "SIGUSR1".into()), json!({ "StopSignal": "SIGUSR1" }));
    assert_eq!(asked(|spec| spec.stop_grace_period = duration(90_000)), json!({ "StopTimeout": 90 }));
}

#[test]
fn names_are_resolved_as_asked() {
    let dns = DnsConfig {
        nameservers: strings(&["10.0.0.2"]),
        search: strings(&["example.com"]),
        options: strings(&["ndots:2"]),
    };
    let expected = json!({ "Dns": ["10.0.0.2"], "DnsSearch": ["example.com"], "DnsOptions": ["ndots:2"] });
    assert_eq!(asked(|spec| spec.dns_config = Some(dns)), expected);
}

#[test]
fn a_health_check_is_in_nanoseconds_and_what_is_0_is_as_the_image_has_it() {
    let check = HealthConfig {
        test: strings(&["CMD", "true"]),
        interval: duration(1500),
        timeout: duration(0),
        retries: 3,
        start_period: duration(60_000),
        start_interval: duration(1),
    };
    let expected = json!({ "Healthcheck": {
        "Test": ["CMD", "true"], "Interval": 1_500_000_000_u64, "Retries": 3,
        "StartPeriod": 60_000_000_000_u64, "StartInterval": 1_000_000,
    }});
    assert_eq!(asked(|spec| spec.healthcheck = Some(check.clone())), expected);
    let text = "the engine cannot do: health check start interval (needs API 1.44, the engine has 1.41)";
    assert_eq!(refused(OLD, |spec| spec.healthcheck = Some(check.clone())), text);
    let negative = HealthConfig { timeout: duration(-1000), ..Default::default() };
    let text = "the engine cannot do: health check timeout";
    assert_eq!(refused(NEW, |spec| spec.healthcheck = Some(negative)), text);
}

#[test]
fn devices_that_a_task_was_given_are_handed_over_with_what_may_be_done() {
    let given = |kind: &str, value: &str| {
        let mut task = task(plain(), TaskSpec::default());
        let unit = NamedGenericResource { kind: kind.into(), value: value.into() };
        task.assigned_generic_resources = vec![GenericResource { resource: Some(Resource::NamedResourceSpec(unit)) }];
        beyond(&task, NEW)
    };
    let devices = json!([
        { "PathOnHost": "/dev/zero", "PathInContainer": "/dev/zero", "CgroupPermissions": "rw" },
        { "PathOnHost": "/dev/null", "PathInContainer": "/dev/null", "CgroupPermissions": "r" },
    ]);
    let asked = json!({ "Devices": devices, "Env": ["DOCKER_RESOURCE_DEV=/dev/zero"] });
    assert_eq!(given("dev", "/dev/zero").unwrap(), asked);
    assert_eq!(given("dev", "/dev/null").unwrap_err(), "this node has no device dev=/dev/null");
    assert_eq!(given("fpga", "/dev/zero").unwrap(), json!({ "Env": ["DOCKER_RESOURCE_FPGA=/dev/zero"] }));
}

#[test]
fn generic_resources_are_told_in_the_environment_before_what_the_specification_says() {
    let mut container = plain();
    container.env = strings(&["A=b"]);
    let mut task = task(container, TaskSpec::default());
    let named = |value: &str| NamedGenericResource { kind: "gpu".into(), value: value.into() };
    let count = DiscreteGenericResource { kind: "licence".into(), value: 2 };
    task.assigned_generic_resources = [
        Resource::NamedResourceSpec(named("UUID1")),
        Resource::DiscreteResourceSpec(count),
        Resource::NamedResourceSpec(named("UUID2")),
    ]
    .map(|resource| GenericResource { resource: Some(resource) })
    .to_vec();
    let env = ["DOCKER_RESOURCE_GPU=UUID1,UUID2", "DOCKER_RESOURCE_LICENCE=2", "A=b"];
    assert_eq!(beyond(&task, NEW).unwrap(), json!({ "Env": env }));
}

#[test]
fn logs_go_where_the_managers_have_decided_else_where_the_specification_says() {
    let driver = |name: &str| {
        let options = [("max-size".to_owned(), "1m".to_owned())].into();
        Some(wire::Driver { name: name.into(), options })
    };
    let mut task = task(plain(), TaskSpec { log_driver: driver("local"), ..Default::default() });
    let config = json!({ "max-size": "1m" });
    assert_eq!(beyond(&task, NEW).unwrap(), json!({ "LogConfig": { "Type": "local", "Config": config } }));
    task.log_driver = driver("json-file");
    assert_eq!(beyond(&task, NEW).unwrap(), json!({ "LogConfig": { "Type": "json-file", "Config": config } }));
}

#[test]
fn an_image_is_fetched_for_the_only_platform_and_with_the_credentials_as_they_are() {
    let platform = |os: &str, architecture: &str| Platform { os: os.into(), architecture: architecture.into() };
    let pull = |platforms: &[Platform]| {
        let container = ContainerSpec {
            pull_options: Some(PullOptions { registry_auth: "eyJ9".into() }),
            image: "localhost:5000/a/b:1".into(),
            ..Default::default()
        };
        let placement = Some(Placement { platforms: platforms.to_vec(), ..Default::default() });
        request(&task(container, TaskSpec { placement, ..Default::default() }), NEW).unwrap().pull
    };
    let one = pull(&[platform("linux", "arm64")]);
    let told = (one.image.as_str(), one.platform.as_str(), one.auth.as_str());
    assert_eq!(told, ("localhost:5000/a/b:1", "linux/arm64", "eyJ9"));
    assert_eq!(pull(&[platform("linux", "arm64"), platform("linux", "amd64")]).platform, "");
    assert_eq!(pull(&[platform("linux", "")]).platform, "");
}
