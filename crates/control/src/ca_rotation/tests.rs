//! Clusters with a root, what is wanted of it, and what comes of that.

use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use swarmkit_ca::{
    Authorities, Expiry, ExternalCa, ExternalCaError, Identity, KeySource as _, LEAF_VALIDITY_MIN, SigningOrder,
    SystemKeys, verify_chain,
};
use swarmkit_runtime::Clock;
use swarmkit_testing::env;

use super::*;

/// The roots of these stories, each with its key.
struct Roots {
    env: Env,
    all: Vec<(&'static str, RootCa)>,
}

/// What came of a wish.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The root is stored as it was.
    Unchanged,
    /// The root that is trusted has this key; this is what replaces it, with its key or without; and this is the number.
    Root {
        key: Option<&'static str>,
        next: Option<(&'static str, bool)>,
        forced: u64,
    },
    Refused(String),
    Failed(String),
}

use Outcome::{Failed, Refused, Root, Unchanged};

/// The authorities that answer.
struct Elsewhere(Vec<RootCa>);

impl Elsewhere {
    fn of(&self, authorities: &Authorities) -> Result<&RootCa, ExternalCaError> {
        let url = authorities.urls().first().ok_or(ExternalCaError::NoUrls)?.clone();
        let found = self.0.iter().find(|root| root.bundle() == authorities.root().bundle());
        found.ok_or(ExternalCaError::Unavailable { url, reason: "nobody is there".to_owned() })
    }
}

impl ExternalCa for Elsewhere {
    fn sign<'a>(&'a self, _: &'a Authorities, _: &'a SigningOrder) -> BoxFuture<'a, Result<String, ExternalCaError>> {
        unreachable!("nothing is issued here")
    }

    fn cross_sign<'a>(
        &'a self,
        authorities: &'a Authorities,
        root: &'a RootCa,
    ) -> BoxFuture<'a, Result<String, ExternalCaError>> {
        Box::pin(async { Ok(self.of(authorities)?.cross_sign(root.bundle()).expect("both are roots")) })
    }

    fn reach<'a>(&'a self, authorities: &'a Authorities) -> BoxFuture<'a, Result<(), ExternalCaError>> {
        Box::pin(async { self.of(authorities).map(drop) })
    }
}

impl Roots {
    fn new() -> Self {
        let env = env();
        let root = |name| (name, RootCa::create(&SystemKeys, &env).unwrap());
        Self { all: ["a", "b", "c"].map(root).into(), env }
    }

    fn get(&self, name: &str) -> &RootCa {
        &self.all.iter().find(|(known, _)| *known == name).expect("a root of these stories").1
    }

    fn key(&self, name: &str) -> Bytes {
        self.get(name).signing_key().unwrap().to_pem().as_bytes().to_vec().into()
    }

    fn certificate(&self, name: &str) -> Bytes {
        self.get(name).bundle().to_owned().into()
    }

    /// The cluster that trusts `a`, and keeps its key.
    fn with_key(&self) -> wire::RootCa {
        let ca_key = self.key("a");
        wire::RootCa { ca_key, ca_cert: self.certificate("a"), last_forced_rotation: 7, ..Default::default() }
    }

    /// The same, and the key is kept elsewhere.
    fn without_key(&self) -> wire::RootCa {
        wire::RootCa { ca_key: Bytes::new(), ..self.with_key() }
    }

    /// The root is being replaced.
    fn rotating(&self, from: wire::RootCa, to: &str, with_key: bool) -> wire::RootCa {
        let cross_signed = self.get("a").cross_sign(self.get(to).bundle()).unwrap();
        let root_rotation = Some(wire::RootRotation {
            ca_cert: self.certificate(to),
            ca_key: if with_key { self.key(to) } else { Bytes::new() },
            cross_signed_ca_cert: cross_signed.into(),
        });
        wire::RootCa { root_rotation, ..from }
    }

    /// Nothing in particular is wanted.
    fn nothing(&self) -> wire::CaConfig {
        wire::CaConfig { force_rotate: 7, ..Default::default() }
    }

    fn wants(&self, certificate: &str, key: Option<&str>) -> wire::CaConfig {
        let signing_ca_key = key.map(|name| self.key(name)).unwrap_or_default();
        wire::CaConfig { signing_ca_cert: self.certificate(certificate), signing_ca_key, ..self.nothing() }
    }

