//! Whom to ask, and what of the answers is believed.

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, SanType, SubjectPublicKeyInfo,
};
use swarmkit_api::wire;

use super::*;
use crate::{
    LEAF_VALIDITY_DEFAULT,
    key::{KeyPair, KeySource as _, SystemKeys},
    testing::{DAY, manager, noon, root, worker},
};

fn known(protocol: i32, url: &str, under: impl AsRef<[u8]>) -> wire::ExternalCa {
    let ca_cert = under.as_ref().to_vec().into();
    wire::ExternalCa { protocol, url: url.to_owned(), ca_cert, ..Default::default() }
}

fn order(identity: &Identity) -> (KeyPair, SigningOrder) {
    let key = SystemKeys.generate().unwrap();
    let order = SigningOrder::new(&key.request().unwrap(), identity.clone(), LEAF_VALIDITY_DEFAULT).unwrap();
    (key, order)
}

/// What an authority makes of an order that has a mind of its own about some of it.
fn made(root: &RootCa, key: &KeyPair, identity: &Identity, edit: impl FnOnce(&mut CertificateParams)) -> String {
    let mut params = CertificateParams::default();
    params.not_before = noon().into();
    params.not_after = (noon() + DAY).into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, identity.cluster.as_str());
    params.distinguished_name.push(DnType::OrganizationalUnitName, identity.names()[0]);
    params.distinguished_name.push(DnType::CommonName, identity.node.as_str());
    params.subject_alt_names = identity.names().into_iter().map(dns).collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    edit(&mut params);
    let key = SubjectPublicKeyInfo::from_der(&key.public_key()).unwrap();
    let certificate = params.signed_by(&key, &root.issuer()).unwrap();
    pem_text::encode_certificates([certificate.der()])
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

#[test]
fn an_authority_signs_for_the_root_that_it_says_or_for_the_current_one_in_the_order_given() {
    let (current, target, other) = (root(), root(), root());
    let untidy = format!("\n  {}\n\n", target.bundle().replace('\n', "\r\n"));
    let known = [
        known(0, "https://first", ""),
        known(0, "https://target", untidy),
        known(1, "https://unknown-protocol", ""),
        known(0, "https://other", other.bundle()),
        known(0, "https://second", current.bundle()),
        known(0, "https://target-again", target.bundle()),
        known(0, "https://nonsense", "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----"),
        known(0, "https://not-text", [0xff]),
    ];
    let urls = |root: &RootCa| Authorities::new(&known, root, &current).urls().to_vec();
    assert_eq!(urls(&current), ["https://first", "https://second"]);
    assert_eq!(urls(&target), ["https://target", "https://target-again"]);
    assert!(Authorities::new(&known, &root(), &current).is_empty());
}

#[test]
fn a_certificate_as_ordered_is_accepted_and_followed_by_what_follows_every_leaf() {
    let root = root();
    for identity in [worker(), manager()] {
        let (key, order) = order(&identity);
        let answer = made(&root, &key, &identity, |_| {});
        let untidy = format!("# from the authority\n{answer}\n");
        assert_eq!(order.accept(&untidy, &root, noon()).unwrap(), answer);
        let with_root = root.clone().with_intermediates(root.bundle(), noon()).unwrap();
        assert_eq!(order.accept(&answer, &with_root, noon()).unwrap(), answer + root.bundle());
    }
}

#[test]
fn an_order_wants_the_life_that_the_cluster_gives_to_the_minute_and_never_too_short_a_one() {
    let (_, wanted) = order(&worker());
    let span = wanted.validity(noon() + Duration::from_secs(20));
    assert_eq!(span, Validity { not_before: noon() - DAY / 24, not_after: noon() + LEAF_VALIDITY_DEFAULT });
    let request = SystemKeys.generate().unwrap().request().unwrap();
    let short = SigningOrder::new(&request, worker(), Duration::from_secs(1)).unwrap();
    assert_eq!(short.validity(noon()), span);
}

#[test]
fn a_request_that_cannot_be_read_orders_nothing() {
    let refused = SigningOrder::new("garbage", worker(), LEAF_VALIDITY_DEFAULT);
    assert!(matches!(refused, Err(Error::MalformedRequest { .. })), "{refused:?}");
}

#[test]
fn a_certificate_that_is_not_what_was_ordered_is_not_passed_on() {
    let root = root();
    let (key, order) = order(&worker());
    let refused = |answer: &str| match order.accept(answer, &root, noon()) {
        Err(error @ ExternalCaError::Unfit { .. }) if !error.is_recoverable() => error.to_string(),
        other => panic!("{other:?}"),
    };
    let edited = |edit: fn(&mut CertificateParams)| refused(&made(&root, &key, &worker(), edit));
    let says = |text: String, part: &str| assert!(text.ends_with(part), "{text}");

    says(refused(""), "there is none in the answer");
    says(refused(&made(&root, &SystemKeys.generate().unwrap(), &worker(), |_| {})), "it is for another key");
    let promoted = Identity { role: swarmkit_api::NodeRole::Manager, ..worker() };
    says(refused(&made(&root, &key, &promoted, |_| {})), "it is for node node1 as Manager of cluster cluster1");
    let foreign = Identity { cluster: "c2".into(), ..worker() };
    says(refused(&made(&root, &key, &foreign, |_| {})), "it is for node node1 as Worker of cluster c2");
    let other = Identity { node: "node9".into(), ..worker() };
    says(refused(&made(&root, &key, &other, |_| {})), "it is for node node9 as Worker of cluster cluster1");
    says(edited(|params| params.subject_alt_names.push(dns("swarm-manager"))), "DNSName(swarm-manager)");
    says(edited(|params| params.subject_alt_names.truncate(1)), "the name node1 is missing from it");
    says(edited(|params| params.subject_alt_names.clear()), "the name swarm-worker is missing from it");
    // The number of `common name`, which the library writes once only under that name.
    let second = |params: &mut CertificateParams| {
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "node9")
    };
    says(edited(second), "its subject says more than one thing");
    says(
        edited(|params| params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
        "it is that of an authority",
    );
    says(edited(|params| params.extended_key_usages.truncate(1)), "it is not for servers and clients both");
    let text = edited(|params| params.not_after = (noon() - Duration::from_secs(1)).into());
    assert!(text.contains("not valid after"), "{text}");
    let elsewhere = made(&self::root(), &key, &worker(), |_| {});
    says(refused(&elsewhere), "certificate signed by unknown authority");
    says(refused(&(made(&root, &key, &worker(), |_| {}) + &elsewhere)), "certificates do not form a chain");
}

#[test]
fn what_may_work_later_is_told_from_what_will_not() {
    let (url, reason) = ("https://ca".to_owned(), "no".to_owned());
    assert!(ExternalCaError::NoUrls.is_recoverable());
    assert!(ExternalCaError::Unavailable { url: url.clone(), reason: reason.clone() }.is_recoverable());
    assert!(!ExternalCaError::Refused { url, reason: reason.clone() }.is_recoverable());
    assert!(!ExternalCaError::Unfit { reason }.is_recoverable());
}

#[tokio::test]
async fn where_nobody_is_outside_nobody_signs() {
    let root = root();
    let (nobody, (_, order)) = (Authorities::new(&[], &root, &root), order(&worker()));
    assert_eq!(NoExternalCa.sign(&nobody, &order).await, Err(ExternalCaError::NoUrls));
    assert_eq!(NoExternalCa.cross_sign(&nobody, &root).await, Err(ExternalCaError::NoUrls));
    assert_eq!(NoExternalCa.reach(&nobody).await, Err(ExternalCaError::NoUrls));
}
