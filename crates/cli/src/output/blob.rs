//! Secrets and configs.

use std::{cmp::Reverse, time::SystemTime};

use swarmkit_api::wire;

use super::{Columns, absolute, relative};

/// The table of `secret ls`, the newest first.
#[must_use]
pub fn list_secrets(secrets: &[wire::Secret], now: SystemTime) -> Columns {
    let mut secrets: Vec<_> = secrets.iter().collect();
    secrets.sort_by_key(|secret| (Reverse(created_at(secret.meta.as_ref())), &secret.id));
    let mut columns = Columns::spaced(4).titled(&["ID", "Name", "Driver", "Created"]);
    for secret in secrets {
        let spec = secret.spec.clone().unwrap_or_default();
        let created = secret.meta.as_ref().and_then(|meta| meta.created_at.as_ref());
        columns.row([
            secret.id.clone(),
            spec.annotations.unwrap_or_default().name,
            spec.driver.unwrap_or_default().name,
            relative(created, now),
        ]);
    }
    columns
}

/// The table of `config ls`, the newest first.
#[must_use]
pub fn list_configs(configs: &[wire::Config], now: SystemTime) -> Columns {
    let mut configs: Vec<_> = configs.iter().collect();
    configs.sort_by_key(|config| (Reverse(created_at(config.meta.as_ref())), &config.id));
    let mut columns = Columns::spaced(4).titled(&["ID", "Name", "Created"]);
    for config in configs {
        let name = config.spec.clone().unwrap_or_default().annotations.unwrap_or_default().name;
        let created = config.meta.as_ref().and_then(|meta| meta.created_at.as_ref());
        columns.row([config.id.clone(), name, relative(created, now)]);
    }
    columns
}

/// The layout of `secret inspect`. The content of a secret never leaves the cluster this way.
#[must_use]
pub fn inspect_secret(secret: &wire::Secret) -> Columns {
    let spec = secret.spec.clone().unwrap_or_default();
    let mut columns = inspect(&secret.id, &spec.annotations.unwrap_or_default(), secret.meta.as_ref());
    columns.field_if_any("Driver", spec.driver.map(|driver| driver.name).unwrap_or_default());
    columns
}

/// The layout of `config inspect`, which ends with the content.
#[must_use]
pub fn inspect_config(config: &wire::Config) -> Vec<u8> {
    let spec = config.spec.clone().unwrap_or_default();
    let mut columns = inspect(&config.id, &spec.annotations.unwrap_or_default(), config.meta.as_ref());
    columns.line("");
    columns.line("Payload:");
    let mut text = columns.to_string().into_bytes();
    text.extend_from_slice(&spec.data);
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    text
}

fn inspect(id: &str, annotations: &wire::Annotations, meta: Option<&wire::Meta>) -> Columns {
    let mut columns = Columns::labelled();
    columns.field("ID", id);
    columns.field("Name", &annotations.name);
    if !annotations.labels.is_empty() {
        columns.section("Labels");
        for (key, value) in &annotations.labels {
            columns.field(&format!("  {key}"), value);
        }
    }
    columns.field_if_any("Created", absolute(meta.and_then(|meta| meta.created_at.as_ref())));
    columns
}

fn created_at(meta: Option<&wire::Meta>) -> Option<(i64, i32)> {
    let created = meta?.created_at.as_ref()?;
    Some((created.seconds, created.nanos))
}