    /// The same wish, and the settings name authorities that hold the keys of these roots.
    fn naming(&self, config: wire::CaConfig, roots: &[&str]) -> wire::CaConfig {
        let authority = |name: &&str| wire::ExternalCa {
            url: format!("https://{name}:1"),
            ca_cert: self.certificate(name),
            ..Default::default()
        };
        wire::CaConfig { external_cas: roots.iter().map(authority).collect(), ..config }
    }

    /// What comes of a wish while the authorities of some roots answer. What was asked for on the way comes last.
    async fn told(&self, stored: &wire::RootCa, wish: &wire::CaConfig, there: &[&str]) -> (Outcome, Vec<String>) {
        self.told_at(stored, wish, there, &self.env).await
    }

    async fn told_at(
        &self,
        stored: &wire::RootCa,
        config: &wire::CaConfig,
        there: &[&str],
        env: &Env,
    ) -> (Outcome, Vec<String>) {
        let elsewhere = Elsewhere(there.iter().map(|name| self.get(name).clone()).collect());
        let wish = Wish::read(Some(config), env);
        let current = Current::read(stored, env).unwrap();
        let (mut facts, mut asked) = (Facts::default(), Vec::new());
        loop {
            let question = match decide(&current, &wish, &facts, env) {
                Ok(None) => return (Unchanged, asked),
                Ok(Some(root)) => return (self.seen(stored, &root), asked),
                Err(Stop::Refuse(ControlError::Invalid(text))) => return (Refused(text), asked),
                Err(Stop::Refuse(ControlError::Authority(text))) => return (Failed(text), asked),
                Err(Stop::Refuse(other)) => panic!("{other:?}"),
                Err(Stop::Ask(question)) => question,
            };
            asked.push(match &question {
                Question::Fresh => "a fresh root".to_owned(),
                Question::Reach(root) => format!("reach {}", self.name(root.bundle())),
                Question::CrossSign(root) => format!("cross-sign {}", self.name(root.bundle())),
            });
            answer(question, &current, &config.external_cas, &elsewhere, &mut facts, env).await.unwrap();
        }
    }

    async fn outcome(&self, stored: &wire::RootCa, wish: &wire::CaConfig, there: &[&str]) -> Outcome {
        self.told(stored, wish, there).await.0
    }

    fn name(&self, bundle: &str) -> &'static str {
        let found = self.all.iter().find(|(_, root)| root.bundle() == bundle);
        found.map_or("fresh", |(name, _)| name)
    }

    /// A stored root in words, after making sure that it can be worked with.
    fn seen(&self, before: &wire::RootCa, root: &wire::RootCa) -> Outcome {
        assert_eq!((&root.ca_cert, &root.join_tokens), (&before.ca_cert, &before.join_tokens), "trust stays as it is");
        let key = self.all.iter().find(|(name, _)| self.key(name) == root.ca_key).map(|(name, _)| *name);
        assert_eq!(key.is_none(), root.ca_key.is_empty());
        let next = root.root_rotation.as_ref().map(|rotation| {
            if !rotation.ca_key.is_empty() {
                self.verify_rotation(root, rotation);
            }
            (self.name(std::str::from_utf8(&rotation.ca_cert).unwrap()), !rotation.ca_key.is_empty())
        });
        Root { key, next, forced: root.last_forced_rotation }
    }

    /// A leaf that the next root signs is believed by who trusts the present one only, and by who trusts the next one only.
    fn verify_rotation(&self, root: &wire::RootCa, rotation: &wire::RootRotation) {
        let (env, text) = (&self.env, |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap());
        let trusted = RootCa::from_pem(&text(&root.ca_cert), env.now()).unwrap();
        let cross_signed = text(&rotation.cross_signed_ca_cert);
        let signer = trusted.clone().with_intermediates(&cross_signed, env.now()).unwrap();
        let signer =
            signer.with_signer(&cross_signed, KeyPair::from_pem(&text(&rotation.ca_key)).unwrap(), env).unwrap();
        let own = Identity::new("n".into(), swarmkit_api::NodeRole::Worker, "c".into());
        let key = SystemKeys.generate().unwrap();
        let chain = signer.issue(&key.request().unwrap(), &own, LEAF_VALIDITY_MIN, env).unwrap();
        let leaf = swarmkit_ca::NodeCertificate::new(&chain, key).unwrap();
        let next = RootCa::from_pem(&text(&rotation.ca_cert), env.now()).unwrap();
        for trust in [&trusted, &next] {
            let issuer = verify_chain(trust, leaf.chain(), Expiry::Enforced, env.now()).unwrap();
            assert_eq!(&issuer, next.issuer_info());
        }
    }
}

