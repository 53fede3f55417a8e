//! `swarmctl service`.

use clap::Subcommand;
use swarmkit_api::wire::{
    self, config_reference, secret_reference, service_spec, task_spec, update_service_request::Rollback,
};

use super::{
    Context, CtlError, Format, ListFlags, depend_flags,
    log_flags::LogFlags,
    logs, lookup,
    network::{self, NetworkChanges},
    placement_flags::PlacementRemovals,
    plan,
    service_flags::{Csv, Mode, RESTART_DEFAULT, ServiceFlags, parse_file_ref, set_replicas, values},
};
use crate::output::{
    Names, inspect_service, is_current, json, list_services, running_on_live_nodes, waiting_by_service,
    waiting_section, waiting_tasks,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a service and print its id
    Create {
        /// Name of the new service
        #[arg(long)]
        name: String,

        /// Which tasks it has
        #[arg(long, value_enum, default_value_t)]
        mode: Mode,

        /// Secret that tasks get, as name[:target] (repeat, or separate with commas)
        #[arg(long, value_name = "NAME[:TARGET]")]
        secret: Vec<Csv>,

        /// Config that tasks get, as name[:target] (repeat, or separate with commas)
        #[arg(long, value_name = "NAME[:TARGET]")]
        config: Vec<Csv>,

        /// Network to be on, as name[,alias=NAME][,ip=ADDRESS][,driver-opt=KEY=VALUE] (repeat)
        #[arg(long, value_name = "NETWORK")]
        network: Vec<Csv>,

        #[command(flatten)]
        flags: Box<ServiceFlags>,
    },
    /// Show a service and its tasks
    Inspect {
        /// Id or name
        #[arg(value_name = "SERVICE")]
        service: String,

        /// Show all tasks, also those that are to be or have been stopped
        #[arg(short, long)]
        all: bool,

        /// How to show it
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show what the tasks of services have written
    Logs {
        /// Id or name (several: their logs are shown as they come)
        #[arg(value_name = "SERVICE", required = true)]
        services: Vec<String>,

        #[command(flatten)]
        flags: LogFlags,
    },
    /// List services
    #[command(visible_alias = "list")]
    Ls {
        #[command(flatten)]
        list: ListFlags,
    },
    /// Show where the tasks of a service would go if it were created, or changed, now; nothing is changed
    ///
    /// Ends with 0 if all tasks would be placed, with 2 if some would have to wait, and with 255 if there is no plan.
    Plan(plan::PlanFlags),
    /// Remove a service and stop its tasks
    #[command(visible_alias = "rm")]
    Remove {
        /// Id or name
        #[arg(value_name = "SERVICE")]
        service: String,

        /// Keep its name, addresses and ports until its tasks have stopped
        #[arg(long)]
        deferred: bool,
    },
    /// Run a job now, whatever its schedule says, and print its id
    Run {
        /// Id or name
        #[arg(value_name = "SERVICE")]
        service: String,
    },
    /// Go back to what a service was before it was last changed
    Rollback {
        /// Id or name
        #[arg(value_name = "SERVICE")]
        service: String,
    },
    /// Set the number of tasks of services
    Scale {
        /// Service and number
        #[arg(value_name = "SERVICE=N", required = true, value_parser = parse_scale)]
        scales: Vec<(String, u64)>,
    },
    /// Change a service and print its id
    Update {
        /// Id or name
        #[arg(value_name = "SERVICE")]
        service: String,

        /// Replace all tasks even though nothing has changed
        #[arg(long)]
        force: bool,

        /// Secret to add, as name[:target] (repeat, or separate with commas)
        #[arg(long, value_name = "NAME[:TARGET]")]
        add_secret: Vec<Csv>,

        /// Secret to take away, by name (repeat, or separate with commas)
        #[arg(long, value_name = "NAME")]
        rm_secret: Vec<Csv>,

        /// Config to add, as name[:target] (repeat, or separate with commas)
        #[arg(long, value_name = "NAME[:TARGET]")]
        add_config: Vec<Csv>,

        /// Config to take away, by name (repeat, or separate with commas)
        #[arg(long, value_name = "NAME")]
        rm_config: Vec<Csv>,

        /// Network to be on, as name[,alias=NAME][,ip=ADDRESS][,driver-opt=KEY=VALUE]; replaces all (repeat)
        #[arg(long, value_name = "NETWORK")]
        network: Vec<Csv>,

        /// Network to be on as well (repeat)
        #[arg(long, value_name = "NETWORK", conflicts_with = "network")]
        add_network: Vec<Csv>,

        /// Network to leave, by id or name (repeat, or separate with commas)
        #[arg(long, value_name = "NETWORK", conflicts_with = "network")]
        rm_network: Vec<Csv>,

        /// Service that it depends on no more, by name (repeat, or separate with commas)
        #[arg(long, value_name = "NAME")]
        rm_depends_on: Vec<Csv>,

        #[command(flatten)]
        rm_placement: Box<PlacementRemovals>,

        #[command(flatten)]
        flags: Box<ServiceFlags>,
    },
}

pub(super) async fn run(context: &mut Context<'_>, command: Command) -> Result<(), CtlError> {
    match command {
        Command::Create { name, mode, secret, config, network, flags } => {
            let mut spec = new_spec(name, mode, &flags)?;
            spec.task.get_or_insert_default().networks = network::attachments(context, &network).await?;
            let added = References::find(context, &secret, &config).await?;
            added.add_to(container(&mut spec)?);
            let request = wire::CreateServiceRequest { spec: Some(spec) };
            let service = context.control.create_service(request).await?.into_inner().service.unwrap_or_default();
            Ok(writeln!(context.out, "{}", service.id)?)
        }
        Command::Inspect { service, all, format } => inspect(context, &service, all, format).await,
        Command::Ls { list } => {
            let request = wire::ListServicesRequest::default();
            let services = context.control.list_services(request).await?.into_inner().services;
            let tasks = context.tasks(wire::list_tasks_request::Filters::default()).await?;
            let counts = running_on_live_nodes(&tasks, &context.nodes().await?);
            let now = context.now;
            let ids = services.iter().map(|service| service.id.clone());
            let mut waiting = waiting_by_service(&tasks);
            let json = services.iter().map(|service| {
                let counts = counts.get(&service.id).copied().unwrap_or_default();
                let waiting = waiting.remove(service.id.as_str()).unwrap_or_default();
                json::Service::new(service, counts).with_waiting(&waiting, &Names::ids_only())
            });
            context.list(list, ids, json, || list_services(&services, &counts, now).to_string())
        }
        Command::Logs { services, flags } => {
            let mut selector = wire::LogSelector::default();
            for wanted in services {
                selector.service_ids.push(lookup::service(&mut context.control, &wanted).await?.id);
            }
            logs::run(context, selector, &flags).await
        }
        Command::Plan(flags) => plan::run(context, flags).await,
        Command::Remove { service: wanted, deferred } => {
            let service = lookup::service(&mut context.control, &wanted).await?;
            context.control.remove_service(wire::RemoveServiceRequest { service_id: service.id, deferred }).await?;
            Ok(writeln!(context.out, "{wanted}")?)
        }
        Command::Run { service } => {
            let id = change(context, &service, |spec| {
                if !matches!(spec.mode, Some(service_spec::Mode::ReplicatedJob(_) | service_spec::Mode::GlobalJob(_))) {
                    return Err(CtlError::State(format!("service {service} is no job")));
                }
                spec.task.get_or_insert_default().force_update += 1;
                Ok(())
            })
            .await?;
            Ok(writeln!(context.out, "{id}")?)
        }
        Command::Rollback { service } => {
            let id = change_or_go_back(context, &service, Rollback::Previous, |_| Ok(())).await?;
            Ok(writeln!(context.out, "{id}")?)
        }
        Command::Scale { scales } => {
            for (service, replicas) in scales {
                let refused = |reason| CtlError::State(format!("service {service} cannot be scaled: {reason}"));
                change(context, &service, |spec| set_replicas(spec, replicas).map_err(refused)).await?;
                writeln!(context.out, "{service} scaled to {replicas}")?;
            }
            Ok(())
        }
        Command::Update {
            service,
            force,
            add_secret,
            rm_secret,
            add_config,
            rm_config,
            network,
            add_network,
            rm_network,
            rm_depends_on,
            rm_placement,
            flags,
        } => {
            let added = References::find(context, &add_secret, &add_config).await?;
            let networks = NetworkChanges::find(context, &network, &add_network, &rm_network).await?;
            let id = change(context, &service, |spec| {
                let before = spec.clone();
                flags.apply(spec)?;
                depend_flags::take_away(spec, &rm_depends_on)?;
                rm_placement.apply(spec)?;
                remove_references(container(spec)?, &rm_secret, &rm_config)?;
                added.add_to(container(spec)?);
                networks.apply(&mut spec.task.get_or_insert_default().networks)?;
                if force {
                    spec.task.get_or_insert_default().force_update += 1;
                }
                if *spec == before {
                    return Err(CtlError::Usage("no changes detected".to_owned()));
                }
                Ok(())
            })
            .await?;
            Ok(writeln!(context.out, "{id}")?)
        }
    }
}

fn parse_scale(text: &str) -> Result<(String, u64), String> {
    let (service, number) = text.split_once('=').ok_or("expected SERVICE=N")?;
    let number = number.parse().map_err(|_| "expected a whole number after =".to_owned())?;
    Ok((service.to_owned(), number))
}

/// The specification of a new service, without secrets and configs.
pub(super) fn new_spec(name: String, mode: Mode, flags: &ServiceFlags) -> Result<wire::ServiceSpec, CtlError> {
    let annotations = wire::Annotations { name, ..wire::Annotations::default() };
    let mut spec = wire::ServiceSpec {
        annotations: Some(annotations),
        mode: Some(mode.to_wire()),
        task: Some(wire::TaskSpec { restart: Some(RESTART_DEFAULT), ..wire::TaskSpec::default() }),
        ..wire::ServiceSpec::default()
    };
    flags.apply(&mut spec)?;
    if container(&mut spec)?.image.is_empty() {
        return Err(CtlError::Usage("--image is mandatory unless a command is given".to_owned()));
    }
    Ok(spec)
}

async fn inspect(context: &mut Context<'_>, wanted: &str, all: bool, format: Format) -> Result<(), CtlError> {
    let service = lookup::service(&mut context.control, wanted).await?;
    let filters = wire::list_tasks_request::Filters { service_ids: vec![service.id.clone()], ..Default::default() };
    let mut tasks = context.tasks(filters).await?;
    let counts = running_on_live_nodes(&tasks, &context.nodes().await?);
    let counts = counts.get(&service.id).copied().unwrap_or_default();
    let mut waiting = waiting_tasks(&tasks);
    plan::explain_all(context, &mut waiting).await?;
    tasks.retain(|task| all || is_current(task));
    let (names, now) = (context.names().await?, context.now);
    let json = json::Service::new(&service, counts).with_waiting(&waiting, &names);
    context.show(format, &json, || {
        inspect_service(&service, counts, &tasks, &names, now) + &waiting_section(&waiting, &names)
    })
}

/// Changes the specification of a service and gives its id.
async fn change(
    context: &mut Context<'_>,
    wanted: &str,
    change: impl Fn(&mut wire::ServiceSpec) -> Result<(), CtlError>,
) -> Result<String, CtlError> {
    change_or_go_back(context, wanted, Rollback::None, change).await
}

async fn change_or_go_back(
    context: &mut Context<'_>,
    wanted: &str,
    rollback: Rollback,
    change: impl Fn(&mut wire::ServiceSpec) -> Result<(), CtlError>,
) -> Result<String, CtlError> {
    let mut attempts = crate::client::UPDATE_ATTEMPTS_MAX;
    loop {
        let service = lookup::service(&mut context.control, wanted).await?;
        let mut spec = service.spec.unwrap_or_default();
        change(&mut spec)?;
        let request = wire::UpdateServiceRequest {
            service_id: service.id.clone(),
            service_version: service.meta.unwrap_or_default().version,
            spec: Some(spec),
            rollback: rollback.into(),
        };
        attempts -= 1;
        match context.control.update_service(request).await {
            Err(status) if attempts > 0 && crate::client::is_out_of_sequence(&status) => {}
            result => return Ok(result.map(|_| service.id)?),
        }
    }
}

pub(super) fn container(spec: &mut wire::ServiceSpec) -> Result<&mut wire::ContainerSpec, CtlError> {
    match &mut spec.task.get_or_insert_default().runtime {
        Some(task_spec::Runtime::Container(container)) => Ok(container),
        _ => Err(CtlError::State("only services that run containers or processes can be changed".to_owned())),
    }
}

/// Secrets and configs that were asked for by name, and found.
#[derive(Debug, Default)]
pub(super) struct References {
    secrets: Vec<wire::SecretReference>,
    configs: Vec<wire::ConfigReference>,
}

impl References {
    pub(super) async fn find(context: &mut Context<'_>, secrets: &[Csv], configs: &[Csv]) -> Result<Self, CtlError> {
        let mut found = Self::default();
        for text in values(secrets) {
            let (name, file) = parse_file_ref(text)?;
            let filters = wire::list_secrets_request::Filters { names: vec![name.clone()], ..Default::default() };
            let request = wire::ListSecretsRequest { filters: Some(filters) };
            let secret = context.control.list_secrets(request).await?.into_inner().secrets.pop();
            let secret = secret.ok_or_else(|| CtlError::State(format!("secret not found: {name}")))?;
            found.secrets.push(wire::SecretReference {
                secret_id: secret.id,
                secret_name: secret.spec.unwrap_or_default().annotations.unwrap_or_default().name,
                target: Some(secret_reference::Target::File(file)),
            });
        }
        for text in values(configs) {
            let (name, file) = parse_file_ref(text)?;
            let filters = wire::list_configs_request::Filters { names: vec![name.clone()], ..Default::default() };
            let request = wire::ListConfigsRequest { filters: Some(filters) };
            let config = context.control.list_configs(request).await?.into_inner().configs.pop();
            let config = config.ok_or_else(|| CtlError::State(format!("config not found: {name}")))?;
            found.configs.push(wire::ConfigReference {
                config_id: config.id,
                config_name: config.spec.unwrap_or_default().annotations.unwrap_or_default().name,
                target: Some(config_reference::Target::File(file)),
            });
        }
        Ok(found)
    }

    /// Adds what is not there yet.
    pub(super) fn add_to(&self, container: &mut wire::ContainerSpec) {
        for secret in &self.secrets {
            if !container.secrets.contains(secret) {
                container.secrets.push(secret.clone());
            }
        }
        for config in &self.configs {
            if !container.configs.contains(config) {
                container.configs.push(config.clone());
            }
        }
    }
}

fn remove_references(container: &mut wire::ContainerSpec, secrets: &[Csv], configs: &[Csv]) -> Result<(), CtlError> {
    for name in values(secrets) {
        let before = container.secrets.len();
        container.secrets.retain(|secret| secret.secret_name != name);
        if container.secrets.len() == before {
            return Err(CtlError::State(format!("the service does not use a secret called {name}")));
        }
    }
    for name in values(configs) {
        let before = container.configs.len();
        container.configs.retain(|config| config.config_name != name);
        if container.configs.len() == before {
            return Err(CtlError::State(format!("the service does not use a config called {name}")));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
