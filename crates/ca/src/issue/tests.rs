//! What issued certificates hold.

use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
};

use super::*;
use crate::{
    certificate::{parse, validity},
    key::{KeyPair, KeySource as _, SystemKeys},
    testing::{env, env_at, fixture, manager, member, noon, root, root_with, worker},
};

fn issued(identity: &Identity, validity: Duration) -> Vec<u8> {
    let request = SystemKeys.generate().unwrap().request().unwrap();
    let chain = root().issue(&request, identity, validity, &env()).unwrap();
    pem_text::certificates(&chain).unwrap().remove(0).to_vec()
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    names
        .value
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_worker_is_named_by_cluster_role_and_node() {
    let der = issued(&worker(), LEAF_VALIDITY_DEFAULT);
    let certificate = parse(&der).unwrap();
    assert_eq!(certificate.subject().to_string(), "O=cluster1, OU=swarm-worker, CN=node1");
    assert_eq!(names(&certificate), ["swarm-worker", "node1"]);
    assert_eq!(Identity::from_certificate(&der).unwrap(), worker());
}

#[test]
fn a_manager_may_also_speak_for_the_authority() {
    let der = issued(&manager(), LEAF_VALIDITY_DEFAULT);
    let certificate = parse(&der).unwrap();
    assert_eq!(names(&certificate), ["swarm-manager", "node2", "swarm-ca"]);
}

#[test]
fn a_leaf_may_sign_handshakes_on_both_sides_and_nothing_else() {
    let der = issued(&worker(), LEAF_VALIDITY_DEFAULT);
    let certificate = parse(&der).unwrap();
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature() && usage.value.key_encipherment());
    assert_eq!(usage.value.flags.count_ones(), 2);
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth && !extended.any);
    assert!(!(extended.code_signing || extended.email_protection || extended.time_stamping || extended.ocsp_signing));
    assert!(extended.other.is_empty());
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && !constraints.value.ca);
    assert_eq!(certificate.raw_serial().len(), SERIAL_BYTES);
}

/// The identifiers of its own key and of its issuer's.
fn key_ids<'a>(certificate: &'a X509Certificate<'_>) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
    let (mut own, mut issuers) = (None, None);
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => own = Some(id.0),
            ParsedExtension::AuthorityKeyIdentifier(id) => issuers = id.key_identifier.as_ref().map(|id| id.0),
            _ => {}
        }
    }
    (own, issuers)
}

#[test]
fn a_leaf_points_to_the_key_of_its_issuer_and_a_root_made_here_to_none() {
    let root = root();
    let leaf = member(&root, &worker());
    let (root, leaf) = (parse(&root.roots()[0]).unwrap(), parse(&leaf.chain()[0]).unwrap());
    let ((root_id, above), (leaf_id, issuer)) = (key_ids(&root), key_ids(&leaf));
    assert_eq!(above, None);
    assert_eq!(issuer, root_id);
    assert_eq!(root_id.unwrap().len(), 20);
    assert_eq!(leaf_id.unwrap().len(), 20);
    assert_ne!(leaf_id, root_id);
}

#[test]
fn an_issuer_whose_key_has_no_identifier_is_found_by_its_name() {
    let key = KeyPair::from_pem(fixture!("p256-sec1.key")).unwrap();
    let root = RootCa::from_pem(fixture!("root-without-key-id.crt"), noon()).unwrap().with_key(key, &env()).unwrap();
    let leaf = member(&root, &worker());
    let (own, issuer) = {
        let leaf = parse(&leaf.chain()[0]).unwrap();
        let (own, issuer) = key_ids(&leaf);
        (own.map(<[u8]>::len), issuer.map(<[u8]>::len))
    };
    assert_eq!((own, issuer), (Some(20), None));
}

#[test]
fn the_digest_of_a_signature_grows_with_the_key_of_the_issuer() {
    for (key, oid) in [
        (fixture!("p256-sec1.key"), "1.2.840.10045.4.3.2"),
        (fixture!("p384-sec1.key"), "1.2.840.10045.4.3.3"),
        (fixture!("p521-sec1.key"), "1.2.840.10045.4.3.4"),
        (fixture!("rsa2048-pkcs1.key"), "1.2.840.113549.1.1.11"),
        (fixture!("rsa3072.key"), "1.2.840.113549.1.1.12"),
        (fixture!("rsa4096.key"), "1.2.840.113549.1.1.13"),
    ] {
        let root = root_with(key);
        let leaf = member(&root, &worker());
        for der in [&root.roots()[0], &leaf.chain()[0]] {
            assert_eq!(parse(der).unwrap().signature_algorithm.algorithm.to_id_string(), oid);
        }
        leaf.verify(&root, Expiry::Enforced, noon()).unwrap();
    }
}

#[test]
fn nodes_may_have_keys_of_every_accepted_kind() {
    for request in [fixture!("p256.csr"), fixture!("p521.csr"), fixture!("rsa.csr")] {
        root().issue(request, &worker(), LEAF_VALIDITY_DEFAULT, &env()).unwrap();
    }
    for key in [fixture!("p384-sec1.key"), fixture!("p521-sec1.key"), fixture!("rsa4096.key")] {
        let key = KeyPair::from_pem(key).unwrap();
        let chain = root().issue(&key.request().unwrap(), &worker(), LEAF_VALIDITY_DEFAULT, &env()).unwrap();
        let leaf = pem_text::certificates(&chain).unwrap().remove(0);
        assert_eq!(parse(&leaf).unwrap().public_key().raw, key.public_key());
    }
}