/// The time that a clock shows.
struct At(SystemTime);

impl Clock for At {
    fn now(&self) -> SystemTime {
        self.0
    }
}

fn nobody_for(which: &str) -> Outcome {
    Refused(format!(
        "there must be at least one valid, reachable external CA corresponding to the {which} CA certificate"
    ))
}

fn keeps_key_of(name: &'static str, forced: u64) -> Outcome {
    Root { key: Some(name), next: None, forced }
}

#[tokio::test]
async fn a_key_without_a_certificate_is_refused() {
    let roots = Roots::new();
    let wish = wire::CaConfig { signing_ca_key: roots.key("b"), ..roots.nothing() };
    let text = "if a signing CA key is provided, the signing CA cert must also be provided";
    assert_eq!(roots.outcome(&roots.with_key(), &wish, &[]).await, Refused(text.to_owned()));
}

#[tokio::test]
async fn settings_that_say_nothing_of_the_root_leave_it_alone() {
    let roots = Roots::new();
    let (outcome, asked) = roots.told(&roots.with_key(), &roots.nothing(), &[]).await;
    assert_eq!((outcome, asked), (Unchanged, vec![]));
    let rotating = roots.rotating(roots.with_key(), "b", true);
    assert_eq!(roots.told(&rotating, &roots.nothing(), &[]).await, (Unchanged, vec![]));
}

#[tokio::test]
async fn a_root_whose_key_is_elsewhere_needs_somebody_there_for_whatever_is_changed() {
    let roots = Roots::new();
    let (stored, wish) = (roots.without_key(), roots.naming(roots.nothing(), &["a"]));
    assert_eq!(roots.told(&stored, &wish, &["a"]).await, (Unchanged, vec!["reach a".to_owned()]));
    assert_eq!(roots.outcome(&stored, &wish, &[]).await, nobody_for("current"));
    assert_eq!(roots.outcome(&stored, &roots.nothing(), &["a"]).await, nobody_for("current"), "none is named");
    let other = roots.naming(roots.nothing(), &["b"]);
    assert_eq!(roots.outcome(&stored, &other, &["a", "b"]).await, nobody_for("current"), "one of another root is");
    let mut unbound = roots.naming(roots.nothing(), &["a"]);
    unbound.external_cas[0].ca_cert.clear();
    assert_eq!(roots.outcome(&stored, &unbound, &["a"]).await, Unchanged, "who names no root is of the present one");
}

#[tokio::test]
async fn a_cluster_adopts_the_key_of_its_own_root_and_asks_nobody() {
    let roots = Roots::new();
    let wish = wire::CaConfig { force_rotate: 9, ..roots.wants("a", Some("a")) };
    for stored in [roots.without_key(), roots.rotating(roots.without_key(), "b", true)] {
        assert_eq!(roots.told(&stored, &wish, &[]).await, (keeps_key_of("a", 9), vec![]));
    }
    let wrong = roots.outcome(&roots.without_key(), &roots.wants("a", Some("b")), &[]).await;
    assert_eq!(wrong, Refused("certificate key mismatch".to_owned()));
}

#[tokio::test]
async fn a_new_number_begins_a_rotation_to_a_root_of_the_clusters_own_making() {
    let roots = Roots::new();
    let wish = wire::CaConfig { force_rotate: 8, ..roots.nothing() };
    let begun = Root { key: Some("a"), next: Some(("fresh", true)), forced: 8 };
    let asked = vec!["a fresh root".to_owned(), "cross-sign fresh".to_owned()];
    assert_eq!(roots.told(&roots.with_key(), &wish, &[]).await, (begun, asked));
    // Also a smaller one: it is another, and that is all that counts.
    let wish = wire::CaConfig { force_rotate: 1, ..roots.nothing() };
    let begun = Root { key: Some("a"), next: Some(("fresh", true)), forced: 1 };
    assert_eq!(roots.outcome(&roots.rotating(roots.with_key(), "b", true), &wish, &[]).await, begun);
}

