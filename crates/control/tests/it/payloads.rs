//! Secrets and configs.

use swarmkit_api::{Config, Secret, SecretId, wire};
use tonic::Code;

use crate::world::{World, annotations, invalid, no_argument, not_found, using};

const NAME: &str = "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be \
                    [a-zA-Z0-9]: ";

fn secret_spec(name: &str, data: &[u8]) -> wire::SecretSpec {
    wire::SecretSpec { annotations: annotations(name), data: data.to_vec().into(), ..Default::default() }
}

fn config_spec(name: &str, data: &[u8]) -> wire::ConfigSpec {
    wire::ConfigSpec { annotations: annotations(name), data: data.to_vec().into(), ..Default::default() }
}

impl World {
    async fn secret(&self, name: &str, data: &[u8]) -> wire::Secret {
        let request = wire::CreateSecretRequest { spec: Some(secret_spec(name, data)) };
        self.control().create_secret(request).await.unwrap().into_inner().secret.unwrap()
    }

    async fn secret_refused(&self, spec: wire::SecretSpec) -> (Code, String) {
        self.refused(self.control().create_secret(wire::CreateSecretRequest { spec: Some(spec) })).await
    }

    async fn config(&self, name: &str, data: &[u8]) -> wire::Config {
        let request = wire::CreateConfigRequest { spec: Some(config_spec(name, data)) };
        self.control().create_config(request).await.unwrap().into_inner().config.unwrap()
    }

    async fn config_refused(&self, spec: wire::ConfigSpec) -> (Code, String) {
        self.refused(self.control().create_config(wire::CreateConfigRequest { spec: Some(spec) })).await
    }
}

#[tokio::test]
async fn names_are_those_of_files() {
    let world = World::new();
    for good in ["a", "0", "a.b", "a--b", "a__b", "tls.key", &"a".repeat(64)] {
        world.secret(good, b"x").await;
        world.config(good, b"x").await;
    }
    for bad in ["", ".a", "a.", "-a", "a-", "_a", "a/b", "a b", "a\nb", "a:b", "ä", &"a".repeat(65)] {
        let (code, text) = world.secret_refused(secret_spec(bad, b"x")).await;
        assert!(code == Code::InvalidArgument && text.starts_with(NAME), "{bad:?}: {text}");
        let (code, text) = world.config_refused(config_spec(bad, b"x")).await;
        assert!(code == Code::InvalidArgument && text.starts_with(NAME), "{bad:?}: {text}");
    }
    let nothing = world.refused(world.control().create_secret(wire::CreateSecretRequest { spec: None })).await;
    assert_eq!(nothing, no_argument());
    let nothing = world.refused(world.control().create_config(wire::CreateConfigRequest { spec: None })).await;
    assert_eq!(nothing, no_argument());
}

#[tokio::test]
async fn data_has_its_limits_and_may_be_anything() {
    let world = World::new();
    let size = invalid("secret data must be larger than 0 and less than 512000 bytes");
    for bytes in [0, 512_000] {
        assert_eq!(world.secret_refused(secret_spec("s", &vec![0; bytes])).await, size);
    }
    for (name, bytes) in [("one", 1), ("many", 511_999)] {
        world.secret(name, &vec![0xff; bytes]).await;
    }
    let size = invalid("config data must be larger than 0 and less than 1024000 bytes");
    for bytes in [0, 1_024_000] {
        assert_eq!(world.config_refused(config_spec("c", &vec![0; bytes])).await, size);
    }
    for (name, bytes) in [("one", 1), ("many", 1_023_999)] {
        world.config(name, &vec![0; bytes]).await;
    }
}