#[test]
fn a_leaf_lasts_as_asked_and_an_hour_into_the_past() {
    let week = Duration::from_secs(7 * 24 * 3600);
    let certificate = issued(&worker(), week);
    let span = validity(&parse(&certificate).unwrap());
    assert_eq!(span.not_before, noon() - LEAF_BACKDATE);
    assert_eq!(span.not_after, noon() + week);
    assert_eq!(LEAF_BACKDATE, Duration::from_secs(3600));
}

#[test]
fn a_leaf_begins_an_hour_before_the_nearest_minute() {
    for (seconds, minutes) in [(0, 0), (29, 0), (30, 1), (59, 1), (89, 1), (90, 2)] {
        let now = noon() + Duration::from_secs(seconds);
        let root = root();
        let request = SystemKeys.generate().unwrap().request().unwrap();
        let chain = root.issue(&request, &worker(), LEAF_VALIDITY_DEFAULT, &env_at(now)).unwrap();
        let rounded = noon() + MINUTE * minutes;
        let expected = Validity { not_before: rounded - LEAF_BACKDATE, not_after: rounded + LEAF_VALIDITY_DEFAULT };
        assert_eq!(Validity::of_chain(&chain).unwrap(), expected, "{seconds} s");
    }
}

#[test]
fn less_than_an_hour_means_the_default_and_an_hour_is_honoured() {
    for (asked, granted) in [
        (Duration::ZERO, LEAF_VALIDITY_DEFAULT),
        (LEAF_VALIDITY_MIN - Duration::from_secs(1), LEAF_VALIDITY_DEFAULT),
        (LEAF_VALIDITY_MIN, LEAF_VALIDITY_MIN),
    ] {
        let certificate = issued(&worker(), asked);
        assert_eq!(validity(&parse(&certificate).unwrap()).not_after, noon() + granted);
    }
}

#[test]
fn what_a_request_says_beside_its_key_is_ignored() {
    let chain = root().issue(fixture!("rsa.csr"), &worker(), LEAF_VALIDITY_DEFAULT, &env()).unwrap();
    let leaf = pem_text::certificates(&chain).unwrap().remove(0);
    let certificate = parse(&leaf).unwrap();
    assert_eq!(names(&certificate), ["swarm-worker", "node1"]);
    assert_eq!(Identity::from_certificate(&leaf).unwrap(), worker());
}

#[test]
fn requests_for_weak_keys_are_refused() {
    for (request, why) in [
        (fixture!("rsa1024.csr"), "unsupported RSA key parameters"),
        (fixture!("p224.csr"), "unsupported ECDSA key parameters"),
        (fixture!("ed25519.csr"), "unknown or unsupported certificate public key algorithm"),
    ] {
        let error = root().issue(request, &worker(), LEAF_VALIDITY_DEFAULT, &env()).unwrap_err();
        assert_eq!(error.to_string(), format!("malformed certificate signing request: {why}"));
    }
}

#[test]
fn requests_that_cannot_be_trusted_are_refused() {
    let good = SystemKeys.generate().unwrap().request().unwrap();
    let mut block = pem::parse(&good).unwrap().into_contents();
    *block.last_mut().unwrap() ^= 1;
    for (request, why) in [
        (String::new(), "malformed"),
        ("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n".to_owned(), ""),
        (pem_text::encode(pem_text::REQUEST, &block), "signature"),
        (fixture!("p256-sec1.key").to_owned(), "a block of kind"),
        (good + &" ".repeat(REQUEST_BYTES_MAX), "larger than 16384 bytes"),
    ] {
        let error = root().issue(&request, &worker(), LEAF_VALIDITY_DEFAULT, &env()).unwrap_err();
        assert!(matches!(error, Error::MalformedRequest { .. }), "{error:?}");
        assert!(error.to_string().to_lowercase().contains(why), "{error} should say {why}");
    }
}

#[test]
fn a_root_without_its_key_says_that_it_cannot_sign() {
    let request = SystemKeys.generate().unwrap().request().unwrap();
    let root = root().without_signer();
    let error = root.issue(&request, &worker(), LEAF_VALIDITY_DEFAULT, &env()).unwrap_err();
    assert_eq!(error.to_string(), "no valid signer found");
}

#[test]
fn names_that_are_not_ascii_cannot_be_dns_names() {
    let goose = Identity::new(NodeId::from("gänse"), NodeRole::Worker, ClusterId::from("cluster1"));
    let request = SystemKeys.generate().unwrap().request().unwrap();
    let error = root().issue(&request, &goose, LEAF_VALIDITY_DEFAULT, &env()).unwrap_err();
    assert!(matches!(error, Error::Crypto { .. }), "{error:?}");
}

#[test]
fn times_are_rounded_to_the_nearest_minute() {
    assert_eq!(to_the_minute(noon() + Duration::from_secs(29)), noon());
    assert_eq!(to_the_minute(noon() + Duration::from_secs(30)), noon() + MINUTE);
}