#[tokio::test]
async fn a_running_rotation_to_an_authority_elsewhere_needs_it_there_for_whatever_is_changed() {
    let roots = Roots::new();
    let stored = roots.rotating(roots.with_key(), "b", false);
    let wish = roots.naming(roots.nothing(), &["b"]);
    assert_eq!(roots.told(&stored, &wish, &["b"]).await, (Unchanged, vec!["reach b".to_owned()]));
    assert_eq!(roots.outcome(&stored, &wish, &[]).await, nobody_for("next"));
    assert_eq!(roots.outcome(&stored, &roots.nothing(), &["b"]).await, nobody_for("next"));
}

#[tokio::test]
async fn what_is_wanted_must_be_one_root_with_its_own_key_that_lasts_a_year_at_least() {
    let roots = Roots::new();
    let stored = roots.with_key();
    let wish = |cert: &str, key: Bytes| wire::CaConfig {
        signing_ca_cert: cert.to_owned().into(),
        signing_ca_key: key,
        ..roots.nothing()
    };
    let b = roots.get("b").bundle();
    let both = format!("{b}{}", roots.get("c").bundle());
    for (wish, expected) in [
        (wish("no certificate", roots.key("b")), "no valid root CA certificates found"),
        (wish(b, roots.key("c")), "certificate key mismatch"),
        (wish(b, "no key".into()), "malformed private key"),
        (wish(&both, roots.key("b")), "the desired CA certificate cannot contain multiple certificates"),
    ] {
        assert_eq!(roots.told(&stored, &wish, &[]).await, (Refused(expected.to_owned()), vec![]));
    }
    let end = roots.get("b").validity().not_after;
    let year = Duration::from_secs(8760 * 3600);
    let at = |time| Env::seeded(1, At(time));
    let wish = roots.wants("b", Some("b"));
    let begun = Root { key: Some("a"), next: Some(("b", true)), forced: 7 };
    let last_moment = roots.told_at(&stored, &wish, &[], &at(end - year)).await.0;
    assert_eq!(last_moment, begun);
    let late = roots.told_at(&stored, &wish, &[], &at(end - year + Duration::from_secs(1))).await;
    assert_eq!(late, (Refused("CA certificate expires too soon".to_owned()), vec![]));
}

#[tokio::test]
async fn a_root_without_its_key_needs_an_authority_that_has_it() {
    let roots = Roots::new();
    let wish = roots.naming(roots.wants("b", None), &["b"]);
    let begun = Root { key: Some("a"), next: Some(("b", false)), forced: 7 };
    let asked = vec!["reach b".to_owned(), "cross-sign b".to_owned()];
    assert_eq!(roots.told(&roots.with_key(), &wish, &["b"]).await, (begun, asked));
    assert_eq!(roots.outcome(&roots.with_key(), &wish, &[]).await, nobody_for("desired"));
    let unnamed = roots.wants("b", None);
    assert_eq!(roots.outcome(&roots.with_key(), &unnamed, &["b"]).await, nobody_for("desired"));
}

#[tokio::test]
async fn to_want_the_present_root_gives_up_a_rotation_and_keeps_adds_or_removes_its_key() {
    let roots = Roots::new();
    let untidy = format!("\n\n  {}\n", roots.get("a").bundle());
    let with = wire::CaConfig { signing_ca_cert: untidy.into(), force_rotate: 9, ..roots.wants("a", Some("a")) };
    for stored in [roots.with_key(), roots.rotating(roots.with_key(), "b", true)] {
        assert_eq!(roots.told(&stored, &with, &[]).await, (keeps_key_of("a", 9), vec![]));
        let without = roots.naming(roots.wants("a", None), &["a"]);
        let removed = Root { key: None, next: None, forced: 7 };
        assert_eq!(roots.told(&stored, &without, &["a"]).await, (removed, vec!["reach a".to_owned()]));
        assert_eq!(roots.outcome(&stored, &without, &[]).await, nobody_for("desired"));
    }
}

