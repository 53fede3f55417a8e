//! The `depends_on` section of a service.

use std::collections::BTreeMap;

use swarmkit_api::wire::{
    service_spec::Mode,
    swarmkit::orchestration::v1::{Dependency, dependency::Condition},
};

use super::{
    model::Service,
    reader::{Reader, hint},
    suggest::nearest,
    tree::{At, Node, Value},
};

/// That a service depends on another one.
pub(super) struct Link {
    /// Which one, by its key in the file.
    service: String,
    /// Where it is named.
    at: At,
    condition: Condition,
    /// Whether the file must define it.
    required: bool,
}

const CONDITIONS: [(&str, Condition); 3] = [
    ("service_started", Condition::Running),
    ("service_healthy", Condition::Healthy),
    ("service_completed_successfully", Condition::Completed),
];

/// A list of names, or a mapping of names to conditions.
pub(super) fn read(reader: &mut Reader<'_>, node: Node, path: &str) -> Vec<Link> {
    if !matches!(node.value, Value::Map(_)) {
        let items = reader.list(node, path).into_iter().enumerate();
        let link = |(index, item): (usize, Node)| {
            let service = reader.text(&item, &format!("{path}[{index}]"))?;
            Some(Link { service, at: item.at, condition: Condition::Running, required: true })
        };
        return items.filter_map(link).collect();
    }
    let entries = reader.named(node, path);
    entries
        .into_iter()
        .map(|entry| {
            let mut fields = reader.fields(entry.node, &format!("{path}.{}", entry.key));
            let condition = fields.take("condition").and_then(|(node, path)| reader.word(&node, &path, &CONDITIONS));
            let mut flag = |key| {
                let node = fields.take(key)?;
                let at = node.0.at;
                Some((reader.word(&node.0, &node.1, &[("true", true), ("false", false)])?, at))
            };
            let (required, restart) = (flag("required"), flag("restart"));
            if let Some((true, at)) = restart {
                let place = format!("{path}.{}", entry.key);
                reader.warn(
                    at,
                    format!("\"restart\" in {place} is ignored: who has started is not restarted for others"),
                );
            }
            reader.finish(fields, &[]);
            Link {
                service: entry.key,
                at: entry.at,
                condition: condition.unwrap_or(Condition::Running),
                required: required.is_none_or(|(required, _)| required),
            }
        })
        .collect()
}

/// Puts what was read into the specifications, as far as it fits the services that the file defines.
pub(super) fn settle(reader: &mut Reader<'_>, services: &mut [Service], links: Vec<Vec<Link>>) {
    let is_job = |service: &Service| matches!(service.spec.mode, Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)));
    let jobs: BTreeMap<_, _> = services.iter().map(|service| (service.name.clone(), is_job(service))).collect();
    for (service, links) in services.iter_mut().zip(links) {
        let place = format!("services.{}.depends_on", service.name);
        for Link { service: name, at, condition, required } in links {
            match jobs.get(&name) {
                None if required => {
                    let hint = hint(nearest(&name, jobs.keys().map(String::as_str)));
                    reader.error(at, format!("{place} names {name:?}, which is no service of the file{hint}"));
                }
                None => {
                    reader.warn(at, format!("{place} names {name:?}, which is no service of the file; it is ignored"))
                }
                Some(false) if condition == Condition::Completed => reader.error(
                    at,
                    format!(
                        "{place} waits for {name} to complete, which is no job: give it the deploy.mode replicated-job"
                    ),
                ),
                Some(_) if name == service.name => reader.error(at, format!("{place} names the service itself")),
                Some(_) if service.spec.depends_on.iter().any(|one| one.service == name) => {
                    reader.error(at, format!("{place} names {name} twice"));
                }
                Some(_) => service.spec.depends_on.push(Dependency { service: name, condition: condition.into() }),
            }
        }
    }
}
