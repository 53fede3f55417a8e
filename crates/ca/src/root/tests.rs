//! What a root CA object accepts, and what it refuses to be.

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa};

use super::*;
use crate::{
    certificate::validity,
    der,
    identity::Identity,
    issue::LEAF_VALIDITY_DEFAULT,
    key::SystemKeys,
    testing::{DAY, copy_of, env, env_at, fixture, manager, member, noon, root, worker},
};

/// An authority below `root`, with its certificate.
fn intermediate(root: &RootCa, name: &str, authority: bool, at: SystemTime) -> (String, KeyPair) {
    let key = SystemKeys.generate().unwrap();
    (below(root, &key, name, authority, at), key)
}

fn reissue(root: &RootCa, key: &KeyPair, at: SystemTime) -> String {
    below(root, key, "below", true, at)
}

fn below(root: &RootCa, key: &KeyPair, name: &str, authority: bool, at: SystemTime) -> String {
    let mut params = CertificateParams::default();
    params.not_before = (at - DAY).into();
    params.not_after = (at + 300 * DAY).into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = if authority { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    let certificate = params.signed_by(key, &root.issuer()).unwrap();
    pem_text::encode_certificates([certificate.der()])
}

#[test]
fn a_created_root_is_named_swarm_ca_and_lasts_twenty_years() {
    let root = root();
    let certificate = parse(&root.roots()[0]).unwrap();
    assert_eq!(certificate.subject().to_string(), "CN=swarm-ca");
    assert_eq!(certificate.issuer().to_string(), "CN=swarm-ca");
    let span = validity(&certificate);
    assert_eq!(span.not_before, noon() - ROOT_BACKDATE);
    assert!(span.not_after >= noon() + ROOT_VALIDITY - 30 * DAY);
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
    assert_eq!(usage.value.flags.count_ones(), 2);
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca && constraints.value.path_len_constraint.is_none());
    // Key usage, basic constraints, and the identifier of its key: none of an issuer's.
    assert_eq!(certificate.extensions().len(), 3);
    assert_eq!(certificate.raw_serial().len(), 20);
    assert_eq!(root.validity(), span);
    assert!(root.can_sign());
}

#[test]
fn the_digest_is_of_the_text_as_it_was_given() {
    let root = root();
    let padded = RootCa::from_pem(&format!("{}\n", root.bundle()), noon()).unwrap();
    assert_ne!(padded.digest(), root.digest());
    assert_eq!(root.digest().to_string().parse::<RootDigest>().unwrap(), root.digest());
    assert!(root.digest().to_string().starts_with("sha256:"));
    assert!("sha256:12".parse::<RootDigest>().is_err());
}

#[test]
fn a_pinned_bundle_is_read_only_when_it_is_the_pinned_one() {
    let (root, other) = (root(), crate::testing::root());
    assert!(RootCa::from_pinned_pem(root.bundle(), root.digest(), noon()).is_ok());
    let error = RootCa::from_pinned_pem(root.bundle(), other.digest(), noon()).unwrap_err();
    let expected = format!("remote CA does not match fingerprint. Expected: {}", other.digest().to_hex());
    assert_eq!(error.to_string(), expected);
    let smuggled = format!("{}{}", root.bundle(), other.bundle());
    assert!(RootCa::from_pinned_pem(&smuggled, root.digest(), noon()).is_err());
}

#[test]
fn empty_and_garbage_bundles_are_refused() {
    assert_eq!(RootCa::from_pem("", noon()).unwrap_err().to_string(), "no valid root CA certificates found");
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(RootCa::from_pem(garbage, noon()), Err(Error::Malformed { .. })));
    assert!(RootCa::from_pem(fixture!("p256-sec1.key"), noon()).is_err());
}

