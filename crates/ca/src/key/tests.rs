//! Keys: what can be read, and what they sign.

use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer as _};

use super::*;
use crate::testing::fixture;

#[test]
fn keys_written_by_other_programs_can_be_read_and_sign() {
    for (text, algorithm) in [
        (fixture!("p256-sec1.key"), Algorithm::EcdsaP256Sha256),
        (fixture!("p384-sec1.key"), Algorithm::EcdsaP384Sha384),
        (fixture!("p521-sec1.key"), Algorithm::EcdsaP521Sha512),
        (fixture!("rsa2048-pkcs1.key"), Algorithm::RsaSha256),
        (fixture!("rsa2048-pkcs8.key"), Algorithm::RsaSha256),
        (fixture!("rsa3072.key"), Algorithm::RsaSha384),
        (fixture!("rsa4096.key"), Algorithm::RsaSha512),
    ] {
        let key = KeyPair::from_pem(text).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        let again = KeyPair::from_pem(&key.to_pem()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        let signature = key.sign(b"message").unwrap();
        let verify = |message: &[u8], signature: &[u8]| {
            algorithm::verify(&algorithm.of_signature(), key.spki(), message, signature)
        };
        assert!(verify(b"message", &signature));
        assert!(!verify(b"massage", &signature));
        assert!(!verify(b"message", &signature[1..]));
    }
}

#[test]
fn one_rsa_key_in_two_encodings_is_one_key() {
    let old = KeyPair::from_pem(fixture!("rsa2048-pkcs1.key")).unwrap();
    let new = KeyPair::from_pem(fixture!("rsa2048-pkcs8.key")).unwrap();
    assert_eq!(*old.to_pem(), *new.to_pem());
}

#[test]
fn a_public_half_that_was_left_out_is_calculated() {
    for (whole, half) in [
        (fixture!("p256-sec1.key"), fixture!("p256-no-public.key")),
        (fixture!("p384-sec1.key"), fixture!("p384-no-public.key")),
        (fixture!("p521-sec1.key"), fixture!("p521-no-public.key")),
    ] {
        let whole = KeyPair::from_pem(whole).unwrap();
        let sec1 = pem::parse(half).unwrap();
        let pkcs8 = pem_text::encode(PKCS8, &wrap(&whole.algorithm().of_key(), sec1.contents()));
        for text in [half, &pkcs8] {
            let key = KeyPair::from_pem(text).unwrap();
            assert_eq!(key.public_key(), whole.public_key());
            assert_eq!(KeyPair::from_pem(&key.to_pem()).unwrap().public_key(), whole.public_key());
            let signature = key.sign(b"message").unwrap();
            assert!(algorithm::verify(&key.algorithm().of_signature(), whole.spki(), b"message", &signature));
            key.to_rustls().unwrap();
        }
    }
}

#[test]
fn weak_keys_are_refused_in_the_words_of_upstream() {
    let said = |text: &str| KeyPair::from_pem(text).unwrap_err().to_string();
    assert_eq!(said(fixture!("rsa1024.key")), "unsupported RSA key parameters");
    assert_eq!(said(fixture!("p224-sec1.key")), "unsupported ECDSA key parameters");
    for exponent in [&[1][..], &[3], &[0xff, 0xff]] {
        let block = pem::parse(fixture!("rsa2048-pkcs1.key")).unwrap();
        let mut numbers = der::elements(block.contents()).unwrap();
        let exponent = tagged(INTEGER, &[&[0], exponent]);
        numbers[2] = &exponent;
        assert_eq!(said(&pem_text::encode(PKCS1, &tagged(SEQUENCE, &numbers))), "unsupported RSA key parameters");
    }
}

#[test]
fn unknown_and_broken_keys_are_refused() {
    let half = pem::parse(fixture!("p521-sec1.key")).unwrap().into_contents();
    let half = pem_text::encode(SEC1, &half[..half.len() / 2]);
    let empty = pem_text::encode(PKCS1, &[]);
    for text in [fixture!("ed25519.key"), fixture!("p256.csr"), "no key at all", "", &half, &empty] {
        let error = KeyPair::from_pem(text).unwrap_err();
        assert!(matches!(error, Error::MalformedKey), "{text}");
        assert_eq!(error.to_string(), "malformed private key");
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
    let parts = der::elements(block.contents()).unwrap();
    let statement = request.certification_request_info.raw;
    assert!(algorithm::verify(parts[1], key.spki(), statement, &request.signature_value.data));
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
    assert_eq!(format!("{key:?}"), "KeyPair { algorithm: EcdsaP256Sha256, .. }");
}
