//! What security modules are told.

use swarmkit_api::wire::{
    ContainerSpec,
    privileges::{
        CredentialSpec, SeLinuxContext, SeccompOpts, app_armor_opts::AppArmorMode, credential_spec::Source,
        seccomp_opts::SeccompMode,
    },
};
use swarmkit_executor::{Dependencies, ExecError};

use super::refusals::Refusals;

/// The security options of a container.
pub(super) fn options(
    spec: &ContainerSpec,
    dependencies: &dyn Dependencies,
    refused: &mut Refusals,
) -> Result<Vec<String>, ExecError> {
    let privileges = spec.privileges.clone().unwrap_or_default();
    let mut options = Vec::new();
    if let Some(credentials) = &privileges.credential_spec {
        options.extend(credential_spec(credentials, dependencies)?);
    }
    if let Some(context) = &privileges.selinux_context {
        options.extend(selinux(context));
    }
    if let Some(seccomp) = &privileges.seccomp {
        options.extend(filter(seccomp, refused));
    }
    match privileges.apparmor.map(|apparmor| apparmor.mode()).unwrap_or_default() {
        AppArmorMode::Default => {}
        AppArmorMode::Disabled => options.push("apparmor=unconfined".to_owned()),
    }
    if privileges.no_new_privileges {
        options.push("no-new-privileges=true".to_owned());
    }
    Ok(options)
}

/// Credentials of Windows. An engine of another system refuses them itself.
fn credential_spec(credentials: &CredentialSpec, dependencies: &dyn Dependencies) -> Result<Option<String>, ExecError> {
    Ok(match &credentials.source {
        None => None,
        Some(Source::File(file)) => Some(format!("credentialspec=file://{file}")),
        Some(Source::Registry(value)) => Some(format!("credentialspec=registry://{value}")),
        Some(Source::Config(id)) => {
            let payload = dependencies.config(id)?;
            let text = std::str::from_utf8(&payload.data)
                .map_err(|_| ExecError::rejected(format!("the credential specification in config {id} is no text")))?;
            Some(format!("credentialspec=raw://{text}"))
        }
    })
}

fn selinux(context: &SeLinuxContext) -> Vec<String> {
    if context.disable {
        return vec!["label=disable".to_owned()];
    }
    let parts =
        [("user", &context.user), ("role", &context.role), ("type", &context.r#type), ("level", &context.level)];
    let set = parts.into_iter().filter(|(_, value)| !value.is_empty());
    set.map(|(part, value)| format!("label={part}:{value}")).collect()
}

fn filter(seccomp: &SeccompOpts, refused: &mut Refusals) -> Option<String> {
    match seccomp.mode() {
        SeccompMode::Default => None,
        SeccompMode::Unconfined => Some("seccomp=unconfined".to_owned()),
        SeccompMode::Custom => {
            let profile = std::str::from_utf8(&seccomp.profile).ok().filter(|profile| !profile.trim().is_empty());
            refused.unless(profile.is_some(), "a custom seccomp profile that is empty or no text");
            profile.map(|profile| format!("seccomp={profile}"))
        }
    }
}
