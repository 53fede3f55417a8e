//! Bringing the cluster to what a Compose file says, and taking everything away again.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use swarmkit_api::wire::{self, config_reference, secret_reference, task_spec};
use tonic::Status;

use crate::{
    client::{Control, UPDATE_ATTEMPTS_MAX, is_out_of_sequence},
    compose::{At, Blob, FileRef, Project, Service, Source},
};

/// The label that says which project an object belongs to, as existing tools write it.
const STACK_LABEL: &str = "com.docker.stack.namespace";

/// The label that says what a secret holds, since nobody can read a secret to compare it.
const DIGEST_LABEL: &str = "swarmkit.content.sha256";

/// How many hexadecimal digits tell the versions of a config or secret apart where one is still in use.
const DIGEST_DIGITS: usize = 8;

/// Why a project could not be deployed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeployError {
    /// Something in the file is not as the cluster wants it.
    #[error("{}:{}: {what}: {reason}", at.line, at.column)]
    Refused { at: At, what: String, reason: String },
    /// The cluster does not answer as it should.
    #[error("{}", .0.message())]
    Call(Box<Status>),
}

impl From<Status> for DeployError {
    fn from(status: Status) -> Self {
        Self::Call(Box::new(status))
    }
}

/// What was done to one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    Created,
    Updated,
    Unchanged,
    Removed,
}

/// Creates, updates and removes until the cluster has exactly the services of the project.
pub(crate) async fn deploy(
    control: &mut Control,
    project: &Project,
    stack: &str,
) -> Result<Vec<(String, Done)>, DeployError> {
    let secrets = place_blobs(control, Kind::Secret, &project.secrets, stack).await?;
    let configs = place_blobs(control, Kind::Config, &project.configs, stack).await?;
    let existing = services_of(control, stack).await?;
    let mut done = Vec::new();
    for service in &project.services {
        let spec = complete(service, stack, &secrets, &configs);
        let before = existing.iter().find(|existing| name_of(existing) == service.name);
        let what = match before {
            Some(before) if before.spec.as_ref() == Some(&spec) => Done::Unchanged,
            Some(before) => {
                update(control, &before.id, &spec).await.map_err(|status| refused(service, &status))?;
                Done::Updated
            }
            None => {
                let request = wire::CreateServiceRequest { spec: Some(spec) };
                control.create_service(request).await.map_err(|status| refused(service, &status))?;
                Done::Created
            }
        };
        done.push((service.name.clone(), what));
    }
    for service in &existing {
        let name = name_of(service);
        if !project.services.iter().any(|wanted| wanted.name == name) {
            control
                .remove_service(wire::RemoveServiceRequest { service_id: service.id.clone(), ..Default::default() })
                .await?;
            done.push((name.to_owned(), Done::Removed));
        }
    }
    Ok(done)
}

/// Removes all services, also those that were created by other means. Their tasks are stopped by the cluster.
pub(crate) async fn remove_services(control: &mut Control) -> Result<(), Status> {
    let services = control.list_services(wire::ListServicesRequest::default()).await?.into_inner().services;
    for service in services {
        control.remove_service(wire::RemoveServiceRequest { service_id: service.id, ..Default::default() }).await?;
    }
    Ok(())
}

/// Removes the secrets and configs of the project, which no service may use any more.
pub(crate) async fn remove_blobs(control: &mut Control, stack: &str) -> Result<(), Status> {
    for kind in [Kind::Secret, Kind::Config] {
        for known in kind.list(control).await? {
            if known.is_of(stack) {
                kind.remove(control, known.id).await?;
            }
        }
    }
    Ok(())
}

async fn services_of(control: &mut Control, stack: &str) -> Result<Vec<wire::Service>, Status> {
    let labels = BTreeMap::from([(STACK_LABEL.to_owned(), stack.to_owned())]);
    let filters = wire::list_services_request::Filters { labels, ..Default::default() };
    let request = wire::ListServicesRequest { filters: Some(filters) };
    Ok(control.list_services(request).await?.into_inner().services)
}

async fn update(control: &mut Control, id: &str, spec: &wire::ServiceSpec) -> Result<(), Status> {
    let mut attempts = UPDATE_ATTEMPTS_MAX;
    loop {
        let request = wire::GetServiceRequest { service_id: id.to_owned(), insert_defaults: false };
        let current = control.get_service(request).await?.into_inner().service.unwrap_or_default();
        let request = wire::UpdateServiceRequest {
            service_id: current.id,
            service_version: current.meta.unwrap_or_default().version,
            spec: Some(spec.clone()),
            ..Default::default()
        };
        attempts -= 1;
        match control.update_service(request).await {
            Err(status) if attempts > 0 && is_out_of_sequence(&status) => {}
            result => return result.map(drop),
        }
    }
}

