//! Containers, and processes that are described like containers.

use std::collections::BTreeMap;

use prost_types::Duration;
use swarmkit_api::wire::{self, config_reference, privileges::credential_spec, secret_reference};

use super::{Checked, duration};
use crate::ControlError;

/// The shortest interval of a health check that is not "the default".
const HEALTH_NANOSECONDS_MIN: i128 = 1_000_000;

/// The longest image reference, without its digest.
const REFERENCE_BYTES_MAX: usize = 255;

pub(super) fn container(spec: &wire::ContainerSpec) -> Checked {
    secrets(&spec.secrets)?;
    configs(spec)?;
    image(&spec.image)?;
    mounts(&spec.mounts)?;
    spec.healthcheck.as_ref().map_or(Ok(()), health)
}

/// A reference of the form `[registry[:port]/]path[:tag][@digest]`.
fn image(reference: &str) -> Checked {
    if reference.is_empty() {
        return Err(ControlError::invalid("ContainerSpec: image reference must be provided"));
    }
    if is_reference(reference) {
        return Ok(());
    }
    Err(ControlError::invalid(format!("ContainerSpec: {reference:?} is not a valid repository/tag")))
}

fn is_reference(reference: &str) -> bool {
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    let after_slash = name.rfind('/').map_or(0, |slash| slash + 1);
    let (path, tag) = match name[after_slash..].split_once(':') {
        Some((last, tag)) => (&name[..after_slash + last.len()], Some(tag)),
        None => (name, None),
    };
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_tag =
        |tag: &str| tag.len() <= 128 && tag.starts_with(word) && tag.chars().all(|c| word(c) || c == '.' || c == '-');
    let is_digest = |digest: &str| {
        digest.split_once(':').is_some_and(|(algorithm, hex)| {
            !algorithm.is_empty()
                && algorithm.chars().all(|c| c.is_ascii_alphanumeric() || "+.-_".contains(c))
                && hex.len() >= 32
                && hex.chars().all(|c| c.is_ascii_hexdigit())
        })
    };
    path.len() <= REFERENCE_BYTES_MAX && is_path(path) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest)
}

/// Components of lower-case letters and digits, joined by `.`, `_`, `__` or dashes; the first may be a registry.
fn is_path(path: &str) -> bool {
    let component = |component: &str| {
        let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        component.starts_with(edge)
            && component.ends_with(edge)
            && component.chars().all(|c| edge(c) || "._-".contains(c))
            && !component.contains("..")
            && !component.contains("___")
    };
    let registry = |host: &str| {
        let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
        let label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        name.split('.').all(label)
            && port.is_none_or(|port| !port.is_empty() && port.chars().all(|c| c.is_ascii_digit()))
    };
    let mut components = path.split('/').peekable();
    let Some(first) = components.next() else { return false };
    let has_more = components.peek().is_some();
    let looks_like_registry = has_more && (first.contains(['.', ':']) || first == "localhost");
    (if looks_like_registry { registry(first) } else { component(first) }) && components.all(component)
}

fn mounts(mounts: &[wire::Mount]) -> Checked {
    let mut targets = std::collections::BTreeSet::new();
    for mount in mounts {
        if !targets.insert(&mount.target) {
            return Err(ControlError::invalid(format!("ContainerSpec: duplicate mount point: {}", mount.target)));
        }
    }
    Ok(())
}

fn health(health: &wire::HealthConfig) -> Checked {
    let at_least_1_ms = |field: &str, said: Option<&Duration>| match duration(field, said)? {
        None | Some(0) => Ok(()),
        Some(nanoseconds) if nanoseconds >= HEALTH_NANOSECONDS_MIN => Ok(()),
        Some(_) => {
            Err(ControlError::invalid(format!("ContainerSpec: {field} in HealthConfig cannot be less than 1ms")))
        }
    };
    at_least_1_ms("Interval", health.interval.as_ref())?;
    at_least_1_ms("Timeout", health.timeout.as_ref())?;
    at_least_1_ms("StartPeriod", health.start_period.as_ref())?;
    at_least_1_ms("StartInterval", health.start_interval.as_ref())?;
    if health.retries < 0 {
        return Err(ControlError::invalid("ContainerSpec: Retries in HealthConfig cannot be negative"));
    }
    Ok(())
}

