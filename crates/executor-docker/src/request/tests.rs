//! Stories: what is asked of the engine beyond what any task asks for, or why it is refused.

mod every;
mod fields;
mod limits;
mod mounts;
mod networks;
mod privileges;

use std::path::Path;

use serde_json::{Map, Value, json};
use swarmkit_api::{
    Task, TaskId,
    wire::{self, ContainerSpec, TaskSpec, task_spec::Runtime},
};
use swarmkit_executor::{Devices, ExecError, FixedDependencies};

use super::{Offer, Request};
use crate::{engine::Api, files};

/// A new engine, and the oldest.
const NEW: Api = Api(1, 53);
const OLD: Api = Api(1, 41);

/// A task of the service `web`.
fn task(container: ContainerSpec, spec: TaskSpec) -> Task {
    let spec = TaskSpec { runtime: Some(Runtime::Container(container)), ..spec };
    let mut task = Task::new(TaskId::from("t1"), spec);
    task.service_annotations = wire::Annotations { name: "web".into(), ..Default::default() }.into();
    task.slot = 2;
    task
}

fn plain() -> ContainerSpec {
    ContainerSpec { image: "nginx".into(), ..Default::default() }
}

fn request(task: &Task, api: Api) -> Result<Request, ExecError> {
    let dependencies = FixedDependencies::new().with_volume("v1", "/published/v1").with_config("c1", b"{\"a\":1}");
    let spec = super::container_of(task)?;
    let files = files::of(spec, Path::new("/shelf/t1")).map_err(ExecError::rejected)?;
    let devices: Devices = Devices::new(["dev=/dev/zero:rw,/dev/null:r".parse().expect("a device")]).expect("one");
    let devices = &devices.of(task)?;
    Request::new(task, &Offer { api, owner: "o1", files: &files, devices, dependencies: &dependencies })
}

/// What a task asks for beyond the plain one: each field by its name in the engine's interface.
fn beyond(task: &Task, api: Api) -> Result<Value, String> {
    let json = |task: &Task| {
        let body = request(task, api).map_err(|error| error.to_string())?.body;
        let Value::Object(mut body) = serde_json::to_value(body).expect("it is sent as JSON") else { panic!("a body") };
        let Some(Value::Object(host)) = body.remove("HostConfig") else { panic!("a host configuration") };
        body.extend(host);
        Ok::<Map<_, _>, String>(body)
    };
    let usual = json(&self::task(plain(), TaskSpec::default()))?;
    let mut asked = json(task)?;
    asked.retain(|field, value| usual.get(field) != Some(value));
    Ok(Value::Object(asked))
}

/// What a container specification asks for.
fn asked(change: impl FnOnce(&mut ContainerSpec)) -> Value {
    let mut container = plain();
    change(&mut container);
    beyond(&task(container, TaskSpec::default()), NEW).expect("it can be expressed")
}

/// Why a container specification is refused, by an engine of that version.
fn refused(api: Api, change: impl FnOnce(&mut ContainerSpec)) -> String {
    let mut container = plain();
    change(&mut container);
    beyond(&task(container, TaskSpec::default()), api).expect_err("it cannot be expressed")
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn duration(milliseconds: i64) -> Option<prost_types::Duration> {
    let nanos = i32::try_from(milliseconds % 1000).expect("less than a second") * 1_000_000;
    Some(prost_types::Duration { seconds: milliseconds / 1000, nanos })
}

#[test]
fn a_plain_task_asks_for_little() {
    let Request { name, pull, body, networks } = request(&task(plain(), TaskSpec::default()), OLD).unwrap();
    assert_eq!((name.as_str(), networks), ("web.2.t1", Vec::new()));
    assert_eq!((pull.image.as_str(), pull.platform.as_str(), pull.auth.as_str()), ("nginx:latest", "", ""));
    let expected = json!({
        "Image": "nginx:latest",
        "StopTimeout": 10,
        "Labels": {
            "com.docker.swarm.node.id": "",
            "com.docker.swarm.service.id": "",
            "com.docker.swarm.service.name": "web",
            "com.docker.swarm.task": "",
            "com.docker.swarm.task.id": "t1",
            "com.docker.swarm.task.name": "web.2.t1",
            "swarmkit.executor": "o1",
        },
        "HostConfig": { "RestartPolicy": { "Name": "no" } },
    });
    assert_eq!(serde_json::to_value(body).unwrap(), expected);
}

#[test]
fn what_is_no_container_is_refused() {
    let refused = |spec: TaskSpec| request(&Task::new(TaskId::from("t1"), spec), NEW).unwrap_err();
    assert_eq!(refused(TaskSpec::default()).to_string(), "unsupported runtime");
    let of = |image: &str| task(ContainerSpec { image: image.into(), ..Default::default() }, TaskSpec::default());
    assert_eq!(request(&of(""), NEW).unwrap_err().to_string(), "image required");
    let process = request(&of("swarmkit.process/host:latest"), NEW).unwrap_err().to_string();
    assert_eq!(process, "this node runs containers, not the process \"swarmkit.process/host:latest\"");
}

#[test]
fn all_that_is_refused_is_told_at_once() {
    let text = refused(OLD, |spec| {
        spec.hosts = strings(&["nonsense"]);
        spec.oom_score_adj = 5000;
    });
    let expected = "the engine cannot do: OOM score adjustment beyond -1000 to 1000, the host entry \"nonsense\"";
    assert_eq!(text, expected);
}