fn refused(service: &Service, status: &Status) -> DeployError {
    let what = format!("services.{}", service.name);
    DeployError::Refused { at: service.at, what, reason: status.message().to_owned() }
}

fn name_of(service: &wire::Service) -> &str {
    let annotations = service.spec.as_ref().and_then(|spec| spec.annotations.as_ref());
    annotations.map(|annotations| annotations.name.as_str()).unwrap_or_default()
}

/// The specification with its project, and the ids of its secrets and configs.
fn complete(service: &Service, stack: &str, secrets: &Placed, configs: &Placed) -> wire::ServiceSpec {
    let mut spec = service.spec.clone();
    let labels = &mut spec.annotations.get_or_insert_default().labels;
    labels.insert(STACK_LABEL.to_owned(), stack.to_owned());
    if let Some(task_spec::Runtime::Container(container)) = &mut spec.task.get_or_insert_default().runtime {
        let found = |placed: &Placed, reference: &FileRef| placed.get(&reference.source).cloned();
        container.secrets = service
            .secrets
            .iter()
            .filter_map(|reference| {
                let (secret_id, secret_name) = found(secrets, reference)?;
                let target = Some(secret_reference::Target::File(reference.target.clone()));
                Some(wire::SecretReference { secret_id, secret_name, target })
            })
            .collect();
        container.configs = service
            .configs
            .iter()
            .filter_map(|reference| {
                let (config_id, config_name) = found(configs, reference)?;
                let target = Some(config_reference::Target::File(reference.target.clone()));
                Some(wire::ConfigReference { config_id, config_name, target })
            })
            .collect();
    }
    spec
}

/// Id and name in the cluster, by key in the file.
type Placed = BTreeMap<String, (String, String)>;

/// A secret or config that is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    id: String,
    name: String,
    labels: BTreeMap<String, String>,
}

impl Known {
    fn new(id: String, annotations: Option<wire::Annotations>) -> Self {
        let annotations = annotations.unwrap_or_default();
        Self { id, name: annotations.name, labels: annotations.labels }
    }

    fn is_of(&self, stack: &str) -> bool {
        self.labels.get(STACK_LABEL).is_some_and(|label| label == stack)
    }
}

/// What to do about one secret or config.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Use(Known),
    Create { name: String, labels: BTreeMap<String, String>, data: bytes::Bytes },
    Refuse(String),
}

/// What is in the cluster cannot be changed and may be in use, so other content means another name.
fn step(blob: &Blob, known: &[Known], stack: &str) -> Step {
    let named = |name: &str| known.iter().find(|known| known.name.eq_ignore_ascii_case(name)).cloned();
    let data = match &blob.source {
        Source::Content(data) => data.clone(),
        Source::External => {
            return match named(&blob.name) {
                Some(known) => Step::Use(known),
                None => Step::Refuse(format!("it is external, and the cluster has none called {:?}", blob.name)),
            };
        }
        Source::File(path) => return Step::Refuse(format!("{} was not read", path.display())),
    };
    let digest: String = Sha256::digest(&data).iter().map(|byte| format!("{byte:02x}")).collect();
    for name in [blob.name.clone(), format!("{}-{}", blob.name, &digest[..DIGEST_DIGITS])] {
        match named(&name) {
            None => {
                let mut labels = blob.labels.clone();
                labels.insert(STACK_LABEL.to_owned(), stack.to_owned());
                labels.insert(DIGEST_LABEL.to_owned(), digest);
                return Step::Create { name, labels, data };
            }
            Some(known) if known.is_of(stack) && known.labels.get(DIGEST_LABEL) == Some(&digest) => {
                return Step::Use(known);
            }
            Some(known) if known.is_of(stack) => {}
            Some(_) => return Step::Refuse(format!("{name:?} is in the cluster and is not of this project")),
        }
    }
    Step::Refuse(format!("{:?} is in the cluster with other content", blob.name))
}