#[tokio::test]
async fn a_driver_of_secrets_needs_a_name_and_must_be_installed() {
    let world = World::new();
    let driver = |name: &str| Some(wire::Driver { name: name.into(), ..Default::default() });
    let unnamed = wire::SecretSpec { driver: driver(""), ..secret_spec("s", b"") };
    assert_eq!(world.secret_refused(unnamed).await, invalid("secret driver must have a name"));
    let unknown = wire::SecretSpec { driver: driver("vault"), ..secret_spec("s", b"") };
    assert_eq!(world.secret_refused(unknown).await, invalid("secret driver vault is not installed"));
    assert_eq!(world.view().all::<Secret>().count(), 0, "nothing has changed");
    let known = wire::SecretSpec { driver: driver("keeper"), ..secret_spec("s", b"") };
    let create = wire::CreateSecretRequest { spec: Some(known.clone()) };
    let made = world.control().create_secret(create).await.unwrap().into_inner().secret.unwrap();
    assert_eq!(made.spec, Some(known), "it needs no value of its own");
}

#[tokio::test]
async fn the_data_of_a_secret_is_kept_and_never_told() {
    let world = World::new();
    let made = world.secret("key", b"hidden").await;
    let get = wire::GetSecretRequest { secret_id: made.id.clone() };
    let got = world.control().get_secret(get).await.unwrap().into_inner().secret.unwrap();
    let listed = world.control().list_secrets(wire::ListSecretsRequest::default()).await.unwrap().into_inner();
    let update = wire::UpdateSecretRequest {
        secret_id: made.id.clone(),
        secret_version: made.meta.unwrap().version,
        spec: Some(secret_spec("key", b"hidden")),
    };
    let updated = world.control().update_secret(update).await.unwrap().into_inner().secret.unwrap();
    for shown in [&made, &got, &listed.secrets[0], &updated] {
        assert!(shown.spec.as_ref().unwrap().data.is_empty());
    }
    let view = world.view();
    assert_eq!(view.get::<Secret>(&SecretId::from(made.id.as_str())).unwrap().spec.data, b"hidden".as_slice());
}

#[tokio::test]
async fn the_data_of_a_config_is_told() {
    let world = World::new();
    let made = world.config("app", b"shown").await;
    let get = wire::GetConfigRequest { config_id: made.id.clone() };
    let got = world.control().get_config(get).await.unwrap().into_inner().config.unwrap();
    assert_eq!(got, made);
    assert_eq!(got.spec.unwrap().data, b"shown".as_slice());
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let world = World::new();
    world.secret("key", b"x").await;
    world.config("key", b"x").await;
    let (code, text) = world.secret_refused(secret_spec("KEY", b"x")).await;
    assert_eq!(code, Code::AlreadyExists);
    assert_eq!(text, "name conflicts with an existing object: secret KEY already exists");
    let (code, text) = world.config_refused(config_spec("key", b"x")).await;
    assert_eq!(code, Code::AlreadyExists);
    assert_eq!(text, "name conflicts with an existing object: config key already exists");
}

