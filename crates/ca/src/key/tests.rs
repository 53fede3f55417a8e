//! Keys: what can be read, and what they sign.

use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer as _};

use super::*;
use crate::testing::fixture;

#[test]
fn keys_written_by_other_programs_can_be_read() {
    for (text, algorithm) in [
        (fixture!("p256-sec1.key"), &PKCS_ECDSA_P256_SHA256),
        (fixture!("p384-sec1.key"), &PKCS_ECDSA_P384_SHA384),
        (fixture!("rsa2048-pkcs1.key"), &PKCS_RSA_SHA256),
        (fixture!("rsa2048-pkcs8.key"), &PKCS_RSA_SHA256),
        (fixture!("rsa3072.key"), &PKCS_RSA_SHA384),
    ] {
        let key = KeyPair::from_pem(text).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        let again = KeyPair::from_pem(&key.to_pem()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
    }
}

#[test]
fn one_rsa_key_in_two_encodings_is_one_key() {
    let old = KeyPair::from_pem(fixture!("rsa2048-pkcs1.key")).unwrap();
    let new = KeyPair::from_pem(fixture!("rsa2048-pkcs8.key")).unwrap();
    assert_eq!(*old.to_pem(), *new.to_pem());
}

#[test]
fn weak_and_unknown_keys_are_refused() {
    for text in [fixture!("rsa1024.key"), fixture!("p224-sec1.key"), fixture!("p256.csr"), "no key at all", ""] {
        assert!(matches!(KeyPair::from_pem(text), Err(Error::MalformedKey)), "{text}");
    }
}

#[test]
fn encrypted_keys_are_told_from_broken_ones() {
    for text in [fixture!("p256-encrypted.key"), fixture!("p256-legacy-encrypted.key")] {
        assert!(matches!(KeyPair::from_pem(text), Err(Error::Locked)), "{text}");
    }
}

#[test]
fn a_request_names_nobody_and_is_signed_by_its_key() {
    let key = SystemKeys.generate().unwrap();
    let block = pem::parse(key.request().unwrap()).unwrap();
    let (_, request) = X509CertificationRequest::from_der(block.contents()).unwrap();
    request.verify_signature().unwrap();
    let info = &request.certification_request_info;
    assert_eq!(info.subject.iter().count(), 0);
    assert!(request.requested_extensions().is_none());
    assert_eq!(info.subject_pki.raw, key.public_key());
}

#[test]
fn generated_keys_differ() {
    assert_ne!(SystemKeys.generate().unwrap().public_key(), SystemKeys.generate().unwrap().public_key());
}

#[test]
fn the_debug_form_does_not_show_the_key() {
    let key = KeyPair::from_pem(fixture!("p256-sec1.key")).unwrap();
    assert_eq!(format!("{key:?}"), "KeyPair { algorithm: PKCS_ECDSA_P256_SHA256, .. }");
}
