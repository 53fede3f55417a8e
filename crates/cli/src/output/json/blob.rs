//! Secrets and configs.

use std::collections::BTreeMap;

use serde::Serialize;
use swarmkit_api::wire;

use super::time;

/// A secret or a config.
#[derive(Clone, Debug, Serialize)]
pub struct Blob {
    id: String,
    name: String,
    labels: BTreeMap<String, String>,
    /// The content of a config, where it is UTF-8 text; always `null` for secrets.
    data: Option<String>,
    /// Who provides the value of a secret. Absent where the cluster holds it, and for configs.
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<String>,
    version: u64,
    created_at: Option<String>,
    updated_at: Option<String>,
}

impl Blob {
    /// The JSON form of a secret.
    #[must_use]
    pub fn of_secret(secret: &wire::Secret) -> Self {
        let spec = secret.spec.clone().unwrap_or_default();
        let driver = spec.driver.map(|driver| driver.name);
        Self { driver, ..Self::new(&secret.id, spec.annotations, None, secret.meta) }
    }

    /// The JSON form of a config.
    #[must_use]
    pub fn of_config(config: &wire::Config) -> Self {
        let spec = config.spec.clone().unwrap_or_default();
        let data = String::from_utf8(spec.data.to_vec()).ok();
        Self::new(&config.id, spec.annotations, data, config.meta)
    }

    fn new(id: &str, annotations: Option<wire::Annotations>, data: Option<String>, meta: Option<wire::Meta>) -> Self {
        let annotations = annotations.unwrap_or_default();
        let meta = meta.unwrap_or_default();
        Self {
            id: id.to_owned(),
            name: annotations.name,
            labels: annotations.labels,
            data,
            driver: None,
            version: meta.version.unwrap_or_default().index,
            created_at: time(meta.created_at.as_ref()),
            updated_at: time(meta.updated_at.as_ref()),
        }
    }
}
