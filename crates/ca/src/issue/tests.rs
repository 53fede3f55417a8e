//! What issued certificates hold.

use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
};

use super::*;
use crate::{
    certificate::{parse, validity},
    key::{KeySource as _, SystemKeys},
    testing::{env, fixture, manager, noon, root, worker},
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
    assert!(!usage.value.key_cert_sign());
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth && !extended.any);
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && !constraints.value.ca);
    let has = |wanted: fn(&ParsedExtension<'_>) -> bool| {
        certificate.extensions().iter().any(|extension| wanted(extension.parsed_extension()))
    };
    assert!(has(|extension| matches!(extension, ParsedExtension::SubjectKeyIdentifier(_))));
    assert!(has(|extension| matches!(extension, ParsedExtension::AuthorityKeyIdentifier(_))));
    assert_eq!(certificate.raw_serial().len(), SERIAL_BYTES);
}

#[test]
fn a_leaf_lasts_as_asked_and_an_hour_into_the_past() {
    let week = Duration::from_secs(7 * 24 * 3600);
    let certificate = issued(&worker(), week);
    let span = validity(&parse(&certificate).unwrap());
    assert_eq!(span.not_before, noon() - LEAF_BACKDATE);
    assert_eq!(span.not_after, noon() + week);
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
fn requests_that_cannot_be_trusted_are_refused() {
    let good = SystemKeys.generate().unwrap().request().unwrap();
    let mut block = pem::parse(&good).unwrap().into_contents();
    *block.last_mut().unwrap() ^= 1;
    for (request, why) in [
        (String::new(), "malformed"),
        ("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n".to_owned(), ""),
        (pem_text::encode(pem_text::REQUEST, &block), "signature"),
        (fixture!("p256-sec1.key").to_owned(), "a block of kind"),
        (fixture!("p521.csr").to_owned(), "unsupported"),
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
fn times_are_rounded_to_the_nearest_minute() {
    assert_eq!(to_the_minute(noon() + Duration::from_secs(29)), noon());
    assert_eq!(to_the_minute(noon() + Duration::from_secs(30)), noon() + MINUTE);
}
