//! Configs and secrets on the wire, alike: an object with a name, and the number of the write that made it what it is.

use std::time::Duration;

use swarmkit_api::wire::{self, control_client::ControlClient};
use tokio::time::timeout;
use tonic::{Code, Status, transport::Channel};

use crate::{
    client::Client,
    history::{Call, Kind, Name, Outcome, Seen, Tag},
};

/// The label that carries the number of a write.
const TAG_LABEL: &str = "torture.tag";

/// How long one call may take. Longer than a change of leader, and a call is not waited for much longer than that.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(4);

/// Texts of refusals that say that nothing was written, wherever in the cluster they come from.
const NOTHING_HAPPENED: [&str; 4] =
    ["node lost leader status", "the proposal failed", "superseded", "does not have a leader"];

/// Asks one member for one operation.
pub(crate) async fn ask(client: &mut Client, name: &Name, call: &Call) -> Outcome {
    let Some(mut control) = client.control().await else {
        return Outcome::Failed("nobody listens".to_owned());
    };
    let asked = match name.kind {
        Kind::Config => timeout(CALL_LIMIT, configs(&mut control, name, call)).await,
        Kind::Secret => timeout(CALL_LIMIT, secrets(&mut control, name, call)).await,
    };
    let outcome = match asked {
        Ok(Ok(outcome)) => return outcome,
        Ok(Err(status)) => refusal(&status),
        Err(_) => Outcome::Unknown("no answer in time".to_owned()),
    };
    if matches!(outcome, Outcome::Failed(_) | Outcome::Unknown(_)) {
        client.disconnect();
    }
    outcome
}

/// What a refusal says about what has happened.
fn refusal(status: &Status) -> Outcome {
    let text = || format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        Code::NotFound => Outcome::Missing,
        Code::AlreadyExists => Outcome::Taken,
        _ if status.message().contains("out of sequence") => Outcome::Stale,
        _ if NOTHING_HAPPENED.iter().any(|nothing| status.message().contains(nothing)) => Outcome::Failed(text()),
        _ => Outcome::Unknown(text()),
    }
}

async fn configs(control: &mut ControlClient<Channel>, name: &Name, call: &Call) -> Result<Outcome, Status> {
    let spec = |tag| wire::ConfigSpec {
        annotations: Some(annotations(name, tag)),
        data: b"x".to_vec().into(),
        ..Default::default()
    };
    Ok(match call {
        Call::Create { tag } => {
            let request = wire::CreateConfigRequest { spec: Some(spec(*tag)) };
            written(control.create_config(request).await?.into_inner().config.as_ref().and_then(config))
        }
        Call::Update { base, tag } => {
            let request = wire::UpdateConfigRequest {
                config_id: base.id.clone(),
                config_version: Some(wire::Version { index: base.version }),
                spec: Some(spec(*tag)),
            };
            written(control.update_config(request).await?.into_inner().config.as_ref().and_then(config))
        }
        Call::Remove { id } => {
            control.remove_config(wire::RemoveConfigRequest { config_id: id.clone() }).await?;
            Outcome::Removed
        }
        Call::Get { id } => {
            let request = wire::GetConfigRequest { config_id: id.clone() };
            found(control.get_config(request).await?.into_inner().config.as_ref().and_then(config))
        }
        Call::Find => {
            let filters = wire::list_configs_request::Filters { names: vec![name.to_string()], ..Default::default() };
            let request = wire::ListConfigsRequest { filters: Some(filters) };
            let list = control.list_configs(request).await?.into_inner().configs;
            list.first().map_or(Outcome::Missing, |first| found(config(first)))
        }
    })
}

async fn secrets(control: &mut ControlClient<Channel>, name: &Name, call: &Call) -> Result<Outcome, Status> {
    let spec = |tag| wire::SecretSpec {
        annotations: Some(annotations(name, tag)),
        data: b"x".to_vec().into(),
        ..Default::default()
    };
    Ok(match call {
        Call::Create { tag } => {
            let request = wire::CreateSecretRequest { spec: Some(spec(*tag)) };
            written(control.create_secret(request).await?.into_inner().secret.as_ref().and_then(secret))
        }
        Call::Update { base, tag } => {
            let request = wire::UpdateSecretRequest {
                secret_id: base.id.clone(),
                secret_version: Some(wire::Version { index: base.version }),
                spec: Some(spec(*tag)),
            };
            written(control.update_secret(request).await?.into_inner().secret.as_ref().and_then(secret))
        }
        Call::Remove { id } => {
            control.remove_secret(wire::RemoveSecretRequest { secret_id: id.clone() }).await?;
            Outcome::Removed
        }
        Call::Get { id } => {
            let request = wire::GetSecretRequest { secret_id: id.clone() };
            found(control.get_secret(request).await?.into_inner().secret.as_ref().and_then(secret))
        }
        Call::Find => {
            let filters = wire::list_secrets_request::Filters { names: vec![name.to_string()], ..Default::default() };
            let request = wire::ListSecretsRequest { filters: Some(filters) };
            let list = control.list_secrets(request).await?.into_inner().secrets;
            list.first().map_or(Outcome::Missing, |first| found(secret(first)))
        }
    })
}

fn annotations(name: &Name, tag: Tag) -> wire::Annotations {
    let labels = [(TAG_LABEL.to_owned(), tag.to_string())].into_iter().collect();
    wire::Annotations { name: name.to_string(), labels, ..Default::default() }
}

fn written(seen: Option<Seen>) -> Outcome {
    seen.map_or_else(|| Outcome::Unknown("an answer without the object".to_owned()), Outcome::Written)
}

fn found(seen: Option<Seen>) -> Outcome {
    seen.map_or_else(|| Outcome::Unknown("an answer without the object".to_owned()), Outcome::Found)
}

/// A config as a client sees it; none if it is not one of ours.
pub(crate) fn config(config: &wire::Config) -> Option<Seen> {
    seen(&config.id, config.meta.as_ref(), config.spec.as_ref()?.annotations.as_ref()?)
}

/// A secret as a client sees it; none if it is not one of ours.
pub(crate) fn secret(secret: &wire::Secret) -> Option<Seen> {
    seen(&secret.id, secret.meta.as_ref(), secret.spec.as_ref()?.annotations.as_ref()?)
}

fn seen(id: &str, meta: Option<&wire::Meta>, annotations: &wire::Annotations) -> Option<Seen> {
    let tag = annotations.labels.get(TAG_LABEL)?.parse().ok()?;
    Some(Seen { id: id.to_owned(), tag, version: meta?.version.as_ref()?.index })
}