#[tokio::test]
async fn of_a_secret_only_labels_change() {
    let world = World::new();
    let made = world.secret("key", b"x").await;
    let good = wire::UpdateSecretRequest {
        secret_id: made.id.clone(),
        secret_version: made.meta.unwrap().version,
        spec: Some(secret_spec("key", b"")),
    };
    let with = |change: &dyn Fn(&mut wire::UpdateSecretRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let refused = async |request| world.refused(world.control().update_secret(request)).await;
    assert_eq!(refused(with(&|request| request.secret_id.clear())).await, no_argument());
    assert_eq!(refused(with(&|request| request.secret_version = None)).await, no_argument());
    assert_eq!(refused(with(&|request| request.spec = None)).await, no_argument());
    assert_eq!(refused(with(&|request| request.secret_id = "x".into())).await, not_found("secret x not found"));
    let fixed = invalid("only updates to Labels are allowed");
    assert_eq!(refused(with(&|request| request.spec = Some(secret_spec("other", b"")))).await, fixed);
    assert_eq!(refused(with(&|request| request.spec = Some(secret_spec("key", b"y")))).await, fixed);

    let labelled = with(&|request| {
        let annotations = request.spec.as_mut().unwrap().annotations.as_mut().unwrap();
        annotations.labels.insert("tier".into(), "front".into());
    });
    let updated = world.control().update_secret(labelled.clone()).await.unwrap().into_inner().secret.unwrap();
    assert_eq!(updated.spec.unwrap().annotations.unwrap().labels["tier"], "front");
    assert_eq!(refused(labelled).await.1, "update out of sequence");
    let view = world.view();
    assert_eq!(view.all::<Secret>().next().unwrap().spec.data, b"x".as_slice(), "the data stays");
}

#[tokio::test]
async fn of_a_config_only_labels_change() {
    let world = World::new();
    let made = world.config("app", b"x").await;
    let good = wire::UpdateConfigRequest {
        config_id: made.id.clone(),
        config_version: made.meta.unwrap().version,
        spec: Some(config_spec("app", b"")),
    };
    let refused = async |request| world.refused(world.control().update_config(request)).await;
    let fixed = invalid("only updates to Labels are allowed");
    for spec in [config_spec("other", b""), config_spec("app", b"y")] {
        assert_eq!(refused(wire::UpdateConfigRequest { spec: Some(spec), ..good.clone() }).await, fixed);
    }
    assert_eq!(refused(wire::UpdateConfigRequest { spec: None, ..good.clone() }).await, no_argument());
    let unknown = wire::UpdateConfigRequest { config_id: "x".into(), ..good.clone() };
    assert_eq!(refused(unknown).await, not_found("config x not found"));
    world.control().update_config(good.clone()).await.unwrap();
    assert_eq!(refused(good).await.1, "update out of sequence");
    assert_eq!(world.view().all::<Config>().next().unwrap().spec.data, b"x".as_slice());
}

#[tokio::test]
async fn what_services_use_stays_and_they_are_all_named() {
    let world = World::new();
    world
        .put(|tx| {
            tx.create(swarmkit_testing::secret("key", "x"))?;
            tx.create(swarmkit_testing::config("app", "x")).map(drop)
        })
        .await;
    world.create(using("web", &["key"], &["app"])).await;
    let remove = || wire::RemoveSecretRequest { secret_id: "key".into() };
    let refusal = world.refused(world.control().remove_secret(remove())).await;
    assert_eq!(refusal, invalid("secret 'key' is in use by the following service: web"));
    world.create(using("db", &["key"], &[])).await;
    let (code, text) = world.refused(world.control().remove_secret(remove())).await;
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.starts_with("secret 'key' is in use by the following services: "), "{text}");
    assert!(text.contains("web") && text.contains("db"), "{text}");
    let remove = |id: &str| wire::RemoveConfigRequest { config_id: id.into() };
    let refusal = world.refused(world.control().remove_config(remove("app"))).await;
    assert_eq!(refusal, invalid("config 'app' is in use by the following service: web"));

    let unused = world.config("unused", b"x").await;
    world.control().remove_config(remove(&unused.id)).await.unwrap();
    let (code, _) = world.refused(world.control().remove_config(remove(&unused.id))).await;
    assert_eq!(code, Code::NotFound);
}

#[tokio::test]
async fn who_names_nothing_is_told_what_to_name() {
    let world = World::new();
    let get = |id: &str| wire::GetSecretRequest { secret_id: id.into() };
    assert_eq!(world.refused(world.control().get_secret(get(""))).await, invalid("secret ID must be provided"));
    assert_eq!(world.refused(world.control().get_secret(get("x"))).await, not_found("secret x not found"));
    let get = |id: &str| wire::GetConfigRequest { config_id: id.into() };
    assert_eq!(world.refused(world.control().get_config(get(""))).await, invalid("config ID must be provided"));
    assert_eq!(world.refused(world.control().get_config(get("x"))).await, not_found("config x not found"));
}

#[tokio::test]
async fn secrets_that_the_cluster_keeps_for_itself_are_not_listed() {
    let world = World::new();
    let mut own = swarmkit_testing::secret("own", "x");
    own.internal = true;
    world.put(|tx| tx.create(own).map(drop)).await;
    let listed = world.control().list_secrets(wire::ListSecretsRequest::default()).await.unwrap().into_inner();
    assert!(listed.secrets.is_empty());
}
