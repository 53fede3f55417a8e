//! What a node becomes by what its state directory holds.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use swarmkit_ca::{JoinToken, KeyStore, UnlockKey};
use swarmkit_runtime::{Clock, Crew};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::JoinError;

mod files;

const ROOT: &str = "certificates/swarm-root-ca.crt";
const CERTIFICATE: &str = "certificates/swarm-node.crt";
const KEY: &str = "certificates/swarm-node.key";
/// Nobody listens there, and nobody may: it is the discard port.
const NOBODY: &str = "127.0.0.1:9";

/// A machine with a state directory, which is started again and again.
struct Machine {
    dir: TempDir,
    env: Env,
    unlock: Option<UnlockKey>,
    autolock: bool,
    alone: bool,
    external_cas: Vec<wire::ExternalCa>,
}

impl Machine {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            env: Env::real(),
            unlock: None,
            autolock: false,
            alone: false,
            external_cas: Vec::new(),
        }
    }

    /// The first manager of a cluster.
    async fn founder() -> (Self, Identity) {
        let machine = Self::new();
        let first = machine.start(None).await.unwrap();
        first.founds.as_ref().unwrap().0.complete().unwrap();
        let own = first.credentials.identity();
        (machine, own)
    }

    async fn start(&self, join: Option<(&str, String)>) -> Result<Established, NodeError> {
        self.start_at(&self.env, join).await
    }

    async fn start_at(&self, env: &Env, join: Option<(&str, String)>) -> Result<Established, NodeError> {
        let crew = Crew::under(&CancellationToken::new());
        let dir = StateDir::open(self.dir.path().to_owned(), self.unlock.clone(), env).await.unwrap();
        let target = join.map(|(address, token)| Target { address: address.to_owned(), token: Some(token.into()) });
        establish(&dir, &Wish { join: target, ..self.wish() }, env, &crew.spawner()).await
    }

    fn wish(&self) -> Wish {
        let external_cas = self.external_cas.clone();
        Wish { external_cas, autolock: self.autolock, alone: self.alone, ..Wish::default() }
    }

    /// What the start of a node is refused with, in one line.
    async fn refusal(&self, join: Option<(&str, String)>) -> NodeError {
        let error = self.start(join).await.err().expect("refused");
        assert!(!error.to_string().contains('\n'), "one line: {error}");
        error
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Everything in the folder of certificates.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(self.path("certificates"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    }

    fn token(&self, fips: bool) -> String {
        let root = KeyStore::new(self.dir.path(), &self.env).load_root();
        let digest = root.map(|root| root.digest()).unwrap_or(swarmkit_ca::RootDigest::of(b"a bundle"));
        JoinToken::generate(digest, fips, &self.env).as_str().to_owned()
    }
}

struct Shifted(Duration);

impl Clock for Shifted {
    #[expect(clippy::disallowed_methods, reason = "a clock")]
    fn now(&self) -> SystemTime {
        SystemTime::now() + self.0
    }
}

#[tokio::test]
async fn an_empty_directory_founds_a_cluster_and_the_next_start_finds_it() {
    let (machine, own) = Machine::founder().await;
    assert_eq!(own.role, NodeRole::Manager);
    let key = fs::read_to_string(machine.path(KEY)).unwrap();
    assert!(key.contains("BEGIN PRIVATE KEY"), "in clear, since nothing locks it");
    assert!(!machine.path("certificates/swarm-root-ca.key").exists(), "the root's key is not for the disk");

    let second = machine.start(None).await.unwrap();
    assert!(second.founds.is_none());
    assert_eq!(second.credentials.identity(), own);
}

#[tokio::test]
async fn a_founding_that_was_interrupted_starts_over() {
    let machine = Machine::new();
    let first = machine.start(None).await.unwrap();
    let second = machine.start(None).await.unwrap();
    assert!(second.founds.is_some());
    assert_ne!(second.credentials.identity(), first.credentials.identity());
}

#[tokio::test]
async fn a_root_without_a_certificate_is_replaced_where_there_is_nobody_to_join() {
    let (machine, own) = Machine::founder().await;
    let old = fs::read(machine.path(ROOT)).unwrap();
    machine.remove(CERTIFICATE);
    machine.remove(KEY);
    let again = machine.start(None).await.unwrap();
    assert!(again.founds.is_some());
    assert_ne!(again.credentials.identity().cluster, own.cluster);
    assert_ne!(fs::read(machine.path(ROOT)).unwrap(), old);
}

#[tokio::test]
async fn a_certificate_without_a_root_is_replaced_where_there_is_nobody_to_join() {
    let (machine, own) = Machine::founder().await;
    machine.remove(ROOT);
    let again = machine.start(None).await.unwrap();
    assert!(again.founds.is_some());
    assert_ne!(again.credentials.identity().node, own.node);
}

#[tokio::test]
async fn no_cluster_is_founded_over_the_log_of_another() {
    let (machine, _) = Machine::founder().await;
    fs::create_dir(machine.path(RAFT)).unwrap();
    fs::write(machine.path(RAFT).join("segment"), "entries").unwrap();
    machine.remove(ROOT);
    let before = machine.files();
    let error = machine.refusal(None).await;
    assert!(matches!(error, NodeError::NoIdentity { .. }), "{error}");
    assert_eq!(machine.files(), before, "nothing is replaced");
}

#[tokio::test]
async fn a_certificate_makes_settings_for_joining_irrelevant() {
    let (machine, own) = Machine::founder().await;
    for token in [machine.token(true), "nonsense".to_owned()] {
        let again = machine.start(Some((NOBODY, token))).await.unwrap();
        assert_eq!(again.credentials.identity(), own);
    }
}

#[tokio::test]
async fn a_locked_key_is_told_as_such() {
    let (machine, _) = Machine::founder().await;
    let text = fs::read_to_string(machine.path(KEY)).unwrap();
    fs::write(machine.path(KEY), text.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")).unwrap();
    let before = machine.files();
    let error = machine.refusal(None).await;
    assert_eq!(error.to_string(), "node is locked, and needs a valid unlock key");
    assert_eq!(machine.files(), before);
}

#[tokio::test]
async fn a_cluster_that_is_founded_locked_is_never_on_the_disk_in_clear() {
    let mut machine = Machine { autolock: true, ..Machine::new() };
    // A key that was given is of no use to a new cluster.
    machine.unlock = Some(UnlockKey::generate(&machine.env));
    let first = machine.start(None).await.unwrap();
    let (founding, leader) = first.founds.as_ref().unwrap();
    founding.complete().unwrap();
    let key = leader.lock.clone().unwrap();
    assert_ne!(Some(&key), machine.unlock.as_ref());
    assert!(fs::read_to_string(machine.path(KEY)).unwrap().contains("BEGIN ENCRYPTED PRIVATE KEY"));

    for wrong in [None, machine.unlock.clone()] {
        machine.unlock = wrong;
        let before = machine.files();
        let error = machine.refusal(Some((NOBODY, machine.token(false)))).await;
        assert!(matches!(error, NodeError::Locked), "{error}");
        assert_eq!(error.to_string(), "node is locked, and needs a valid unlock key");
        assert_eq!(machine.files(), before);
    }
    machine.unlock = Some(key);
    let again = machine.start(Some((NOBODY, machine.token(false)))).await.unwrap();
    assert_eq!(again.credentials.identity(), first.credentials.identity());
}

#[tokio::test]
async fn a_founding_that_was_interrupted_starts_over_without_the_key_that_nobody_was_told() {
    let machine = Machine { autolock: true, ..Machine::new() };
    let first = machine.start(None).await.unwrap();
    let second = machine.start(None).await.unwrap();
    assert_ne!(second.credentials.identity(), first.credentials.identity());
    assert!(second.founds.unwrap().1.lock != first.founds.unwrap().1.lock);
}

#[tokio::test]
async fn a_certificate_whose_time_is_over_will_do_for_going_on_alone() {
    let (mut machine, own) = Machine::founder().await;
    let later = Env::seeded(1, Shifted(Duration::from_secs(120 * 24 * 3600)));
    let told = machine.start_at(&later, None).await.err().expect("refused").to_string();
    assert!(told.contains("not valid after"), "{told}");
    machine.alone = true;
    assert_eq!(machine.start_at(&later, None).await.unwrap().credentials.identity(), own);
}

#[tokio::test]
async fn the_root_of_another_cluster_is_not_taken_for_ours_and_nobody_is_asked() {
    let ((machine, _), (other, _)) = (Machine::founder().await, Machine::founder().await);
    fs::copy(other.path(ROOT), machine.path(ROOT)).unwrap();
    let before = machine.files();
    for join in [None, Some((NOBODY, machine.token(false)))] {
        let error = machine.refusal(join).await;
        assert!(matches!(error, NodeError::Identity { .. }), "{error}");
        let told = error.to_string();
        let begin = format!("error while loading TLS certificate in {}: ", machine.dir.path().display());
        assert!(told.starts_with(&begin) && told.contains("unknown authority"), "{told}");
    }
    assert_eq!(machine.files(), before);
}

#[tokio::test]
async fn a_damaged_file_is_told_and_nothing_is_replaced() {
    for (name, told) in [(KEY, "malformed private key"), (CERTIFICATE, "certificate"), (ROOT, "no valid root CA")] {
        let (machine, _) = Machine::founder().await;
        fs::write(machine.path(name), "garbage").unwrap();
        let before = machine.files();
        let error = machine.refusal(None).await.to_string();
        assert!(error.contains(told), "{name}: {error}");
        assert_eq!(machine.files(), before);
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told_with_both_times() {
    let (machine, _) = Machine::founder().await;
    let later = Env::seeded(1, Shifted(Duration::from_secs(120 * 24 * 3600)));
    let error = machine.start_at(&later, None).await.err().expect("refused").to_string();
    assert!(error.contains("not valid after") && error.contains("it is currently"), "{error}");
}

#[tokio::test]
async fn a_token_that_cannot_be_one_is_refused_before_anybody_is_asked() {
    let machine = Machine::new();
    let error = machine.refusal(Some((NOBODY, "SWMTKN-1-nonsense".to_owned()))).await;
    assert!(matches!(error, NodeError::Join(JoinError::Token(_))), "{error}");
    assert!(error.to_string().starts_with("cannot join the cluster: invalid join token; "), "{error}");
    assert!(!machine.path("certificates").exists());
}

#[tokio::test]
async fn a_cluster_that_demands_fips_is_not_for_this_node() {
    let machine = Machine::new();
    let error = machine.refusal(Some((NOBODY, machine.token(true)))).await;
    assert!(matches!(error, NodeError::Join(JoinError::Fips)), "{error}");
    assert!(error.to_string().ends_with("node is not FIPS-enabled but cluster requires FIPS"), "{error}");

    let (machine, _) = Machine::founder().await;
    let root = RootCa::create(&SystemKeys, &machine.env).unwrap();
    let own = Identity::new("n".into(), NodeRole::Worker, "FIPS.cluster".into());
    let key = SystemKeys.generate().unwrap();
    let chain = root.issue(&key.request().unwrap(), &own, LEAF_VALIDITY_DEFAULT, &machine.env).unwrap();
    let keys = KeyStore::new(machine.dir.path(), &machine.env);
    keys.save_root(&root).unwrap();
    keys.save_node(&NodeCertificate::new(&chain, key).unwrap()).unwrap();
    let error = machine.refusal(None).await;
    assert_eq!(error.to_string(), "node is not FIPS-enabled but cluster requires FIPS");
}

#[tokio::test(start_paused = true)]
async fn a_root_that_is_known_is_kept_while_joining() {
    let (machine, _) = Machine::founder().await;
    machine.remove(CERTIFICATE);
    machine.remove(KEY);
    let before = machine.files();
    let error = machine.refusal(Some((NOBODY, machine.token(false)))).await;
    assert!(matches!(error, NodeError::Join(JoinError::Connect(_))), "no roots are asked for: {error}");
    assert_eq!(machine.files(), before);
}

#[tokio::test]
async fn an_address_that_is_none_is_named_at_once() {
    for address in ["", "nonsense", "127.0.0.1", ":4242", "host:http", "host:0", "host:65536"] {
        let machine = Machine::new();
        let error = machine.refusal(Some((address, machine.token(false)))).await;
        assert!(matches!(error, NodeError::Join(JoinError::Address { .. })), "{error}");
        let told = format!("cannot join the cluster: {address:?} is not the address of a manager");
        assert!(error.to_string().starts_with(&told), "{error}");
    }
}

/// A state directory as an operator prepares it whose authority keeps the key of the root.
fn given(machine: &Machine, role: NodeRole) -> (RootCa, Identity) {
    let keys = KeyStore::new(machine.dir.path(), &machine.env);
    let root = RootCa::create(&SystemKeys, &machine.env).unwrap();
    let own = Identity::new("first".into(), role, "given".into());
    let key = SystemKeys.generate().unwrap();
    let chain = root.issue(&key.request().unwrap(), &own, LEAF_VALIDITY_DEFAULT, &machine.env).unwrap();
    keys.save_root(&root).unwrap();
    keys.save_node(&NodeCertificate::new(&chain, key).unwrap()).unwrap();
    (root, own)
}

fn authority(under: &str) -> wire::ExternalCa {
    wire::ExternalCa { url: "https://ca".to_owned(), ca_cert: under.to_owned().into(), ..Default::default() }
}

#[tokio::test]
async fn a_manager_whose_certificate_was_made_elsewhere_founds_a_cluster_without_the_key_of_its_root() {
    let machine = Machine { external_cas: vec![authority("")], autolock: true, ..Machine::new() };
    let (root, own) = given(&machine, NodeRole::Manager);
    let before = machine.files();
    let started = machine.start(None).await.unwrap();
    assert_eq!(started.credentials.identity(), own);
    let (founding, first) = started.founds.unwrap();
    assert_eq!((first.root.bundle(), first.root.can_sign()), (root.bundle(), false));
    assert_eq!(first.external_cas, machine.external_cas);
    assert!(first.lock.is_some(), "the cluster is to be locked");
    assert_eq!(machine.files(), before, "what was given stays as it is until the cluster has the key to it");

    // Killed before the first commit, it starts over with what it was given.
    drop(founding);
    let again = machine.start(None).await.unwrap();
    assert_eq!((again.credentials.identity(), machine.files()), (own, before));
    again.founds.unwrap().0.complete().unwrap();
}

#[tokio::test]
async fn a_root_that_is_made_now_has_no_authority_elsewhere_but_may_have_one_for_the_root_that_replaces_it() {
    let machine = Machine { external_cas: vec![authority("")], ..Machine::new() };
    let refused = machine.refusal(None).await.to_string();
    assert!(refused.starts_with("no external CA can sign for a root that is made here: "), "{refused}");
    assert!(!machine.path("certificates").exists(), "nothing is made");

    let later = RootCa::create(&SystemKeys, &machine.env).unwrap();
    let machine = Machine { external_cas: vec![authority(later.bundle())], ..Machine::new() };
    let (_, first) = machine.start(None).await.unwrap().founds.unwrap();
    assert!(first.root.can_sign());
    assert_eq!(first.external_cas, machine.external_cas);
}