#[test]
fn roots_out_of_time_are_refused_and_say_so() {
    let root = root();
    let late = RootCa::from_pem(root.bundle(), noon() + ROOT_VALIDITY).unwrap_err();
    assert!(matches!(late, Error::Expired { position: 1, .. }), "{late}");
    assert!(late.to_string().starts_with("certificate (1 - swarm-ca) not valid after 2049-12-27T11:55:00Z"), "{late}");
    let early = RootCa::from_pem(root.bundle(), noon() - DAY).unwrap_err();
    assert!(matches!(early, Error::NotYetValid { position: 1, .. }), "{early}");
}

/// The roots that operators may bring, with their keys: every curve and every size with every digest.
const ROOTS: [(&str, &str); 14] = [
    (fixture!("root-p256-sha256.crt"), fixture!("p256-sec1.key")),
    (fixture!("root-p256-sha384.crt"), fixture!("p256-sec1.key")),
    (fixture!("root-p256-sha512.crt"), fixture!("p256-sec1.key")),
    (fixture!("root-p384-sha256.crt"), fixture!("p384-sec1.key")),
    (fixture!("root-p384-sha384.crt"), fixture!("p384-sec1.key")),
    (fixture!("root-p384-sha512.crt"), fixture!("p384-sec1.key")),
    (fixture!("root-p521-sha256.crt"), fixture!("p521-sec1.key")),
    (fixture!("root-p521-sha384.crt"), fixture!("p521-sec1.key")),
    (fixture!("root-p521-sha512.crt"), fixture!("p521-sec1.key")),
    (fixture!("root-rsa2048-sha256.crt"), fixture!("rsa2048-pkcs1.key")),
    (fixture!("root-rsa2048-sha384.crt"), fixture!("rsa2048-pkcs1.key")),
    (fixture!("root-rsa2048-sha512.crt"), fixture!("rsa2048-pkcs1.key")),
    (fixture!("root-rsa3072-sha384.crt"), fixture!("rsa3072.key")),
    (fixture!("root-rsa4096-sha512.crt"), fixture!("rsa4096.key")),
];

#[test]
fn roots_of_every_accepted_key_and_digest_sign() {
    for (certificate, key) in ROOTS {
        let key = KeyPair::from_pem(key).unwrap();
        let root = RootCa::from_pem(certificate, noon()).unwrap().with_key(key, &env()).unwrap();
        let issuer = member(&root, &manager()).verify(&root, Expiry::Enforced, noon()).unwrap();
        assert_eq!(issuer, *root.issuer_info());
    }
}

#[test]
fn roots_whose_signature_was_changed_are_refused() {
    for (certificate, _) in ROOTS {
        let mut der = pem::parse(certificate).unwrap().into_contents();
        *der.last_mut().unwrap() ^= 1;
        let error = RootCa::from_pem(&pem_text::encode(pem_text::CERTIFICATE, &der), noon()).unwrap_err();
        assert!(matches!(error, Error::NotSelfSigned { .. }), "{error:?}");
    }
}

#[test]
fn ways_of_signing_that_are_not_accepted_are_refused() {
    for (certificate, name) in [
        (fixture!("root-sha1.crt"), "sha1-root"),
        (fixture!("root-p256-sha1.crt"), "p256-sha1"),
        (fixture!("root-dsa.crt"), "dsa"),
        (fixture!("root-pss.crt"), "pss"),
        (fixture!("root-ed25519.crt"), "ed25519"),
    ] {
        let expected = format!("unsupported signature algorithm in the certificate of {name:?}");
        assert_eq!(RootCa::from_pem(certificate, noon()).unwrap_err().to_string(), expected);
        let key = KeyPair::from_pem(fixture!("p256-sec1.key")).unwrap();
        assert_eq!(root().with_signer(certificate, key, &env()).unwrap_err().to_string(), expected);
    }
}

#[test]
fn weak_keys_are_refused_in_roots_and_in_signers() {
    for (certificate, expected) in [
        (fixture!("root-rsa1024.crt").to_owned(), "unsupported RSA key parameters"),
        (fixture!("root-p224.crt").to_owned(), "unsupported ECDSA key parameters"),
        (exponent_of_one(), "unsupported RSA key parameters"),
    ] {
        assert_eq!(RootCa::from_pem(&certificate, noon()).unwrap_err().to_string(), expected);
        let key = KeyPair::from_pem(fixture!("p256-sec1.key")).unwrap();
        assert_eq!(root().with_signer(&certificate, key, &env()).unwrap_err().to_string(), expected);
    }
}