async fn place_blobs(control: &mut Control, kind: Kind, blobs: &[Blob], stack: &str) -> Result<Placed, DeployError> {
    let mut placed = Placed::new();
    if blobs.is_empty() {
        return Ok(placed);
    }
    let known = kind.list(control).await?;
    for blob in blobs {
        let refuse =
            |reason| DeployError::Refused { at: blob.at, what: format!("{}.{}", kind.section(), blob.key), reason };
        let entry = match step(blob, &known, stack) {
            Step::Use(known) => (known.id, known.name),
            Step::Create { name, labels, data } => {
                let annotations = wire::Annotations { name: name.clone(), labels, ..Default::default() };
                let id = kind.create(control, annotations, data).await;
                (id.map_err(|status| refuse(status.message().to_owned()))?, name)
            }
            Step::Refuse(reason) => return Err(refuse(reason)),
        };
        placed.insert(blob.key.clone(), entry);
    }
    Ok(placed)
}

/// Secrets and configs are created, listed and removed alike, by different calls.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Secret,
    Config,
}

impl Kind {
    fn section(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::Config => "configs",
        }
    }

    async fn list(self, control: &mut Control) -> Result<Vec<Known>, Status> {
        Ok(match self {
            Self::Secret => {
                let secrets = control.list_secrets(wire::ListSecretsRequest::default()).await?.into_inner().secrets;
                let known = |secret: wire::Secret| Known::new(secret.id, secret.spec.unwrap_or_default().annotations);
                secrets.into_iter().map(known).collect()
            }
            Self::Config => {
                let configs = control.list_configs(wire::ListConfigsRequest::default()).await?.into_inner().configs;
                let known = |config: wire::Config| Known::new(config.id, config.spec.unwrap_or_default().annotations);
                configs.into_iter().map(known).collect()
            }
        })
    }

    async fn create(
        self,
        control: &mut Control,
        annotations: wire::Annotations,
        data: bytes::Bytes,
    ) -> Result<String, Status> {
        let annotations = Some(annotations);
        Ok(match self {
            Self::Secret => {
                let spec = Some(wire::SecretSpec { annotations, data, ..Default::default() });
                let response = control.create_secret(wire::CreateSecretRequest { spec }).await?;
                response.into_inner().secret.unwrap_or_default().id
            }
            Self::Config => {
                let spec = Some(wire::ConfigSpec { annotations, data, ..Default::default() });
                let response = control.create_config(wire::CreateConfigRequest { spec }).await?;
                response.into_inner().config.unwrap_or_default().id
            }
        })
    }

    async fn remove(self, control: &mut Control, id: String) -> Result<(), Status> {
        match self {
            Self::Secret => control.remove_secret(wire::RemoveSecretRequest { secret_id: id }).await.map(drop),
            Self::Config => control.remove_config(wire::RemoveConfigRequest { config_id: id }).await.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(content: &'static str) -> Blob {
        let source = Source::Content(content.into());
        Blob { key: "t".into(), at: At::default(), name: "token".into(), labels: BTreeMap::new(), source }
    }

    /// What `step` creates for this content, as it is afterwards known.
    fn created(content: &'static str, known: &[Known]) -> Known {
        match step(&blob(content), known, "shop") {
            Step::Create { name, labels, .. } => Known { id: format!("id-{content}"), name, labels },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_content_is_used_again_and_other_content_gets_another_name() {
        let first = created("one", &[]);
        assert_eq!(first.name, "token");
        assert_eq!(step(&blob("one"), std::slice::from_ref(&first), "shop"), Step::Use(first.clone()));
        let second = created("two", std::slice::from_ref(&first));
        assert_eq!(second.name, "token-3fc4ccfe");
        assert_eq!(step(&blob("two"), &[first, second.clone()], "shop"), Step::Use(second));
    }

    #[test]
    fn what_belongs_to_others_is_neither_used_nor_replaced() {
        let foreign = Known { id: "x".into(), name: "TOKEN".into(), labels: BTreeMap::new() };
        let reason = "\"token\" is in the cluster and is not of this project".to_owned();
        assert_eq!(step(&blob("one"), std::slice::from_ref(&foreign), "shop"), Step::Refuse(reason));
        let external = Blob { source: Source::External, ..blob("") };
        assert_eq!(step(&external, std::slice::from_ref(&foreign), "shop"), Step::Use(foreign));
        let reason = "it is external, and the cluster has none called \"token\"".to_owned();
        assert_eq!(step(&external, &[], "shop"), Step::Refuse(reason));
    }
}
