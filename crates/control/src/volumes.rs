//! Volumes that the cluster manages.

use std::sync::Arc;

use swarmkit_api::{Object, Secret, SecretId, Volume, VolumeId, wire};
use swarmkit_store::VolumeBy;

use crate::{
    ControlApi, ControlError, filter,
    request::{all_found, missing, name_of, required, taken},
};

impl ControlApi {
    pub(crate) async fn create_volume(
        &self,
        request: wire::CreateVolumeRequest,
    ) -> Result<wire::CreateVolumeResponse, ControlError> {
        let spec = request.spec.ok_or_else(|| ControlError::invalid("spec must not be nil"))?;
        check(&spec)?;
        let name = name_of(&spec.annotations).to_owned();
        let mut volume = Volume::new(VolumeId::from(self.env.new_id()));
        volume.spec = Arc::new(spec);
        let created = self
            .store
            .update(|tx| {
                let view = &**tx;
                let secrets = volume.spec.secrets.iter().map(|secret| secret.secret.as_str());
                all_found("secret", secrets.filter(|&id| view.get::<Secret>(&SecretId::from(id)).is_none()))?;
                tx.create(volume).map_err(|error| taken(error, "volume", &name))
            })
            .await?;
        Ok(wire::CreateVolumeResponse { volume: Some(created.value.to_wire()) })
    }

    pub(crate) fn get_volume(&self, request: wire::GetVolumeRequest) -> Result<wire::GetVolumeResponse, ControlError> {
        let id = VolumeId::from(request.volume_id);
        let view = self.store.view();
        let volume = view.get::<Volume>(&id).ok_or_else(|| missing("volume", &id))?;
        Ok(wire::GetVolumeResponse { volume: Some(volume.to_wire()) })
    }

    pub(crate) async fn update_volume(
        &self,
        request: wire::UpdateVolumeRequest,
    ) -> Result<wire::UpdateVolumeResponse, ControlError> {
        let id = required::<VolumeId>(request.volume_id)?;
        let version = request.volume_version.ok_or_else(ControlError::missing_argument)?.into();
        let spec = request.spec.ok_or_else(ControlError::missing_argument)?;
        let updated = self
            .store
            .update(|tx| {
                let stored = tx.get::<Volume>(&id).ok_or_else(|| missing("volume", &id))?;
                refuse_fixed_changes(&stored.spec, &spec)?;
                let mut volume = stored.as_ref().clone();
                volume.meta.version = version;
                let changed = Arc::make_mut(&mut volume.spec);
                changed.annotations.get_or_insert_default().labels = spec.annotations.unwrap_or_default().labels;
                changed.availability = spec.availability;
                tx.update(volume).map_err(ControlError::from)
            })
            .await?;
        Ok(wire::UpdateVolumeResponse { volume: Some(updated.value.to_wire()) })
    }

    pub(crate) async fn remove_volume(
        &self,
        request: wire::RemoveVolumeRequest,
    ) -> Result<wire::RemoveVolumeResponse, ControlError> {
        let id = VolumeId::from(request.volume_id);
        self.store
            .update(|tx| {
                let stored = tx.get::<Volume>(&id).ok_or_else(|| missing("volume", &id))?;
                if request.force {
                    tx.delete::<Volume>(&id)?;
                    return Ok(());
                }
                if !stored.publish_status.is_empty() {
                    return Err(ControlError::Precondition("volume is still in use".to_owned()));
                }
                let mut volume = stored.as_ref().clone();
                volume.pending_delete = true;
                tx.update(volume)?;
                Ok::<_, ControlError>(())
            })
            .await?;
        Ok(wire::RemoveVolumeResponse {})
    }

    pub(crate) fn list_volumes(&self, request: wire::ListVolumesRequest) -> wire::ListVolumesResponse {
        let filters = request.filters.unwrap_or_default();
        let view = self.store.view();
        let candidates = if !filters.names.is_empty() {
            filter::union(filters.names.iter().flat_map(|name| view.find(VolumeBy::Name(name))))
        } else if !filters.id_prefixes.is_empty() {
            filter::union(filters.id_prefixes.iter().flat_map(|prefix| view.find(VolumeBy::IdPrefix(prefix))))
        } else if !filters.groups.is_empty() {
            filter::union(filters.groups.iter().flat_map(|group| view.find(VolumeBy::Group(group))))
        } else if !filters.drivers.is_empty() {
            filter::union(filters.drivers.iter().flat_map(|driver| view.find(VolumeBy::Driver(driver))))
        } else if !filters.name_prefixes.is_empty() {
            filter::union(filters.name_prefixes.iter().flat_map(|prefix| view.find(VolumeBy::NamePrefix(prefix))))
        } else {
            view.all::<Volume>().cloned().collect()
        };
        let name = |volume: &Volume| name_of(&volume.spec.annotations).to_owned();
        let [a, b, c] = filter::by_identity(&filters.names, &filters.name_prefixes, &filters.id_prefixes, name);
        let tests = [
            a,
            b,
            c,
            filter::by_labels(&filters.labels),
            filter::any(&filters.groups, |group: &String, volume: &Volume| volume.spec.group == *group),
            filter::any(&filters.drivers, |driver: &String, volume: &Volume| {
                volume.spec.driver.as_ref().is_some_and(|own| own.name == *driver)
            }),
        ];
        let volumes = candidates
            .iter()
            .filter(|volume| filter::all_pass(&tests, volume))
            .map(|volume| volume.to_wire())
            .collect();
        wire::ListVolumesResponse { volumes }
    }
}

fn check(spec: &wire::VolumeSpec) -> Result<(), ControlError> {
    if spec.driver.as_ref().is_none_or(|driver| driver.name.is_empty()) {
        return Err(ControlError::invalid("driver must be specified"));
    }
    if name_of(&spec.annotations).is_empty() {
        return Err(ControlError::invalid("meta: name must be provided"));
    }
    match &spec.access_mode {
        None => Err(ControlError::invalid("AccessMode must not be nil")),
        Some(mode) if mode.access_type.is_none() => Err(ControlError::invalid("AccessMode must have an access type")),
        Some(_) => Ok(()),
    }
}

fn refuse_fixed_changes(stored: &wire::VolumeSpec, wanted: &wire::VolumeSpec) -> Result<(), ControlError> {
    let fixed = [
        ("Name", name_of(&stored.annotations) == name_of(&wanted.annotations)),
        ("Group", stored.group == wanted.group),
        ("AccessibilityRequirements", stored.accessibility_requirements == wanted.accessibility_requirements),
        ("Driver", stored.driver == wanted.driver),
        ("AccessMode", stored.access_mode == wanted.access_mode),
        ("Secrets", stored.secrets == wanted.secrets),
        ("CapacityRange", stored.capacity_range == wanted.capacity_range),
    ];
    match fixed.into_iter().find(|(_, same)| !same) {
        Some((field, _)) => Err(ControlError::invalid(format!("{field} cannot be updated"))),
        None => Ok(()),
    }
}