#[tokio::test]
async fn another_certificate_for_the_present_key_is_refused() {
    let roots = Roots::new();
    let key = roots.key("a");
    let again = KeyPair::from_pem(std::str::from_utf8(&key).unwrap()).unwrap();
    // A second certificate of the same authority, which that one key has signed.
    struct Known(parking_lot::Mutex<Option<KeyPair>>);
    impl swarmkit_ca::KeySource for Known {
        fn generate(&self) -> Result<KeyPair, swarmkit_ca::Error> {
            Ok(self.0.lock().take().expect("asked for once"))
        }
    }
    let other = RootCa::create(&Known(parking_lot::Mutex::new(Some(again))), &roots.env).unwrap();
    assert_ne!(other.bundle(), roots.get("a").bundle());
    let untidy = [b"\n".as_slice(), &key].concat();
    for key in [key.to_vec(), untidy] {
        let wish = wire::CaConfig {
            signing_ca_cert: other.bundle().to_owned().into(),
            signing_ca_key: key.into(),
            ..roots.nothing()
        };
        let (outcome, _) = roots.told(&roots.with_key(), &wish, &[]).await;
        assert_eq!(outcome, Refused("Cannot update to a cert with an identical key".to_owned()));
    }
}

#[tokio::test]
async fn to_want_the_root_that_is_under_way_replaces_nothing_but_its_key() {
    let roots = Roots::new();
    let stored = roots.rotating(roots.with_key(), "b", true);
    let wish = wire::CaConfig { force_rotate: 9, ..roots.wants("b", Some("b")) };
    let (outcome, asked) = roots.told(&stored, &wish, &[]).await;
    assert_eq!((outcome, asked), (Root { key: Some("a"), next: Some(("b", true)), forced: 9 }, vec![]));

    let elsewhere = roots.naming(roots.wants("b", None), &["b"]);
    let (outcome, asked) = roots.told(&stored, &elsewhere, &["b"]).await;
    let removed = Root { key: Some("a"), next: Some(("b", false)), forced: 7 };
    assert_eq!((outcome, asked), (removed, vec!["reach b".to_owned()]), "it is not cross-signed a second time");
    let given = roots.outcome(&roots.rotating(roots.with_key(), "b", false), &wish, &[]).await;
    assert_eq!(given, Root { key: Some("a"), next: Some(("b", true)), forced: 9 });
}

#[tokio::test]
async fn another_root_replaces_one_that_is_under_way_and_is_signed_by_the_one_that_is_trusted() {
    let roots = Roots::new();
    for stored in [roots.with_key(), roots.rotating(roots.with_key(), "b", true)] {
        let (outcome, asked) = roots.told(&stored, &roots.wants("c", Some("c")), &[]).await;
        // That the present root, and not the one under way, has signed it, is looked at where outcomes are read.
        let begun = Root { key: Some("a"), next: Some(("c", true)), forced: 7 };
        assert_eq!((outcome, asked), (begun, vec!["cross-sign c".to_owned()]));
    }
}

#[tokio::test]
async fn an_authority_elsewhere_signs_the_root_that_takes_its_place() {
    let roots = Roots::new();
    let (stored, wish) = (roots.without_key(), roots.naming(roots.wants("b", Some("b")), &["a"]));
    let begun = Root { key: None, next: Some(("b", true)), forced: 7 };
    let asked = vec!["reach a".to_owned(), "cross-sign b".to_owned()];
    assert_eq!(roots.told(&stored, &wish, &["a"]).await, (begun, asked));
    assert_eq!(roots.outcome(&stored, &wish, &[]).await, nobody_for("current"));
    let forced = wire::CaConfig { force_rotate: 8, ..roots.naming(roots.nothing(), &["a"]) };
    let begun = Root { key: None, next: Some(("fresh", true)), forced: 8 };
    assert_eq!(roots.outcome(&stored, &forced, &["a"]).await, begun);
}

#[tokio::test]
async fn from_one_authority_elsewhere_to_another_there_is_no_way() {
    let roots = Roots::new();
    let wish = roots.naming(roots.wants("b", None), &["a", "b"]);
    let text = "rotating from one external CA to a different external CA is not supported";
    assert_eq!(roots.outcome(&roots.without_key(), &wish, &["a", "b"]).await, Refused(text.to_owned()));
}

#[tokio::test]
async fn a_root_that_cannot_sign_the_next_one_is_an_error_of_the_cluster() {
    let roots = Roots::new();
    let stored = wire::RootCa { ca_key: roots.key("b"), ..roots.with_key() };
    let outcome = roots.outcome(&stored, &roots.wants("c", Some("c")), &[]).await;
    let text = "unable to generate a cross-signed certificate for root rotation: certificate key mismatch";
    assert_eq!(outcome, Failed(text.to_owned()));
}