/// Of a key with which everything is its own signature.
fn exponent_of_one() -> String {
    let key = KeyPair::from_pem(fixture!("rsa2048-pkcs1.key")).unwrap();
    let parts = der::elements(key.spki()).unwrap();
    let numbers = &der::contents(parts[1]).unwrap()[1..];
    let one = der::tagged(der::INTEGER, &[&[1]]);
    let numbers = der::tagged(der::SEQUENCE, &[der::elements(numbers).unwrap()[0], &one]);
    let spki = der::tagged(der::SEQUENCE, &[parts[0], &der::tagged(der::BIT_STRING, &[&[0], &numbers])]);
    let root = crate::testing::root_with(fixture!("rsa2048-pkcs1.key"));
    let whole = parse(&root.roots()[0]).unwrap();
    // Version, serial number, way of signing, issuer, validity, subject, key.
    let statement = der::replaced(whole.tbs_certificate.as_ref(), &[(6, &spki)]).unwrap();
    pem_text::encode(pem_text::CERTIFICATE, &der::signed(&statement, &key).unwrap())
}

#[test]
fn a_certificate_that_is_no_authority_is_no_root() {
    let leaf = member(&root(), &worker());
    assert!(matches!(RootCa::from_pem(&leaf.chain_pem(), noon()), Err(Error::NotSelfSigned { .. })));
}

