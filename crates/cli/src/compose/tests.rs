//! What is read, what is refused and in which words.

use std::fs;

use proptest::prelude::*;
use swarmkit_api::wire;

use super::*;

fn variables(name: &str) -> Option<String> {
    (name == "TAG").then(|| "1.2".to_owned())
}

fn parsed(text: &str) -> Parsed {
    parse(text, &variables).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

/// Errors and warnings, one a line; what is read is not shown.
fn findings(text: &str) -> String {
    let (mark, findings) = match parse(text, &variables) {
        Ok(parsed) => ("warning ", parsed.warnings),
        Err(errors) => ("", errors),
    };
    findings.iter().map(|finding| format!("{mark}{finding}")).collect::<Vec<_>>().join("\n")
}

/// The findings of a service with these lines.
fn in_service(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    findings(&format!("services:\n  web:\n    image: nginx\n{lines}"))
}

/// The findings of a service whose `deploy` has these lines.
fn in_deploy(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    in_service(&format!("deploy:\n{lines}"))
}

fn container(service: &Service) -> &wire::ContainerSpec {
    swarmkit_executor::container_spec(service.spec.task.as_ref().unwrap()).unwrap()
}

#[test]
fn a_full_service_is_read_into_its_specification() {
    let parsed = parsed(
        r#"
name: shop
x-common: &common
  restart_policy: { condition: on-failure, delay: 1s, max_attempts: 3, window: 1m }
services:
  web:
    image: "nginx:${TAG}"
    entrypoint: ["/docker-entrypoint.sh"]
    command: nginx -g 'daemon off;'
    environment: { A: 1.50, B: "x y", HOST: , TAG: ~ }
    working_dir: /srv
    user: 1000:1000
    hostname: web
    stop_grace_period: 1m30s
    stop_signal: SIGQUIT
    labels: { container: "yes" }
    healthcheck: { test: curl -f localhost, interval: 10s, retries: 3 }
    ports: ["8080:80", { target: 53, published: 53, protocol: udp, mode: host, name: dns }]
    configs: [nginx.conf]
    secrets:
      - token
      - { source: token, target: other, uid: "33", mode: 0400 }
    deploy:
      <<: *common
      replicas: 3
      labels: [tier=front, plain]
      resources:
        limits: { cpus: 0.5, memory: 512m, pids: 100 }
        reservations: { cpus: "0.25", memory: 128M }
      update_config: { parallelism: 2, delay: 5s, failure_action: rollback, monitor: 3s, max_failure_ratio: 0.25, order: start-first }
      rollback_config: { parallelism: 0 }
      placement:
        constraints: [node.labels.zone == a, node.role != manager]
        preferences: [spread: node.labels.rack]
        max_replicas_per_node: 2
      endpoint_mode: dnsrr
configs:
  nginx.conf: { content: "server $TAG" }
secrets:
  token: { environment: TAG, name: api-token, labels: { a: b } }
"#,
    );
    assert_eq!(parsed.warnings, []);
    let project = parsed.project;
    let web = &project.services[0];
    assert_eq!((project.name.as_deref(), web.name.as_str(), web.at), (Some("shop"), "web", At { line: 6, column: 3 }));

    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let expected = wire::ContainerSpec {
        image: "nginx:1.2".into(),
        command: words("/docker-entrypoint.sh"),
        args: vec!["nginx".into(), "-g".into(), "daemon off;".into()],
        env: vec!["A=1.50".into(), "B=x y".into(), "TAG=1.2".into()],
        dir: "/srv".into(),
        user: "1000:1000".into(),
        hostname: "web".into(),
        stop_grace_period: seconds(90),
        stop_signal: "SIGQUIT".into(),
        labels: [("container".into(), "yes".into())].into(),
        pids_limit: 100,
        healthcheck: Some(wire::HealthConfig {
            test: vec!["CMD-SHELL".into(), "curl -f localhost".into()],
            interval: seconds(10),
            retries: 3,
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(container(web), &expected);

    let task = web.spec.task.as_ref().unwrap();
    let amounts = |nano_cpus, mebibytes: i64| {
        Some(wire::Resources { nano_cpus, memory_bytes: mebibytes << 20, ..Default::default() })
    };
    let resources = wire::ResourceRequirements {
        limits: amounts(500_000_000, 512),
        reservations: amounts(250_000_000, 128),
        ..Default::default()
    };
    assert_eq!(task.resources, Some(resources));
    let condition = wire::restart_policy::RestartCondition::OnFailure.into();
    let restart = wire::RestartPolicy {
        condition,
        delay: seconds(1),
        max_attempts: 3,
        window: seconds(60),
        ..Default::default()
    };
    assert_eq!(task.restart, Some(restart));
    let spread = wire::SpreadOver { spread_descriptor: "node.labels.rack".into() };
    let placement = wire::Placement {
        constraints: vec!["node.labels.zone == a".into(), "node.role != manager".into()],
        preferences: vec![wire::PlacementPreference {
            preference: Some(wire::placement_preference::Preference::Spread(spread)),
        }],
        max_replicas: 2,
        ..Default::default()
    };
    assert_eq!(task.placement, Some(placement));

    let labels = [("plain".into(), String::new()), ("tier".into(), "front".into())].into();
    assert_eq!(web.spec.annotations.as_ref().unwrap().labels, labels);
    assert_eq!(web.spec.mode, Some(wire::service_spec::Mode::Replicated(wire::ReplicatedService { replicas: 3 })));
    let update = wire::UpdateConfig {
        parallelism: 2,
        delay: seconds(5),
        failure_action: wire::update_config::FailureAction::Rollback.into(),
        monitor: seconds(3),
        max_failure_ratio: 0.25,
        order: wire::update_config::UpdateOrder::StartFirst.into(),
        ..Default::default()
    };
    assert_eq!(web.spec.update, Some(update));
    assert_eq!(web.spec.rollback, Some(wire::UpdateConfig::default()));
    let port =
        |name: &str, protocol: wire::port_config::Protocol, target_port, published_port, host| wire::PortConfig {
            name: name.into(),
            protocol: protocol.into(),
            target_port,
            published_port,
            publish_mode: i32::from(host),
        };
    let endpoint = wire::EndpointSpec {
        mode: wire::endpoint_spec::ResolutionMode::Dnsrr.into(),
        ports: vec![
            port("", wire::port_config::Protocol::Tcp, 80, 8080, false),
            port("dns", wire::port_config::Protocol::Udp, 53, 53, true),
        ],
    };
    assert_eq!(web.spec.endpoint, Some(endpoint));

    let file =
        |name: &str, uid: &str, mode| wire::FileTarget { name: name.into(), uid: uid.into(), gid: String::new(), mode };
    let targets = |refs: &[FileRef]| refs.iter().map(|r| (r.source.clone(), r.target.clone())).collect::<Vec<_>>();
    assert_eq!(targets(&web.configs), [("nginx.conf".into(), file("/nginx.conf", "", 0o444))]);
    let expected = [("token".into(), file("token", "", 0o444)), ("token".into(), file("other", "33", 0o400))];
    assert_eq!(targets(&web.secrets), expected);
    let config = project.config("nginx.conf").unwrap();
    assert_eq!((config.name.as_str(), &config.source), ("nginx.conf", &Source::Content("server 1.2".into())));
    let token = project.secret("token").unwrap();
    assert_eq!((token.name.as_str(), &token.source), ("api-token", &Source::Content("1.2".into())));
}

#[test]
fn a_service_without_an_image_is_a_process() {
    let parsed = parsed("services: { tick: { command: [sleep, '60'] } }");
    let container = container(&parsed.project.services[0]);
    assert_eq!(container.image, swarmkit_executor::PROCESS_IMAGE);
    assert_eq!(container.args, ["sleep", "60"]);
    assert_eq!(findings("services: { tick: {} }"), "1:13: services.tick has neither an image nor a command");
}

#[test]
fn a_process_has_the_ports_of_the_machine_and_its_name() {
    let parsed =
        parsed("services: { a: { command: x, ports: ['8080:80', { target: 9 }] }, b: { image: y, ports: ['80'] } }");
    let modes = |service: &Service| {
        let ports = &service.spec.endpoint.as_ref().unwrap().ports;
        ports.iter().map(|port| port.publish_mode().as_str_name()).collect::<Vec<_>>()
    };
    assert_eq!(modes(&parsed.project.services[0]), ["HOST", "HOST"]);
    assert_eq!(modes(&parsed.project.services[1]), ["INGRESS"]);
    assert_eq!(
        findings("services: { a: { command: x, hostname: y } }"),
        "1:30: services.a.hostname has no meaning for a process, and services.a has no image"
    );
}

#[test]
fn a_process_runs_beside_the_file_and_an_image_where_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("compose.yaml");
    let text = "services:\n  a: { command: x }\n  b: { command: x, working_dir: ./sub }\n  c: { command: x, working_dir: /srv }\n  d: { image: y }\n";
    fs::write(&file, text).unwrap();
    let parsed = read(&file, &variables).unwrap();
    let dirs: Vec<_> = parsed.project.services.iter().map(|service| container(service).dir.clone()).collect();
    let base = directory.path().display();
    assert_eq!(dirs, [base.to_string(), format!("{base}/sub"), "/srv".to_owned(), String::new()]);
}

#[test]
fn every_mode_is_read() {
    let mode = |deploy: &str| {
        let text = format!("services: {{ a: {{ command: x, deploy: {deploy} }} }}");
        parsed(&text).project.services[0].spec.mode.unwrap()
    };
    use wire::service_spec::Mode;
    assert_eq!(mode("{}"), Mode::Replicated(wire::ReplicatedService { replicas: 1 }));
    assert_eq!(mode("{ replicas: 0 }"), Mode::Replicated(wire::ReplicatedService { replicas: 0 }));
    assert_eq!(mode("{ mode: global }"), Mode::Global(wire::GlobalService {}));
    assert_eq!(mode("{ mode: global-job }"), Mode::GlobalJob(wire::GlobalJob {}));
    let job = wire::ReplicatedJob { max_concurrent: 4, total_completions: 4 };
    assert_eq!(mode("{ mode: replicated-job, replicas: 4 }"), Mode::ReplicatedJob(job));
}

#[test]
fn a_restart_policy_without_a_condition_restarts_always() {
    let parsed = parsed("services: { a: { command: x, deploy: { restart_policy: { delay: 1s } } } }");
    let restart = parsed.project.services[0].spec.task.as_ref().unwrap().restart.unwrap();
    assert_eq!(restart.condition(), wire::restart_policy::RestartCondition::Any);
}

#[test]
fn variables_of_the_environment_are_taken_over_or_left_out() {
    let parsed = parsed("services: { a: { command: x, environment: [TAG, NONE, 'B=c=d', E=] } }");
    assert_eq!(container(&parsed.project.services[0]).env, ["TAG=1.2", "B=c=d", "E="]);
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    assert_eq!(findings("servces: {}"), "1:1: unknown key \"servces\" (did you mean \"services\"?)");
    assert_eq!(in_service("comand: x"), "4:5: unknown key \"comand\" in services.web (did you mean \"command\"?)");
    assert_eq!(
        in_deploy("replcas: 3"),
        "5:7: unknown key \"replcas\" in services.web.deploy (did you mean \"replicas\"?)"
    );
    assert_eq!(
        in_deploy("resources: { limits: { cpu: 1 } }"),
        "5:30: unknown key \"cpu\" in services.web.deploy.resources.limits (did you mean \"cpus\"?)"
    );
    assert_eq!(in_deploy("sidecar: 1"), "5:7: unknown key \"sidecar\" in services.web.deploy");
    assert_eq!(
        findings("services: { a: { command: x } }\nconfigs: { c: { fil: x } }"),
        "2:12: configs.c must have exactly one of file, content, environment or external\n\
         2:17: unknown key \"fil\" in configs.c (did you mean \"file\"?)"
    );
}

#[test]
fn keys_that_are_not_supported_are_warned_of() {
    assert_eq!(
        in_service("restart: always\nnetworks: [db]\nx-team: a"),
        "warning 4:5: \"restart\" in services.web is not supported yet and is ignored\n\
         warning 5:5: \"networks\" in services.web is not supported yet and is ignored"
    );
    assert_eq!(
        findings("version: '3.8'\nservices: { a: { command: x } }\nvolumes: { data: }\nnetworks: {}\nx-a: 1"),
        "warning 1:1: \"version\" is obsolete and is ignored\n\
         warning 3:1: \"volumes\" is not supported yet and is ignored\n\
         warning 4:1: \"networks\" is not supported yet and is ignored"
    );
    assert_eq!(
        in_service("environment: { A: $NONE }"),
        "warning 4:23: the variable NONE is not set; using an empty string in services.web.environment.A"
    );
}

/// A file in which `web` depends on others in these words, and `db` and the job `init` are defined.
fn depending(words: &str) -> String {
    let others = "  db: { image: a }\n  init: { image: a, deploy: { mode: replicated-job } }";
    format!("services:\n  web:\n    image: a\n    depends_on: {words}\n{others}")
}

#[test]
fn what_a_service_depends_on_is_a_list_or_a_mapping_with_conditions() {
    use wire::swarmkit::orchestration::v1::dependency::Condition;

    let of = |words: &str| {
        let parsed = parsed(&depending(words));
        assert_eq!(parsed.warnings, [], "{words}");
        let depends_on = &parsed.project.services[0].spec.depends_on;
        depends_on.iter().map(|one| (one.service.clone(), one.condition())).collect::<Vec<_>>()
    };
    let (db, init) = ("db".to_owned(), "init".to_owned());
    assert_eq!(of("[]"), []);
    assert_eq!(of("[db, init]"), [(db.clone(), Condition::Running), (init.clone(), Condition::Running)]);
    assert_eq!(of("{ db: }"), [(db.clone(), Condition::Running)]);
    assert_eq!(of("{ db: { condition: service_started, required: true } }"), [(db.clone(), Condition::Running)]);
    assert_eq!(
        of(
            "{ db: { condition: service_healthy, restart: false }, init: { condition: service_completed_successfully } }"
        ),
        [(db.clone(), Condition::Healthy), (init, Condition::Completed)]
    );
    assert_eq!(of("{ db: { required: false } }"), [(db, Condition::Running)]);
}

#[test]
fn what_cannot_be_waited_for_is_refused_and_what_is_left_out_is_warned_of() {
    for (words, expected) in [
        (
            "[dbb]",
            "4:18: services.web.depends_on names \"dbb\", which is no service of the file (did you mean \"db\"?)",
        ),
        ("[web]", "4:18: services.web.depends_on names the service itself"),
        ("[db, db]", "4:22: services.web.depends_on names db twice"),
        ("db", "4:17: services.web.depends_on must be a list, not a single value"),
        (
            "{ db: { condition: service_completed_successfully } }",
            "4:19: services.web.depends_on waits for db to complete, which is no job: give it the deploy.mode replicated-job",
        ),
        (
            "{ db: { condition: service_up } }",
            "4:36: services.web.depends_on.db.condition is \"service_up\": expected service_started, service_healthy or \
             service_completed_successfully",
        ),
        ("{ db: { when: x } }", "4:25: unknown key \"when\" in services.web.depends_on.db"),
        (
            "{ cache: { required: false } }",
            "warning 4:19: services.web.depends_on names \"cache\", which is no service of the file; it is ignored",
        ),
        (
            "{ db: { restart: true } }",
            "warning 4:34: \"restart\" in services.web.depends_on.db is ignored: who has started is not restarted for others",
        ),
    ] {
        assert_eq!(findings(&depending(words)), expected, "{words}");
    }
}

#[test]
fn faults_are_refused_in_words_that_say_what_to_write() {
    for (lines, expected) in [
        ("command: echo 'a", r#"4:14: services.web.command is "echo 'a": a single quote is not closed"#),
        ("command: { a: b }", "4:14: services.web.command must be a list, not a mapping"),
        ("command: [[a]]", "4:15: services.web.command[0] must be a single value, not a list"),
        ("environment: x", "4:18: services.web.environment must be a mapping or a list, not a single value"),
        ("environment: ['=x']", "4:19: a variable in services.web.environment has no name"),
        (
            "stop_grace_period: 10",
            r#"4:24: services.web.stop_grace_period is "10": expected a duration such as 10s, 500ms or 1m30s"#,
        ),
        ("ports: [http]", r#"4:13: services.web.ports[0] is "http": expected a port from 1 to 65535"#),
        ("ports: [{ published: 80 }]", "4:13: services.web.ports[0] must have a target"),
        ("secrets: [nope]", r#"4:15: services.web.secrets refers to "nope", which secrets does not define"#),
        ("user: costs 5$", r#"4:11: "$" is no variable; write $$ for a dollar sign, in services.web.user"#),
        ("deploy: [1]", "4:13: services.web.deploy must be a mapping, not a list"),
    ] {
        assert_eq!(in_service(lines), expected, "{lines}");
    }
    for (lines, expected) in [
        ("replicas: many", r#"5:17: services.web.deploy.replicas is "many": expected a whole number, not negative"#),
        ("replicas: -1", r#"5:17: services.web.deploy.replicas is "-1": expected a whole number, not negative"#),
        (
            "mode: replicatd",
            "5:13: services.web.deploy.mode is \"replicatd\": expected replicated, global, replicated-job or \
             global-job (did you mean \"replicated\"?)",
        ),
        (
            "mode: global\nreplicas: 2",
            "6:7: services.web.deploy.replicas has no meaning when services.web.deploy.mode is global",
        ),
        ("mode: replicated-job\nupdate_config: {}", "6:7: services.web.deploy.update_config has no meaning for a job"),
        (
            "resources: { limits: { memory: lots } }",
            "5:38: services.web.deploy.resources.limits.memory is \"lots\": expected a size such as 512m, 1.5g or a \
             number of bytes",
        ),
        (
            "update_config: { max_failure_ratio: 2 }",
            "5:43: services.web.deploy.update_config.max_failure_ratio is \"2\": expected a number from 0 to 1",
        ),
        (
            "rollback_config: { failure_action: rollback }",
            "5:42: services.web.deploy.rollback_config.failure_action is \"rollback\": expected pause or continue",
        ),
    ] {
        assert_eq!(in_deploy(lines), expected, "{lines}");
    }
}

#[test]
fn all_faults_are_told_at_once_and_in_the_order_of_the_file() {
    let text = "services:\n  -web: { command: x, deploy: { replicas: x } }\n  b: { comand: y }\nsecrets: { s: {} }\n";
    assert_eq!(
        findings(text),
        "2:3: \"-web\" cannot be the name of a service: use letters, digits, and - or _ between them\n\
         2:43: services.-web.deploy.replicas is \"x\": expected a whole number, not negative\n\
         3:3: services.b has neither an image nor a command\n\
         3:8: unknown key \"comand\" in services.b (did you mean \"command\"?)\n\
         4:12: secrets.s must have exactly one of file, environment or external"
    );
}

#[test]
fn references_must_lead_somewhere_and_not_to_the_same_file() {
    let text = "services: { a: { command: x, configs: [cofnig, config, { source: config }] } }\n\
                configs: { config: { content: y } }";
    assert_eq!(
        findings(text),
        "1:40: services.a.configs refers to \"cofnig\", which configs does not define (did you mean \"config\"?)\n\
         1:56: services.a.configs puts \"config\" and this one at the same target \"/config\""
    );
}

#[test]
fn a_file_without_services_is_refused() {
    for text in ["", "services: {}", "services:\n", "# nothing\n"] {
        assert_eq!(findings(text), "the file defines no services", "{text:?}");
    }
    assert_eq!(findings("- a"), "1:1: the file must be a mapping, not a list");
    assert_eq!(findings("a: [1"), "1:4: unclosed bracket '['");
}

#[test]
fn permissions_are_octal_when_they_begin_with_a_zero() {
    let mode = |text: &str| {
        let text = format!(
            "services: {{ a: {{ command: x, secrets: [{{ source: s, mode: {text} }}] }} }}\nsecrets: {{ s: {{ external: true }} }}"
        );
        parsed(&text).project.services[0].secrets[0].target.mode
    };
    assert_eq!((mode("0440"), mode("'0440'"), mode("0o440"), mode("288"), mode("0")), (0o440, 0o440, 0o440, 288, 0));
}

#[test]
fn files_of_configs_and_secrets_are_read_beside_the_compose_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("compose.yaml");
    fs::write(directory.path().join("motd"), "hello").unwrap();
    fs::write(&file, "services: { a: { command: x } }\nconfigs: { motd: { file: ./motd } }\n").unwrap();
    let parsed = read(&file, &variables).unwrap();
    assert_eq!(parsed.project.configs[0].source, Source::Content("hello".into()));

    fs::write(&file, "services: { a: { command: x } }\nsecrets:\n  key: { file: ./absent }\n").unwrap();
    let faults = read(&file, &variables).unwrap_err().to_string();
    let expected = "compose.yaml:3:3: secrets.key: cannot read ./absent: No such file or directory (os error 2)";
    assert!(faults.ends_with(expected), "{faults}");

    let faults = read(&directory.path().join("absent.yaml"), &variables).unwrap_err().to_string();
    assert!(faults.ends_with("absent.yaml: No such file or directory (os error 2)"), "{faults}");
}

#[test]
fn content_of_secrets_does_not_show() {
    let parsed = parsed("services: { a: { command: x } }\nsecrets: { s: { environment: TAG } }");
    assert!(format!("{:?}", parsed.project.secrets).contains("Content(3 bytes)"));
}

/// A text made of the pieces that matter to the reader, so that it often is almost a Compose file.
fn almost_compose() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "services",
        "web",
        "deploy",
        "replicas",
        "command",
        "ports",
        "secrets",
        "environment",
        "limits",
        "resources",
        "healthcheck",
        "configs",
        "x-a",
        "<<",
        "*a",
        "&a ",
        "${A",
        "$",
        "'",
        "\"",
        ": ",
        ":\n",
        "\n",
        "  ",
        "    ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "1",
        "-1",
        "80:80",
        "1s",
        "~",
        "|\n",
        "# ",
        "\t",
        "\u{feff}",
        "é",
        "\0",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in prop_oneof![almost_compose(), any::<String>()]) {
        let _ = parse(&text, &variables);
        let _ = parse(&format!("services:\n  web:\n    {}", text.replace('\n', "\n    ")), &variables);
    }
}
