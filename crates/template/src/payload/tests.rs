//! Payloads and specifications in, expanded ones out.

use std::collections::BTreeMap;

use swarmkit_api::{
    NodeId, Task, TaskId,
    wire::{self, ConfigReference, FileTarget, SecretReference},
};

use super::*;
use crate::expand_task;

struct Stored(BTreeMap<&'static str, &'static str>);

impl Payloads for Stored {
    fn secret(&self, id: &str) -> Result<Zeroizing<Vec<u8>>, String> {
        let found = self.0.get(id).ok_or_else(|| format!("task not authorized to access secret {id}"))?;
        Ok(Zeroizing::new(found.as_bytes().to_vec()))
    }

    fn config(&self, id: &str) -> Result<Zeroizing<Vec<u8>>, String> {
        self.secret(id)
    }
}

fn spec() -> ContainerSpec {
    let file = |name: &str| FileTarget { name: name.into(), ..Default::default() };
    let secret = |id: &str, name: &str| SecretReference {
        secret_id: id.into(),
        target: Some(secret_reference::Target::File(file(name))),
        ..Default::default()
    };
    let config = |id: &str, name: &str| ConfigReference {
        config_id: id.into(),
        target: Some(config_reference::Target::File(file(name))),
        ..Default::default()
    };
    ContainerSpec {
        env: vec!["PORT=80".into(), "HOST={{.Node.ID}}".into(), "EMPTY".into()],
        secrets: vec![secret("s1", "password"), secret("s2", "forbidden")],
        configs: vec![config("c1", "/site.conf")],
        ..Default::default()
    }
}

fn task(spec: ContainerSpec) -> Task {
    let spec = wire::TaskSpec { runtime: Some(wire::task_spec::Runtime::Container(spec)), ..Default::default() };
    Task { node_id: Some(NodeId::from("n1")), slot: 2, ..Task::new(TaskId::from("t1"), spec) }
}

fn expanded(data: &str) -> Result<(String, bool), String> {
    let stored = Stored(BTreeMap::from([("s1", "hush {{.Task.ID}}"), ("c1", "listen")]));
    let (context, language) =
        (Context::new(&task(spec()), None), Driver { name: "golang".into(), ..Default::default() });
    let done = expand_config("c9", data.as_bytes(), Some(&language), &context, &spec(), &stored);
    let done = done.map_err(|error| error.to_string())?;
    Ok((String::from_utf8(done.data.to_vec()).unwrap(), done.used_secret))
}

#[test]
fn a_payload_can_insert_others_and_knows_if_one_was_secret() {
    assert_eq!(expanded("{{.Task.ID}} {{config \"/site.conf\"}}").unwrap(), ("t1 listen".to_owned(), false));
    assert_eq!(
        expanded("p={{secret \"password\"}}").unwrap(),
        ("p=hush {{.Task.ID}}".to_owned(), true),
        "inserted as it is"
    );
    assert_eq!(expanded("{{env \"PORT\"}}|{{env \"HOST\"}}|{{env \"NONE\"}}").unwrap().0, "80|{{.Node.ID}}|");
}

#[test]
fn what_is_missing_is_named_along_with_who_asked() {
    let cases = [
        ("{{secret \"none\"}}", "line 1, column 3: secret: secret target none not found"),
        ("{{config \"site.conf\"}}", "line 1, column 3: config: config target site.conf not found"),
        ("{{secret \"forbidden\"}}", "line 1, column 3: secret: task not authorized to access secret s2"),
        ("{{.Nothing}}", "line 1, column 3: . has no field Nothing"),
    ];
    for (data, message) in cases {
        assert_eq!(expanded(data).unwrap_err(), format!("failed to expand templated config c9: {message}"));
    }
}

#[test]
fn only_what_says_so_is_a_template() {
    let stored = Stored(BTreeMap::new());
    let (context, data) = (Context::new(&task(spec()), None), b"{{.Task.ID}} \xff");
    let plain = expand_secret("s9", data, None, &context, &spec(), &stored).unwrap();
    assert_eq!(plain.data.as_slice(), data);
    let other = Driver { name: "jinja".into(), ..Default::default() };
    let error = expand_secret("s9", data, Some(&other), &context, &spec(), &stored).unwrap_err();
    assert_eq!(error.to_string(), "failed to expand templated secret s9: unrecognized template type");
    let language = Driver { name: "golang".into(), ..Default::default() };
    let binary = expand_secret("s9", data, Some(&language), &context, &spec(), &stored).unwrap();
    assert_eq!(binary.data.as_slice(), b"t1 \xff", "what is not text stays as it is");
    assert_eq!(format!("{binary:?}"), "Expanded(4 bytes, used_secret: false)");
}

#[test]
fn a_specification_is_expanded_in_its_listed_places_only() {
    let slot = "{{.Task.Slot}}".to_owned();
    let map = |value: &str| BTreeMap::from([("{{key}}".to_owned(), value.to_owned())]);
    let mount = wire::Mount {
        source: format!("data-{slot}"),
        target: format!("/srv/{slot}"),
        volume_options: Some(wire::mount::VolumeOptions {
            labels: map(&slot),
            driver_config: Some(Driver { name: slot.clone(), options: map(&slot) }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let container = ContainerSpec {
        env: vec!["{{N}}=a{{.Task.Slot}}".into(), "{{.Task.Slot}}".into()],
        hostname: "web-{{.Task.Slot}}".into(),
        args: vec![slot.clone()],
        dir: slot.clone(),
        labels: map(&slot),
        mounts: vec![mount],
        ..Default::default()
    };
    let Some(wire::task_spec::Runtime::Container(done)) = expand_task(&task(container), None).unwrap().runtime else {
        panic!("a container stays one")
    };
    assert_eq!(done.env, ["{{N}}=a2", "{{.Task.Slot}}"]);
    assert_eq!(done.hostname, "web-2");
    assert_eq!(
        (done.args[0].as_str(), done.dir.as_str(), done.labels["{{key}}"].as_str()),
        ("{{.Task.Slot}}", "{{.Task.Slot}}", "{{.Task.Slot}}")
    );
    assert_eq!((done.mounts[0].source.as_str(), done.mounts[0].target.as_str()), ("data-2", "/srv/2"));
    let volume = done.mounts[0].volume_options.as_ref().unwrap();
    let driver = volume.driver_config.as_ref().unwrap();
    assert_eq!((volume.labels["{{key}}"].as_str(), driver.options["{{key}}"].as_str()), ("2", "2"));
    assert_eq!(driver.name, "{{.Task.Slot}}");

    let wrong = ContainerSpec { hostname: "{{.Oops}}".into(), ..Default::default() };
    let error = expand_task(&task(wrong), None).unwrap_err().to_string();
    assert_eq!(error, "expanding hostname failed: line 1, column 3: . has no field Oops");
}
