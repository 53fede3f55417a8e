//! What a driver is told of the secret and of the task that needs it, as the plugin protocol names it.

use std::collections::BTreeMap;

use serde::Serialize;
use swarmkit_api::{Secret, Task, wire};
use wire::task_spec::Runtime;

/// What a driver is told: the secret, and for whom. What is empty is left out on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SecretRequest {
    /// The name of the secret.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub secret_name: String,
    /// Its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_labels: BTreeMap<String, String>,
    /// The host name that the service gives its containers, as it is written in the specification.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_hostname: String,
    /// The service that the task belongs to.
    #[serde(rename = "ServiceID", skip_serializing_if = "String::is_empty")]
    pub service_id: String,
    /// The name of the service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_name: String,
    /// Its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub service_labels: BTreeMap<String, String>,
    /// The task.
    #[serde(rename = "TaskID", skip_serializing_if = "String::is_empty")]
    pub task_id: String,
    /// The name of the task, as clients see it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub task_name: String,
    /// What its container is made from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub task_image: String,
    /// The node where it shall run.
    #[serde(rename = "NodeID", skip_serializing_if = "String::is_empty")]
    pub node_id: String,
    /// Where its service is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_endpoint_spec: Option<Endpoint>,
}

/// Where a service is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Endpoint {
    /// The number of the mode: 0 by a virtual address, 1 by the addresses of its tasks.
    #[serde(skip_serializing_if = "is_zero")]
    pub mode: i32,
    /// Its ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
}

/// A port of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Port {
    /// What it is called.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The number of its protocol: 0 TCP, 1 UDP, 2 SCTP.
    #[serde(skip_serializing_if = "is_zero")]
    pub protocol: i32,
    /// The port inside.
    #[serde(skip_serializing_if = "is_zero")]
    pub target_port: u32,
    /// The port outside.
    #[serde(skip_serializing_if = "is_zero")]
    pub published_port: u32,
    /// The number of how it is published: 0 on all nodes, 1 on those of its tasks.
    #[serde(skip_serializing_if = "is_zero")]
    pub publish_mode: i32,
}

impl SecretRequest {
    /// What a driver is told of `secret` when `task` needs it.
    #[must_use]
    pub fn new(secret: &Secret, task: &Task) -> Self {
        let text = |id: Option<&str>| id.unwrap_or_default().to_owned();
        let container = match &task.spec.runtime {
            Some(Runtime::Container(container)) => Some(container),
            Some(Runtime::Attachment(_) | Runtime::Generic(_)) | None => None,
        };
        let named = secret.spec.annotations.clone().unwrap_or_default();
        Self {
            secret_name: named.name,
            secret_labels: named.labels.into_iter().collect(),
            service_hostname: container.map(|container| container.hostname.clone()).unwrap_or_default(),
            service_id: text(task.service_id.as_ref().map(AsRef::as_ref)),
            service_name: task.service_annotations.name.clone(),
            service_labels: task.service_annotations.labels.clone().into_iter().collect(),
            task_id: task.id.to_string(),
            task_name: task.name(),
            task_image: container.map(|container| container.image.clone()).unwrap_or_default(),
            node_id: text(task.node_id.as_ref().map(AsRef::as_ref)),
            service_endpoint_spec: task.endpoint.as_ref().and_then(|endpoint| endpoint.spec.as_ref()).map(Endpoint::of),
        }
    }
}

impl Endpoint {
    fn of(spec: &wire::EndpointSpec) -> Self {
        let ports = spec.ports.iter().map(|port| Port {
            name: port.name.clone(),
            protocol: port.protocol,
            target_port: port.target_port,
            published_port: port.published_port,
            publish_mode: port.publish_mode,
        });
        Self { mode: spec.mode, ports: ports.collect() }
    }
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use swarmkit_api::{NodeId, SecretId, ServiceId, TaskId};

    use super::*;

    #[test]
    fn a_driver_is_told_everything_about_the_secret_and_its_user_under_the_names_of_the_protocol() {
        let mut secret = Secret::new(SecretId::from("s1"));
        let labels = [("tier".to_owned(), "gold".to_owned())];
        let annotations =
            wire::Annotations { name: "password".into(), labels: labels.clone().into(), ..Default::default() };
        secret.spec = Arc::new(wire::SecretSpec { annotations: Some(annotations), ..Default::default() });
        let mut task = Task::new(TaskId::from("t1"), wire::TaskSpec::default());
        task.slot = 3;
        task.node_id = Some(NodeId::from("n1"));
        task.service_id = Some(ServiceId::from("w1"));
        let named = wire::Annotations { name: "web".into(), labels: labels.into(), ..Default::default() };
        task.service_annotations = Arc::new(named);
        let container = wire::ContainerSpec { image: "nginx".into(), hostname: "h".into(), ..Default::default() };
        let runtime = Some(Runtime::Container(container));
        task.spec = Arc::new(wire::TaskSpec { runtime, ..Default::default() });
        let port = wire::PortConfig {
            name: "http".into(),
            protocol: 1,
            target_port: 80,
            published_port: 8080,
            publish_mode: 1,
        };
        let spec = wire::EndpointSpec { mode: 1, ports: vec![port, wire::PortConfig::default()] };
        task.endpoint = Some(Arc::new(wire::Endpoint { spec: Some(spec), ..Default::default() }));
        let told = serde_json::to_value(SecretRequest::new(&secret, &task)).unwrap();
        assert_eq!(
            told,
            serde_json::json!({
                "SecretName": "password",
                "SecretLabels": { "tier": "gold" },
                "ServiceHostname": "h",
                "ServiceID": "w1",
                "ServiceName": "web",
                "ServiceLabels": { "tier": "gold" },
                "TaskID": "t1",
                "TaskName": "web.3.t1",
                "TaskImage": "nginx",
                "NodeID": "n1",
                "ServiceEndpointSpec": {
                    "Mode": 1,
                    "Ports": [
                        { "Name": "http", "Protocol": 1, "TargetPort": 80, "PublishedPort": 8080, "PublishMode": 1 },
                        {},
                    ],
                },
            })
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let told = SecretRequest::new(
            &Secret::new(SecretId::from("s1")),
            &Task::new(TaskId::from("t1"), wire::TaskSpec::default()),
        );
        let told = serde_json::to_value(told).unwrap();
        assert_eq!(told, serde_json::json!({ "TaskID": "t1", "TaskName": "..t1" }));
    }
}
