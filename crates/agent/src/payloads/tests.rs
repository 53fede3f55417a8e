//! What a task may see of the secrets and configs of its node.

use swarmkit_api::{TaskId, VolumeId};
use wire::{config_reference, secret_reference, task_spec::Runtime};

use super::*;

fn secret(id: &str, data: &str) -> PayloadChange {
    let spec = wire::SecretSpec { data: bytes::Bytes::copy_from_slice(data.as_bytes()), ..Default::default() };
    PayloadChange::Secret(Box::new(wire::Secret { id: id.into(), spec: Some(spec), ..Default::default() }))
}

fn config(id: &str, data: &str) -> PayloadChange {
    let spec = wire::ConfigSpec { data: bytes::Bytes::copy_from_slice(data.as_bytes()), ..Default::default() };
    PayloadChange::Config(Box::new(wire::Config { id: id.into(), spec: Some(spec), ..Default::default() }))
}

fn template(change: PayloadChange) -> PayloadChange {
    let golang = Some(wire::Driver { name: "golang".into(), ..Default::default() });
    match change {
        PayloadChange::Secret(mut secret) => {
            secret.spec.as_mut().expect("a secret").templating = golang;
            PayloadChange::Secret(secret)
        }
        PayloadChange::Config(mut config) => {
            config.spec.as_mut().expect("a config").templating = golang;
            PayloadChange::Config(config)
        }
        other => other,
    }
}

/// A task that lists secret `s` and config `c`, as files of the same names.
fn task(id: &str) -> Arc<Task> {
    let file = |name: &str| wire::FileTarget { name: name.into(), ..Default::default() };
    let container = wire::ContainerSpec {
        secrets: vec![wire::SecretReference {
            secret_id: "s".into(),
            target: Some(secret_reference::Target::File(file("s"))),
            ..Default::default()
        }],
        configs: vec![wire::ConfigReference {
            config_id: "c".into(),
            target: Some(config_reference::Target::File(file("c"))),
            ..Default::default()
        }],
        ..Default::default()
    };
    let spec = wire::TaskSpec { runtime: Some(Runtime::Container(container)), ..Default::default() };
    Arc::new(Task::new(TaskId::from(id), spec))
}

fn text(payload: Result<Payload, ExecError>) -> String {
    payload.map_or_else(|error| error.to_string(), |payload| String::from_utf8_lossy(&payload.data).into_owned())
}

#[test]
fn a_task_sees_what_it_lists_and_nothing_else() {
    let payloads = Payloads::default();
    payloads.replace(vec![secret("s", "hush"), secret("other", "hush"), config("c", "plain")]);
    let view = payloads.of(&task("t"));
    assert_eq!(text(view.secret("s")), "hush");
    assert_eq!(text(view.config("c")), "plain");
    assert_eq!(text(view.secret("other")), "task not authorized to access secret other");
    assert_eq!(text(view.config("s")), "task not authorized to access config s");
    assert_eq!(view.volume("v").unwrap_err().to_string(), "task not authorized to access volume v");
}

#[test]
fn a_secret_made_for_one_task_is_seen_by_that_task_under_its_own_name() {
    let payloads = Payloads::default();
    payloads.replace(vec![secret("s", "for all"), secret("s.t", "for t")]);
    assert_eq!(text(payloads.of(&task("t")).secret("s")), "for t");
    assert_eq!(text(payloads.of(&task("u")).secret("s")), "for all");
    assert_eq!(text(payloads.of(&task("t")).secret("s.t")), "task not authorized to access secret s.t");
}

#[test]
fn what_is_missing_may_come_until_everything_was_sent_once() {
    let payloads = Payloads::default();
    let view = payloads.of(&task("t"));
    assert!(view.secret("s").unwrap_err().is_temporary());
    payloads.replace(vec![]);
    let error = view.secret("s").unwrap_err();
    assert!(!error.is_temporary());
    assert_eq!(error.to_string(), "secret s not found");
}

#[test]
fn a_complete_set_replaces_and_a_change_amends() {
    let payloads = Payloads::default();
    let view = payloads.of(&task("t"));
    payloads.replace(vec![secret("s", "1"), config("c", "1")]);
    payloads.amend(vec![secret("s", "2"), PayloadChange::NoConfig("c".into()), PayloadChange::NoConfig("x".into())]);
    assert_eq!([text(view.secret("s")), text(view.config("c"))], ["2", "config c not found"]);
    payloads.replace(vec![config("c", "3")]);
    assert_eq!([text(view.secret("s")), text(view.config("c"))], ["secret s not found", "3"]);
}

#[test]
fn a_template_is_expanded_for_its_task_and_a_config_with_a_secret_in_it_is_sensitive() {
    let payloads = Payloads::default();
    payloads.replace(vec![secret("s", "hush"), template(config("c", "{{.Task.ID}}:{{secret \"s\"}}"))]);
    let expanded = payloads.of(&task("t")).config("c").unwrap();
    assert_eq!((expanded.data.as_slice(), expanded.sensitive), (b"t:hush".as_slice(), true));
    payloads.amend(vec![template(secret("s", "{{config \"c\"}}")), config("c", "plain")]);
    assert_eq!(text(payloads.of(&task("t")).secret("s")), "plain");
    assert!(!payloads.of(&task("t")).config("c").unwrap().sensitive);
}

#[test]
fn a_template_that_needs_what_may_still_come_is_tried_again() {
    let payloads = Payloads::default();
    payloads.amend(vec![template(config("c", "{{secret \"s\"}}"))]);
    assert!(payloads.of(&task("t")).config("c").unwrap_err().is_temporary());
    payloads.replace(vec![template(config("c", "{{secret \"s\"}}"))]);
    let error = payloads.of(&task("t")).config("c").unwrap_err();
    assert!(!error.is_temporary());
    assert!(error.to_string().starts_with("failed to expand templated config c"), "{error}");
}

#[test]
fn a_volume_that_the_task_lists_cannot_be_had_without_a_plugin() {
    let mut task = Task::clone(&task("t"));
    task.volumes = vec![wire::VolumeAttachment { id: VolumeId::from("v").to_string(), ..Default::default() }];
    let error = Payloads::default().of(&Arc::new(task)).volume("v").unwrap_err();
    assert!(error.to_string().contains("no plugin"), "{error}");
}

#[test]
fn the_buffer_that_a_secret_came_in_is_wiped_when_nobody_else_holds_it() {
    let buffer = bytes::Bytes::from(b"hush".to_vec());
    let held = buffer.clone();
    assert_eq!(wiped(buffer), None);
    assert_eq!(wiped(held).unwrap().as_ref(), [0; 4]);
}
