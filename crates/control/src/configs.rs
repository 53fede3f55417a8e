//! Configs: plain data for tasks.

use std::sync::Arc;

use swarmkit_api::{Config, ConfigId, Object, wire};
use swarmkit_store::{ConfigBy, ServiceBy};

use crate::{
    ControlApi, ControlError, filter,
    request::{missing, name_of, refuse_in_use, required, taken},
    validate,
};

impl ControlApi {
    pub(crate) async fn create_config(
        &self,
        request: wire::CreateConfigRequest,
    ) -> Result<wire::CreateConfigResponse, ControlError> {
        let spec = request.spec.ok_or_else(ControlError::missing_argument)?;
        validate::config(&spec)?;
        let name = name_of(&spec.annotations).to_owned();
        let mut config = Config::new(ConfigId::from(self.env.new_id()));
        config.spec = Arc::new(spec);
        let created = self.store.update(|tx| tx.create(config).map_err(|error| taken(error, "config", &name))).await?;
        Ok(wire::CreateConfigResponse { config: Some(created.value.to_wire()) })
    }

    pub(crate) fn get_config(&self, request: wire::GetConfigRequest) -> Result<wire::GetConfigResponse, ControlError> {
        let id = config_id(request.config_id)?;
        let view = self.store.view();
        let config = view.get::<Config>(&id).ok_or_else(|| missing("config", &id))?;
        Ok(wire::GetConfigResponse { config: Some(config.to_wire()) })
    }

    pub(crate) async fn update_config(
        &self,
        request: wire::UpdateConfigRequest,
    ) -> Result<wire::UpdateConfigResponse, ControlError> {
        let id = required::<ConfigId>(request.config_id)?;
        let version = request.config_version.ok_or_else(ControlError::missing_argument)?.into();
        let spec = request.spec.ok_or_else(ControlError::missing_argument)?;
        let updated = self
            .store
            .update(|tx| {
                let stored = tx.get::<Config>(&id).ok_or_else(|| missing("config", &id))?;
                let other_data = !spec.data.is_empty() && spec.data != stored.spec.data;
                if name_of(&spec.annotations) != name_of(&stored.spec.annotations) || other_data {
                    return Err(ControlError::invalid("only updates to Labels are allowed"));
                }
                let mut config = stored.as_ref().clone();
                config.meta.version = version;
                let labels = spec.annotations.unwrap_or_default().labels;
                Arc::make_mut(&mut config.spec).annotations.get_or_insert_default().labels = labels;
                tx.update(config).map_err(ControlError::from)
            })
            .await?;
        Ok(wire::UpdateConfigResponse { config: Some(updated.value.to_wire()) })
    }

    pub(crate) async fn remove_config(
        &self,
        request: wire::RemoveConfigRequest,
    ) -> Result<wire::RemoveConfigResponse, ControlError> {
        let id = config_id(request.config_id)?;
        self.store
            .update(|tx| {
                let view = &**tx;
                let config = view.get::<Config>(&id).ok_or_else(|| missing("config", &id))?;
                let users: Vec<_> =
                    view.find(ServiceBy::Config(&id)).map(|service| service.name().to_owned()).collect();
                refuse_in_use("config", name_of(&config.spec.annotations), &users)?;
                tx.delete::<Config>(&id).map_err(ControlError::from)
            })
            .await?;
        Ok(wire::RemoveConfigResponse {})
    }

    pub(crate) fn list_configs(&self, request: wire::ListConfigsRequest) -> wire::ListConfigsResponse {
        let filters = request.filters.unwrap_or_default();
        let view = self.store.view();
        let none = filters.names.is_empty() && filters.name_prefixes.is_empty() && filters.id_prefixes.is_empty();
        let candidates = if none {
            view.all::<Config>().cloned().collect()
        } else {
            let names = filters.names.iter().flat_map(|name| view.find(ConfigBy::Name(name)));
            let prefixes = filters.name_prefixes.iter().flat_map(|prefix| view.find(ConfigBy::NamePrefix(prefix)));
            let ids = filters.id_prefixes.iter().flat_map(|prefix| view.find(ConfigBy::IdPrefix(prefix)));
            filter::union(names.chain(prefixes).chain(ids))
        };
        let tests = [filter::by_labels::<Config>(&filters.labels)];
        let configs = candidates
            .iter()
            .filter(|config| filter::all_pass(&tests, config))
            .map(|config| config.to_wire())
            .collect();
        wire::ListConfigsResponse { configs }
    }
}

fn config_id(id: String) -> Result<ConfigId, ControlError> {
    ConfigId::from_wire(id).ok_or_else(|| ControlError::invalid("config ID must be provided"))
}