#[test]
fn a_bundle_of_two_roots_trusts_both_and_signs_with_the_first() {
    let (first, second) = (root(), root());
    let bundle = format!("{}{}", first.bundle(), second.bundle());
    let both = RootCa::from_pem(&bundle, noon()).unwrap();
    for signer in [&first, &second] {
        member(signer, &worker()).verify(&both, Expiry::Enforced, noon()).unwrap();
    }
    let both = both.with_key(copy_of(first.signing_key().unwrap()), &env()).unwrap();
    let leaf = member(&both, &worker());
    assert!(leaf.verify(&first, Expiry::Enforced, noon()).is_ok());
    assert!(leaf.verify(&second, Expiry::Enforced, noon()).is_err());
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused() {
    let root = root().without_signer();
    let error = root.with_key(SystemKeys.generate().unwrap(), &env()).unwrap_err();
    assert_eq!(error.to_string(), "certificate key mismatch");
}

#[test]
fn names_of_operators_are_repeated_as_they_are_written() {
    let key = KeyPair::from_pem(fixture!("rsa2048-pkcs1.key")).unwrap();
    let root = RootCa::from_pem(fixture!("root-two-organizations.crt"), noon()).unwrap().with_key(key, &env()).unwrap();
    let leaf = member(&root, &worker());
    let name = parse(&root.roots()[0]).unwrap().subject().as_raw().to_vec();
    assert_eq!(parse(&leaf.chain()[0]).unwrap().issuer().as_raw(), name);
}

#[test]
fn signers_below_the_root_append_themselves_to_what_they_issue() {
    let root = root();
    let (certificate, key) = intermediate(&root, "below", true, noon());
    let below = root
        .without_signer()
        .with_intermediates(&certificate, noon())
        .and_then(|root| root.with_signer(&certificate, key, &env()))
        .unwrap();
    let leaf = member(&below, &worker());
    assert_eq!(leaf.chain().len(), 2);
    let issuer = leaf.verify(&root, Expiry::Enforced, noon()).unwrap();
    assert_eq!(issuer, issuer_info(&parse(&leaf.chain()[1]).unwrap()));
}

#[test]
fn a_signer_of_another_root_is_refused() {
    let (root, other) = (root(), crate::testing::root());
    let (certificate, key) = intermediate(&other, "below", true, noon());
    let error = root.with_signer(&certificate, key, &env()).unwrap_err();
    assert!(matches!(error, Error::UnknownAuthority), "{error:?}");
}

#[test]
fn a_signer_out_of_time_is_refused_also_beside_intermediates_that_are_not() {
    let root = root();
    let (expired, key) = intermediate(&root, "below", true, noon() - 400 * DAY);
    let error = root.clone().with_signer(&expired, copy_of(&key), &env()).unwrap_err();
    assert!(matches!(error, Error::Expired { position: 1, .. }), "{error:?}");
    let (early, key) = intermediate(&root, "below", true, noon() + 10 * DAY);
    let error = root.clone().with_signer(&early, copy_of(&key), &env()).unwrap_err();
    assert!(matches!(error, Error::NotYetValid { position: 1, .. }), "{error:?}");
    // The same name and key twice: what follows every leaf counts, and what is to sign them does not any more.
    let fresh = reissue(&root, &key, noon());
    let error = root.with_intermediates(&fresh, noon()).unwrap().with_signer(&early, key, &env()).unwrap_err();
    assert!(matches!(error, Error::NotYetValid { position: 1, .. }), "{error:?}");
}

#[test]
fn the_span_of_a_bundle_is_that_in_which_all_its_roots_count() {
    let (first, later) = (root(), RootCa::create(&SystemKeys, &env_at(noon() + DAY)).unwrap());
    let both = RootCa::from_pem(&format!("{}{}", first.bundle(), later.bundle()), noon() + DAY).unwrap();
    let span = Validity { not_before: later.validity().not_before, not_after: first.validity().not_after };
    assert_eq!(both.validity(), span);
}

#[test]
fn a_signer_that_is_no_authority_is_refused() {
    let root = root();
    let (certificate, key) = intermediate(&root, "leaf", false, noon());
    let error = root.with_signer(&certificate, key, &env()).unwrap_err();
    assert!(matches!(error, Error::UnusableSigner { .. }), "{error:?}");
}

#[test]
fn intermediates_that_do_not_lead_to_the_root_are_refused() {
    let (root, other) = (root(), crate::testing::root());
    let (foreign, _) = intermediate(&other, "below", true, noon());
    let (expired, _) = intermediate(&root, "below", true, noon() - 400 * DAY);
    let (early, _) = intermediate(&root, "below", true, noon() + 10 * DAY);
    for (text, why) in [
        ("", "malformed certificate chain"),
        ("garbage", "malformed certificate chain"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "malformed certificate"),
        (&foreign, "certificate signed by unknown authority"),
        (&expired, "certificate (1 - below) not valid after"),
        (&early, "certificate (1 - below) not valid before"),
    ] {
        let error = root.clone().with_intermediates(text, noon()).unwrap_err();
        assert!(error.to_string().starts_with(&format!("invalid intermediate chain: {why}")), "{error}");
    }
}

#[test]
fn intermediates_of_another_signer_are_refused() {
    let root = root();
    let (below, _) = intermediate(&root, "below", true, noon());
    let key = copy_of(root.signing_key().unwrap());
    let root = root.without_signer().with_intermediates(&below, noon()).unwrap();
    assert!(matches!(root.with_key(key, &env()), Err(Error::InvalidIntermediates(_))));
}

#[test]
fn a_root_made_from_a_seed_takes_its_time_and_serial_from_there() {
    let at = noon() + 3 * DAY;
    let (a, b) = (RootCa::create(&SystemKeys, &env_at(at)).unwrap(), RootCa::create(&SystemKeys, &env_at(at)).unwrap());
    let serial = |root: &RootCa| parse(&root.roots()[0]).unwrap().raw_serial().to_vec();
    assert_eq!(serial(&a), serial(&b));
    assert_eq!(validity(&parse(&a.roots()[0]).unwrap()).not_before, at - ROOT_BACKDATE);
    let identity: Identity = worker();
    assert!(a.issue(fixture!("p256.csr"), &identity, LEAF_VALIDITY_DEFAULT, &env_at(at)).is_ok());
}
