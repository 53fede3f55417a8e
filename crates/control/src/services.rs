//! Services: what should run.

use std::sync::Arc;

use swarmkit_api::{
    Config, ConfigId, Network, Object, Secret, SecretId, Service, ServiceId, Task, TaskState, Version,
    wire::{
        self, list_service_statuses_response::ServiceStatus, port_config::PublishMode, service_spec::Mode,
        task_spec::Runtime, update_service_request::Rollback, update_status::UpdateState,
    },
};
use swarmkit_store::{ServiceBy, State, StoreError, TaskBy, Transaction};

use crate::{
    ControlApi, ControlError, affinities, defaults, depends, filter, jobs, removal,
    request::{all_found, missing, name_of, required, runtime_name},
    validate,
};

impl ControlApi {
    pub(crate) async fn create_service(
        &self,
        request: wire::CreateServiceRequest,
    ) -> Result<wire::CreateServiceResponse, ControlError> {
        let spec = request.spec.ok_or_else(ControlError::missing_argument)?;
        validate::service(&spec)?;
        let service = new(ServiceId::from(self.env.new_id()), spec, self.timestamp());
        let created = self.store.update(|tx| create(tx, service)).await?;
        Ok(wire::CreateServiceResponse { service: Some(created.value.to_wire()) })
    }

    pub(crate) fn get_service(
        &self,
        request: wire::GetServiceRequest,
    ) -> Result<wire::GetServiceResponse, ControlError> {
        let id = required::<ServiceId>(request.service_id)?;
        let view = self.store.view();
        let mut service = view.get::<Service>(&id).ok_or_else(|| missing("service", &id))?.to_wire();
        if request.insert_defaults {
            defaults::fill(service.spec.get_or_insert_default());
        }
        Ok(wire::GetServiceResponse { service: Some(service) })
    }

    pub(crate) async fn update_service(
        &self,
        request: wire::UpdateServiceRequest,
    ) -> Result<wire::UpdateServiceResponse, ControlError> {
        let rollback = request.rollback() == Rollback::Previous;
        let id = required::<ServiceId>(request.service_id)?;
        let version = request.service_version.ok_or_else(ControlError::missing_argument)?.into();
        let spec = request.spec.ok_or_else(ControlError::missing_argument)?;
        validate::service(&spec)?;
        let now = self.timestamp();
        let updated = self.store.update(|tx| update(tx, &id, spec, version, rollback, now)).await?;
        Ok(wire::UpdateServiceResponse { service: Some(updated.value.to_wire()) })
    }

    pub(crate) async fn remove_service(
        &self,
        request: wire::RemoveServiceRequest,
    ) -> Result<wire::RemoveServiceResponse, ControlError> {
        let id = required::<ServiceId>(request.service_id)?;
        self.store
            .update(|tx| {
                if request.deferred {
                    return removal::defer_service(tx, &id);
                }
                match tx.delete::<Service>(&id) {
                    Ok(_) => Ok(()),
                    Err(StoreError::NotFound) => Err(missing("service", &id)),
                    Err(error) => Err(error.into()),
                }
            })
            .await?;
        Ok(wire::RemoveServiceResponse {})
    }

    pub(crate) fn list_services(&self, request: wire::ListServicesRequest) -> wire::ListServicesResponse {
        let filters = request.filters.unwrap_or_default();
        let view = self.store.view();
        let candidates = if !filters.names.is_empty() {
            filter::union(filters.names.iter().flat_map(|name| view.find(ServiceBy::Name(name))))
        } else if !filters.name_prefixes.is_empty() {
            filter::union(filters.name_prefixes.iter().flat_map(|prefix| view.find(ServiceBy::NamePrefix(prefix))))
        } else if !filters.id_prefixes.is_empty() {
            filter::union(filters.id_prefixes.iter().flat_map(|prefix| view.find(ServiceBy::IdPrefix(prefix))))
        } else if !filters.runtimes.is_empty() {
            filter::union(filters.runtimes.iter().flat_map(|runtime| view.find(ServiceBy::Runtime(runtime))))
        } else {
            view.all::<Service>().cloned().collect()
        };
        let name = |service: &Service| service.name().to_owned();
        let [a, b, c] = filter::by_identity(&filters.names, &filters.name_prefixes, &filters.id_prefixes, name);
        let tests = [
            a,
            b,
            c,
            filter::by_labels(&filters.labels),
            filter::any(&filters.runtimes, |runtime: &String, service: &Service| {
                runtime_name(service.spec.task.as_ref()).as_deref() == Some(runtime)
            }),
        ];
        let services =
            candidates.iter().filter(|service| filter::all_pass(&tests, service)).map(|s| s.to_wire()).collect();
        wire::ListServicesResponse { services }
    }