fn secrets(references: &[wire::SecretReference]) -> Checked {
    let mut files = BTreeMap::new();
    for reference in references {
        if reference.secret_id.is_empty() || reference.secret_name.is_empty() {
            return Err(ControlError::invalid("malformed secret reference"));
        }
        match &reference.target {
            None => return Err(ControlError::invalid("malformed secret reference, no target provided")),
            Some(secret_reference::Target::File(file)) => {
                one_per_file("secret", &mut files, &file.name, &reference.secret_name)?;
            }
        }
    }
    Ok(())
}

fn configs(spec: &wire::ContainerSpec) -> Checked {
    let mut files = BTreeMap::new();
    for reference in &spec.configs {
        if reference.config_id.is_empty() || reference.config_name.is_empty() {
            return Err(ControlError::invalid("malformed config reference"));
        }
        match &reference.target {
            None => return Err(ControlError::invalid("malformed config reference, no target provided")),
            Some(config_reference::Target::Runtime(_)) => {}
            Some(config_reference::Target::File(file)) => {
                one_per_file("config", &mut files, &file.name, &reference.config_name)?;
            }
        }
    }
    let credential = spec.privileges.as_ref().and_then(|p| p.credential_spec.as_ref()).and_then(|c| c.source.as_ref());
    if let Some(credential_spec::Source::Config(wanted)) = credential {
        let is_it = |reference: &&wire::ConfigReference| {
            &reference.config_id == wanted && matches!(reference.target, Some(config_reference::Target::Runtime(_)))
        };
        if spec.configs.iter().find(is_it).is_none() {
            return Err(ControlError::invalid(format!(
                "CredentialSpec references config {wanted:?}, but that config isn't in config references with RuntimeTarget"
            )));
        }
    }
    Ok(())
}

fn one_per_file<'a>(kind: &str, files: &mut BTreeMap<&'a str, &'a str>, file: &'a str, name: &'a str) -> Checked {
    if file.is_empty() {
        return Err(ControlError::invalid(format!(
            "malformed file {kind} reference, invalid target file name provided"
        )));
    }
    match files.insert(file, name) {
        None => Ok(()),
        Some(other) => Err(ControlError::invalid(format!(
            "{kind} references '{other}' and '{name}' have a conflicting target: '{file}'"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_images_have_their_grammar() {
        for good in [
            "nginx",
            "nginx:1.27",
            "library/nginx:latest",
            "localhost:5000/team/app:v1",
            "registry.example.com/a/b_c/d-e.f:tag_1",
            "swarmkit.process/host",
            "app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ] {
            assert!(is_reference(good), "{good}");
        }
        for bad in ["Nginx", "nginx:", "nginx:-x", "a//b", "/a", "a/", "a b", "a..b", "app@sha256:xyz", ":tag", "a:b:c"]
        {
            assert!(!is_reference(bad), "{bad}");
        }
    }

    #[test]
    fn two_secrets_cannot_share_a_file() {
        let reference = |name: &str| wire::SecretReference {
            secret_id: format!("id-{name}"),
            secret_name: name.into(),
            target: Some(secret_reference::Target::File(wire::FileTarget { name: "key".into(), ..Default::default() })),
        };
        let error = secrets(&[reference("a"), reference("b")]).unwrap_err();
        assert_eq!(error.to_string(), "secret references 'a' and 'b' have a conflicting target: 'key'");
        assert!(secrets(&[reference("a")]).is_ok());
    }

    #[test]
    fn a_health_check_is_not_faster_than_a_millisecond() {
        let interval =
            |nanos| wire::HealthConfig { interval: Some(Duration { seconds: 0, nanos }), ..Default::default() };
        assert!(health(&interval(0)).is_ok());
        assert!(health(&interval(1_000_000)).is_ok());
        assert_eq!(
            health(&interval(999_999)).unwrap_err().to_string(),
            "ContainerSpec: Interval in HealthConfig cannot be less than 1ms"
        );
    }
}
