//! Signatures made by another program, and what must not pass for one.

use pkcs8::der::{Decode as _, asn1::UintRef};

use super::*;
use crate::{der, key::KeyPair, testing::fixture};

/// The point, the statement and the signature of a root that signs itself.
type Parts = (Vec<u8>, Vec<u8>, Vec<u8>);

fn parts(certificate: &str, key: &str) -> Parts {
    let der = pem::parse(certificate).unwrap().into_contents();
    let fields = der::elements(&der).unwrap();
    let key = KeyPair::from_pem(key).unwrap();
    let point = der::contents(der::elements(key.spki()).unwrap()[1]).unwrap()[1..].to_vec();
    (point, fields[0].to_vec(), der::contents(fields[2]).unwrap()[1..].to_vec())
}

fn cases() -> [(&'static dyn SignatureVerificationAlgorithm, Parts); 5] {
    let (p256, p384, p521) = (fixture!("p256-sec1.key"), fixture!("p384-sec1.key"), fixture!("p521-sec1.key"));
    [
        (P256_SHA512, parts(fixture!("root-p256-sha512.crt"), p256)),
        (P384_SHA512, parts(fixture!("root-p384-sha512.crt"), p384)),
        (P521_SHA256, parts(fixture!("root-p521-sha256.crt"), p521)),
        (P521_SHA384, parts(fixture!("root-p521-sha384.crt"), p521)),
        (P521_SHA512, parts(fixture!("root-p521-sha512.crt"), p521)),
    ]
}

#[test]
fn signatures_of_another_program_verify_with_their_own_curve_and_digest_only() {
    let cases = cases();
    for (index, (_, (point, statement, signature))) in cases.iter().enumerate() {
        for (other, (way, _)) in cases.iter().enumerate() {
            assert_eq!(way.verify_signature(point, statement, signature).is_ok(), index == other, "{way:?}");
        }
    }
}

#[test]
fn every_change_of_a_signature_or_of_what_it_is_about_is_noticed() {
    for (way, (point, statement, signature)) in cases() {
        // Bytes of the frame, of the first and of the second number.
        for at in [0, 1, 2, 3, 10, signature.len() / 2 + 8, signature.len() - 1] {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert!(way.verify_signature(&point, &statement, &changed).is_err(), "{way:?}, byte {at}");
        }
        assert!(way.verify_signature(&point, &statement[1..], &signature).is_err());
        assert!(way.verify_signature(&point, &statement, &[&signature[..], &[0]].concat()).is_err());
        assert!(way.verify_signature(&point, &statement, &[]).is_err());
    }
}

#[test]
fn numbers_that_are_zero_or_as_large_as_the_order_of_the_curve_are_no_signature() {
    for (way, (point, statement, signature)) in cases() {
        let second = der::elements(&signature).unwrap()[1];
        let size = (point.len() - 1) / 2;
        assert!(UintRef::from_der(second).is_ok());
        for first in [&[0][..], &[&[0], &vec![0xff; size][..]].concat()] {
            let forged = der::tagged(der::SEQUENCE, &[&der::tagged(der::INTEGER, &[first]), second]);
            assert!(way.verify_signature(&point, &statement, &forged).is_err(), "{way:?}");
        }
    }
}

#[test]
fn a_point_is_on_its_curve_and_written_in_full() {
    for (way, (point, statement, signature)) in cases() {
        let size = (point.len() - 1) / 2;
        let compressed = [&[2 + (point[point.len() - 1] & 1)], &point[1..=size]].concat();
        let mut off = point.clone();
        off[size] ^= 1;
        for point in [&compressed[..], &off, &[0], &[], &point[..point.len() - 1]] {
            assert!(way.verify_signature(point, &statement, &signature).is_err(), "{way:?}");
        }
    }
}
