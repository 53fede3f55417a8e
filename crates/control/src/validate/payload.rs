//! Secrets and configs.

use swarmkit_api::wire;
use swarmkit_secret_drivers::SecretDrivers;

use super::{Checked, file_like_name};
use crate::{ControlError, request::name_of};

/// The first size of a secret that is refused, in bytes.
const SECRET_BYTES_LIMIT: usize = 512_000;

/// The first size of a config that is refused, in bytes.
const CONFIG_BYTES_LIMIT: usize = 1_024_000;

/// `drivers` are those that this manager has.
pub(crate) fn secret(spec: &wire::SecretSpec, drivers: &dyn SecretDrivers) -> Checked {
    file_like_name("secret", name_of(&spec.annotations))?;
    match &spec.driver {
        Some(driver) if driver.name.is_empty() => Err(ControlError::invalid("secret driver must have a name")),
        Some(driver) if drivers.find(&driver.name).is_some() => Ok(()),
        Some(driver) => Err(ControlError::invalid(format!("secret driver {} is not installed", driver.name))),
        None if spec.data.is_empty() || spec.data.len() >= SECRET_BYTES_LIMIT => Err(ControlError::invalid(format!(
            "secret data must be larger than 0 and less than {SECRET_BYTES_LIMIT} bytes"
        ))),
        None => Ok(()),
    }
}

pub(crate) fn config(spec: &wire::ConfigSpec) -> Checked {
    file_like_name("config", name_of(&spec.annotations))?;
    if spec.data.is_empty() || spec.data.len() >= CONFIG_BYTES_LIMIT {
        return Err(ControlError::invalid(format!(
            "config data must be larger than 0 and less than {CONFIG_BYTES_LIMIT} bytes"
        )));
    }
    Ok(())
}
