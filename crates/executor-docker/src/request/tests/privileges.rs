//! Privileges and capabilities.

use serde_json::json;
use swarmkit_api::wire::{
    Privileges,
    privileges::{
        AppArmorOpts, CredentialSpec, SeLinuxContext, SeccompOpts, app_armor_opts::AppArmorMode,
        credential_spec::Source, seccomp_opts::SeccompMode,
    },
};

use super::*;

/// The security options that privileges come to.
fn security(privileges: Privileges) -> Value {
    asked(|spec| spec.privileges = Some(privileges))
}

#[test]
fn capabilities_are_added_and_dropped() {
    let asked = asked(|spec| {
        spec.capability_add = strings(&["CAP_NET_ADMIN"]);
        spec.capability_drop = strings(&["ALL"]);
    });
    assert_eq!(asked, json!({ "CapAdd": ["CAP_NET_ADMIN"], "CapDrop": ["ALL"] }));
}

#[test]
fn no_privileges_are_the_engines_own() {
    assert_eq!(security(Privileges::default()), json!({}));
    let defaults = Privileges {
        seccomp: Some(SeccompOpts::default()),
        apparmor: Some(AppArmorOpts::default()),
        selinux_context: Some(SeLinuxContext::default()),
        credential_spec: Some(CredentialSpec::default()),
        no_new_privileges: false,
    };
    assert_eq!(security(defaults), json!({}));
}

#[test]
fn each_module_is_told_in_its_own_words() {
    let options = |privileges: Privileges| security(privileges)["SecurityOpt"].clone();
    let seccomp = |mode: SeccompMode, profile: &str| {
        let seccomp = SeccompOpts { mode: mode.into(), profile: profile.as_bytes().to_vec().into() };
        Privileges { seccomp: Some(seccomp), ..Default::default() }
    };
    assert_eq!(options(seccomp(SeccompMode::Unconfined, "")), json!(["seccomp=unconfined"]));
    assert_eq!(options(seccomp(SeccompMode::Custom, "{}")), json!(["seccomp={}"]));
    let text = "the engine cannot do: a custom seccomp profile that is empty or no text";
    assert_eq!(refused(NEW, |spec| spec.privileges = Some(seccomp(SeccompMode::Custom, " "))), text);

    let apparmor = AppArmorOpts { mode: AppArmorMode::Disabled.into() };
    let disabled = Privileges { apparmor: Some(apparmor), no_new_privileges: true, ..Default::default() };
    assert_eq!(options(disabled), json!(["apparmor=unconfined", "no-new-privileges=true"]));

    let context = SeLinuxContext { user: "u".into(), r#type: "t".into(), level: "l".into(), ..Default::default() };
    let labels = Privileges { selinux_context: Some(context.clone()), ..Default::default() };
    assert_eq!(options(labels), json!(["label=user:u", "label=type:t", "label=level:l"]));
    let disabled = SeLinuxContext { disable: true, ..context };
    let disabled = Privileges { selinux_context: Some(disabled), ..Default::default() };
    assert_eq!(options(disabled), json!(["label=disable"]));
}

#[test]
fn credentials_come_from_a_file_the_registry_or_a_config() {
    let credentials = |source| {
        let credential_spec = Some(CredentialSpec { source: Some(source) });
        Privileges { credential_spec, ..Default::default() }
    };
    let options = |source| security(credentials(source))["SecurityOpt"].clone();
    assert_eq!(options(Source::File("a.json".into())), json!(["credentialspec=file://a.json"]));
    assert_eq!(options(Source::Registry("a".into())), json!(["credentialspec=registry://a"]));
    assert_eq!(options(Source::Config("c1".into())), json!(["credentialspec=raw://{\"a\":1}"]));
    let missing = credentials(Source::Config("c2".into()));
    assert_eq!(refused(NEW, |spec| spec.privileges = Some(missing)), "config c2 not found");
}
