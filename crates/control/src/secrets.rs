//! Secrets: sensitive data for tasks. The data goes in, and never out through here.

use std::sync::Arc;

use subtle::ConstantTimeEq as _;
use swarmkit_api::{Object, Secret, SecretId, wire};
use swarmkit_store::{SecretBy, ServiceBy};

use crate::{
    ControlApi, ControlError, filter,
    request::{missing, name_of, refuse_in_use, required, taken},
    validate,
};

impl ControlApi {
    pub(crate) async fn create_secret(
        &self,
        request: wire::CreateSecretRequest,
    ) -> Result<wire::CreateSecretResponse, ControlError> {
        let spec = request.spec.ok_or_else(ControlError::missing_argument)?;
        validate::secret(&spec, &*self.secret_drivers)?;
        let name = name_of(&spec.annotations).to_owned();
        let mut secret = Secret::new(SecretId::from(self.env.new_id()));
        secret.spec = Arc::new(spec);
        let created = self.store.update(|tx| tx.create(secret).map_err(|error| taken(error, "secret", &name))).await?;
        Ok(wire::CreateSecretResponse { secret: Some(without_data(&created.value)) })
    }

    pub(crate) fn get_secret(&self, request: wire::GetSecretRequest) -> Result<wire::GetSecretResponse, ControlError> {
        let id = secret_id(request.secret_id)?;
        let view = self.store.view();
        let secret = view.get::<Secret>(&id).ok_or_else(|| missing("secret", &id))?;
        Ok(wire::GetSecretResponse { secret: Some(without_data(secret)) })
    }

    pub(crate) async fn update_secret(
        &self,
        request: wire::UpdateSecretRequest,
    ) -> Result<wire::UpdateSecretResponse, ControlError> {
        let id = required::<SecretId>(request.secret_id)?;
        let version = request.secret_version.ok_or_else(ControlError::missing_argument)?.into();
        let spec = request.spec.ok_or_else(ControlError::missing_argument)?;
        let updated = self
            .store
            .update(|tx| {
                let stored = tx.get::<Secret>(&id).ok_or_else(|| missing("secret", &id))?;
                let other_data = !spec.data.is_empty() && !bool::from(spec.data.ct_eq(&stored.spec.data));
                if name_of(&spec.annotations) != name_of(&stored.spec.annotations) || other_data {
                    return Err(ControlError::invalid("only updates to Labels are allowed"));
                }
                let mut secret = stored.as_ref().clone();
                secret.meta.version = version;
                let labels = spec.annotations.unwrap_or_default().labels;
                Arc::make_mut(&mut secret.spec).annotations.get_or_insert_default().labels = labels;
                tx.update(secret).map_err(ControlError::from)
            })
            .await?;
        Ok(wire::UpdateSecretResponse { secret: Some(without_data(&updated.value)) })
    }

    pub(crate) async fn remove_secret(
        &self,
        request: wire::RemoveSecretRequest,
    ) -> Result<wire::RemoveSecretResponse, ControlError> {
        let id = secret_id(request.secret_id)?;
        self.store
            .update(|tx| {
                let view = &**tx;
                let secret = view.get::<Secret>(&id).ok_or_else(|| missing("secret", &id))?;
                let users: Vec<_> =
                    view.find(ServiceBy::Secret(&id)).map(|service| service.name().to_owned()).collect();
                refuse_in_use("secret", name_of(&secret.spec.annotations), &users)?;
                tx.delete::<Secret>(&id).map_err(ControlError::from)
            })
            .await?;
        Ok(wire::RemoveSecretResponse {})
    }

    pub(crate) fn list_secrets(&self, request: wire::ListSecretsRequest) -> wire::ListSecretsResponse {
        let filters = request.filters.unwrap_or_default();
        let view = self.store.view();
        let none = filters.names.is_empty() && filters.name_prefixes.is_empty() && filters.id_prefixes.is_empty();
        let candidates = if none {
            view.all::<Secret>().cloned().collect()
        } else {
            let names = filters.names.iter().flat_map(|name| view.find(SecretBy::Name(name)));
            let prefixes = filters.name_prefixes.iter().flat_map(|prefix| view.find(SecretBy::NamePrefix(prefix)));
            let ids = filters.id_prefixes.iter().flat_map(|prefix| view.find(SecretBy::IdPrefix(prefix)));
            filter::union(names.chain(prefixes).chain(ids))
        };
        let tests = [filter::by_labels::<Secret>(&filters.labels)];
        let secrets = candidates
            .iter()
            .filter(|secret| !secret.internal && filter::all_pass(&tests, secret))
            .map(|secret| without_data(secret))
            .collect();
        wire::ListSecretsResponse { secrets }
    }
}

fn secret_id(id: String) -> Result<SecretId, ControlError> {
    SecretId::from_wire(id).ok_or_else(|| ControlError::invalid("secret ID must be provided"))
}

/// The secret as clients see it.
fn without_data(secret: &Secret) -> wire::Secret {
    let mut shown = secret.to_wire();
    if let Some(spec) = &mut shown.spec {
        spec.data.clear();
    }
    shown
}