    pub(crate) fn list_service_statuses(
        &self,
        request: wire::ListServiceStatusesRequest,
    ) -> wire::ListServiceStatusesResponse {
        let view = self.store.view();
        let statuses = request.services.into_iter().map(|id| status(&view, id)).collect();
        wire::ListServiceStatusesResponse { statuses }
    }
}

/// The service that a specification becomes.
pub(crate) fn new(id: ServiceId, spec: wire::ServiceSpec, now: prost_types::Timestamp) -> Service {
    let mut service = Service::new(id, spec);
    service.spec_version = Some(Version(0));
    if is_job(&service.spec) {
        jobs::create(&mut service, now);
    }
    service
}

/// Writes a new service, if it may be.
pub(crate) fn create(tx: &mut Transaction, service: Service) -> Result<Arc<Service>, ControlError> {
    let view = &**tx;
    references_exist(view, &service.spec)?;
    ports_are_free(view, &service.id, service.spec.endpoint.as_ref())?;
    ingress_exists(view, service.spec.endpoint.as_ref())?;
    depends::can_be_waited_for(view, &service.spec)?;
    affinities::somebody_comes_first(view, &service.spec)?;
    removal::networks_stay(view, &service.spec, None)?;
    let name = service.name().to_owned();
    tx.create(service).map_err(|error| removal::service_name_taken(tx, error, &name))
}

/// Writes a service as it is to be from now on, if that may be.
pub(crate) fn update(
    tx: &mut Transaction,
    id: &ServiceId,
    spec: wire::ServiceSpec,
    version: Version,
    rollback: bool,
    now: prost_types::Timestamp,
) -> Result<Arc<Service>, ControlError> {
    let stored = tx.get::<Service>(id).ok_or_else(|| missing("service", id))?;
    removal::service_stays(stored)?;
    let service = changed(tx, stored, spec, version, rollback, now)?;
    tx.update(service).map_err(ControlError::from)
}

/// The service as the request wants it, if that may be.
fn changed(
    view: &State,
    stored: &Service,
    spec: wire::ServiceSpec,
    version: Version,
    rollback: bool,
    now: prost_types::Timestamp,
) -> Result<Service, ControlError> {
    let mut service = stored.clone();
    service.meta.version = version;
    #[allow(deprecated, reason = "old clients may still send it")]
    if spec.networks != stored.spec.networks
        && spec.task.as_ref().map(|task| &task.networks) == stored.spec.task.as_ref().map(|task| &task.networks)
    {
        return Err(ControlError::Unsupported("networks must be migrated to TaskSpec before being changed".to_owned()));
    }
    if mode_kind(&spec) != mode_kind(&stored.spec) {
        return Err(ControlError::Unsupported("service mode change is not allowed".to_owned()));
    }
    if name_of(&spec.annotations) != stored.name() {
        return Err(ControlError::Unsupported("renaming services is not supported".to_owned()));
    }
    if rollback {
        let Some(previous) = service.previous_spec.take() else {
            return Err(ControlError::Precondition(format!("service {} does not have a previous spec", stored.id)));
        };
        service.previous_spec = Some(std::mem::replace(&mut service.spec, previous));
        std::mem::swap(&mut service.spec_version, &mut service.previous_spec_version);
        service.update_status = Some(wire::UpdateStatus {
            state: UpdateState::RollbackStarted.into(),
            message: "manually requested rollback".to_owned(),
            started_at: Some(now),
            started_version: view.version().0,
            ..Default::default()
        });
    } else {
        service.previous_spec = Some(std::mem::replace(&mut service.spec, Arc::new(spec)));
        service.previous_spec_version = service.spec_version.replace(version);
        service.update_status = None;
    }
    if is_job(&service.spec) {
        jobs::update(&mut service, stored, rollback, now)?;
    }
    // Also what is gone back to must still be possible: much may have changed since.
    references_exist(view, &service.spec)?;
    if service.spec.endpoint != stored.spec.endpoint {
        ports_are_free(view, &stored.id, service.spec.endpoint.as_ref())?;
    }
    ingress_exists(view, service.spec.endpoint.as_ref())?;
    removal::networks_stay(view, &service.spec, Some(&stored.spec))?;
    if service.spec.depends_on != stored.spec.depends_on {
        depends::can_be_waited_for(view, &service.spec)?;
    }
    if service.spec.scheduling != stored.spec.scheduling {
        affinities::somebody_comes_first(view, &service.spec)?;
    }
    Ok(service)
}

/// Which of the four modes.
fn mode_kind(spec: &wire::ServiceSpec) -> Option<std::mem::Discriminant<Mode>> {
    spec.mode.as_ref().map(std::mem::discriminant)
}

