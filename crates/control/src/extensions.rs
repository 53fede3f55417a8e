//! Extensions, which are kinds of resource that a client registers, and their resources.

use swarmkit_api::{Extension, ExtensionId, Object, Resource, ResourceId, wire};
use swarmkit_store::{ResourceBy, StoreError};

use crate::{
    ControlApi, ControlError, filter,
    request::{missing, name_of, required, taken},
};

/// How many resources an error names.
const NAMED_MAX: usize = 10;

impl ControlApi {
    pub(crate) async fn create_extension(
        &self,
        request: wire::CreateExtensionRequest,
    ) -> Result<wire::CreateExtensionResponse, ControlError> {
        let name = name_of(&request.annotations).to_owned();
        if name.is_empty() {
            return Err(ControlError::invalid("extension name must be provided"));
        }
        let mut extension = Extension::new(ExtensionId::from(self.env.new_id()));
        extension.annotations = request.annotations.unwrap_or_default();
        extension.description = request.description;
        let created =
            self.store.update(|tx| tx.create(extension).map_err(|error| taken(error, "extension", &name))).await?;
        Ok(wire::CreateExtensionResponse { extension: Some(created.value.to_wire()) })
    }

    pub(crate) fn get_extension(
        &self,
        request: wire::GetExtensionRequest,
    ) -> Result<wire::GetExtensionResponse, ControlError> {
        let id = ExtensionId::from_wire(request.extension_id)
            .ok_or_else(|| ControlError::invalid("extension ID must be provided"))?;
        let view = self.store.view();
        let extension = view.get::<Extension>(&id).ok_or_else(|| missing("extension", &id))?;
        Ok(wire::GetExtensionResponse { extension: Some(extension.to_wire()) })
    }

    pub(crate) async fn remove_extension(
        &self,
        request: wire::RemoveExtensionRequest,
    ) -> Result<wire::RemoveExtensionResponse, ControlError> {
        let id = ExtensionId::from_wire(request.extension_id)
            .ok_or_else(|| ControlError::invalid("extension ID must be provided"))?;
        self.store
            .update(|tx| {
                let view = &**tx;
                let extension = view.get::<Extension>(&id).ok_or_else(|| missing("extension", &id))?;
                let name = &extension.annotations.name;
                let resources: Vec<_> = view
                    .all::<Resource>()
                    .filter(|resource| resource.kind.eq_ignore_ascii_case(name) || resource.kind == id.as_str())
                    .map(|resource| resource.annotations.name.clone())
                    .take(NAMED_MAX)
                    .collect();
                if !resources.is_empty() {
                    return Err(ControlError::invalid(format!(
                        "extension {name} is in use by the following resources: {}",
                        resources.join(", ")
                    )));
                }
                tx.delete::<Extension>(&id).map_err(ControlError::from)
            })
            .await?;
        Ok(wire::RemoveExtensionResponse {})
    }

    pub(crate) async fn create_resource(
        &self,
        request: wire::CreateResourceRequest,
    ) -> Result<wire::CreateResourceResponse, ControlError> {
        let name = name_of(&request.annotations).to_owned();
        if name.is_empty() {
            return Err(ControlError::invalid("Resource must have a name"));
        }
        if request.kind.is_empty() {
            return Err(ControlError::invalid("Resource must belong to an Extension"));
        }
        let mut resource = Resource::new(ResourceId::from(self.env.new_id()));
        resource.annotations = request.annotations.unwrap_or_default();
        resource.kind = request.kind.clone();
        resource.payload = request.payload;
        let created = self
            .store
            .update(|tx| {
                tx.create(resource).map_err(|error| match error {
                    StoreError::NoKind => ControlError::invalid(format!("Kind {} is not registered", request.kind)),
                    error => taken(error, "resource", &name),
                })
            })
            .await?;
        Ok(wire::CreateResourceResponse { resource: Some(created.value.to_wire()) })
    }

    pub(crate) fn get_resource(
        &self,
        request: wire::GetResourceRequest,
    ) -> Result<wire::GetResourceResponse, ControlError> {
        let id = resource_id(request.resource_id)?;
        let view = self.store.view();
        let resource = view.get::<Resource>(&id).ok_or_else(|| missing("resource", &id))?;
        Ok(wire::GetResourceResponse { resource: Some(resource.to_wire()) })
    }

    pub(crate) async fn update_resource(
        &self,
        request: wire::UpdateResourceRequest,
    ) -> Result<wire::UpdateResourceResponse, ControlError> {
        let id = required::<ResourceId>(request.resource_id)?;
        let version = request.resource_version.ok_or_else(ControlError::missing_argument)?.into();
        let updated = self
            .store
            .update(|tx| {
                let stored = tx.get::<Resource>(&id).ok_or_else(|| missing("resource", &id))?;
                let mut resource = stored.as_ref().clone();
                resource.meta.version = version;
                if let Some(annotations) = request.annotations {
                    if annotations.name != stored.annotations.name {
                        return Err(ControlError::invalid("Resource cannot be renamed"));
                    }
                    resource.annotations = annotations;
                }
                if request.payload.is_some() {
                    resource.payload = request.payload;
                }
                tx.update(resource).map_err(|error| match error {
                    StoreError::OutOfSequence => ControlError::invalid(error.to_string()),
                    error => error.into(),
                })
            })
            .await?;
        Ok(wire::UpdateResourceResponse { resource: Some(updated.value.to_wire()) })
    }

    pub(crate) async fn remove_resource(
        &self,
        request: wire::RemoveResourceRequest,
    ) -> Result<wire::RemoveResourceResponse, ControlError> {
        let id = resource_id(request.resource_id)?;
        self.store
            .update(|tx| match tx.delete::<Resource>(&id) {
                Err(StoreError::NotFound) => Err(missing("resource", &id)),
                result => Ok(result?),
            })
            .await?;
        Ok(wire::RemoveResourceResponse {})
    }

    pub(crate) fn list_resources(&self, request: wire::ListResourcesRequest) -> wire::ListResourcesResponse {
        let filters = request.filters.unwrap_or_default();
        let view = self.store.view();
        let none = filters.names.is_empty() && filters.name_prefixes.is_empty() && filters.id_prefixes.is_empty();
        let candidates = if none && !filters.kind.is_empty() {
            view.find(ResourceBy::Kind(&filters.kind)).cloned().collect()
        } else if none {
            view.all::<Resource>().cloned().collect()
        } else {
            let names = filters.names.iter().flat_map(|name| view.find(ResourceBy::Name(name)));
            let prefixes = filters.name_prefixes.iter().flat_map(|prefix| view.find(ResourceBy::NamePrefix(prefix)));
            let ids = filters.id_prefixes.iter().flat_map(|prefix| view.find(ResourceBy::IdPrefix(prefix)));
            filter::union(names.chain(prefixes).chain(ids))
        };
        let tests = [filter::by_labels::<Resource>(&filters.labels)];
        let resources = candidates
            .iter()
            .filter(|resource| filters.kind.is_empty() || resource.kind == filters.kind)
            .filter(|resource| filter::all_pass(&tests, resource))
            .map(|resource| resource.to_wire())
            .collect();
        wire::ListResourcesResponse { resources }
    }
}

fn resource_id(id: String) -> Result<ResourceId, ControlError> {
    ResourceId::from_wire(id).ok_or_else(|| ControlError::invalid("resource ID must be provided"))
}