pub(crate) fn is_job(spec: &wire::ServiceSpec) -> bool {
    matches!(spec.mode, Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)))
}

/// The secrets and configs that are referred to exist under the names given, and no network is the ingress one.
fn references_exist(view: &State, spec: &wire::ServiceSpec) -> Result<(), ControlError> {
    let Some(task) = &spec.task else { return Ok(()) };
    for attachment in &task.networks {
        let network = view.get::<Network>(&attachment.target.as_str().into());
        if network.is_some_and(|network| network.spec.ingress) {
            return Err(ControlError::invalid(format!(
                "Service cannot be explicitly attached to the ingress network {:?}",
                network.map_or("", |network| name_of(&network.spec.annotations))
            )));
        }
    }
    let Some(Runtime::Container(container)) = &task.runtime else { return Ok(()) };
    let secrets = container.secrets.iter().filter(|reference| {
        let secret = view.get::<Secret>(&SecretId::from(reference.secret_id.as_str()));
        secret.is_none_or(|secret| name_of(&secret.spec.annotations) != reference.secret_name)
    });
    all_found("secret", secrets.map(|reference| reference.secret_name.as_str()))?;
    let configs = container.configs.iter().filter(|reference| {
        let config = view.get::<Config>(&ConfigId::from(reference.config_id.as_str()));
        config.is_none_or(|config| name_of(&config.spec.annotations) != reference.config_name)
    });
    all_found("config", configs.map(|reference| reference.config_name.as_str()))
}

/// No other service publishes a fixed port of this endpoint, in a way that would clash.
fn ports_are_free(view: &State, own: &ServiceId, endpoint: Option<&wire::EndpointSpec>) -> Result<(), ControlError> {
    let wanted: Vec<_> =
        endpoint.iter().flat_map(|endpoint| &endpoint.ports).filter(|port| port.published_port != 0).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    for other in view.all::<Service>().filter(|other| other.id != *own) {
        let asked = other.spec.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
        let given = other.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
        for theirs in asked.chain(given) {
            let clash = wanted.iter().find(|ours| {
                ours.published_port == theirs.published_port
                    && ours.protocol == theirs.protocol
                    && !(ours.publish_mode() == PublishMode::Host && theirs.publish_mode() == PublishMode::Host)
            });
            if let Some(port) = clash {
                let how = match theirs.publish_mode() {
                    PublishMode::Ingress => "an ingress port",
                    PublishMode::Host => "a host-published port",
                };
                return Err(ControlError::invalid(format!(
                    "port '{}' is already in use by service '{}' ({}) as {how}",
                    port.published_port,
                    other.name(),
                    other.id
                )));
            }
        }
    }
    Ok(())
}

/// A port published through the ingress network needs one.
fn ingress_exists(view: &State, endpoint: Option<&wire::EndpointSpec>) -> Result<(), ControlError> {
    let published = |port: &wire::PortConfig| port.publish_mode() == PublishMode::Ingress;
    if endpoint.is_some_and(|endpoint| endpoint.ports.iter().any(published))
        && !view.all::<Network>().any(|network| network.spec.ingress)
    {
        return Err(ControlError::Precondition(
            "service needs ingress network, but no ingress network is present".to_owned(),
        ));
    }
    Ok(())
}

/// How many tasks a service should have, has running, and has completed.
fn status(view: &State, service_id: String) -> ServiceStatus {
    let id = ServiceId::from(service_id.as_str());
    let service = view.get::<Service>(&id);
    let iteration =
        service.and_then(|service| service.job_status).map(|job| job.job_iteration.unwrap_or_default().index);
    let mut status = ServiceStatus { service_id, ..Default::default() };
    let mut wanted = 0;
    for task in view.find(TaskBy::Service(&id)) {
        let task: &Task = task;
        if iteration.is_some_and(|iteration| task.job_iteration.is_none_or(|version| version.0 != iteration)) {
            continue;
        }
        let state = task.status.state;
        status.running_tasks += u64::from(state == TaskState::Running);
        status.completed_tasks += u64::from(state == TaskState::Complete && iteration.is_some());
        wanted += u64::from(
            task.desired_state == TaskState::Running
                || (task.desired_state == TaskState::Complete && state != TaskState::Complete),
        );
    }
    status.desired_tasks = match service.and_then(|service| service.spec.mode.as_ref()) {
        None => 0,
        Some(Mode::Replicated(replicated)) => replicated.replicas,
        Some(Mode::ReplicatedJob(job)) => job.max_concurrent,
        Some(Mode::Global(_) | Mode::GlobalJob(_)) => wanted,
    };
    status
}
